"""Scores: hits are counted over whole splits, and every number of the table is that of its own list."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench import Dataset, Spec, Split
from bench.judge.scores import accuracies, tabulate
from bench.nn.networks import Parameters, build_network
from bench.nn.spaces import Standard

SPEC = Spec("constant", 3, (1, 8, 8), ("a", "b", "c"))
CPU = torch.device("cpu")

#: Val, test and single students all have another favourite.
TEST = {5: [0.5, 0.5], 10: [0.6, 0.8], 15: [0.9, 0.4], 20: [0.4, 0.4]}
VAL = {5: [0.7, 0.9], 10: [0.1, 0.3], 15: [0.9, 0.2], 20: [0.2, 1.0]}


def table(
    test: dict[int, list[float]] = TEST, val: dict[int, list[float]] = VAL, n_val: int = 1000, least: int = 1000
) -> dict[str, object]:
    return tabulate(test, val, n_test=300, n_val=n_val, val_selection_min=least)


def test_every_number_comes_from_its_own_list() -> None:
    assert table() == {
        "n_test": 300,
        "n_val": 1000,
        "final": {"step": 20, "test": [0.4, 0.4], "val": [0.2, 1.0]},
        "checkpoints": [{"step": step, "test": TEST[step], "val": VAL[step]} for step in (5, 10, 15, 20)],
        "val_selected": {"step": 5, "test": [0.5, 0.5], "val": [0.7, 0.9]},
        "test_best": {"step": 10, "test": [0.6, 0.8]},
    }


def test_checkpoints_are_in_the_order_of_steps_however_they_come() -> None:
    backwards = dict(reversed(TEST.items()))
    assert table(backwards) == table()


def test_the_earliest_of_equal_checkpoints_is_selected() -> None:
    equal = {5: [0.1, 0.2], 10: [0.75, 0.25], 15: [0.25, 0.75], 20: [0.5, 0.5]}
    assert table(test=equal)["test_best"] == {"step": 10, "test": [0.75, 0.25]}
    selected = table(val=equal)["val_selected"]
    assert isinstance(selected, dict)
    assert selected["step"] == 10


@pytest.mark.parametrize(("n_val", "least", "selected"), [(999, 1000, False), (1000, 1000, True), (1, 0, True), (0, 0, False)])
def test_selection_needs_as_many_val_images_as_the_protocol_says_and_one_at_least(n_val: int, least: int, selected: bool) -> None:
    val = VAL if n_val else {step: [] for step in VAL}
    assert (table(val=val, n_val=n_val, least=least)["val_selected"] is not None) is selected


def always(label: int) -> Parameters:
    """Return the parameters of a student that says the same class whatever it sees."""
    network = build_network("convnet-d1-w4", SPEC)
    silent = {name: torch.zeros(parameter.shape) for name, parameter in network.named_parameters()}
    return {**silent, "head.bias": torch.eye(3)[label]}


def split_of(labels: Tensor) -> Split:
    return Split(torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).repeat(len(labels), 1, 1, 1), labels)


def test_hits_are_counted_over_all_images_for_every_student_and_checkpoint() -> None:
    split = split_of(torch.tensor([0] * 1300 + [1] * 500 + [2] * 700))  # more than two chunks
    kept = {3: [always(0), always(1)], 7: [always(2), always(0)]}
    found = accuracies(build_network("convnet-d1-w4", SPEC), kept, split, Standard.fit(split), CPU)
    assert found == {3: [0.52, 0.2], 7: [0.28, 0.52]}


def test_without_images_there_are_no_scores(bars: Dataset) -> None:
    network, space = build_network("convnet-d1-w4", SPEC), Standard.fit(bars.train)
    for split in (None, split_of(torch.zeros(0, dtype=torch.int64))):
        assert accuracies(network, {3: [always(0)], 7: [always(1)]}, split, space, CPU) == {3: [], 7: []}
