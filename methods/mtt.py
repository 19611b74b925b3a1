"""MTT: distilled images that train a student along the trajectories of experts.

Cazenavette, Wang, Torralba, Efros, Zhu: "Dataset Distillation by Matching Training Trajectories", CVPR 2022, arXiv 2203.11932.

mtt = separate images (``forms/whole_images.py``) x trajectory matching (``objectives/mtt.py``) with experts
(``prerequisites/experts.py``). What differs from the authors' code, and why:

1. Experts are trained as long as the recipe needs them, where theirs are trained for 50 epochs; ``trained_epochs=50`` gives theirs.
   How many there are is ``experts``, theirs is 100.
2. The learned rate is kept above a hundredth of where it starts; theirs can become negative.
3. A step in which the student diverges is not taken, and the set goes back to where the last good step began. Theirs stops the run.
4. Operations of the augmentation are drawn from the cell's own streams, and are those that keep the class (``dsa.py``).
5. All inner batches of ``syn_batch`` images have that many: what is left of a permutation is dropped where theirs is a smaller batch.
6. The set of the last outer step is returned, where theirs is the one with the best test accuracy of all that were evaluated.

Below one image per class every class keeps a smaller image (``form=lowres``); the paper has no such case.

Stored: n·c·h·w image numbers; n·C label numbers where labels are learned or a teacher's, none where they are fixed; the learned rate,
which is one of the recipe's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench import METHODS

from ._product import Product


@METHODS.register("mtt")
class MTT(Product):
    """Separate images, learned by matching training trajectories."""

    name: ClassVar[str] = "mtt"
    reference: ClassVar[str] = "Cazenavette et al.: Dataset Distillation by Matching Training Trajectories, CVPR 2022, arXiv 2203.11932"
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_objective: ClassVar[str] = "mtt"
    own_defaults: ClassVar[Mapping[str, Any]] = {"init": "real", "space": "standard"}
