from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from made_sets import make_set

from bench import METHODS, Dataset, Resolution, Spec, Split
from bench.judge.protocol import get_protocol
from bench.nn.networks import build_network, flops_per_image
from bench.record import Record
from bench.sweep.planning import estimate
from bench.sweep.planning.estimate import Estimate, Estimator, full_data_flops, judge_flops, measure_flop_rate, packed, readable, summary
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
    make_set(Store(tmp_path), plan.cells[0].distil_key)
    assert Estimator(plan, [], Store(tmp_path), "cpu")(plan.cells[0]).distil == 0.0


def test_the_speed_probe_measures_something_believable() -> None:
    spec = Spec("probe", 10, (1, 8, 8), tuple("0123456789"))
    assert 1e6 < measure_flop_rate(spec, torch.device("cpu")) < 1e15


def test_the_speed_probe_counts_passes_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a second each: four a second, also where the time allows only part of one."""
    clock = [10.0]

    def one_pass() -> None:
        clock[0] += 0.25

    monkeypatch.setattr(estimate.time, "perf_counter", lambda: clock[0])
    assert estimate._passes_per_second(one_pass, 0.5) == 4.0
    assert estimate._passes_per_second(one_pass, 0.1) == 4.0


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


@pytest.fixture
def estimated(make: Callable[..., Plan], tmp_path: Path) -> Callable[..., Estimate]:
    """Return a function that estimates the toy's cell of 1,000 steps from records, given as (changes, distil, judge, ...)."""

    def estimate_from(*known: tuple[dict[str, object], float, float], edit: Callable[[Record], None] = lambda record: None) -> Estimate:
        plan = make(methods=("toy_mean[steps=1000]",), budgets=("2",))
        records = [record(make(**{"methods": ("toy_mean[steps=1000]",), **changes}).cells[0], *seconds) for changes, *seconds in known]
        for one in records:
            edit(one)
        return Estimator(plan, records, Store(tmp_path), "cpu")(plan.cells[0])

    return estimate_from


def test_the_nearest_budget_tells_most(estimated: Callable[..., Estimate]) -> None:
    near, far = ({"budgets": ("3",)}, 30.0, 3.0), ({"budgets": ("9",)}, 90.0, 9.0)
    assert estimated(near, far) == estimated(far, near) == Estimate(30.0, 3.0, "records")
    nearer, smaller = ({"budgets": ("2.2",)}, 22.0, 2.2), ({"budgets": ("1",)}, 10.0, 1.0)
    assert estimated(nearer, smaller) == estimated(smaller, nearer) == Estimate(22.0, 2.2, "records")


def test_the_same_hyper_parameters_tell_more_than_the_same_budget(estimated: Callable[..., Estimate]) -> None:
    same, other = ({"budgets": ("9",)}, 90.0, 9.0), ({"budgets": ("2",), "methods": ("toy_mean[steps=1000,take=2]",)}, 20.0, 2.0)
    assert estimated(same, other) == Estimate(90.0, 9.0, "records")


def test_the_longest_of_equally_close_records_tells_the_cost_of_a_step_and_the_middle_one_that_of_judging(
    estimated: Callable[..., Estimate],
) -> None:
    known = [
        ({"budgets": ("2",), "effort": effort}, distil, judge)
        for effort, distil, judge in ((0.01, 9.0, 1.0), (0.5, 50.0, 2.0), (0.1, 20.0, 7.0))
    ]
    assert estimated(*known) == Estimate(100.0, 2.0, "records")


def test_a_method_without_outer_steps_takes_the_middle_time_of_its_records(make: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make(methods=("toy_mean[steps=0]",))
    known = [record(plan.cells[0], distil, 1.0) for distil in (1.0, 2.0, 9.0)]
    assert Estimator(plan, known, Store(tmp_path), "cpu")(plan.cells[0]).distil == 2.0
    assert Estimator(plan, [], Store(tmp_path), "cpu")(plan.cells[0]).distil == estimate._SELECTION_SECONDS


@pytest.mark.parametrize("what", ["status", "dataset", "protocol", "method"])
def test_records_of_something_else_tell_nothing(estimated: Callable[..., Estimate], what: str) -> None:
    def edit(one: Record) -> None:
        if what == "status":
            one.status = "failed"
        else:
            one.cell = replace(one.cell, **{what: {"hash": "another"} if what == "protocol" else "another"})

    found = estimated(({"budgets": ("2",)}, 20.0, 2.0), edit=edit)
    # Judging goes by the protocol and not by the method; making the set goes by the method and not by the protocol.
    expected = {"protocol": (20.0, None), "method": (None, 2.0)}
    assert (found.distil, found.judge) == expected.get(what, (None, None))


def test_a_set_that_is_to_be_made_again_costs_its_time(make_long: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_long()
    planned = plan.cells[0]
    folder = Store(tmp_path).set_folder(planned.distil_key)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / "distil.json").write_text("{}")
    planned.redistil = True
    assert Estimator(plan, [record(planned, 7.0, 1.0)], Store(tmp_path), "cpu")(planned).distil == 7.0


def test_the_first_device_s_records_tell_of_all_gpus(make_long: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make_long()
    known = record(plan.cells[0], 7.0, 1.0, device="cuda (a GPU)")
    assert Estimator(plan, [known], Store(tmp_path), "cuda:0")(plan.cells[0]) == Estimate(7.0, 1.0, "records")


def test_the_full_data_line_is_counted_where_no_record_tells_its_time(make: Callable[..., Plan], tmp_path: Path) -> None:
    """Three passes for every example presented: of forty images, the least that a line presents."""
    plan = make(no_reference=False, methods=("toy_mean",))
    (planned,) = (planned for planned in plan.cells if planned.cell.kind == "full_data")
    forward_pass = flops_per_image(build_network(planned.cell.network, plan.datasets["toy"].spec), plan.datasets["toy"].spec)
    assert 40 * plan.protocol.full_data.epochs < plan.protocol.full_data.least_examples
    expected = 3 * forward_pass * plan.protocol.full_data.least_examples
    assert full_data_flops(plan.datasets["toy"], plan.protocol) == expected
    estimator = Estimator(plan, [], Store(tmp_path), "cpu")
    estimator._rates["toy"] = 1e6
    assert estimator(planned) == Estimate(0.0, expected / 1e6, "arithmetic")
    known = record(planned, 0.0, 9.0)
    assert Estimator(plan, [known], Store(tmp_path), "cpu")(planned) == Estimate(0.0, 9.0, "records")
    # A line of another protocol and a contestant of this one took another time.
    known.cell = replace(known.cell, protocol={"hash": "another"})
    for other in (known, record(plan.cells[0], 0.0, 9.0)):
        estimator = Estimator(plan, [other], Store(tmp_path), "cpu")
        estimator._rates["toy"] = 1e6
        assert estimator(planned).source == "arithmetic"
