"""RaT-BPTT: distilled images by back-propagation through a random window of training.

Feng, Vedantam, Kempe: "Embarrassingly Simple Dataset Distillation", ICLR 2024, arXiv 2311.07025.

What differs from the authors' code, and why:

1. Outer steps are counted (``outer_iterations``), not epochs over the real data, so that a change of the real batch
   does not change the length of a run.
2. The window's start is drawn every outer step (their ``--complete_random``); their default draws it once per epoch.
3. One Adam for the steps before and inside the window; they use torch's before and ``higher``'s inside, whose ε differ
   (``epsilon=higher`` gives theirs for the whole loop).
4. The threshold of the gradient clip comes from the running norm before the step and outliers cannot inflate it
   (``clip=official`` gives theirs).
5. Their best result is picked by test accuracy over checkpoints and training lengths. Here the last iterate is
   returned and a student trains ``student_steps``, fixed beforehand.
6. Minibatches of ``inner_batch`` images are drawn from all images; they draw classes first.

Below one image per class every class keeps a smaller image (``images=lowres``) or fewer full images with labels
learned over all classes (``images=subset``); the paper has no such case.

Stored: n·c·h·w image numbers; n·C label numbers where labels are learned, none where they are fixed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from bench import METHODS, Budget, DistilledSet, PlanContext, Resolution, Spec, Task
from bench.decoders.images import Images

from .forms.whole_images import ImageForm, no_room, plan_images
from .objectives.bptt import TruncatedBPTT, TruncatedBPTTLoop


@METHODS.register("rat_bptt")
@dataclass(frozen=True, kw_only=True)
class RatBPTT(TruncatedBPTT):
    """RaT-BPTT on separate images.

    Attributes:
        images: how whole images fit the budget, see ``plan_images``.
        labels: ``fixed`` one-hot, or ``learned`` (one-hot at first, kept non-negative, used unnormalised). Images that
            cover only some classes (``subset``) always learn theirs.
        init: ``noise`` (unit-norm Gaussian, as the authors) or ``real`` (random training images).
    """

    name: ClassVar[str] = "rat_bptt"
    version: ClassVar[int] = 1
    reference: ClassVar[str] = "Feng, Vedantam, Kempe: Embarrassingly Simple Dataset Distillation, ICLR 2024, arXiv 2311.07025"

    images: ImageForm = "auto"
    labels: Literal["fixed", "learned"] = "fixed"
    init: Literal["noise", "real"] = "noise"

    def refuses(self, spec: Spec, budget: Budget) -> str | None:
        """Refuse windows that contradict each other and budgets without a single image."""
        if sentence := self.inconsistency():
            return sentence
        return None if plan_images(self.images, spec, budget) else no_room(self.images, spec, budget)

    def resolve(self, context: PlanContext) -> Resolution:
        """Settle ``auto`` choices and mark the adaptation below one image per class."""
        plan = plan_images(self.images, context.spec, context.budget)
        assert plan is not None  # refuses() was asked first
        labels = "learned" if plan.form == "subset" else self.labels
        return Resolution(replace(self.settle(context.spec), images=plan.form, labels=labels), adapted=plan.adapted)

    def estimate_flops(self, spec: Spec, budget: Budget) -> float:
        """Estimate the floating-point operations of the full recipe."""
        return self.loop_flops(spec, self._images_per_step(spec, budget))

    def presented_examples(self, spec: Spec, budget: Budget) -> int:
        """Return how many images a student of the finished set is shown."""
        return self.student_steps * self._images_per_step(spec, budget)

    def _images_per_step(self, spec: Spec, budget: Budget) -> int:
        plan = plan_images(self.images, spec, budget)
        count = plan.count if plan else 0
        return min(self.inner_batch or count, count)

    def distill(self, task: Task) -> DistilledSet:
        """Initialise the images, optimise them, and hand over the last iterate (or the average of the last ones)."""
        method = self.settle(task.spec)
        plan = plan_images(method.images, task.spec, task.budget)
        assert plan is not None
        learned = method.labels == "learned" or plan.form == "subset"
        images = Images(task.spec, plan.count, plan.size, "soft" if learned else "order")
        method._initialise(images, task)
        loop = TruncatedBPTTLoop(method, task, images)
        loop.run()
        return DistilledSet(task.spec, images, method.student_recipe(len(images)), space=method.space, network=method.network)

    def _initialise(self, images: Images, task: Task) -> None:
        """Fill in class-sorted noise or real images; a subset starts with the labels of evenly spread classes."""
        generator, classes = task.generator("initial images"), task.spec.classes
        if len(images) >= classes:
            labels = torch.arange(classes).repeat_interleave(len(images) // classes)
        else:
            labels = torch.arange(len(images)) * classes // len(images)
        if self.init == "real":
            pick = [task.train.of_class(int(c))[torch.randint(len(task.train.of_class(int(c))), (1,), generator=generator)] for c in labels]
            images.write(task.space(self.space).transform(task.train.unit_images(torch.cat(pick))), labels)
            return
        noise = torch.randn(images.images.shape, generator=generator)
        with torch.no_grad():
            images.write(torch.zeros(len(images), *task.spec.shape), labels)  # for its labels
            images.images.copy_(noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
