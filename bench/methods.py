"""Import home of the method plugins: ``bench.methods.podd`` is ``methods/podd`` of the checkout or of the wheel.

The folder ``methods/`` has no ``__init__.py`` and is never importable as a top-level package, so it cannot shadow
anybody else's. It lies inside ``bench/`` in an installed wheel and beside ``bench/`` in a checkout.
"""

from pathlib import Path

_inside = Path(__file__).parent / "methods"
_beside = Path(__file__).parent.parent / "methods"
__path__ = [str(_inside if _inside.is_dir() else _beside)]
