"""Aggregation over seeds and students."""

from __future__ import annotations

import pytest
from report.records import full_data, make_cell, make_record, seeds

from bench.report.rows import Row, accuracies, has_score, shown_status
from bench.report.statistics import t_half_width


def row(records) -> Row:
    return Row("contestant", "podd", "", tuple(records))


def test_students_are_averaged_within_a_seed_and_the_interval_is_over_seeds():
    found = row([make_record([0.5, 0.7], cell=make_cell(seed=0)), make_record([0.8, 0.9], cell=make_cell(seed=1))]).final
    assert found.mean == pytest.approx((0.6 + 0.85) / 2)
    assert found.half_width == pytest.approx(t_half_width([0.6, 0.85]))
    assert (found.n_distil, found.n_students) == (2, 2)


def test_one_seed_shows_the_interval_over_its_students():
    found = row([make_record([0.5, 0.6, 0.7])]).final
    assert found.half_width == pytest.approx(t_half_width([0.5, 0.6, 0.7]))
    assert (found.n_distil, found.n_students) == (1, 3)


def test_one_seed_and_one_student_have_no_interval():
    found = row([make_record([0.5])]).final
    assert found.half_width is None
    assert found.bounds is None


def test_bounds_stay_within_zero_and_one():
    assert row([make_record([0.99, 0.1])]).final.bounds == (0.0, 1.0)


def test_a_failed_seed_counts_neither_as_zero_nor_as_a_replicate():
    records = [*seeds([0.6, 0.8]), make_record(status="failed", reason="it broke", cell=make_cell(seed=2))]
    found = row(records)
    assert found.final.mean == pytest.approx(0.7)
    assert found.final.n_distil == 2
    assert found.status == "ok"
    assert not found.complete


def test_status_without_any_score_is_the_worst_one():
    records = [make_record(status=status, cell=make_cell(seed=i)) for i, status in enumerate(["refused", "timeout", "interrupted"])]
    assert row(records).status == "timeout"
    assert row(records).final is None


def test_students_of_different_number_are_not_given_one_number():
    assert row([make_record([0.5]), make_record([0.5, 0.6], cell=make_cell(seed=1))]).final.n_students is None


@pytest.mark.parametrize(
    "scores", [{}, {"final": {"test": []}}, {"final": {"test": [float("nan")]}}, {"final": {"test": None}}, {"final": 3}]
)
def test_an_ok_record_without_a_finite_score_is_shown_as_failed(scores):
    record = make_record(scores=scores)
    assert not has_score(record)
    assert shown_status(record) == "failed"
    assert row([record]).status == "failed"


def test_a_score_that_one_seed_lacks_is_absent():
    records = seeds([0.6, 0.7])
    selected = {"step": 50, "test": [0.5, 0.6], "val": [0.5, 0.6]}
    records[0].scores["val_selected"] = selected
    assert row(records).estimate("val_selected", "test") is None
    records[1].scores["val_selected"] = selected
    assert row(records).estimate("val_selected", "test").mean == pytest.approx(0.55)


def test_a_single_number_is_read_as_a_list_of_one():
    record = make_record()
    record.scores["test_best"] = {"step": 1, "test": 0.8}
    assert accuracies(record, "test_best", "test") == [0.8]


def test_network_is_split_into_architecture_and_width():
    assert row([make_record()]).arch_and_width == ("convnet-d2", "32")
    assert row([make_record(training={"network": "mlp"})]).arch_and_width == ("mlp", "")


@pytest.mark.parametrize(("used", "unused"), [(640, None), (639.5, None), (639, 1), (64, 576), (700, None)])
def test_a_whole_pixel_that_is_not_used_counts_as_unused(used, unused):
    assert row([make_record(audit={"pixels": used})]).unused_px == unused


def test_without_an_audit_nobody_knows_what_is_unused():
    assert row([make_record(audit={})]).unused_px is None
    assert row([full_data()]).unused_px is None


def test_the_planned_network_is_known_before_anything_ran():
    assert row([make_record(status="failed", cell=make_cell(network="convnet-d1-w8"))]).arch_and_width == ("convnet-d1", "8")


def test_the_full_data_has_no_budget():
    found = row([full_data()])
    assert found.budget_px is None
    assert found.budget_ipc is None
