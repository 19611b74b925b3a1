"""DC: distilled images whose gradients are those of real images, in networks at their start.

Zhao, Mopuri, Bilen: "Dataset Condensation with Gradient Matching", ICLR 2021, arXiv 2006.05929.

dc = separate images (``forms/whole_images.py``) x gradient matching (``objectives/dc.py``). Parts of the authors' loops have other
names: an outer step is one update of the images, so that their 1,000 iterations are ``outer_iterations`` = 1,000 times
``network_updates`` (their ``outer_loop``); ``network_steps`` counts steps where their ``inner_loop`` counts epochs. What differs from
the authors' code, and why:

1. The network is trained on a random batch of distilled images per step, where theirs goes through a shuffled set. Below 257
   distilled images both are the whole set.
2. Images of a class are drawn from the training split, of which ``split=dev`` sets a tenth aside.
3. Where they train students 20 times and average, here the protocol says how many students there are.
4. Students on MNIST are augmented by the suite's operations; DC's own for MNIST also draws one operation per image.

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


@METHODS.register("dc")
class DC(Product):
    """Separate images, learned by matching gradients."""

    name: ClassVar[str] = "dc"
    reference: ClassVar[str] = "Zhao, Mopuri, Bilen: Dataset Condensation with Gradient Matching, ICLR 2021, arXiv 2006.05929"
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_objective: ClassVar[str] = "dc"
    own_defaults: ClassVar[Mapping[str, Any]] = {**DC_EVALUATION, "init": "normal", "augmentation": "none"}
