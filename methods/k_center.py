"""k-center: real images that leave no other far from all of them, a coreset.

Of every class, the first image is the one nearest to the mean feature, and every further one the farthest from those chosen
(the greedy 2-approximation; the paper starts from given labelled images and refines the greedy choice).

k_center = a form (``forms/``) filled by the selection ``k_center`` (``selections/k_center.py``), without an objective. It looks at features
of the training images from a small network that is trained on them (``prerequisites/features.py``), another one for every
distillation seed, so that a deterministic choice has a spread. At one image per class it
is herding. Below one image per
class, images are chosen at full size and then made smaller.

Stored: the pixels; class ids for ``form=subset`` (one number an image), no labels otherwise; a row of
probabilities for each image (each patch of a mosaic) with ``labels=teacher``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench import METHODS

from ._product import Product


@METHODS.register("k_center")
class KCenter(Product):
    """The image nearest to the mean of every class, then always the one farthest from those chosen."""

    name: ClassVar[str] = "k_center"
    reference: ClassVar[str] = "Sener & Savarese, ICLR 2018, arXiv 1708.00489"
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_defaults: ClassVar[Mapping[str, Any]] = {"init": "k_center", "feature_seeds": 5, "augmentation": "all", "student_steps": 300}
