"""RaT-BPTT: distilled images by back-propagation through a random window of training.

Feng, Vedantam, Kempe: "Embarrassingly Simple Dataset Distillation", ICLR 2024, arXiv 2311.07025.

rat_bptt = separate images (``forms/whole_images.py``) x truncated BPTT (``objectives/bptt.py``). What differs from the
authors' code, and why:

1. Outer steps are counted (``outer_iterations``), not epochs over the real data, so that a change of the real batch
   does not change the length of a run.
2. The window's start is drawn every outer step (their ``--complete_random``); their default draws it once per epoch.
3. One Adam for the steps before and inside the window; they use torch's before and ``higher``'s inside, whose ε differ
   (``epsilon=higher`` gives theirs for the whole loop).
4. The threshold of the gradient clip comes from the running norm before the step and outliers cannot inflate it
   (``clip=official`` gives theirs).
5. Their best result is picked by test accuracy over checkpoints and training lengths. Here the last iterate is
   returned and a student trains ``student_steps``, fixed beforehand.
6. Minibatches of ``student_batch`` images are drawn from all images; they draw classes first.

Below one image per class every class keeps a smaller image (``form=lowres``) or fewer full images with labels learned
over all classes (``form=subset``); the paper has no such case.

Stored: n·c·h·w image numbers; n·C label numbers where labels are learned, none where they are fixed.
"""

from __future__ import annotations

from typing import ClassVar

from bench import METHODS

from ._product import Product


@METHODS.register("rat_bptt")
class RatBPTT(Product):
    """Separate images, learned by truncated back-propagation through training."""

    name: ClassVar[str] = "rat_bptt"
    reference: ClassVar[str] = "Feng, Vedantam, Kempe: Embarrassingly Simple Dataset Distillation, ICLR 2024, arXiv 2311.07025"
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_objective: ClassVar[str] = "bptt"
