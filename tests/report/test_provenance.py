"""What is said about where numbers were made."""

from __future__ import annotations

import pytest
from report.records import make_cell, make_record, row_of

from bench.report.provenance import environment_lines


def records(*environments):
    return row_of([make_record(cell=make_cell(seed=seed), environment=one) for seed, one in enumerate(environments)]).cells


def test_one_environment_is_named_without_a_warning():
    (line,) = environment_lines(records(*[{"packages": {"torch": "2.14.0"}, "device": "cpu", "threads": 1}] * 2))
    assert line == "Made with device cpu, threads 1, torch 2.14.0."


def test_each_mixed_part_is_warned_of():
    one, other = {"packages": {"torch": "2.14.0"}, "device": "cpu"}, {"packages": {"torch": "2.13.0"}, "device": "cuda"}
    warning = environment_lines(records(one, other))[0]
    assert warning.startswith("**Mixed environments in this table** (device: cpu, cuda; torch: 2.13.0, 2.14.0)")


def test_a_part_that_some_record_lacks_is_mixed():
    assert "precision: bf16, not recorded" in environment_lines(records({"precision": "bf16", "device": "x"}, {"device": "x"}))[0]


def test_what_only_some_methods_have_is_mixed_only_among_them():
    assert environment_lines(records({"engine": "cpp", "device": "x"}, {"device": "x"})) == ["Made with device x, engine cpp."]
    assert "engine: cpp, eager" in environment_lines(records({"engine": "cpp"}, {"engine": "eager"}, {}))[0]


@pytest.mark.parametrize("name", ["plugins", "commit", "ddbench", "cores"])
def test_what_cannot_move_a_number_is_not_compared(name):
    assert not any("Mixed" in line for line in environment_lines(records({"device": "x", name: "a"}, {"device": "x", name: "b"})))


@pytest.mark.parametrize("status", ["failed", "rejected", "interrupted", "refused"])
def test_a_cell_without_a_score_made_no_number_and_is_not_compared(status):
    done = make_record(environment={"device": "cpu", "kernels": "compiled"})
    broken = make_record(status=status, cell=make_cell(seed=1), environment={"device": "cuda"})
    assert environment_lines(row_of([done, broken]).cells) == ["Made with device cpu, kernels compiled."]


def test_commits_are_listed_and_no_reason_for_a_warning():
    lines = environment_lines(records({"commit": "a" * 40, "dirty": False, "cores": 2}, {"commit": "b" * 40, "dirty": True, "cores": 8}))
    assert lines == ["Commit of the suite: aaaaaaaaaa, bbbbbbbbbb with uncommitted changes."]


def test_records_without_an_environment_say_nothing():
    assert environment_lines(records({}, {})) == []
