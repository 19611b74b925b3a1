"""DSA: gradient matching in which real and distilled images go through the same random augmentation.

Zhao, Bilen: "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021, arXiv 2102.08259.

dsa = separate images (``forms/whole_images.py``) x gradient matching (``objectives/dc.py``) with ``siamese=all``: for every class and
outer step one operation is drawn, with one set of parameters for all real and distilled images of that class. Distilled images
start from real ones, and students are augmented as well. What differs from the authors' code, and why:

1. Everything listed in ``dc.py``.
2. The operation is drawn from the cell's own streams; theirs seeds PyTorch's global generator from the clock.
3. Operations are those that keep the class: no flip of digits, and no change of colour on grey images, where theirs changes
   brightness and contrast.

Stored: n·c·h·w image numbers; n·C label numbers where labels are learned, none where they are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench import METHODS

from ._dc_evaluation import DC_EVALUATION
from ._product import Product


@METHODS.register("dsa")
class DSA(Product):
    """Separate images, learned by matching gradients of augmented images."""

    name: ClassVar[str] = "dsa"
    reference: ClassVar[str] = "Zhao, Bilen: Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021, arXiv 2102.08259"
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_objective: ClassVar[str] = "dc"
    own_defaults: ClassVar[Mapping[str, Any]] = {
        **DC_EVALUATION,
        "init": "real",
        "siamese": "all",
        "network_augmentation": "all",
        "augmentation": "all",
        "student_steps": 1000,
    }
