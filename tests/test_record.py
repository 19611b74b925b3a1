"""Records: plain JSON, round trip, nothing that is not a number, nothing unknown."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from report.records import make_cell, make_record

from bench.record import STATUSES, Cell, Record, mean


def cell(**changes: Any) -> Cell:
    return make_cell(ipc=0.3, **changes)


def record(status: Any = "ok", **changes: Any) -> Record:
    return make_record(status=status, reason="" if status == "ok" else "why", cell=cell(), **changes)


def test_round_trip() -> None:
    made = make_record([0.5, 1 / 3], cell=cell(variant="order=random"))
    again = Record.from_json(made.to_json())
    assert again == made
    assert again.to_json() == made.to_json()
    assert again.cell.label == "podd[order=random]"
    assert cell().label == "podd"


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_round_trips(status: Any) -> None:
    assert Record.from_json(record(status).to_json()).status == status


def test_a_record_never_holds_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        record(scores={"test": float("nan")}).to_json()
    text = make_record([0.125, 0.25]).to_json()
    for number in ("NaN", "Infinity", "1e999"):
        with pytest.raises(ValueError, match="scores.final.test.0 is (nan|inf); it must be finite"):
            Record.from_json(text.replace("0.125", number))


def spoilt(**changes: Any) -> str:
    raw = json.loads(record().to_json())
    return json.dumps({**raw, **changes})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is no JSON: EOF"),
        ("[]", "it should be a JSON object"),
        ("[" * 100_000, "it is no JSON: recursion limit exceeded"),
        ("1" * 100_000, "it is no JSON: number out of range"),
        ("{}", "key is missing"),
        (spoilt(schema=1), "made by an earlier version of the suite; run again"),
        (spoilt(schema=3), "made by a later version of the suite"),
        (spoilt(schema=True), "schema is True; it should be a whole number"),
        (spoilt(status="fine"), "status is 'fine'; it should be 'ok', 'refused'"),
        (spoilt(cell=None), "cell is None; it should be a JSON object"),
        (spoilt(cell={}), "cell.kind is missing"),
        (spoilt(surplus=1), "surplus is not a field of it"),
        (spoilt(reason="\ud800"), "it is no JSON: "),
        (spoilt(key="../../etc/passwd"), "key is '../../etc/passwd', which cannot stand there"),
        (spoilt(log="logs/../../secret.log"), "log is 'logs/../../secret.log', which cannot stand there"),
        (spoilt(audit=None), "audit is None; it should be a JSON object"),
        (spoilt(audit={}), "audit is empty, and the status is ok"),
        (spoilt(scores={}), "scores is empty, and the status is ok"),
        (record().to_json()[:-40], "it is no JSON: EOF"),
    ],
)
def test_what_is_not_a_record_says_why(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Record.from_json(text)


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("audit.pixels", 0, "audit.pixels is 0; it should be greater than or equal to 1"),
        ("audit.pixels", "640", "audit.pixels is '640'; it should be a whole number"),
        ("audit.pixels", 10**400, "audit.pixels is 1000"),
        ("audit.other", 1, "audit.other is not a field of it"),
        ("cell.budget.pixels", None, "cell.budget.pixels is None"),
        ("cell.budget.ipc", -1.0, "cell.budget.ipc is -1.0; it should be greater than 0"),
        ("cell.dataset", "../digits", "cell.dataset is '../digits', which cannot stand there"),
        ("cell.variant", "order=\x00", "cell.variant is 'order=.x00', which cannot stand there"),
        ("cell.seed", -1, "cell.seed is -1"),
        ("cell.effort", float("1e300"), r"cell.effort is 1e\+300"),
        (
            "cell.fields",
            {"lr": [1.0, "x"], "deep": {"er": [1e999]}},
            "cell.fields.deep.er.0 is inf; it must be finite",
        ),
        ("cell.protocol.students", 0, "cell.protocol.students is 0"),
        ("scores.final.test", [], "scores.final.test is .*; list should have at least 1 item"),
        ("scores.final.test", [0.5, 1.5], "scores.final.test.1 is 1.5; it should be less than or equal to 1"),
        ("scores.final.test", [0.5], r"scores.test_best.test has 2 accuracies, scores.final.test 1"),
        ("scores.n_test", 0, "scores.n_test is 0"),
        ("seconds.judge", -1, "seconds.judge is -1; it must be a number from 0"),
        ("seconds.judge", True, "seconds.judge is True; it must be a number from 0"),
        ("distil.seconds", 1e308, r"distil.seconds is 1e\+308; it must be a number from 0 to 1e30"),
        ("environment.plugins", "toy.py", "environment.plugins is 'toy.py'; it should be a list"),
        ("training.network", ["a"] * 10**5, "training.network is .*; it should be a text"),
    ],
)
def test_the_first_field_that_is_wrong_is_named(path: str, value: Any, complaint: str) -> None:
    raw = json.loads(record().to_json())
    *above, last = path.split(".")
    inner = raw
    for name in above:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(ValueError, match=complaint) as told:
        Record.from_json(json.dumps(raw))
    assert len(str(told.value)) < 300


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
        "prerequisites": [{"name": "features", "key": "k1", "config": {}, "seed": 0, "used": "planning"}],
    }
    again = Record.from_json(make_record(cell=cell(**decided)).to_json()).cell
    assert {name: getattr(again, name) for name in decided} == decided
    first, second = cell(), cell()
    first.parts["form"] = "poster"
    assert second.parts == {}  # no two cells share a default


def test_mean() -> None:
    assert mean([0.1] * 10) == pytest.approx(0.1)
    assert mean([]) != mean([])
