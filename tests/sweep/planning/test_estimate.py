from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from bench import METHODS, Dataset, Resolution, Spec, Split
from bench.judge.protocol import get_protocol
from bench.nn.networks import build_network, flops_per_image
from bench.record import Record
from bench.sweep.planning import estimate
from bench.sweep.planning.estimate import Estimate, Estimator, judge_flops, measure_flop_rate, packed, readable, summary
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
    found = Estimator(plan, [short], Store(tmp_path), "cpu")(plan.cells[0])
    assert found == Estimate(distil=200.0, judge=3.0, source="records")


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
    folder = Store(tmp_path).set_folder(plan.cells[0].distil_key)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "distil.json").write_text("{}")
    assert Estimator(plan, [], Store(tmp_path), "cpu")(plan.cells[0]).distil == 0.0


def test_the_speed_probe_measures_something_believable() -> None:
    spec = Spec("probe", 10, (1, 8, 8), tuple("0123456789"))
    assert 1e6 < measure_flop_rate(spec, torch.device("cpu")) < 1e15


@pytest.mark.parametrize(
    ("seconds", "jobs", "time"),
    [([], 2, 0.0), ([100, 10], 2, 100.0), ([55] * 4, 2, 110.0), ([90, 90, 90], 2, 180.0), ([3, 3, 2, 2, 2], 2, 7.0), ([1, 1], 5, 1.0)],
)
def test_cells_are_packed_as_a_run_packs_them(seconds: list[float], jobs: int, time: float) -> None:
    """Three cells of 90 days take 180 days with two jobs, not 135."""
    assert packed(seconds, jobs) == time
    assert packed(reversed(seconds), jobs) == time


def test_an_estimate_is_a_range_and_counting_knows_less_than_records() -> None:
    assert Estimate(60.0, 40.0, "records").bounds == (75.0, 150.0)
    assert Estimate(60.0, 40.0, "arithmetic").bounds == (50.0, 300.0)
    assert Estimate(None, None, "unknown").bounds == (0.0, 0.0)


def test_the_probe_takes_the_fastest_of_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may be busy for a moment."""
    spec = Spec("probe", 10, (1, 8, 8), tuple("0123456789"))
    rates = iter([10.0, 40.0, 20.0, 5.0, 5.0, 5.0])
    monkeypatch.setattr(estimate, "_passes_per_second", lambda *_: next(rates))
    measured = measure_flop_rate(spec, torch.device("cpu"))
    rates = iter([40.0] * 6)
    assert measured == measure_flop_rate(spec, torch.device("cpu"))


def test_the_summary_says_what_it_knows_and_what_not() -> None:
    known, guessed, unknown = Estimate(60.0, 60.0, "records"), Estimate(86400.0 * 5, None, "arithmetic"), Estimate(None, None, "unknown")
    assert summary({}, 2) == "estimate: nothing to run"
    assert summary({"a": known}, 2) == "estimate: 1 cell to run, 1.5 min to 3.0 min with 2 jobs (1 from earlier records)"
    text = summary({"a": known, "b": guessed, "c": unknown}, 1)
    assert "2.5 days to 15 days with 1 job" in text
    assert "1 unknown and left out" in text
    assert "judging of 2 left out" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (90, "1.5 min"), (3000, "50 min"), (7200, "2.0 h"), (86400, "24 h"), (86400 * 40, "40 days")],
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert readable(seconds) == text


def test_judging_is_counted_where_no_record_tells_its_time() -> None:
    spec = Spec("counted", 10, (1, 8, 8), tuple("0123456789"))
    train = Split(torch.zeros(50, 1, 8, 8, dtype=torch.uint8), torch.zeros(50, dtype=torch.int64))
    dataset = Dataset(spec, train, test=lambda: pytest.fail("the plan opened the test split"), val=train)
    forward_pass = flops_per_image(build_network("convnet-d2-w32", spec), spec)
    # native: 2 trainings of 3 passes an image, 4 checkpoints on 50 val and 10 test images, and test once more at 8 bit
    assert judge_flops(dataset, get_protocol("native-v1", 2), "", 100) == forward_pass * 2 * (600 + 4 * 60 + 10)
    common = get_protocol("common-v1", 2)
    trials = len(common.common.lr_grid) * common.common.lr_students
    assert judge_flops(dataset, common, "", 100) == forward_pass * (2 * (600 + 4 * 60 + 10) + trials * (300 + 50))
