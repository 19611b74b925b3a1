"""What becomes of the sets that a method offers on its way, with sets that are mere numbers."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest

from bench.sweep.curve_steps import curve_steps
from bench.sweep.running.checkpoint import CheckpointFile
from bench.sweep.running.curve import OnTheWay


def watcher(folder: Path, **fields: Any) -> OnTheWay:
    return OnTheWay(CheckpointFile(folder / "checkpoint", "code"), **fields)


def walk(on_the_way: OnTheWay, steps: range, total: int = 100) -> None:
    """Offer after each step the number of the step for a set; the loss is its negative."""
    for step in steps:
        on_the_way.reported({"loss": -float(step)})
        on_the_way.offered(step, total, lambda step=step: step, "constant")  # type: ignore[arg-type, misc]


def points(on_the_way: OnTheWay) -> list[tuple[Any, ...]]:
    found = on_the_way.checkpoint.curve
    return [] if found is None else [(one["step"], *one["val"], one.get("loss")) for one in found["points"]]


@pytest.mark.parametrize(
    ("total", "steps"), [(1, (1,)), (2, (1, 2)), (10, (1, 2, 3, 4, 5, 7, 10)), (1000, (1, 3, 7, 19, 52, 139, 373, 1000))]
)
def test_points_lie_at_even_ratios_from_the_first_step_to_the_last(total: int, steps: tuple[int, ...]) -> None:
    assert curve_steps(total) == steps


def test_a_set_is_made_and_scored_at_the_steps_of_the_curve_alone(tmp_path: Path) -> None:
    on_the_way = watcher(tmp_path, score=lambda step: [step / 200, step / 100], chance=0.1)
    walk(on_the_way, range(1, 8))
    # A loss is the mean since the point before: 1, 2, (3 + 4) / 2, (5 + 6 + 7) / 3.
    assert curve_steps(100)[:4] == (1, 2, 4, 7)
    assert points(on_the_way) == [(1, 0.005, 0.01, -1), (2, 0.01, 0.02, -2), (4, 0.02, 0.04, -3.5), (7, 0.035, 0.07, -6)]
    found = on_the_way.checkpoint.curve
    assert found is not None
    assert (found["horizon"], found["schedule"], found["chance"]) == (100, "constant", 0.1)


def test_the_time_of_scoring_is_the_curve_s_and_not_the_distillation_s(tmp_path: Path) -> None:
    on_the_way = watcher(tmp_path, score=lambda step: time.sleep(0.2) or [0.5])
    walk(on_the_way, range(1, 3), total=2)
    found = on_the_way.checkpoint.curve
    assert found is not None
    assert found["seconds"] >= 0.4
    assert found["points"][1]["seconds"] < 0.2
    assert on_the_way.checkpoint.seconds() < 0.2


def test_steps_that_are_taken_again_after_an_interruption_add_no_second_point(tmp_path: Path) -> None:
    on_the_way = watcher(tmp_path, score=lambda step: [0.5])
    walk(on_the_way, range(1, 5))
    walk(on_the_way, range(2, 8))
    assert [one[0] for one in points(on_the_way)] == [1, 2, 4, 7]


def test_a_set_that_cannot_be_scored_is_no_point_and_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def score(step: Any) -> list[float]:
        if step == 2:
            raise ValueError("it decodes to numbers that are not finite")
        return [0.5]

    on_the_way = watcher(tmp_path, score=score)
    walk(on_the_way, range(1, 5))
    assert [one[0] for one in points(on_the_way)] == [1, 4]
    assert "no point of the curve at step 2: ValueError: it decodes to numbers that are not finite" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_or_not_told_is_left_out(tmp_path: Path) -> None:
    on_the_way = watcher(tmp_path, score=lambda step: [0.5])
    on_the_way.reported({"loss": math.nan})
    on_the_way.reported({"accuracy": 0.3})
    on_the_way.offered(1, 2, lambda: 1, "")  # type: ignore[arg-type, return-value]
    assert points(on_the_way) == [(1, 0.5, None)]


def test_without_anybody_who_looks_no_set_is_made(tmp_path: Path) -> None:
    def make() -> Any:
        raise AssertionError("the set was made for nothing")

    on_the_way = watcher(tmp_path)
    on_the_way.reported({"loss": 1.0})
    on_the_way.offered(1, 1, make, "")
    assert on_the_way.checkpoint.curve is None


def test_sets_are_kept_often_at_first_and_every_half_minute_later_and_never_at_the_end(tmp_path: Path) -> None:
    kept: list[int] = []
    now = [0.0]
    on_the_way = watcher(tmp_path, keep=lambda distilled, step: kept.append(step))
    on_the_way.checkpoint.seconds = lambda: now[0]  # type: ignore[method-assign]
    for step, seconds in enumerate((1.0, 1.05, 1.2, 100.0, 109.0, 1000.0, 1029.0, 1030.0, 2000.0), start=1):
        now[0] = seconds
        on_the_way.offered(step, 9, lambda: 0, "")  # type: ignore[arg-type, return-value]
    assert kept == [1, 3, 4, 6, 8]
