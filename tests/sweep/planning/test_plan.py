from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_sets import make_set

from bench import (
    METHODS,
    BenchError,
    BudgetRequest,
    DataOptions,
    Dataset,
    Method,
    PlanContext,
    Resolution,
    Spec,
    Split,
    Task,
    brackets,
    load_dataset,
    registry,
)
from bench.brackets import Request
from bench.judge.protocol import get_protocol
from bench.keys import digest
from bench.method import scaled_steps
from bench.prerequisite_store import PrerequisiteStore
from bench.record import SCHEMA, Record
from bench.report.marks import marks_of
from bench.report.sections import build_sections
from bench.sweep.planning import planner as planning
from bench.sweep.planning.history import attach
from bench.sweep.planning.overrides import with_overrides
from bench.sweep.planning.plan import Plan, PlannedCell
from bench.sweep.planning.planner import Planner
from bench.sweep.readers import merge, parse_set
from bench.sweep.store import Store


def keys(plan: Plan) -> list[str]:
    return [planned.key for planned in plan.cells]


def test_the_key_of_a_cell_does_not_depend_on_the_others(make: Callable[..., Plan]) -> None:
    (alone,) = make().cells
    among = make(methods=("toy_mean[take=2]", "toy_mean"), budgets=("0.5", "1", "2"), seeds=(1, 0))
    assert alone.key in keys(among)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": (1,)},
        {"budgets": ("2",)},
        {"split": "paper"},
        {"methods": ("toy_mean[take=2]",)},
        {"effort": 0.5},
        {"set": {"toy_mean": {"take": 2}}},
    ],
)
def test_what_can_change_a_set_changes_its_key(make: Callable[..., Plan], changes: dict[str, object]) -> None:
    assert make().cells[0].distil_key != make(**changes).cells[0].distil_key


@pytest.mark.parametrize(
    ("download", "offline", "allowed"), [(True, False, True), (True, True, False), (False, False, False), (False, True, False)]
)
def test_nothing_is_fetched_offline_or_while_only_planning(
    make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, download: bool, offline: bool, allowed: bool
) -> None:
    make()  # registers the toy
    seen = []

    def watching(name: str, split: str, options: DataOptions) -> Dataset:
        seen.append(options.download)
        return load_dataset(name, split, options)  # type: ignore[arg-type]

    def asked(method: Method, context: PlanContext) -> Resolution:
        seen.append(context.download)
        return Resolution(method)

    monkeypatch.setattr(planning, "load_dataset", watching)
    monkeypatch.setattr(METHODS["toy_mean"], "plan", asked)
    options = {"methods": ("toy_mean",), "datasets": ("toy",), "budgets": ("1",), "offline": offline, "no_reference": True}
    plan = Planner(merge(options, None), PrerequisiteStore(tmp_path), download=download).plan()
    assert set(seen) == {allowed}  # for the data set, and for what methods want
    assert len(seen) > 1
    assert not plan.options.download  # the stages find what the plan has found


