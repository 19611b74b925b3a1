"""The benchmarks' cases are right before they are fast, and their statistics are what they say."""

from __future__ import annotations

import json
import time

import pytest

from benchmarks import engine, measure
from benchmarks.cases import CASES, Case, Judge

SMALL = [name for name in CASES if name.startswith(("digits", "judge"))]


@pytest.mark.parametrize("name", SMALL)
def test_small_cases_agree_with_the_plain_unroll(name: str) -> None:
    assert engine.worst_error(CASES[name].work, engine.Setting()) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ("cifar", "poster_96", "mtt")])
def test_large_cases_agree_with_the_plain_unroll(name: str) -> None:
    assert engine.worst_error(CASES[name].work, engine.Setting()) < 1e-8


def test_a_wrong_engine_is_not_reached_however_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "worst_error", lambda work, name: 1e-3)
    case = Case(Judge(students=1, steps=1), pairs=1, must=0.0, goal=0.0)
    assert engine.measure("judge", case, engine.Setting(), 100.0)["reached"] is False


def test_paired_ratios_are_of_processor_time() -> None:
    def work(loops: int) -> None:
        total = 0
        for k in range(loops):
            total += k

    found = measure.paired(lambda: work(300_000), lambda: work(100_000), pairs=9)
    assert found["ratio"]["low"] <= found["ratio"]["median"] <= found["ratio"]["high"]
    assert 2.0 < found["ratio"]["median"] < 4.5
    asleep = measure.paired(lambda: (time.sleep(0.02), work(200_000)), lambda: work(200_000), pairs=5)
    assert asleep["ratio"]["median"] < 2.0
    assert asleep["noisy"] is True


def test_bootstrap_interval_of_constant_values_is_the_value() -> None:
    assert measure.bootstrap_median([2.0] * 5) == (2.0, 2.0)
    low, high = measure.bootstrap_median([1.0, 2.0, 3.0, 4.0, 5.0])
    assert 1.0 <= low <= 3.0 <= high <= 5.0


def test_lines_are_json_and_have_a_sentence(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(engine, "convolution_peak", lambda device: 100.0)
    monkeypatch.setitem(engine.CASES, "judge", Case(Judge(students=2, steps=3), pairs=2, must=0.0, goal=0.0))
    assert engine.main(["--cases", "judge", "--out", str(tmp_path / "out.jsonl")]) == 0
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert line["case"] == "judge"
    assert line["ratio"]["low"] <= line["ratio"]["median"] <= line["ratio"]["high"]
    assert line["machine"]["torch"]
    assert "judge" in capsys.readouterr().out
