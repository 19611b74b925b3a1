"""The stages themselves, called in this process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from report.records import make_record

from bench import BenchError, registry
from bench.nn.convnet import library
from bench.prerequisite_store import PrerequisiteStore
from bench.record import Cell, Record
from bench.sweep.listener import SweepListener
from bench.sweep.planning.history import attach, damaged_sets
from bench.sweep.planning.plan import PlannedCell
from bench.sweep.planning.planner import Planner
from bench.sweep.readers import merge
from bench.sweep.run import Recorder, exit_code
from bench.sweep.running import checkpoint
from bench.sweep.running.distil import distil_stage
from bench.sweep.running.executor import Job
from bench.sweep.running.judge import judge_stage
from bench.sweep.running.stage import Outcome, Payload, run_stage, silent
from bench.sweep.store import Store

TOY = str(Path(__file__).parents[1] / "plugins" / "toy.py")


Make = Callable[..., Payload]


@pytest.fixture
def payload(forget_plugins: None, tmp_path: Path) -> Make:
    registry.discover((TOY,))

    def make(method: str, out: str = "out", **changes: Any) -> Payload:
        settings = replace(
            merge({}, None), methods=(method,), datasets=("toy",), budgets=("1",), seeds=(0,), students=1, no_reference=True, **changes
        )
        plan = Planner(settings, PrerequisiteStore(tmp_path / "cache")).plan()
        (planned,) = plan.cells
        Store(tmp_path / out).prepare()
        folder, root = str(tmp_path / out), str(plan.options.root)
        return Payload(planned.key, folder, root, planned.cell, distil_key=planned.distil_key, plugins=(TOY,))

    return make


def store_of(payload: Payload) -> Store:
    return Store(Path(payload.out))


def changed(payload: Payload, **fields: Any) -> Cell:
    assert payload.cell is not None
    return replace(payload.cell, **fields)


def tensors(payload: Payload) -> bytes:
    return (store_of(payload).set_folder(payload.distil_key) / "tensors.safetensors").read_bytes()


def test_an_interrupted_distillation_goes_on_and_gives_the_same_set(payload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    broken = payload("toy_walk[breaks_at=4]", split="paper")
    folder = store_of(broken).set_folder(broken.distil_key)
    with pytest.raises(RuntimeError, match="power"):
        distil_stage(broken, silent)
    assert (folder / "checkpoint.safetensors").is_file()
    assert store_of(broken).set_info(broken.distil_key) is None
    steps: list[int] = []
    distil_stage(broken, lambda step, total, scalars: steps.append(step))
    assert steps == [4, 5, 6]
    assert not (folder / "checkpoint.safetensors").exists()

    monkeypatch.setattr(checkpoint, "_EVERY", 1e9)
    whole = replace(broken, out=broken.out + "-2", cell=changed(broken, fields={"breaks_at": 0}))
    store_of(whole).prepare()
    distil_stage(whole, silent)
    assert tensors(whole) == tensors(broken)


def test_validation_calls_are_counted(payload: Make) -> None:
    cell = payload("toy_walk")
    distil_stage(cell, silent)
    info = store_of(cell).set_info(cell.distil_key)
    assert info is not None
    assert info["validate_calls"] == 6


def test_the_judge_starts_from_disk_and_writes_the_record(payload: Make) -> None:
    cell = payload("toy_mean")
    with pytest.raises(BenchError, match="not complete"):
        judge_stage(cell, silent)
    distil_stage(cell, silent)
    told = judge_stage(replace(cell, seconds={"distil": 1.5}), silent)
    record = store_of(cell).read(cell.key)
    assert record is not None
    assert record.seconds["distil"] == 1.5
    assert record.distil["seconds"] > 0
    assert told["accuracy"] == sum(record.scores["final"]["test"])
    assert record.audit["pixels"] == 128
    # The record tells by which code the set was made, also if the method has changed since.
    judge_stage(replace(cell, cell=changed(cell, code_hash="newer")), silent)
    again = store_of(cell).read(cell.key)
    assert again is not None
    assert again.cell.code_hash == record.cell.code_hash != "newer"


@pytest.mark.parametrize("file", ["tensors.safetensors", "manifest.json"])
def test_a_damaged_set_is_not_judged_but_made_again(payload: Make, file: str) -> None:
    cell = payload("toy_mean")
    distil_stage(cell, silent)
    whole = tensors(cell)
    damaged = store_of(cell).set_folder(cell.distil_key) / file
    damaged.write_bytes(damaged.read_bytes().replace(b"1", b"2", 1) + b" ")
    outcome = run_stage("judge", cell)
    assert outcome.status == "failed"
    assert f"is damaged ({file} is not what was written); run the same command again to make it anew" in outcome.reason
    assert store_of(cell).read(cell.key) is None
    assert distil_stage(cell, silent)["seconds"] > 0
    assert tensors(cell) == whole
    judge_stage(cell, silent)


@pytest.mark.parametrize("status", ["failed", "rejected"])
def test_a_cell_whose_set_is_damaged_runs_again(payload: Make, status: Any) -> None:
    mine = payload("toy_mean")
    store, cell = store_of(mine), changed(mine)
    distil_stage(mine, silent)
    record = make_record(status=status, key=mine.key, distil_key=mine.distil_key, cell=cell)

    def look_up() -> tuple[str, list[str]]:
        planned = PlannedCell(cell, mine.key, mine.distil_key)
        plan = SimpleNamespace(cells=[planned])
        attach(plan, store, {mine.key: record}, (), ())  # type: ignore[arg-type]
        return planned.state, damaged_sets(plan, store)  # type: ignore[arg-type]

    assert look_up() == ("cached", [])
    (store.set_folder(mine.distil_key) / "tensors.safetensors").write_bytes(b"noise")
    state, (warning,) = look_up()
    assert state == "pending"
    assert f"{mine.distil_key} is damaged (tensors.safetensors is not what was written); it is not used" in warning


def test_data_that_changed_since_the_plan_is_noticed(payload: Make) -> None:
    cell = payload("toy_mean")
    with pytest.raises(Exception, match="changed after the run was planned"):
        distil_stage(replace(cell, cell=changed(cell, data_hash="0" * 16)), silent)


@pytest.mark.parametrize("switched_off", [True, False])
def test_the_record_says_which_kernels_trained_the_students(
    payload: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, switched_off: bool
) -> None:
    if switched_off:
        monkeypatch.setattr(library, "load", lambda: (None, "switched off"))
    expected = "PyTorch" if switched_off or library.load()[0] is None else "compiled"
    made = payload("toy_mean")
    distil_stage(made, silent)
    judge_stage(made, silent)
    record = Store(tmp_path / "out").read(made.key)
    assert record is not None
    assert record.environment["kernels"] == expected


def test_a_set_that_is_there_is_not_made_again_unless_that_is_asked_for(payload: Make, tmp_path: Path) -> None:
    note = tmp_path / "note"
    made = payload(f"toy_mean[note={note}]")
    assert distil_stage(made, silent)["seconds"] > 0
    assert distil_stage(made, silent) == {"seconds": 0.0}
    assert len(note.read_text().splitlines()) == 1
    distil_stage(replace(made, redistil=True), silent)
    assert len(note.read_text().splitlines()) == 2


def test_the_judge_uses_the_very_protocol_of_the_cell(payload: Make) -> None:
    made = payload("toy_mean", network="convnet-d1-w4")
    distil_stage(made, silent)
    judge_stage(made, silent)
    record = store_of(made).read(made.key)
    assert record is not None
    assert record.training["network"] == "convnet-d1-w4"


def test_a_protocol_of_another_version_is_refused(payload: Make) -> None:
    made = payload("toy_mean")
    assert made.cell is not None
    other = replace(made, cell=changed(made, protocol={**made.cell.protocol, "checkpoints": [0.5, 1.0]}))
    with pytest.raises(BenchError, match="does not have the choices of its hash"):
        judge_stage(other, silent)


def test_an_interrupt_leaves_what_a_rival_has_finished_meanwhile(payload: Make) -> None:
    """Two runners on one folder: the record on disk counts, not the one that was there when the run was planned."""
    mine = payload("toy_mean")
    store, cell = store_of(mine), changed(mine)
    store.write(make_record(key=mine.key, distil_key=mine.distil_key, cell=cell))
    recorder = Recorder(store, {mine.key: PlannedCell(cell, mine.key, mine.distil_key)}, {}, SweepListener())
    for status in ("interrupted", "timeout"):
        recorder.finished(Job(mine.key, ("distil", "judge"), mine), Outcome(status, "too late"))
        kept = store.read(mine.key)
        assert kept is not None
        assert kept.status == "ok"
    recorder.finished(Job(mine.key, ("distil", "judge"), replace(mine, redistil=True)), Outcome("timeout", "too long"))
    replaced = store.read(mine.key)
    assert replaced is not None
    assert replaced.status == "timeout"


def test_a_cell_without_a_record_is_not_a_success(payload: Make) -> None:
    mine = payload("toy_mean")
    cell = changed(mine)
    record = Record(key=mine.key, distil_key=mine.distil_key, status="ok", cell=cell)
    plan = SimpleNamespace(cells=[PlannedCell(cell, mine.key, mine.distil_key)])
    assert exit_code(plan, {mine.key: record}) == 0  # type: ignore[arg-type]
    assert exit_code(plan, {}) == 3  # type: ignore[arg-type]


def test_the_judge_waits_for_a_rival_who_makes_the_set_anew(payload: Make) -> None:
    job = payload("toy_mean")
    distil_stage(job, silent)
    store = store_of(job)
    made, aside = store.set_folder(job.distil_key) / "distil.json", Path(job.out) / "aside"
    held, judging = threading.Event(), threading.Event()

    def rival() -> None:
        with store.claim(job.distil_key):
            os.replace(made, aside)  # as while a set is written: its other files are there, or half of them
            held.set()
            judging.wait(60)
            time.sleep(0.5)
            os.replace(aside, made)

    thread = threading.Thread(target=rival)
    thread.start()
    assert held.wait(60)
    judging.set()
    judge_stage(job, silent)
    thread.join()
    record = store.read(job.key)
    assert record is not None
    assert record.status == "ok"


def test_a_cell_that_a_rival_has_judged_meanwhile_is_not_judged_again(payload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = payload("toy_mean")
    distil_stage(job, silent)
    first = judge_stage(job, silent)
    before = store_of(job).record_file(job.key).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("bench.sweep.running.judge._judge_distilled", lambda *_: pytest.fail("it was judged again"))
        assert judge_stage(job, silent) == {"seconds": 0.0, "accuracy": first["accuracy"]}
    assert store_of(job).record_file(job.key).read_bytes() == before


@pytest.mark.parametrize("asked", ["anew from the start", "anew as the plan found it"])
def test_a_cell_that_is_to_be_judged_again_is(asked: str, payload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    job = payload("toy_mean")
    distil_stage(job, silent)
    judge_stage(job, silent)
    known = store_of(job).read(job.key)
    assert known is not None
    again = replace(job, redistil=True) if asked.endswith("start") else replace(job, judged_at=known.started)
    monkeypatch.setattr("bench.sweep.running.judge._judge_distilled", lambda *_: pytest.fail("it is judged again"))
    with pytest.raises(pytest.fail.Exception, match="judged again"):
        judge_stage(again, silent)


def test_a_curve_changes_no_byte_of_the_set_and_counts_neither_as_trial_nor_as_distillation(payload: Make) -> None:
    plain = payload("toy_walk")
    watched = replace(plain, out=plain.out + "-2", curve=True)
    store_of(watched).prepare()
    for cell in (plain, watched):
        distil_stage(cell, silent)
    assert tensors(plain) == tensors(watched)
    without, info = (store_of(cell).set_info(cell.distil_key) for cell in (plain, watched))
    assert without is not None
    assert info is not None
    assert "curve" not in without
    assert without["validate_calls"] == info["validate_calls"] == 6
    curve = info["curve"]
    assert [point["step"] for point in curve["points"]] == [1, 2, 3, 4, 5, 6]
    assert [point["loss"] for point in curve["points"]] == [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert (curve["horizon"], curve["schedule"], len(curve["points"][0]["val"])) == (6, "steady", 1)
    judge_stage(watched, silent)
    record = store_of(watched).read(watched.key)
    assert record is not None
    assert record.distil["curve"] == curve
    # A process that imports torch takes longer than six steps of the toy's.
    assert curve["seconds"] > 0
    assert curve["points"][-1]["seconds"] <= record.distil["seconds"]


def test_an_interrupted_run_keeps_the_points_that_it_had(payload: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    scored: list[Any] = []

    class Counted:
        calls = 0

        def score(self, distilled: Any) -> float:
            return 0.5

        def accuracies(self, distilled: Any, purpose: str) -> list[float]:
            assert purpose == "curve"
            scored.append(distilled)
            return [0.25, 0.75]

        def close(self) -> None:
            pass

    monkeypatch.setattr("bench.sweep.running.distil._validator", lambda *_: Counted())
    broken = replace(payload("toy_walk[breaks_at=4]"), curve=True)
    with pytest.raises(RuntimeError, match="power"):
        distil_stage(broken, silent)
    assert len(scored) == 3
    distil_stage(broken, silent)
    info = store_of(broken).set_info(broken.distil_key)
    assert info is not None
    assert [(point["step"], point["loss"]) for point in info["curve"]["points"]] == [(step, 7.0 - step) for step in range(1, 7)]
    assert len(scored) == 6
