"""``labels=teacher``: soft labels of the feature network, for every form that can store a row of labels for each image."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass

import torch
from torch import Tensor

from bench import Form, FormPlan, Need, Parameterization, Refusal, Space, Task
from bench.selection import feature_seed, features_need

from ..prerequisites.features import read_teacher

#: The value of a form's field ``labels``.
TEACHER = "teacher"
_AT_ONCE = 512  # images that are decoded together


@dataclass(frozen=True, kw_only=True)
class TaughtForm(Form, ABC):
    """A form with a field ``labels`` that may ask for a teacher's.

    The teacher is the network through whose features the coresets look, the same one for the same distillation seed. It labels
    what the filled form decodes to (smaller images as they are after upsampling, a poster patch by patch) as plain pixels in
    its own space, whatever space the stored numbers are in. Its probabilities are stored, and no objective moves them. An objective
    that teaches (``Objective.teaches``) labels the images in its place.

    Attributes:
        labels: ``teacher``, or what else a form has.
    """

    labels: str = "fixed"

    @property
    def taught(self) -> bool:
        """Whether labels are a teacher's."""
        return self.labels == TEACHER

    def untaught(self) -> Refusal | None:
        """Return a refusal where a teacher is to label what shows nothing."""
        if self.taught and self.selection() is None:
            return Refusal(f"labels={TEACHER} labels real images, and init={self.init} starts from none; choose init=real or other labels")
        return None

    def teacher_needs(self, seed: int) -> tuple[Need, ...]:
        """Return the teacher."""
        return (self._teacher(seed),) if self.taught else ()

    def label(self, stored: Parameterization, task: Task, plan: FormPlan, space: Space | None) -> None:
        """Have the initial values labelled."""
        if self.taught:
            # A whitening cannot be undone: it loses the contrast. So the same images are laid out once more as plain pixels.
            plain = stored if space is None else self.build(task, plan, None)
            stored.write_labels(self._labels_of(plain, task))

    def _teacher(self, seed: int) -> Need:
        return features_need(feature_seed(seed, self.feature_seeds))

    @torch.no_grad()
    def _labels_of(self, plain: Parameterization, task: Task) -> Tensor:
        """Return the (n, C) labels of all images of a set in plain pixels."""
        teacher = read_teacher(task.find(self._teacher(task.seed)))
        space = task.space(teacher.space)
        parts = torch.arange(len(plain)).split(_AT_ONCE)
        return torch.cat([teacher.probabilities(space.transform(plain.decode(index).images), task.spec) for index in parts])
