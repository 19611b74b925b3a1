"""The suite from Python: sweeps, single sets, records."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
import torch
from executors import InThisProcess

import bench
from bench import BenchError, Dataset, DistilledSet, RejectedSet, SweepListener, TrainRecipe, registry
from bench.decoders.images import Images
from bench.record import mean
from bench.sweep.running.executor import Job
from bench.sweep.running.stage import Outcome
from bench.sweep.settings import RunSettings

TINY: dict[str, Any] = {"methods": "random", "budgets": [1], "seeds": 1, "students": 1, "no_reference": True, "jobs": 1}


class Notes(SweepListener):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def warned(self, warning: str) -> None:
        self.heard.append(f"warned {warning}")

    def planned(self, plan: Any, estimates: Mapping[str, Any], slots: int) -> None:
        self.heard.append(f"planned {len(plan.cells)} cells, {len(estimates)} to run, {slots} at a time")

    def stage_started(self, job: Job, stage: str) -> None:
        self.heard.append(f"{stage} of {job.payload.title}")

    def finished(self, job: Job, outcome: Outcome) -> None:
        self.heard.append(f"finished {outcome.status}")

    def executed(self, lines: Sequence[str]) -> None:
        self.heard.append(lines[0])


@pytest.fixture(scope="module")
def swept(plugins: None, tmp_path_factory: pytest.TempPathFactory) -> bench.SweepResult:
    """A sweep of one cell."""
    return bench.run_sweep(bench.settings(**TINY), out=tmp_path_factory.mktemp("swept") / "out")


def test_settings_are_read_as_flags_are() -> None:
    given = bench.settings(methods="podd[order=random],rat_bptt", budgets=[0.3, 1], seeds=2, timeout=90, network="convnet-d3-w32")
    assert isinstance(given, RunSettings)
    assert given.methods == ("podd[order=random]", "rat_bptt")
    assert (given.budgets, given.seeds, given.timeout, given.network) == (("0.3", "1"), (0, 1), 90.0, "convnet-d3-w32")
    assert given.datasets == bench.settings().datasets  # the defaults
    assert bench.settings(seeds="3,", students=None).seeds == (3,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": 1}, "did you mean 'budgets'"),
        ({"seeds": 0}, "seeds needs"),
        ({"split": "test"}, "unknown split"),
        ({"network": "a b"}, "network"),
    ],
)
def test_bad_settings_are_one_sentence(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        bench.settings(**given)


def test_a_sweep_returns_what_it_left_tells_its_listener_and_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    notes = Notes()
    result = bench.run_sweep(bench.settings(**TINY), notes, tmp_path / "out")
    (record,) = result.records.values()
    assert (record.status, result.exit_code, result.finished, result.out) == ("ok", 0, True, tmp_path / "out")
    assert [planned.key for planned in result.plan.cells] == [record.key]
    assert all(path.is_file() for path in result.report)
    assert {path.name for path in result.report} >= {"leaderboard.md", "accuracy_vs_pixels.csv"}
    title = "random digits 1 seed 0"
    assert notes.heard == [
        "planned 1 cells, 1 to run, 1 at a time",
        f"distil of {title}",
        f"judge of {title}",
        "finished ok",
        "1 of 1 cells have a record: 1 ok",
    ]
    assert capfd.readouterr() == ("", "")
    again = Notes()
    assert bench.run_sweep(bench.settings(**TINY), again, tmp_path / "out").records == result.records
    assert again.heard == ["planned 1 cells, 0 to run, 1 at a time", "1 of 1 cells have a record: 1 ok"]


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    result = bench.run_sweep(bench.settings(**TINY), out=tmp_path / "out", dry_run=True)
    assert [planned.state for planned in result.plan.cells] == ["pending"]
    assert (result.records, result.report, result.exit_code) == ({}, (), 0)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_leaves_the_threads_of_its_caller_alone(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    try:
        bench.run_sweep(bench.settings(**TINY), out=tmp_path / "out", dry_run=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_sweep_runs_beside_the_main_thread(tmp_path: Path) -> None:
    results: list[bench.SweepResult] = []
    thread = threading.Thread(target=lambda: results.append(bench.run_sweep(bench.settings(**TINY), out=tmp_path / "out")))
    thread.start()
    thread.join()
    assert results[0].exit_code == 0


def test_another_executor_can_run_the_same_jobs(swept: bench.SweepResult, tmp_path: Path) -> None:
    result = bench.run_sweep(bench.settings(**TINY), out=tmp_path / "out", executor=InThisProcess())
    (mine,), (pools,) = result.records.values(), swept.records.values()
    assert (mine.key, mine.scores) == (pools.key, pools.scores)


def test_a_script_without_the_usual_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"print('begin')\nimport bench\nprint(bench.run_sweep(bench.settings(**{TINY!r}), out='out').exit_code)\n")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(bench.__file__).parents[1]), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.split(), done.returncode) == (["begin", "0"], 0), done.stderr


def test_the_network_of_a_run_is_that_of_every_row(tmp_path: Path) -> None:
    given = bench.settings(**{**TINY, "no_reference": False, "network": "convnet-d1-w4"})
    result = bench.run_sweep(given, out=tmp_path / "out")
    kinds = {record.cell.kind for record in result.records.values()}
    assert kinds >= {"reference", "full_data"}
    assert {record.training["network"] for record in result.records.values()} == {"convnet-d1-w4"}
    again = bench.settings(config=tmp_path / "out" / "run.yaml")
    assert again.network == "convnet-d1-w4"


def test_a_set_of_a_sweep_is_judged_alone_as_it_was_there(swept: bench.SweepResult) -> None:
    (record,) = swept.records.values()
    folder = swept.out / "sets" / record.distil_key
    distilled = bench.load_set(folder)
    assert isinstance(distilled, DistilledSet)
    assert distilled.spec.name == "digits"
    judged = [bench.judge_set(given, "digits", students=1) for given in (distilled, folder, str(folder))]
    assert [judgement.scores for judgement in judged] == [record.scores] * 3
    assert judged[0].audit["pixels"] == record.audit["pixels"]


def test_a_set_is_judged_under_another_protocol_split_and_budget(swept: bench.SweepResult, digits: Dataset) -> None:
    (record,) = swept.records.values()
    distilled = bench.load_set(swept.out / "sets" / record.distil_key)
    paper = bench.judge_set(distilled, "digits", students=1, split="paper", budget=2)
    assert paper.scores["final"]["val"] == []
    assert len(bench.judge_set(distilled, digits, "common-v1", students=1).scores["lr_trials"]) > 1
    with pytest.raises(bench.RejectedSet, match="allows 64"):
        bench.judge_set(distilled, "digits", students=1, budget="64px")
    with pytest.raises(BenchError, match="did you mean 'digits'"):
        bench.judge_set(distilled, "digit")


def test_a_set_with_more_labels_than_are_free_still_fits_the_budget_it_uses(digits: Dataset) -> None:
    stored = Images(digits.spec, 40, size=(4, 4), labels="soft")
    picked = torch.arange(40)
    stored.write(digits.train.unit_images(picked), digits.train.labels[picked])
    judgement = bench.judge_set(DistilledSet(digits.spec, stored, TrainRecipe(steps=2), coordinates="rgb"), "digits", students=1)
    # 640 numbers of images; of 400 label numbers 10 are free per full image that fits, which is 14 images in 900 pixels.
    assert judgement.audit["pixels"] == 900
    assert judgement.audit["charged_labels"] == 260


def test_records_are_a_frame_with_a_row_each(swept: bench.SweepResult) -> None:
    frame = bench.load_records(swept.out)
    (record,) = swept.records.values()
    assert isinstance(frame, pandas.DataFrame)
    (row,) = frame.to_dict("records")
    wanted = ("dataset", "protocol", "method", "variant", "budget_ipc", "budget_px", "used_px", "seed", "status")
    assert [row[name] for name in wanted] == ["digits", "native-v1", "random", "", 1.0, 640, 640, 0, "ok"]
    assert row["accuracy"] == pytest.approx(mean(record.scores["final"]["test"]))
    assert row["val_accuracy"] == pytest.approx(mean(record.scores["final"]["val"]))
    assert (row["network"], row["effort"], row["key"]) == ("convnet-d2-w32", 1.0, record.key)


def test_what_a_record_lacks_is_missing_and_a_corrupt_one_is_warned_of(swept: bench.SweepResult, tmp_path: Path) -> None:
    (record,) = swept.records.values()
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "bad.json").write_text("{")
    (folder / "f.json").write_text(replace(record, key="f", status="failed", reason="why", scores={}, audit={}).to_json())
    with pytest.warns(UserWarning, match=r"bad\.json"):
        frame = bench.load_records(tmp_path)
    assert list(frame.reason) == ["why"]
    assert frame.accuracy.isna().all()
    assert (folder / "bad.json").is_file()
    with pytest.raises(BenchError, match="is not there"):
        bench.load_records(tmp_path / "nowhere")


def test_a_record_knows_its_set_and_a_set_that_is_another_one_is_refused(swept: bench.SweepResult, tmp_path: Path) -> None:
    (record,) = swept.records.values()
    folder = tmp_path / "copy"
    shutil.copytree(swept.out / "sets" / record.distil_key, folder)
    tensors = folder / "tensors.safetensors"
    assert record.distil["files"]["tensors.safetensors"]["sha256"] == hashlib.sha256(tensors.read_bytes()).hexdigest()
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    for use in (bench.load_set, lambda path: bench.judge_set(path, "digits", students=1)):
        with pytest.raises(bench.RejectedSet, match="is not the one that was made there .*tensors.safetensors"):
            use(folder)
    (folder / "distil.json").unlink()  # as a set that somebody released
    assert bench.load_set(folder).spec.name == "digits"


@pytest.mark.parametrize("read", [bench.load_records, bench.load_set])
def test_paths_are_read_as_on_the_command_line(read: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises((BenchError, RejectedSet), match=re.escape(str(tmp_path / "nowhere"))):
        read("~/nowhere")
    with pytest.raises(BenchError, match="cannot be a path"):
        read("a\0b")


def test_public_names_are_there() -> None:
    registry.discover()
    for name in ("run_sweep", "settings", "judge_set", "load_set", "load_records", "SweepListener", "SweepResult"):
        assert name in bench.__all__
        assert getattr(bench, name).__doc__
