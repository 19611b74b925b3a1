"""Herding: real images whose mean follows the mean of their class, a coreset.

Of every class, the t-th image is the one that brings the mean feature of the first t nearest to that of all. The first is thus
the most typical one.

herding = a form (``forms/``) filled by the selection ``herding`` (``selections/herding.py``), without an objective. It looks at features
of the training images from a small network that is trained on them (``prerequisites/features.py``), another one for every
distillation seed, so that a deterministic choice has a spread. The dataset
distillation papers take features of a network trained to convergence; ours is trained for a few hundred steps. Below one image per
class, images are chosen at full size and then made smaller.

Stored: the pixels; class ids for ``form=subset`` (one number an image), no labels otherwise; a row of
probabilities for each image (each patch of a mosaic) with ``labels=teacher``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench import METHODS

from ._product import Product


@METHODS.register("herding")
class Herding(Product):
    """The images of every class whose mean feature stays nearest to that of the class."""

    name: ClassVar[str] = "herding"
    reference: ClassVar[str] = (
        "Welling, ICML 2009, doi 10.1145/1553374.1553517; per class as in iCaRL, Rebuffi et al., CVPR 2017, arXiv 1611.07725"
    )
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_defaults: ClassVar[Mapping[str, Any]] = {"init": "herding", "feature_seeds": 5, "augmentation": "all", "student_steps": 300}
