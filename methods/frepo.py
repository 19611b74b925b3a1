"""FRePo: distilled images and labels from which kernel regression on neural features predicts real ones.

Zhou, Nezhadarya, Ba: "Dataset Distillation using Neural Feature Regression", NeurIPS 2022, arXiv 2206.00719.

frepo = separate images with learned centred labels (``forms/whole_images.py``) x feature regression (``objectives/frepo.py``). Where
they are left open, the network is theirs (``widenet``, twice as wide after every pooling; of fewer and narrower layers below 16
pixels, of one more from 64 on), the space ``zca_frepo`` on colour images, and students are augmented by their operations. What differs
from the authors' code, and why:

1. Adam moves images and labels, where theirs is LAMB, whose step is the rate times the root mean square of a tensor. That is about 1 for
   images in these spaces, so their rate of 3e-4 stays; for labels it is times that of the initial labels, 9e-5 at ten classes. The rate
   falls by a cosine to a hundredth of it, theirs to a tenth.
2. The networks of the pool have no norms, like those that judge. Theirs have batch norms, with running averages, while distilling, and
   none at the judge's; networks here carry no running averages.
3. The regression is solved in double precision, theirs in single.
4. Rows of learned labels are kept at a sum of zero after every step, which is what a centred label is; theirs may drift.
5. A batch of real images is drawn without replacement at every step; theirs comes from a shuffled data set.
6. The last iterate is returned, where they keep the best on test. Students are trained at one length fixed beforehand, as theirs.

Below one image per class every class keeps a smaller image (``form=lowres``) or fewer full images (``form=subset``); the paper has no such
case. Labels of any other kind work, too: those of a poster, hard ones, or a teacher's.

Stored: n·c·h·w image numbers and n·C label numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from bench import METHODS, PlanContext, Refusal, Resolution, Spec, Student

from ._product import Product


@METHODS.register("frepo")
class FRePo(Product):
    """Separate images with centred labels, learned by regression on features."""

    name: ClassVar[str] = "frepo"
    reference: ClassVar[str] = "Zhou, Nezhadarya, Ba: Dataset Distillation using Neural Feature Regression, NeurIPS 2022, arXiv 2206.00719"
    own_forms: ClassVar[tuple[str, ...]] = ("full", "lowres")
    own_objective: ClassVar[str] = "frepo"
    own_defaults: ClassVar[Mapping[str, Any]] = {
        "init": "real",
        "student_lr": 3e-4,
        "student_schedule": "warmup_cosine",
        "student_steps": 1000,
        "student_batch": 500,
    }

    def plan(self, context: PlanContext) -> Resolution | Refusal:
        """Settle what was left open as the authors have it, and the rest as every product."""
        return Product.plan(replace(self, student=_authors_student(self.student, context.spec)), context)


def _authors_student(student: Student, spec: Spec) -> Student:
    """Return a student whose open choices are the authors'."""
    side = min(spec.height, spec.width)
    network = "widenet-d2-w32" if side < 16 else "widenet-d3-w128" if side < 64 else "widenet-d4-w128"
    operations = "flip_tint_zoom_rotate_translate_hole" if spec.mirror else "tint_zoom_rotate_translate_hole"
    return replace(
        student,
        network=student.network or network,
        space="zca_frepo" if student.space == "auto" and spec.channels == 3 else student.space,
        augmentation=operations if student.augmentation == "auto" else student.augmentation,
    )
