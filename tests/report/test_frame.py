"""The tidy frame that everything in a report is made from."""

from __future__ import annotations

import random

import pandas
import pytest
from report.records import full_data, make_cell, make_record, seeds

from bench.report.frame import SCORES, accuracies, has_score, record_frame, score_frame


def test_a_row_per_student_and_a_row_per_record_without_a_score():
    frame = score_frame([make_record([0.5, 0.6, 0.7]), make_record(status="failed", reason="why", cell=make_cell(seed=1))])
    assert list(frame.seed) == [0, 0, 0, 1]
    assert list(frame.student) == [0, 1, 2, 0]
    assert list(frame.accuracy[:3]) == [0.5, 0.6, 0.7]
    assert list(frame.accuracy_test_best[:3]) == pytest.approx([0.53, 0.63, 0.73])
    assert frame[list(SCORES)].iloc[3].isna().all()
    assert frame.reason[3] == "why"


def test_records_are_means_over_their_students():
    frame = record_frame(score_frame([make_record([0.5, 0.7]), make_record([0.6], cell=make_cell(seed=1))]))
    assert dict(zip(frame.seed, frame.accuracy, strict=True)) == {0: pytest.approx(0.6), 1: 0.6}
    assert dict(zip(frame.seed, frame.n_students, strict=True)) == {0: 2, 1: 1}


def test_the_order_of_records_does_not_matter():
    records = [*seeds([0.5, 0.6]), *seeds([0.7], "b"), full_data(), make_record(status="refused", cell=make_cell("c"))]
    expected = record_frame(score_frame(records))
    for seed in range(5):
        random.Random(seed).shuffle(records)
        pandas.testing.assert_frame_equal(record_frame(score_frame(records)), expected)


def test_no_records_are_a_frame_without_rows():
    assert len(record_frame(score_frame([]))) == 0


@pytest.mark.parametrize(
    "scores", [{}, {"final": {"test": []}}, {"final": {"test": [float("nan")]}}, {"final": {"test": None}}, {"final": 3}]
)
def test_an_ok_record_without_a_finite_score_has_none(scores):
    record = make_record(scores=scores)
    assert not has_score(record)
    assert list(score_frame([record]).status) == ["failed"]


def test_a_single_number_is_read_as_a_list_of_one():
    record = make_record()
    record.scores["test_best"] = {"step": 1, "test": 0.8}
    assert accuracies(record, "test_best", "test") == [0.8]


@pytest.mark.parametrize("field", ["used_px", "distill_seconds", "effective_ipc"])
def test_what_no_record_has_is_a_missing_number(field):
    frame = score_frame([make_record(audit={}, distil={})])
    assert frame[field].isna().all()
    assert frame[field].dtype == float


def test_records_from_before_a_field_belong_to_the_row_of_those_after_it():
    """The new field stands at what held without it, so it is not keyed, and both are seeds of one row."""
    before = make_record(cell=make_cell(fields={"window": 20}, unkeyed=["engine"]))
    after = make_record(cell=make_cell(seed=1, fields={"window": 20, "crops": "bounded"}, unkeyed=["crops", "engine"]))
    other = make_record(cell=make_cell(seed=2, fields={"window": 20, "crops": "toroidal"}, unkeyed=["engine"]))
    frame = score_frame([before, after, other]).drop_duplicates("key")
    assert frame.cell.iloc[0] == frame.cell.iloc[1] != frame.cell.iloc[2]
