"""From predictions to the numbers of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Split
from ..nn.networks import Parameters
from ..nn.training import predict
from ..record import mean
from ..space import Space

_CHUNK = 1000

#: Number of steps -> one accuracy per student.
Accuracies = dict[int, list[float]]


@torch.no_grad()
def accuracies(
    network: nn.Module, kept: Mapping[int, Sequence[Parameters]], split: Split | None, space: Space, device: torch.device
) -> Accuracies:
    """Score the students of every checkpoint on real images, which are brought into ``space`` a thousand at a time.

    Args:
        network: architecture.
        kept: number of steps -> parameters of every student.
        split: images and classes; without a split every list is empty.
        space: the space the students were trained in.
        device: where to compute.
    """
    if split is None or len(split) == 0:
        return {step: [] for step in kept}
    correct: dict[int, Tensor] = {step: torch.zeros(len(students), dtype=torch.int64) for step, students in kept.items()}
    for index in torch.arange(len(split)).split(_CHUNK):
        images = space.transform(split.unit_images(index).to(device))
        for step, students in kept.items():
            correct[step] += (predict(network, students, images).cpu() == split.labels[index]).sum(1)
    return {step: [int(n) / len(split) for n in counts] for step, counts in correct.items()}


def tabulate(test: Accuracies, val: Accuracies, n_test: int, n_val: int, val_selection_min: int) -> dict[str, Any]:
    """Arrange accuracies of all checkpoints as the record has them; docs/results.md explains the names."""
    rows: list[dict[str, Any]] = [{"step": step, "test": test[step], "val": val[step]} for step in sorted(test)]
    best = max(rows, key=lambda row: mean(row["test"]))
    return {
        "n_test": n_test,
        "n_val": n_val,
        "final": dict(rows[-1]),
        "checkpoints": rows,
        # A protocol's minimum of 0 must not select on an empty val.
        "val_selected": dict(max(rows, key=lambda row: mean(row["val"]))) if n_val >= max(1, val_selection_min) else None,
        "test_best": {"step": best["step"], "test": best["test"]},
    }
