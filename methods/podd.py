"""PoDD: a whole data set on one poster, below one image per class.

Shul, Horwitz, Hoshen: "Distilling Datasets Into Less Than One Image", 2024, arXiv 2403.12040.

podd = poster (``forms/poster.py``, with PoCO in ``forms/_class_order.py``) x truncated BPTT (``objectives/bptt.py``).
What differs from the authors' code, and why:

1. Everything listed in ``rat_bptt.py``: outer steps are counted, the start is drawn every step, one Adam, corrected clip.
2. The patch grid is clamped to distinct positions; the official one counts coinciding patches several times. It grows
   with the poster, so that every pixel lies in a patch; the official one stays, and loses pixels above one image per class.
3. The poster's size follows one rule, the largest poster of the class grid's aspect within the budget; the recipes fix
   the published sizes. The class grid is re-factored until class areas lie at different positions.
4. Class areas are drawn as unit-norm Gaussians, which is what their class-mean construction amounts to.
   Above one image per class areas grow and hold several; the paper has no such case.
5. All rows of class areas are blended; theirs drops rows where the class grid is taller than wide.
6. Learned labels start with a cell for every class; their floor rule leaves up to 20 classes without. Normalising has
   a floor, so that clipped cells give a uniform label instead of NaN.
7. CLIP similarities use the pooled embedding of a prompt, not 77 mostly padded hidden states. Where no CLIP weights can
   be had, ``order=auto`` uses features of a small network trained on the training split, and the record says so.
8. Their evaluation picks the best poster and training length by accuracy on the training set; here both are fixed.

Stored: c·H·W image numbers; C·h_l·w_l label numbers for learned labels, none otherwise; the class order, a permutation.
"""

from __future__ import annotations

from typing import ClassVar

from bench import METHODS

from ._product import Product


@METHODS.register("podd")
class PoDD(Product):
    """A poster of overlapping patches, learned by truncated back-propagation through training."""

    name: ClassVar[str] = "podd"
    reference: ClassVar[str] = "Shul, Horwitz, Hoshen: Distilling Datasets Into Less Than One Image, 2024, arXiv 2403.12040"
    own_forms: ClassVar[tuple[str, ...]] = ("poster",)
    own_objective: ClassVar[str] = "bptt"
