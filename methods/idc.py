"""IDC: several smaller images in the place of one, whose gradients match in networks that are trained on real images.

Kim et al.: "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML 2022, arXiv 2205.14959.

idc = tiles (``forms/tiles.py``) x gradient matching (``objectives/dc.py``) with networks that are trained on real images between the
outer steps, the squared distance of the gradients of convolutions, and a siamese augmentation by color, crop and cutout.
``dc[form=tiles]`` is not IDC: it has DC's distance and untrained networks. What differs from the authors' code, and why:

1. Tiles are separate images of one size, the largest that fits, where theirs are the quarters of one stored image.
2. Pixels are stored in the coordinates of the space, as in all methods here, and never clipped; they clip to [0, 1] once per network.
   The recipes' rates of the images are theirs over the variance of a channel.
3. All classes move in one step of the optimizer; theirs takes a step for each class, in which momentum moves the others on.
4. Students are trained without CutMix, which no recipe of a set can ask for, but (not on MNIST) with cutout, which theirs leave out for
   it. Their rate falls once, to a tenth at half the steps, where theirs falls to a fifth after two thirds and after five sixths.
5. Their 2,000 iterations of 100 updates are ``outer_iterations`` = 200,000 with a fresh network after ``network_updates`` = 100. The
   2,000 real images that a network sees between two of them (500 on grey images) are ``network_steps`` batches of 64. CutMix comes
   before the other augmentation of such a batch, where theirs comes after.

Stored: n·c·h'·w' image numbers; no labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench import METHODS, Between
from bench.search import Search

from ._dc_evaluation import DC_EVALUATION
from ._product import Product


@METHODS.register("idc")
class IDC(Product):
    """Tiles, learned by matching gradients in networks that are trained on real images."""

    name: ClassVar[str] = "idc"
    reference: ClassVar[str] = "Kim et al.: Dataset Condensation via Efficient Synthetic-Data Parameterization, ICML 2022, arXiv 2205.14959"
    search: ClassVar[Mapping[str, Search | None]] = {"outer_lr": Between(1e-3, 1.0)}  # its distance is no cosine
    own_forms: ClassVar[tuple[str, ...]] = ("tiles",)
    own_objective: ClassVar[str] = "dc"
    own_defaults: ClassVar[Mapping[str, Any]] = {
        **DC_EVALUATION,
        "init": "real",
        "tiles": 4,
        "class_batch": 64,
        "distilled_batch": 128,
        "siamese": "color_crop_cutout",
        "distance": "squared",
        "layers": "convolutions",
        "network_data": "real",
        "network_updates": 100,
        "network_steps": 31,
        "network_batch": 64,
        "network_momentum": 0.9,
        "network_weight_decay": 5e-4,
        "network_cutmix": 0.5,
        "network_augmentation": "color_crop",
        "outer_iterations": 200_000,
        "augmentation": "all",
        "student_steps": 1000,
        "student_batch": 64,
    }
