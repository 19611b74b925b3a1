"""Import home of the data set plugins: ``bench.datasets.digits`` is ``datasets/digits.py`` of the checkout or of the wheel.

See ``bench/methods.py`` for why the plugin folders are mounted this way.
"""

from pathlib import Path

_inside = Path(__file__).parent / "datasets"
_beside = Path(__file__).parent.parent / "datasets"
__path__ = [str(_inside if _inside.is_dir() else _beside)]
