from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from made_sets import make_set

from bench import METHODS, Resolution, Spec
from bench.record import Record
from bench.sweep.planning.estimate import Estimate, Estimator, measure_flop_rate, readable, summary, total_seconds
from bench.sweep.planning.plan import Plan, PlannedCell
from bench.sweep.store import Store


@pytest.fixture
def make_long(make: Callable[..., Plan]) -> Callable[..., Plan]:
    """Plan the toy with a thousand outer steps."""
    return partial(make, methods=("toy_mean[steps=1000]",))


def record(planned: PlannedCell, distil: float, judge: float, device: str = "cpu") -> Record:
    return Record(
        key=planned.key,
        distil_key=planned.distil_key,
        status="ok",
        cell=planned.cell,
        distil={"seconds": distil},
        seconds={"distil": distil, "judge": judge},
        environment={"device": device},
    )


def test_earlier_records_scale_with_the_outer_steps(make_long: Callable[..., Plan], tmp_path: Path) -> None:
    short = record(make_long(effort=0.01).cells[0], distil=2.0, judge=3.0)
    plan = make_long()
    estimate = Estimator(plan, [short], Store(tmp_path), "cpu")(plan.cells[0])
    assert estimate == Estimate(distil=200.0, judge=3.0, source="records")


def test_records_of_another_device_tell_nothing(make_long: Callable[..., Plan], tmp_path: Path) -> None:
    other = record(make_long(effort=0.01).cells[0], distil=2.0, judge=3.0, device="cuda (a GPU)")
    plan = make_long()
    assert Estimator(plan, [other], Store(tmp_path), "cpu")(plan.cells[0]) == Estimate(None, None, "unknown")


def test_arithmetic_counts_where_no_record_does(make_long: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS["toy_mean"], "plan", lambda self, context: Resolution(self, outer_steps=self.steps, flops=6e12))
    plan = make_long(effort=0.5)
    estimator = Estimator(plan, [], Store(tmp_path), "cpu")
    estimator._rates["toy"] = 1e9
    assert estimator(plan.cells[0]) == Estimate(3000.0, None, "arithmetic")


def test_a_set_that_is_there_costs_nothing_more(make_long: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_long()
    make_set(Store(tmp_path), plan.cells[0].distil_key)
    assert Estimator(plan, [], Store(tmp_path), "cpu")(plan.cells[0]).distil == 0.0


def test_the_speed_probe_measures_something_believable() -> None:
    spec = Spec("probe", 10, (1, 8, 8), tuple("0123456789"))
    assert 1e6 < measure_flop_rate(spec, torch.device("cpu")) < 1e15


def test_a_run_takes_at_least_its_longest_cell() -> None:
    estimates = [Estimate(100.0, 0.0, "records"), Estimate(10.0, 0.0, "records")]
    assert total_seconds(estimates, 2) == 100.0
    assert total_seconds([Estimate(50.0, 5.0, "records")] * 4, 2) == 110.0


def test_the_summary_says_what_it_knows_and_what_not() -> None:
    known, guessed, unknown = Estimate(60.0, 60.0, "records"), Estimate(86400.0 * 5, None, "arithmetic"), Estimate(None, None, "unknown")
    assert summary({}, 2) == "estimate: nothing to run"
    assert summary({"a": known}, 2) == "estimate: 1 cell to run, about 2.0 min with 2 jobs (1 from earlier records)"
    text = summary({"a": known, "b": guessed, "c": unknown}, 1)
    assert "about 5.0 days with 1 job" in text
    assert "1 unknown and left out" in text
    assert "judging of 2 left out" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (90, "1.5 min"), (3000, "50 min"), (7200, "2.0 h"), (86400, "24 h"), (86400 * 40, "40 days")],
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert readable(seconds) == text


def test_judging_is_counted_where_no_record_tells_its_time():
    from bench import Dataset, Spec, Split
    from bench.judge.protocol import get_protocol
    from bench.nn.networks import build_network, flops_per_image
    from bench.sweep.planning.estimate import judge_flops

    spec = Spec("counted", 10, (1, 8, 8), tuple("0123456789"))
    train = Split(torch.zeros(50, 1, 8, 8, dtype=torch.uint8), torch.zeros(50, dtype=torch.int64))
    dataset = Dataset(spec, train, test=lambda: pytest.fail("the plan opened the test split"), val=train)
    forward_pass = flops_per_image(build_network("convnet-d2-w32", spec), spec)
    # native: 2 trainings of 3 passes an image, 4 checkpoints on 50 val and 10 test images, and test once more at 8 bit
    assert judge_flops(dataset, get_protocol("native-v1", 2), "", 100) == forward_pass * 2 * (600 + 4 * 60 + 10)
    common = get_protocol("common-v1", 2)
    trials = len(common.common.lr_grid) * common.common.lr_students
    assert judge_flops(dataset, common, "", 100) == forward_pass * (2 * (600 + 4 * 60 + 10) + trials * (300 + 50))
