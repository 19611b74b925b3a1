"""A disk that is full, or a folder that can no longer be written: one sentence, no litter, and the next run goes on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import files
from bench.sweep.store import Store

Sweep = Callable[..., Any]

FULL = OSError(errno.ENOSPC, "No space left on device")
READ_ONLY = OSError(errno.EROFS, "Read-only file system")


def refuse(error: OSError) -> Callable[..., None]:
    def refusing(*_: object, **__: object) -> None:
        raise error

    return refusing


def litter(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if not path.name.startswith(".building-")]


@pytest.mark.parametrize("error", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_a_run_that_can_write_nothing_says_so_in_a_sentence_and_goes_on_later(
    error: OSError, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", refuse(error))
        done = sweep()
    assert done.code == 1
    assert done.err.startswith("ddbench: error: ")
    assert str(error.strerror) in done.err
    assert len(done.err.splitlines()) == 1
    assert litter(done.store.out) == []
    assert done.records == []
    assert sweep().code == 0


def test_cells_go_on_though_a_record_cannot_be_written_and_its_cell_is_still_to_be_done(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--methods", "toy_mean[behave=raise],toy_mean", "--jobs", "1")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", refuse(FULL))
        done = sweep(*flags)
    assert done.code == 1
    assert "1 record could not be written" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert done.record.status == "ok"
    again = sweep(*flags)
    assert "1 cell to run" in again.out
    assert sorted(record.status for record in again.records) == ["failed", "ok"]


def test_a_report_that_cannot_be_written_is_no_wrong_input(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.render", refuse(FULL))
    done = sweep()
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith(f"ddbench: error: the report cannot be written into '{done.store.out}': No space left")
    assert done.record.status == "ok"


def test_what_stands_in_the_way_of_a_report_is_named(sweep: Sweep) -> None:
    done = sweep()
    (done.store.out / "leaderboard.md").unlink()
    (done.store.out / "leaderboard.md").mkdir()
    again = sweep()
    assert again.code == 1
    assert f"Is a directory ('{done.store.out / 'leaderboard.md'}'); make room there" in again.err.splitlines()[-1]


def test_a_stage_without_room_fails_with_that_reason_and_the_others_go_on(sweep: Sweep) -> None:
    done = sweep("--methods", "toy_mean[behave=disk_full],toy_mean", "--jobs", "1")
    assert done.code == 3
    assert {record.cell.variant: record.status for record in done.records} == {"behave=disk_full": "failed", "": "ok"}
    (bad,) = [record for record in done.records if record.status == "failed"]
    assert os.strerror(errno.EFBIG) in bad.reason
    assert litter(done.store.out) == []


def test_a_cell_without_a_log_fails_with_that_reason(sweep: Sweep) -> None:
    first = sweep()
    key = first.record.key
    log = first.store.out / "logs" / f"{key}.log"
    first.store.record_file(key).unlink()
    log.unlink()
    log.symlink_to("/dev/full")
    again = sweep()
    assert again.code == 3
    assert again.record.reason == f"its log '{log}' cannot be written: No space left on device"
