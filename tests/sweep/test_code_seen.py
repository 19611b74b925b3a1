"""What a report knows of the program text of methods."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.records import make_cell, make_record, seeds

from bench.sweep.code_seen import code_seen, remember_code, stale_keys
from bench.sweep.store import Store


def stale(store: Store, *records) -> set[str]:
    return stale_keys({record.key: record for record in records}, code_seen(store))


def test_records_of_other_code_than_the_last_plan_saw_are_stale(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = make_record(cell=make_cell(ipc=0.3, code_hash="old")), make_record(cell=make_cell(ipc=1, code_hash="new"))
    remember_code(store, [make_cell(code_hash="new")])
    assert stale(store, old, new) == {old.key}


def test_an_experiment_and_its_undoing_leave_only_the_experiment_stale(tmp_path: Path) -> None:
    store = Store(tmp_path)
    before, tried = seeds([0.5], code_hash="c1"), seeds([0.6], ipc=0.3, code_hash="tried")
    remember_code(store, [make_cell(code_hash="tried")])
    assert stale(store, *before, *tried) == {before[0].key}
    remember_code(store, [make_cell(code_hash="c1")])
    assert stale(store, *before, *tried) == {tried[0].key}


def test_a_method_that_was_never_planned_here_is_not_called_stale(tmp_path: Path) -> None:
    remember_code(Store(tmp_path), [make_cell("rat_bptt", code_hash="c2")])
    assert stale(Store(tmp_path), *seeds([0.5])) == set()
    assert stale(Store(tmp_path / "nowhere"), *seeds([0.5])) == set()


def test_a_later_plan_of_other_methods_forgets_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    remember_code(store, [make_cell(code_hash="c2")])
    remember_code(store, [make_cell("rat_bptt", code_hash="c3")])
    assert stale(store, *seeds([0.5]), *seeds([0.5], "rat_bptt")) == {record.key for record in [*seeds([0.5]), *seeds([0.5], "rat_bptt")]}


def test_other_parts_of_one_method_are_other_code(tmp_path: Path) -> None:
    store = Store(tmp_path)
    remember_code(store, [make_cell(code_hash="c2", parts={"form": "poster"})])
    assert stale(store, *seeds([0.5], parts={"form": "tiles"})) == set()
    assert len(stale(store, *seeds([0.5], parts={"form": "poster"}))) == 1


@pytest.mark.parametrize("text", ["", "[1]", '{"a": 1}', "\x00"])
def test_a_damaged_file_makes_nothing_stale_and_is_written_anew(text: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "code.json").write_text(text)
    assert stale(store, *seeds([0.5])) == set()
    remember_code(store, [make_cell(code_hash="c2")])
    assert len(stale(store, *seeds([0.5]))) == 1