def test_every_cell_on_an_unofficial_copy_says_so(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    official = make(no_reference=False)
    monkeypatch.setattr(planning, "load_dataset", lambda *arguments: replace(load_dataset(*arguments), official=False))
    copied = make(no_reference=False)
    assert keys(copied) == keys(official)
    assert {planned.cell.kind for planned in copied.cells} == {"contestant", "reference", "full_data"}

    def marked(planned: PlannedCell) -> bool:
        (section,) = build_sections([Record(planned.key, planned.distil_key, "failed", planned.cell)])
        return all("∥" in marks_of(row) for row in section.everything)

    assert not any(map(marked, official.cells))
    assert all(map(marked, copied.cells))


@pytest.mark.parametrize("changes", [{"protocol": "common-v1"}, {"students": 2}])
def test_a_protocol_changes_the_judge_key_alone(make: Callable[..., Plan], changes: dict[str, object]) -> None:
    before, after = make().cells[0], make(**changes).cells[0]
    assert before.distil_key == after.distil_key
    assert before.key != after.key


@pytest.mark.parametrize(
    "changes", [{"device": "auto"}, {"jobs": 7}, {"timeout": 5.0}, {"budgets": ("128px",)}, {"methods": ("toy_mean[take=5]",)}]
)
def test_what_cannot_change_a_result_is_not_keyed(make: Callable[..., Plan], changes: dict[str, object]) -> None:
    assert keys(make()) == keys(make(**changes))


def test_effort_is_not_keyed_where_there_are_no_outer_steps(make: Callable[..., Plan]) -> None:
    without = make(methods=("toy_mean[steps=0]",), effort=0.01).cells[0]
    assert without.cell.effort == 1.0
    assert without.key == make(methods=("toy_mean[steps=0]",)).cells[0].key
    assert make(effort=0.01).cells[0].cell.effort == 0.01


def test_outer_steps_are_scaled_as_a_task_scales_them() -> None:
    assert [scaled_steps(100, effort) for effort in (1, 0.07, 0.001)] == [100, 7, 1]
    assert scaled_steps(0, 0.5) == 0


def test_half_an_outer_step_is_a_whole_one_in_the_plan_and_in_the_task(make: Callable[..., Plan]) -> None:
    """7.5 steps are 8, everywhere alike; and what remains of an effort near zero is one step."""
    (planned,) = make(methods=("toy_mean[steps=100]",), effort=0.075).cells
    budget = BudgetRequest.parse("1").resolve(2, 8, 8)
    images = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]))
    task = Task(Spec("toy", 2, (1, 8, 8), ("a", "b")), images, budget, 0, "key", lambda name: pytest.fail(name), effort=0.075)
    assert planned.cell.outer_steps == task.steps(100) == scaled_steps(100, 0.075) == 8
    assert scaled_steps(1, 1e-12) == 1


def test_equal_cells_are_one_with_several_names(make: Callable[..., Plan]) -> None:
    (planned,) = make(methods=("toy_mean[take=5]", "toy_mean", "toy_mean[steps=4]")).cells
    assert planned.cell.variant == "take=5"
    assert planned.cell.aliases == ["toy_mean", "toy_mean[steps=4]"]


