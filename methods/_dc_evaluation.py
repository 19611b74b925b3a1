"""How students are trained in DC's evaluation, which DSA, DM and IDC take over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: SGD, a tenth of the rate after half the steps.
DC_EVALUATION: Mapping[str, Any] = {
    "space": "standard",
    "student_optimizer": "sgd",
    "student_lr": 0.01,
    "student_momentum": 0.9,
    "student_weight_decay": 5e-4,
    "student_schedule": "step",
    "student_steps": 300,
    "student_batch": 256,
}
