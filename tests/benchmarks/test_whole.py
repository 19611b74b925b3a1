"""Two checkouts are compared by the time of all their processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import whole

ROOT = Path(__file__).parents[2]

# Stands for run_bench.py: leaves a process behind that works for some seconds, and writes down how it was called.
COMMAND = """
import subprocess, sys
from pathlib import Path
burn = "import time\\nwhile time.process_time() < {seconds}: pass"
subprocess.Popen([sys.executable, "-S", "-c", burn], start_new_session=True)
with Path("calls.txt").open("a") as file:
    file.write(" ".join(sys.argv[1:-1]) + "\\n")
"""


def checkout(folder: Path, seconds: float) -> Path:
    folder.mkdir()
    (folder / "run_bench.py").write_text(COMMAND.format(seconds=seconds))
    return folder


def test_the_ratio_is_that_of_all_processes(tmp_path: Path) -> None:
    slow, fast = checkout(tmp_path / "slow", 0.6), checkout(tmp_path / "fast", 0.2)
    # In a process of its own, because the benchmark waits for every child of its process.
    call = f"""
from pathlib import Path
from benchmarks import whole
whole.ROOT = Path({str(fast)!r})
raise SystemExit(whole.main(["--against", {str(slow)!r}, "--pairs", "2", "--out", {str(tmp_path / "out.jsonl")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", call], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert 2.0 < line["ratio"]["cpu_s"]["median"] < 3.2
    assert line["ratio"]["cpu_s"]["low"] <= line["ratio"]["cpu_s"]["median"] <= line["ratio"]["cpu_s"]["high"]
    for folder in (slow, fast):
        calls = (folder / "calls.txt").read_text().splitlines()
        assert len(calls) == 3  # a warm-up and two measured ones
        assert ["--effort" in call for call in calls] == [True, False, False]


def test_a_slower_checkout_does_not_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seconds = {whole.ROOT: 1.06, tmp_path: 1.0}
    monkeypatch.setattr(whole, "whole", lambda checkout, *more: {"cpu_s": seconds[checkout], "wall_s": 1.0, "load_before": 0.0})
    monkeypatch.setattr(whole.ctypes, "CDLL", lambda name: type("Libc", (), {"prctl": lambda *_: 0})())
    checkout_file = tmp_path / "run_bench.py"
    checkout_file.touch()
    assert whole.main(["--against", str(tmp_path)]) == 1
    assert "1.0 -> 1.1 s, 0.943x" in capsys.readouterr().out
    seconds[whole.ROOT] = 1.04
    assert whole.main(["--against", str(tmp_path)]) == 0


def test_what_is_no_checkout_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        whole.main(["--against", str(tmp_path)])
    assert stopped.value.code == 2
    assert "has no run_bench.py" in capsys.readouterr().err