def test_references_and_the_full_data_line_come_with_every_sweep(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in METHODS:
        if name != "toy_mean":
            monkeypatch.setattr(METHODS[name], "reference_forms", ())
    plan = make(no_reference=False, seeds=(4, 5), budgets=("1", "2"))
    kinds = [(p.cell.kind, p.cell.variant, p.cell.seed) for p in plan.cells if p.cell.budget["requested"] in ("1", "full")]
    assert kinds == [
        ("contestant", "", 4),
        ("contestant", "", 5),
        ("reference", "take=1", 4),
        ("reference", "take=1", 5),
        ("full_data", "", 4),
    ]
    # Who asks for a reference form by name gets the reference.
    plan = make(no_reference=False, methods=("toy_mean[take=1]",))
    assert [p.cell.kind for p in plan.cells] == ["reference", "full_data"]


def test_the_full_data_line_is_trained_in_full_or_left_out(make: Callable[..., Plan]) -> None:
    def lines(plan: Plan) -> list[PlannedCell]:
        return [planned for planned in plan.cells if planned.cell.kind == "full_data"]

    (usual,), (longer,) = lines(make(no_reference=False)), lines(make(no_reference=False, effort=2.0))
    assert (usual.cell.effort, longer.key) == (1.0, usual.key)
    assert make(no_reference=False).left_out == ()
    short = make(no_reference=False, effort=0.5)
    assert lines(short) == []
    assert short.left_out == ("no full-data line at effort 0.5: it is trained in full or not at all; run with --effort 1 to have it",)
    assert make(effort=0.5).left_out == ()


@pytest.fixture
def full_data(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> Callable[..., PlannedCell]:
    """Return a function that plans the full-data line beside one cell of the toy."""
    for name in METHODS:
        monkeypatch.setattr(METHODS[name], "reference_forms", ())
    return lambda **changes: make(no_reference=False, **changes).cells[-1]


@pytest.mark.parametrize(
    "changes", [{"seeds": (1,)}, {"split": "paper"}, {"protocol": "common-v1"}, {"students": 2}, {"network": "convnet-d1-w4"}]
)
def test_what_can_change_the_full_data_line_changes_its_key(full_data: Callable[..., PlannedCell], changes: dict[str, object]) -> None:
    assert full_data(**changes).key != full_data().key


def test_other_data_have_another_full_data_line(full_data: Callable[..., PlannedCell], monkeypatch: pytest.MonkeyPatch) -> None:
    before = full_data().key
    monkeypatch.setattr(Dataset, "fingerprint", lambda self: "of other images")
    assert full_data().key != before


@pytest.mark.parametrize(
    "changes", [{"budgets": ("2",)}, {"methods": ("toy_mean[take=2]",)}, {"seeds": (0, 1)}, {"jobs": 3}, {"timeout": 9.0}, {"effort": 2.0}]
)
def test_what_cannot_change_the_full_data_line_is_not_in_its_key(full_data: Callable[..., PlannedCell], changes: dict[str, object]) -> None:
    assert full_data(**changes).key == full_data().key


def test_the_key_of_the_full_data_line_tells_a_shortened_one_apart(full_data: Callable[..., PlannedCell]) -> None:
    """Records of lines that were shortened by ``--effort`` lie in some folders still, and must not pass for whole ones."""
    planned = full_data()
    cell, protocol = planned.cell, get_protocol("native-v1", 1)
    assert planned.key == digest([SCHEMA, "full-data", cell.data_hash, "dev", protocol.hash, 0, 1.0])


def test_a_refusal_is_a_cell_and_nothing_but_refusals_is_an_error(make: Callable[..., Plan]) -> None:
    plan = make(budgets=("0.5", "1"))
    assert [(p.state, p.reason) for p in plan.cells] == [("refused", "it keeps two whole images"), ("pending", "")]
    with pytest.raises(BenchError, match="it keeps two whole images"):
        make(budgets=("0.5",))


def test_a_method_that_breaks_while_planned_fails_alone(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(METHODS["toy_mean"], "plan", broken)
    (planned,) = make().cells
    assert planned.state == "failed"
    assert "ZeroDivisionError: oops" in planned.reason


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "plan\\(\\) returned NoneType"),
        (lambda self: Resolution(self, plan={"k": object()}), "TypeError"),
        (lambda self: Resolution(self, plan={"k": float("nan")}), "ValueError"),
        (lambda self: Resolution(self, outer_steps="x"), "outer_steps is 'x'"),
        (SystemExit(4), "SystemExit: 4"),
    ],
)
def test_an_answer_that_no_record_could_hold_fails_its_own_cells(make, monkeypatch, answer, complaint) -> None:
    def plan(self: object, context: object) -> object:
        if isinstance(answer, SystemExit):
            raise answer
        return answer(self) if answer else None

    monkeypatch.setattr(METHODS["toy_mean"], "plan", plan)
    (planned,) = make().cells
    assert planned.state == "failed"
    assert re.search(complaint, planned.reason)


def test_brackets_win_over_overrides_by_whatever_name() -> None:
    tiles = Request("random", "images=tiles", {"images": "tiles"})
    assert with_overrides(tiles, parse_set(["random.form=full"])) == tiles


