"""k-means: real images nearest to the centres of clusters, a coreset.

Of every class, features are clustered into as many clusters as images are wanted (scikit-learn's KMeans, best of ten starts),
and the image nearest to each centre is kept.

k_means = a form (``forms/``) filled by the selection ``k_means`` (``selections/k_means.py``), without an objective. It looks at features
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


@METHODS.register("k_means")
class KMeans(Product):
    """The images of every class nearest to the centres of as many clusters as there are images."""

    name: ClassVar[str] = "k_means"
    reference: ClassVar[str] = "DC-BENCH's kmeans-emb, Cui et al., NeurIPS 2022, arXiv 2207.09639"
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_defaults: ClassVar[Mapping[str, Any]] = {"init": "k_means", "feature_seeds": 5, "augmentation": "all", "student_steps": 300}
