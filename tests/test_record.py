"""Records: plain JSON, round trip, nothing that is not a number, nothing unknown."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from bench.record import STATUSES, Cell, Record, mean


def cell(**changes: Any) -> Cell:
    values: dict[str, Any] = {
        "kind": "contestant",
        "dataset": "digits",
        "data_hash": "0123",
        "split": "dev",
        "method": "podd",
        "variant": "",
        "method_version": 1,
        "fields": {"window": 20, "lr": 1e-3},
        "budget": {"requested": "0.3", "pixels": 192, "ipc": 0.3},
        "seed": 0,
        "effort": 1.0,
        "protocol": {"name": "native-v1", "hash": "abc"},
    }
    return Cell(**{**values, **changes})


def test_round_trip() -> None:
    record = Record("k", "d", "ok", cell(variant="order=random"), scores={"final": {"step": 10, "test": [0.5, 1 / 3], "val": []}})
    again = Record.from_json(record.to_json())
    assert again == record
    assert again.to_json() == record.to_json()
    assert again.cell.label == "podd[order=random]"
    assert cell().label == "podd"


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_round_trips(status: Any) -> None:
    assert Record.from_json(Record("k", "d", status, cell(), reason="why").to_json()).status == status


def test_a_record_never_holds_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Record("k", "d", "ok", cell(), scores={"test": float("nan")}).to_json()
    text = Record("k", "d", "ok", cell(), scores={"test": 0.125}).to_json().replace("0.125", "NaN")
    with pytest.raises(ValueError, match="NaN is not allowed"):
        Record.from_json(text)


def spoilt(**changes: Any) -> str:
    raw = json.loads(Record("k", "d", "ok", cell()).to_json())
    return json.dumps({**raw, **changes})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Expecting value"),
        ("[]", "not a record of schema 2"),
        ("{}", "not a record of schema 2"),
        (spoilt(schema=1), "made by an earlier version of the suite; run again"),
        (spoilt(schema=3), "made by a later version of the suite"),
        (spoilt(status="fine"), "unknown status 'fine'"),
        (spoilt(cell=None), "no cell"),
        (spoilt(cell={}), "missing fields"),
        (spoilt(surplus=1), "unknown fields surplus"),
        (Record("k", "d", "ok", cell()).to_json()[:-40], "Expecting|Unterminated|delimiter"),
    ],
)
def test_what_is_not_a_record_says_why(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Record.from_json(text)


def test_every_field_is_described() -> None:
    for kind in (Cell, Record):
        undocumented = [f.name for f in fields(kind) if f"{f.name}" not in (kind.__doc__ or "")]
        assert undocumented in ([], ["schema"])


def test_what_planning_decided_round_trips() -> None:
    decided: dict[str, Any] = {
        "network": "convnet-d2-w32",
        "unofficial": True,
        "parts": {"form": "poster", "objective": "bptt"},
        "plan": {"size": [12, 16]},
        "prerequisites": [{"name": "features", "key": "k1", "config": {}, "seed": 0, "seconds": 1.5}],
    }
    again = Record.from_json(Record("k", "d", "ok", cell(**decided)).to_json()).cell
    assert {name: getattr(again, name) for name in decided} == decided
    first, second = cell(), cell()
    first.parts["form"] = "poster"
    assert second.parts == {}  # no two cells share a default


def test_mean() -> None:
    assert mean([0.1] * 10) == pytest.approx(0.1)
    assert mean([]) != mean([])
