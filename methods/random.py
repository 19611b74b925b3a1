"""Random real images: the reference that every distilled set has to beat at equal pixels.

No paper; every comparison of the field has it, usually for one image per class and full images only. Here it comes in
forms that spend a budget differently, so that no method looks good merely because its storage is clever:

* ``full``: random images, the same number of every class (from 1 image per class on);
* ``lowres``: one smaller image of every class, upsampled when used;
* ``tiles``: several still smaller ones of every class (the storage of IDC, Kim et al. 2022);
* ``subset``: as many full images as fit, of randomly chosen classes, one-hot labels;
* ``mosaic``: one poster of shrunk images, one per class, cut into PoDD's overlapping patches.

random = a form (``forms/``) filled by the selection ``random`` (``selections/random.py``), without an objective. Images
are stored as plain RGB and seen by the student through the pixel space, as real images are. ``labels=teacher`` gives them the soft
labels of the network through whose features the coresets look, since soft labels lift random images as well.

Stored: the pixels; class ids for ``subset`` (one number an image), no labels otherwise; a row of
probabilities for each image (each patch of a mosaic) with ``labels=teacher``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench import METHODS

from ._product import Product


@METHODS.register("random")
class Random(Product):
    """Random training images in one of several forms."""

    name: ClassVar[str] = "random"
    reference: ClassVar[str] = "none (uniform choice of real images; tiles: Kim et al., IDC, ICML 2022, arXiv 2205.14959)"
    reference_forms: ClassVar[tuple[Mapping[str, Any], ...]] = tuple({"form": form} for form in ("lowres", "tiles", "subset", "mosaic"))
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_defaults: ClassVar[Mapping[str, Any]] = {"init": "real", "augmentation": "all", "student_steps": 300}
