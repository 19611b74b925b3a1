"""The full-data line."""

from __future__ import annotations

from dataclasses import replace

from bench import Dataset
from bench.judge import Protocol, get_protocol, judge_full_data
from bench.keys import canonical_json
from bench.record import mean


def test_scores_and_cost(bars: Dataset, native: Protocol) -> None:
    judged = judge_full_data(bars, native, seed=0, cache=None)
    assert judged.training["student_steps"] == 2 * 40 // 16
    assert judged.training["presented_examples"] == 80
    assert len(judged.scores["final"]["test"]) == 2
    assert judged.scores["final"] == judged.scores["checkpoints"][-1]
    assert (judged.audit["images"], judged.audit["pixels"], judged.audit["effective_ipc"]) == (40, 40 * 64, 20.0)
    assert (judged.audit["charged_labels"], judged.audit["px_with_labels"]) == (0, 40 * 64 + 40)
    assert canonical_json(judged.scores)
    assert judge_full_data(bars, native, seed=0, cache=None).scores == judged.scores


def test_small_data_is_shown_often_enough() -> None:
    recipe = get_protocol("native-v1").full_data
    assert recipe.steps(800) == recipe.least_examples // recipe.batch_size
    assert recipe.steps(50_000) == -(-50_000 * recipe.epochs // recipe.batch_size)
    assert recipe.steps(10) == recipe.least_examples // 10


def test_a_network_that_is_not_grouped_gets_one_student(bars: Dataset, native: Protocol) -> None:
    told: list[tuple[int, int]] = []
    wide = replace(native, network="convnet-d1-w65")
    judged = judge_full_data(bars, wide, 0, None, on_progress=lambda done, total: told.append((done, total)))
    assert len(judged.scores["final"]["test"]) == 1
    assert told[-1] == (5, 5)


def test_full_data_learns(digits: Dataset) -> None:
    judged = judge_full_data(digits, get_protocol("native-v1", 2), 0, None)
    assert mean(judged.scores["final"]["val"]) > 0.85
