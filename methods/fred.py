"""FreD: images by a few frequencies, which train a student along the trajectories of experts.

Shin, Shin, Moon: "Frequency Domain-Based Dataset Distillation", NeurIPS 2023, arXiv 2311.08819.

fred = frequencies (``forms/dct.py``) x trajectory matching (``objectives/mtt.py``). What differs from the authors' code, and why:

1. Everything listed in ``mtt.py``.
2. Where frequencies lie is stored and charged, so that 15 images of every class fit at one image per class of CIFAR-10 instead of 16.
3. Frequencies are chosen by their variance over all training images of a class, each channel by itself and then summed. Theirs looks at
   the few images that the set starts from, and at the mean of their channels.
4. The transform is orthonormal, theirs is not. Their rate of 1e8 is 1e8 / 64² here: at 32x32 a coefficient of theirs is 2·32 times ours,
   outside the first row and column. Inside them it is √2 and 2 times larger still, so that theirs move more slowly there.

They have frequencies for gradient and distribution matching, too: ``dc[form=dct]`` and ``dm[form=dct]``.

Stored: n·c·m coefficients and C·m places; n·C label numbers where labels are learned or a teacher's, none where they are fixed; the learned
rate, which is one of the recipe's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench import METHODS, Between
from bench.search import Search

from ._product import Product


@METHODS.register("fred")
class FreD(Product):
    """Frequencies, learned by matching training trajectories."""

    name: ClassVar[str] = "fred"
    reference: ClassVar[str] = "Shin, Shin, Moon: Frequency Domain-Based Dataset Distillation, NeurIPS 2023, arXiv 2311.08819"
    search: ClassVar[Mapping[str, Search | None]] = {"outer_lr": Between(1.0, 3e4)}
    own_forms: ClassVar[tuple[str, ...]] = ("dct",)
    own_objective: ClassVar[str] = "mtt"
    own_defaults: ClassVar[Mapping[str, Any]] = {
        "init": "real",
        "space": "standard",
        "max_start": 5,
        "outer_iterations": 15_000,
        "outer_lr": 1e8 / 64**2,
    }