def test_overrides_show_in_the_name_and_give_way_to_brackets() -> None:
    overrides = parse_set(["m.x=1", "m.y=word", "other.z=3"])
    assert with_overrides(Request("m"), overrides) == Request("m", "x=1,y=word", {"x": 1, "y": "word"})
    assert with_overrides(Request("m", "x=2", {"x": 2}), overrides) == Request("m", "x=2,y=word", {"x": 2, "y": "word"})
    assert with_overrides(Request("n"), overrides) == Request("n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("toy_men",)}, "did you mean 'toy_mean'"),
        ({"datasets": ("toi",)}, "did you mean 'toy'"),
        ({"methods": ("toy_mean[tak=1]",)}, "did you mean 'take'"),
        ({"methods": ("toy_mean[take=x]",)}, "field 'take' cannot be 'x'"),
        ({"set": {"toy_mean": {"tak": 1}}}, "did you mean 'take'"),
        ({"set": {"toy_men": {"take": 1}}}, "did you mean 'toy_mean'"),
        ({"protocol": "native"}, "did you mean 'native-v1'"),
        ({"budgets": ("0.001",)}, "gives no pixel"),
    ],
)
def test_a_wrong_name_is_one_sentence(make: Callable[..., Plan], changes: dict[str, object], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        make(**changes)


def test_a_method_whose_plugin_is_broken_says_why(make: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.UNAVAILABLE, "bench.methods.lost", "ImportError: no module named 'gone'")
    with pytest.raises(BenchError, match="'lost' is not available.*no module named 'gone'"):
        make(methods=("lost",))


@pytest.mark.parametrize(
    ("status", "rerun", "state"),
    [
        ("ok", (), "cached"),
        ("failed", (), "cached"),
        ("failed", ("failed",), "pending"),
        ("timeout", ("failed",), "cached"),
        ("rejected", ("rejected",), "pending"),
        ("oom", (), "cached"),
        ("interrupted", (), "pending"),
        ("refused", (), "pending"),
    ],
)
def test_what_runs_again(make: Callable[..., Plan], tmp_path: Path, status: str, rerun: tuple[str, ...], state: str) -> None:
    plan = make()
    (planned,) = plan.cells
    record = Record(key=planned.key, distil_key=planned.distil_key, status=status, cell=planned.cell)  # type: ignore[arg-type]
    attach(plan, Store(tmp_path), {record.key: record}, rerun, ())
    assert planned.state == state
    assert not planned.stale


def test_other_code_is_stale_and_runs_again_when_told(make: Callable[..., Plan], tmp_path: Path) -> None:
    for rerun, force, state, redistil in (
        ((), (), "cached", False),
        (("stale",), (), "pending", True),
        ((), ("toy_mean",), "pending", True),
    ):
        plan = make()
        (planned,) = plan.cells
        record = Record(key=planned.key, distil_key=planned.distil_key, status="ok", cell=replace(planned.cell, code_hash="other"))
        attach(plan, Store(tmp_path), {record.key: record}, rerun, force)
        assert (planned.stale, planned.state, planned.redistil) == (True, state, redistil)


def test_a_record_of_older_code_is_judged_again_where_its_set_is_newer(make: Callable[..., Plan], tmp_path: Path) -> None:
    """Another protocol's run has made the shared set anew; this one's record is of the set before."""
    plan = make()
    (planned,) = plan.cells
    make_set(Store(tmp_path), planned.distil_key, code_hash=planned.cell.code_hash)
    record = Record(key=planned.key, distil_key=planned.distil_key, status="ok", cell=replace(planned.cell, code_hash="other"))
    attach(plan, Store(tmp_path), {record.key: record}, (), ())
    assert (planned.stale, planned.state) == (True, "cached")
    plan = make()
    (planned,) = plan.cells
    attach(plan, Store(tmp_path), {record.key: record}, ("stale",), ())
    assert (planned.stale, planned.state, planned.redistil) == (True, "pending", False)


@pytest.mark.parametrize(
    ("made_by", "judged_by", "rerun", "expected"),
    [
        ("other", None, (), (True, "pending", False)),
        ("other", None, ("stale",), (True, "pending", True)),
        ("other", "today", (), (True, "cached", False)),
        ("other", "today", ("stale",), (True, "pending", True)),
        ("today", "today", ("stale",), (False, "cached", False)),
        (None, "other", ("stale",), (True, "pending", True)),
        (None, "other", (), (True, "cached", False)),
    ],
)
def test_a_cell_is_stale_if_its_set_or_its_record_is(
    make: Callable[..., Plan],
    tmp_path: Path,
    made_by: str | None,
    judged_by: str | None,
    rerun: tuple[str, ...],
    expected: tuple[bool, str, bool],
) -> None:
    plan = make()
    (planned,) = plan.cells
    code = {"today": planned.cell.code_hash, "other": "other"}
    if made_by:
        make_set(Store(tmp_path), planned.distil_key, code_hash=code[made_by])
    records = {}
    if judged_by:
        cell = replace(planned.cell, code_hash=code[judged_by])
        records[planned.key] = Record(key=planned.key, distil_key=planned.distil_key, status="ok", cell=cell)
    attach(plan, Store(tmp_path), records, rerun, ())
    assert (planned.stale, planned.state, planned.redistil) == expected


@pytest.mark.parametrize(("status", "state"), [("ok", "cached"), ("failed", "refused"), ("refused", "refused")])
def test_a_refusal_leaves_what_was_made_before_it(make: Callable[..., Plan], tmp_path: Path, status: str, state: str) -> None:
    plan = make(budgets=("0.5", "1"))
    planned = plan.cells[0]
    record = Record(key=planned.key, distil_key=planned.distil_key, status=status, cell=planned.cell)  # type: ignore[arg-type]
    attach(plan, Store(tmp_path), {record.key: record}, (), ())
    assert planned.state == state


def test_force_is_for_the_methods_it_names(make: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make()
    (planned,) = plan.cells
    record = Record(key=planned.key, distil_key=planned.distil_key, status="ok", cell=planned.cell)
    attach(plan, Store(tmp_path), {record.key: record}, (), ("podd",))
    assert (planned.state, planned.redistil) == ("cached", False)


def test_rules_match_the_budget_that_was_asked_for(tmp_path: Path) -> None:
    """0.41 images per class of digits are 262 pixels, which is a little less than 0.41."""
    settings = merge({"methods": ("podd[order=identity]",), "budgets": ("0.41", "0.4", "0.405"), "seeds": (0,), "no_reference": True}, None)
    found = {p.cell.budget["requested"]: p.cell.fields["overlap"] for p in Planner(settings, PrerequisiteStore(tmp_path)).plan().cells}
    assert found == {"0.41": "0.55x0.8", "0.4": 0.86, "0.405": "0.55x0.8"}


def test_a_product_that_comes_to_another_form_follows_the_rules_of_that_form(tmp_path: Path) -> None:
    names = ("rat_bptt", "rat_bptt[form=subset]", "rat_bptt[form=tiles,tiles=2]", "rat_bptt[form=lowres]")
    settings = merge({"methods": names, "budgets": ("2",), "seeds": (0,), "no_reference": True}, None)
    (planned,) = Planner(settings, PrerequisiteStore(tmp_path)).plan().cells
    assert {planned.cell.label, *planned.cell.aliases} == set(names)
    assert planned.cell.tuned
    assert planned.cell.parts["form"] == "full"


def test_a_new_name_of_a_cell_is_noted_on_its_record(make: Callable[..., Plan], tmp_path: Path) -> None:
    plan = make(methods=("toy_mean[take=5]",))
    old = make().cells[0]
    record = Record(key=old.key, distil_key=old.distil_key, status="ok", cell=old.cell)
    (changed,) = attach(plan, Store(tmp_path), {record.key: record}, (), ())
    assert changed.cell.variant == ""
    assert changed.cell.aliases == ["toy_mean[take=5]"]
    assert attach(make(methods=("toy_mean[take=5]",)), Store(tmp_path), {record.key: record}, (), ()) == []


def test_a_back_end_is_recorded_but_not_keyed(make: Callable[..., Plan]) -> None:
    plain, generic = (make(methods=(f"rat_bptt[engine={engine}]",), datasets=("digits",)).cells[0] for engine in ("plain", "generic"))
    assert (plain.cell.fields["engine"], generic.cell.fields["engine"]) == ("plain", "generic")
    assert (plain.distil_key, plain.key) == (generic.distil_key, generic.key)


def test_one_cell_cannot_be_computed_in_two_ways_in_one_run(make: Callable[..., Plan]) -> None:
    with pytest.raises(BenchError, match="are one cell, as precision chooses how it is computed"):
        make(methods=("rat_bptt", "rat_bptt[precision=bf16]"), datasets=("digits",))


def test_ways_of_asking_clip_that_come_to_one_order_or_to_a_refusal_are_one_cell(make: Callable[..., Plan]) -> None:
    methods = ("podd[order=identity,clip_prompt='the digit {}']", "podd[order=identity]")
    plan = make(methods=methods, datasets=("digits",), budgets=("1", "0.05"))
    assert [(planned.state, len(planned.cell.aliases)) for planned in plan.cells] == [("pending", 1), ("refused", 1)]


def test_a_record_from_before_an_unkeyed_field_was_not_computed_otherwise(make: Callable[..., Plan], tmp_path: Path) -> None:
    (old,) = make(methods=("podd[order=identity]",), datasets=("digits",)).cells
    plan = make(methods=("podd[order=identity]",), datasets=("digits",))
    del old.cell.fields["clip_prompt"]
    record = Record(key=old.key, distil_key=old.distil_key, status="ok", cell=old.cell)
    attach(plan, Store(tmp_path), {record.key: record}, (), ())
    assert [(planned.state, planned.reason) for planned in plan.cells] == [("cached", "")]


def test_a_cell_that_was_computed_otherwise_says_so(make: Callable[..., Plan], tmp_path: Path) -> None:
    (old,) = make(methods=("rat_bptt",), datasets=("digits",)).cells
    plan = make(methods=("rat_bptt[precision=bf16]",), datasets=("digits",))
    record = Record(key=old.key, distil_key=old.distil_key, status="ok", cell=old.cell)
    attach(plan, Store(tmp_path), {record.key: record}, (), ())
    (planned,) = plan.cells
    assert planned.state == "cached"
    assert planned.reason == "kept as it was computed, with another choice of precision; --force rat_bptt computes it anew"


def test_products_of_the_same_parts_are_one_cell_under_several_names(tmp_path: Path) -> None:
    """Whichever named product they are asked for by, as long as every field agrees."""
    fields = "labels=fixed,window=2,totwindow=4,outer_iterations=8,real_batch=9,student_steps=5,augmentation=none"
    rates = "student_lr=0.1,outer_lr=0.1,label_lr=0.1,outer_schedule=constant,init=noise"
    names = (f"rat_bptt[{fields},{rates}]", f"rat_bptt[images=lowres,{fields},{rates}]", f"podd[form=full,{fields},{rates}]")
    settings = merge({"methods": names, "budgets": ("1",), "seeds": (0,), "no-reference": True}, None)
    plan = Planner(settings, PrerequisiteStore(tmp_path)).plan()
    assert len(plan.cells) == 1
    assert {plan.cells[0].cell.label, *plan.cells[0].cell.aliases} == set(names)


def test_the_code_of_a_cell_is_that_of_its_own_parts(tmp_path: Path) -> None:
    names = ("rat_bptt", "rat_bptt[form=tiles]", "random", "random[form=tiles]", "random[form=subset]")
    settings = merge({"methods": names, "budgets": ("1",), "seeds": (0,), "no-reference": True}, None)
    hashes = {planned.cell.label: planned.cell.code_hash for planned in Planner(settings, PrerequisiteStore(tmp_path)).plan().cells}
    assert hashes["random"] != hashes["random[form=tiles]"]
    assert hashes["rat_bptt"] != hashes["rat_bptt[form=tiles]"]
    assert hashes["rat_bptt[form=tiles]"] != hashes["random[form=tiles]"]


def test_network_is_that_of_every_row(tmp_path: Path) -> None:
    options = {"methods": ("rat_bptt", "random"), "budgets": ("1",), "seeds": (0,), "network": "convnet-d2-w8"}
    plan = Planner(merge(options, None), PrerequisiteStore(tmp_path)).plan()
    assert {planned.cell.kind for planned in plan.cells} == {"contestant", "reference", "full_data"}
    assert {planned.cell.network for planned in plan.cells} == {"convnet-d2-w8"}
    assert {planned.cell.protocol["network"] for planned in plan.cells} == {"convnet-d2-w8"}
    assert {planned.cell.fields["network"] for planned in plan.cells if planned.cell.kind != "full_data"} == {"convnet-d2-w8"}


def test_a_network_in_brackets_is_distilled_for_and_judged_by_that_of_the_run(tmp_path: Path) -> None:
    methods = ("rat_bptt[network=convnet-d2-w4]",)
    options = {"methods": methods, "budgets": ("1",), "seeds": (0,), "network": "convnet-d2-w8", "no_reference": True}
    (planned,) = Planner(merge(options, None), PrerequisiteStore(tmp_path)).plan().cells
    assert (planned.cell.fields["network"], planned.cell.network) == ("convnet-d2-w4", "convnet-d2-w8")


def test_an_override_holds_for_the_rows_that_have_its_field(tmp_path: Path) -> None:
    settings = merge({"methods": ("random",), "budgets": ("1",), "seeds": (0,), "set": {"random": {"tiles": 9, "student_lr": 0.5}}}, None)
    plan = Planner(settings, PrerequisiteStore(tmp_path)).plan()
    found = {
        p.cell.fields["form"]: (p.cell.fields.get("tiles"), p.cell.fields["student_lr"]) for p in plan.cells if p.cell.kind != "full_data"
    }
    assert found == {"full": (None, 0.5), "tiles": (9, 0.5), "mosaic": (None, 0.5)}


@pytest.mark.parametrize("axis", ["methods", "budgets", "seeds"])
def test_the_size_of_a_run_is_that_of_all_its_axes_together(tmp_path: Path, axis: str) -> None:
    """Two methods, two budgets and two seeds are eight cells, which a run of at most eight may have; a third of any is too much."""
    options: dict[str, tuple[object, ...]] = {"methods": ("random", "podd"), "budgets": ("1", "2"), "seeds": (0, 1)}
    longer = {"methods": "rat_bptt", "budgets": "3", "seeds": 2}

    def check(changes: dict[str, tuple[object, ...]]) -> None:
        Planner(merge({**options, **changes, "no_reference": True}, None), PrerequisiteStore(tmp_path)).check()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brackets, "MOST_CELLS", 8)
        check({})
        with pytest.raises(BenchError, match="this run asks for 12 cells"):
            check({axis: (*options[axis], longer[axis])})
        references = sum(len(METHODS[name].reference_forms) for name in METHODS)
        with pytest.raises(BenchError, match=f"this run asks for {(2 + references) * 4} cells"):
            Planner(merge(options, None), PrerequisiteStore(tmp_path)).check()


@pytest.mark.parametrize("methods", [("podd",), ("podd", "rat_bptt[form=tiles]")])
def test_an_override_that_fits_no_row_is_wrong_input(tmp_path: Path, methods: tuple[str, ...]) -> None:
    settings = merge({"methods": methods, "budgets": ("1",), "seeds": (0,), "set": {"podd": {"tiles": 9}}}, None)
    with pytest.raises(BenchError, match="set 'podd': 'tiles' is a field of form 'tiles'"):
        Planner(settings, PrerequisiteStore(tmp_path)).check()
    fitting = merge({"methods": ("podd[form=tiles]",), "budgets": ("1",), "seeds": (0,), "set": {"podd": {"tiles": 9}}}, None)
    assert Planner(fitting, PrerequisiteStore(tmp_path)).check()


def test_a_run_is_counted_before_anything_is_planned(make: Callable[..., Plan]) -> None:
    with pytest.raises(BenchError, match="this run asks for 200,000 cells; one run has at most 100,000, so ask for less"):
        make(seeds=tuple(range(100_000)), budgets=("1", "2"))


def test_a_budget_far_beyond_the_training_images_is_refused(make: Callable[..., Plan]) -> None:
    assert make(budgets=("200",)).cells[0].state == "pending"  # 400 images where there are 40 training images
    with pytest.raises(BenchError, match="budget '201' on toy is 402 images, more than 10 times its 40 training images; ask for less"):
        make(budgets=("1", "201"))


def test_overrides_that_choose_a_part_by_no_name_are_refused(make: Callable[..., Plan]) -> None:
    for value in ([1], {}, None, 3):
        with pytest.raises(BenchError, match="set 'random': form names a part, such as full, found"):
            make(methods=("random",), set={"random": {"form": value}})
