"""DM: distilled images whose mean features are those of real images, in networks that are never trained.

Zhao, Bilen: "Dataset Condensation with Distribution Matching", WACV 2023, arXiv 2110.04181.

dm = separate images (``forms/whole_images.py``) x distribution matching (``objectives/dm.py``). What differs from the authors'
code, and why:

1. Real images are drawn from the training split, of which ``split=dev`` sets a tenth aside.
2. Operations of the siamese augmentation are drawn from the cell's own streams, and are those that keep the class (``dsa.py``).
3. Where they train students 5 times for each of several sets and average, here the protocol says how many students there are.

Below one image per class every class keeps a smaller image (``form=lowres``); the paper has no such case. Fewer full images
(``form=subset``) are refused there: a class without an image has nothing that could be compared with its real ones.

Stored: n·c·h·w image numbers; n·C label numbers where labels are learned, none where they are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench import METHODS

from ._dc_evaluation import DC_EVALUATION
from ._product import Product


@METHODS.register("dm")
class DM(Product):
    """Separate images, learned by matching mean features."""

    name: ClassVar[str] = "dm"
    reference: ClassVar[str] = "Zhao, Bilen: Dataset Condensation with Distribution Matching, WACV 2023, arXiv 2110.04181"
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_objective: ClassVar[str] = "dm"
    own_defaults: ClassVar[Mapping[str, Any]] = {**DC_EVALUATION, "init": "real", "augmentation": "all", "student_steps": 1000}
