"""Labels that are stored as a row of C numbers for every image: what kinds there are, and how their numbers stay legal."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Spec
from ..parameterization import LabelKind, Parameterization

#: How a config calls such labels, and what they are.
ROWS: dict[str, LabelKind] = {"soft": "weights", "probabilities": "probabilities", "centred": "centred"}


class LabelRows(Parameterization):
    """What decoders share whose labels may be stored as rows: ``soft``, ``probabilities`` or ``centred`` ones.

    Attributes:
        spec: names and shapes of the data set.
        label_form: how labels are stored; a key of ``ROWS`` for rows.

    Tensors:
        labels: (n, C) float32, role label.
    """

    spec: Spec
    label_form: str

    def make_rows(self, count: int) -> None:
        """Make room for the rows of so many images; an optimizer may move all but probabilities."""
        self.labels = nn.Parameter(torch.zeros(count, self.spec.classes), requires_grad=self.label_form != "probabilities")
        self.label_kind = ROWS[self.label_form]

    @torch.no_grad()
    def write_rows(self, classes: Tensor) -> None:
        """Give images the one-hot rows of their (n,) classes; centred ones lose their mean."""
        rows = F.one_hot(classes, self.spec.classes).float()
        self.get_parameter("labels").copy_(rows - 1 / self.spec.classes if self.label_form == "centred" else rows)

    @torch.no_grad()
    def project(self) -> None:
        """Keep learned targets non-negative, and let rows of centred ones lose their means."""
        if self.label_form == "centred":
            labels = self.get_parameter("labels")
            labels.sub_(labels.mean(1, keepdim=True))
        else:
            super().project()
