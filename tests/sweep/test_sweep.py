"""Whole sweeps of the toy method: run, resume, judge anew, run stale cells again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench.record import mean

TOY = Path(__file__).parent / "plugins" / "toy.py"

Sweep = Callable[..., Any]


def lines(note: Path) -> int:
    return len(note.read_text().splitlines()) if note.exists() else 0


def test_a_sweep_leaves_what_it_promises_and_a_second_one_only_reports(sweep: Sweep, tmp_path: Path) -> None:
    note = tmp_path / "note"
    first = sweep("--seeds", "2", "--set", f"toy_mean.note={note}")
    assert first.code == 0, first.err
    assert lines(note) == 2
    for record in first.records:
        assert record.status == "ok"
        assert mean(record.scores["final"]["test"]) >= 0.5
        assert record.seconds["distil"] > 0
        assert record.distil["outer_steps"] == 4
        assert record.environment["threads"] == 1
        assert record.environment["plugins"] == ["toy.py"]
        assert (first.store.out / record.log).is_file()
        assert [(first.store.out / picture).is_file() for picture in record.pictures] == [True, True]
        assert not (first.store.set_folder(record.distil_key) / "checkpoint.safetensors").exists()
    assert [file.read_text() for file in (first.store.out / "runs").iterdir()] == [(first.store.out / "run.yaml").read_text()]
    names = {path.name for path in first.store.out.iterdir()}
    assert {"leaderboard.md", "accuracy_vs_pixels.md", "accuracy_vs_pixels.csv", "plots", "run.yaml"} <= names
    before = {path: path.read_bytes() for path in first.store.out.rglob("*") if path.is_file()}

    second = sweep("--seeds", "2", "--set", f"toy_mean.note={note}")
    assert second.code == 0
    assert "nothing to run" in second.out
    assert lines(note) == 2
    assert {path: path.read_bytes() for path in first.store.out.rglob("*") if path.is_file()} == before


def test_how_a_set_was_computed_stands_in_the_record_and_not_in_the_set(sweep: Sweep) -> None:
    short = "outer_iterations=2,window=2,totwindow=3,real_batch=16,student_steps=2,network=convnet-d2-w4"
    runs = [
        sweep("--methods", f"rat_bptt[{short},{how}]", "--force", "rat_bptt") for how in ("engine=eager,precision=bf16", "engine=plain")
    ]
    assert [run.code for run in runs] == [0, 0], runs[0].err + runs[1].err
    (record,) = runs[1].records
    assert record.distil["computed"] == {"engine": "plain", "precision": "float32"}
    assert (record.environment["engine"], record.environment["precision"]) == ("plain", "float32")
    assert "plain" not in (runs[1].store.set_folder(record.distil_key) / "manifest.json").read_text()


def test_a_precision_the_device_lacks_is_one_sentence_in_the_record(sweep: Sweep) -> None:
    run = sweep("--methods", "rat_bptt[precision=tf32]")
    assert run.code == 3
    assert run.record.status == "failed"
    assert run.record.reason.startswith("precision tf32 was asked for on the CPU")


def test_the_written_config_plans_the_same_cells(sweep: Sweep, tmp_path: Path) -> None:
    first = sweep("--methods", "toy_mean[take=[1,2]]", "--seeds", "0,3", "--effort", "0.5", "--set", "toy_mean.steps=2")
    assert first.code == 0, first.err
    config = tmp_path / "run.yaml"
    config.write_text((first.store.out / "run.yaml").read_text())
    assert yaml.safe_load(config.read_text())["set"] == {"toy_mean": {"steps": 2}}
    # Another folder and none of the flags but --out: only the config decides.
    from bench.cli import main

    assert main(["--config", str(config), "--out", str(tmp_path / "other")]) == 0
    other = {path.name for path in (tmp_path / "other" / "records").iterdir()}
    assert other == {path.name for path in first.store.records.iterdir()}
    assert len(other) == 4


def test_equal_seeds_give_equal_bytes(sweep: Sweep) -> None:
    first = sweep().record
    folder = sweep().store.set_folder(first.distil_key)
    tensors = (folder / "tensors.safetensors").read_bytes()
    second = sweep("--force", "toy_mean").record
    assert second.started >= first.started
    assert (folder / "tensors.safetensors").read_bytes() == tensors
    assert second.scores == first.scores


def test_another_protocol_judges_the_same_sets_again(sweep: Sweep, tmp_path: Path) -> None:
    note = tmp_path / "note"
    flags = ("--set", f"toy_mean.note={note}", "--seeds", "2")
    sweep(*flags)
    again = sweep(*flags, "--students", "2")
    assert again.code == 0, again.err
    assert lines(note) == 2
    fresh = [record for record in again.records if record.cell.protocol["students"] == 2]
    assert [record.seconds["distil"] for record in fresh] == [0.0, 0.0]
    assert all(record.distil["seconds"] > 0 for record in fresh)
    assert len(again.records) == 4


def test_a_changed_constant_is_stale_and_a_changed_comment_is_not(sweep: Sweep, forget: Callable[[], None], tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    code = TOY.read_text()
    plugin.write_text(code)
    first = sweep(plugin=plugin).record
    forget()
    plugin.write_text(code.replace('"""Class means of some images', '"""Means of some images') + "# the end\n")
    same = sweep(plugin=plugin)
    assert "stale" not in same.out
    assert same.record == first
    forget()
    plugin.write_text(
        code.replace("means.append(task.train.unit_images(pick).mean(0))", "means.append(task.train.unit_images(pick).mean(0) * 0.5)")
    )
    stale = sweep(plugin=plugin)
    assert "1 stale" in stale.out
    assert stale.record == first
    leaderboard = stale.store.out / "leaderboard.md"
    assert "(stale)" in leaderboard.read_text()
    again = sweep("--rerun", "stale", plugin=plugin)
    assert again.record.key == first.key
    assert again.record.cell.code_hash != first.cell.code_hash
    assert "(stale)" not in leaderboard.read_text()
    assert "stale" not in sweep(plugin=plugin).out


def test_a_dry_run_shows_keys_and_writes_nothing(sweep: Sweep) -> None:
    dry = sweep("--dry-run", "--budgets", "0.5,1", "--seeds", "2")
    assert dry.code == 0
    assert not dry.store.out.exists()
    assert dry.out.count("pending") >= 2
    assert "it keeps two whole images" in dry.out
    assert "estimate:" in dry.out
    wet = sweep("--budgets", "0.5,1")
    assert sorted(record.status for record in wet.records) == ["ok", "refused"]
    assert all(record.key[:12] in dry.out for record in wet.records)
    assert all(record.distil_key[:12] in dry.out for record in wet.records)


def test_a_corrupt_record_is_named_set_aside_and_made_again(sweep: Sweep) -> None:
    first = sweep()
    key = first.record.key
    first.store.record_file(key).write_text('{"schema": 1, "stat')
    again = sweep()
    assert again.code == 0
    assert f"{key}.json cannot be read" in again.err
    assert (again.store.records / f"{key}.json.corrupt").is_file()
    assert again.record.key == key
    assert again.record.seconds["distil"] == 0.0  # the set was still there


def test_the_full_data_line_and_the_references(sweep: Sweep, monkeypatch: Any) -> None:
    from bench import METHODS

    for name in METHODS:
        monkeypatch.setattr(METHODS[name], "reference_forms", ())
    # --no-reference is among the usual flags of these tests; a config file cannot take it back, so plan without it.
    config = sweep("--dry-run").store.out.parent / "c.yaml"
    config.write_text(
        json.dumps({"methods": "toy_mean", "datasets": "toy", "budgets": "1", "seeds": 1, "students": 1, "plugin": [str(TOY)]})
    )
    from bench.cli import main

    assert main(["--config", str(config), "--out", str(config.parent / "out")]) == 0
    kinds = sorted(json.loads(path.read_text())["cell"]["kind"] for path in (config.parent / "out" / "records").iterdir())
    assert kinds == ["contestant", "full_data", "reference"]
