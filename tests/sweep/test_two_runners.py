"""Two runners on one out folder: a set is made and judged once, and both end well."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.sweep.store import Store

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.slow
def test_two_runners_make_and_judge_a_set_once(start: Start, tmp_path: Path) -> None:
    note = tmp_path / "note"
    flags = ("--methods", f"toy_mean[note={note},pause=2]", "--jobs", "1")  # eight seconds, in which both get to their cell
    runners = [start(*flags), start(*flags)]
    words = [runner.communicate(timeout=120) for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0], words
    assert all("1 pending" in out for out, _ in words)  # neither found it made when it planned
    assert len(note.read_text().splitlines()) == 1
    (record,) = Store(tmp_path / "out").read_all()[0].values()
    assert record.status == "ok"
    assert record.distil["seconds"] > 8
    log = (tmp_path / "out" / record.log).read_text()
    assert log.count("--- judge") == 2
    assert log.count("another runner has judged this cell meanwhile") == 1
