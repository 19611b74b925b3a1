"""Aggregation over seeds and students."""

from __future__ import annotations

import math

import pytest
from report.records import full_data, make_cell, make_record, row_of, seeds, with_tensors

from bench.report.statistics import t_half_width


def test_students_are_averaged_within_a_seed_and_the_interval_is_over_seeds():
    records = [make_record(test, cell=make_cell(seed=seed)) for seed, test in enumerate([[0.5, 0.7], [0.6, 0.7], [0.7, 0.5]])]
    found = row_of(records)
    assert found.accuracy == pytest.approx((0.6 + 0.65 + 0.6) / 3)
    assert found.half_width == pytest.approx(t_half_width([0.6, 0.65, 0.6]))
    assert (found.accuracy_lo, found.accuracy_hi) == pytest.approx((found.accuracy - found.half_width, found.accuracy + found.half_width))
    assert (found.n_distill, found.n_students) == (3, 2)


@pytest.mark.parametrize("n", [1, 2])
def test_below_three_seeds_there_is_no_interval(n):
    found = row_of(seeds([0.5, 0.6][:n]))
    assert list(found.values) == pytest.approx([0.5, 0.6][:n])
    assert math.isnan(found.half_width)
    assert math.isnan(found.accuracy_lo)
    assert math.isnan(found.accuracy_hi)


def test_bounds_stay_within_zero_and_one():
    found = row_of(seeds([0.98, 0.02, 0.5]))
    assert (found.accuracy_lo, found.accuracy_hi) == (0.0, 1.0)


def test_a_failed_seed_counts_neither_as_zero_nor_as_a_replicate_and_makes_the_row_partial():
    found = row_of([*seeds([0.6, 0.8]), make_record(status="failed", reason="it broke", cell=make_cell(seed=2))])
    assert found.accuracy == pytest.approx(0.7)
    assert (found.n_distill, found.n_scored, len(found.cells)) == (2, 2, 3)
    assert found.status == "partial"


def test_seeds_that_came_to_the_same_bytes_are_one_distillation_without_an_interval():
    found = row_of(with_tensors(seeds([0.6, 0.7, 0.8]), "a", "a", "a"))
    assert found.same_set
    assert list(found.values) == pytest.approx([0.7])
    assert (found.n_distill, found.n_students) == (1, 6)
    assert math.isnan(found.half_width)


@pytest.mark.parametrize("hashes", ["aab", "abc"])
def test_seeds_with_other_bytes_are_distillations_of_their_own(hashes):
    found = row_of(with_tensors(seeds([0.6, 0.7, 0.8]), *hashes))
    assert not found.same_set
    assert found.n_distill == 3
    assert found.half_width == pytest.approx(t_half_width([0.6, 0.7, 0.8]))


def test_records_that_name_no_bytes_and_a_single_seed_say_nothing_of_the_same_set():
    assert not row_of(seeds([0.6, 0.7, 0.8])).same_set
    assert not row_of(with_tensors(seeds([0.6]), "a")).same_set


def test_status_without_any_score_is_the_worst_one():
    records = [make_record(status=status, cell=make_cell(seed=i)) for i, status in enumerate(["refused", "timeout", "interrupted"])]
    assert row_of(records).status == "timeout"
    assert math.isnan(row_of(records).accuracy)


def test_students_of_different_number_are_not_given_one_number():
    assert math.isnan(row_of([make_record([0.5]), make_record([0.5, 0.6], cell=make_cell(seed=1))]).n_students)


def test_an_ok_record_without_a_score_is_shown_as_failed():
    assert row_of([make_record(scores={})]).status == "failed"


@pytest.mark.parametrize(("path", "column"), [("test_best", "accuracy_test_best"), ("final_8bit", "accuracy_8bit")])
def test_a_score_that_one_seed_lacks_is_absent(path, column):
    records = seeds([0.6, 0.7])
    assert not math.isnan(getattr(row_of(records), column))
    del records[1].scores[path]
    assert math.isnan(getattr(row_of(records), column))


@pytest.mark.parametrize("name", ["distill_seconds", "judge_seconds", "used_px", "bytes", "presented_examples", "n_test", "px_with_labels"])
def test_a_number_that_one_seed_lacks_is_no_average_of_the_others(name):
    records = seeds([0.6, 0.7])
    assert not math.isnan(getattr(row_of(records), name))
    records[1].distil, records[1].seconds, records[1].audit, records[1].training = {}, {}, {}, {"network": "convnet-d2-w32"}
    del records[1].scores["n_test"]
    assert math.isnan(getattr(row_of(records), name))


@pytest.mark.parametrize("lacking", [0, 1, 2])
def test_a_row_is_tuned_only_if_every_seed_is(lacking):
    records = seeds([0.6, 0.7, 0.8])
    assert row_of(records).tuned
    records[lacking].cell.tuned = False
    assert not row_of(records).tuned


def test_a_recipe_without_a_source_is_untuned():
    assert not row_of(seeds([0.6, 0.7, 0.8], sources=[])).tuned


def test_network_is_split_into_architecture_and_width():
    found = row_of([make_record()])
    assert (found.arch, found.width) == ("convnet-d2", "32")
    other = row_of([make_record(training={"network": "mlp"})])
    assert (other.arch, other.width) == ("mlp", "")


@pytest.mark.parametrize(("used", "unused"), [(640, None), (639.5, None), (639, 1), (64, 576), (700, None)])
def test_a_whole_pixel_that_is_not_used_counts_as_unused(used, unused):
    found = row_of([make_record(audit={"pixels": used})]).unused_px
    assert math.isnan(found) if unused is None else found == unused


def test_without_an_audit_nobody_knows_what_is_unused():
    assert math.isnan(row_of([make_record(audit={})]).unused_px)


def test_the_planned_network_is_known_before_anything_ran():
    found = row_of([make_record(status="failed", cell=make_cell(network="convnet-d1-w8"))])
    assert (found.arch, found.width) == ("convnet-d1", "8")


def test_the_full_data_has_no_budget_even_where_its_record_says_what_the_training_split_holds():
    found = row_of([full_data(budget={"requested": "full", "pixels": 51200, "ipc": 80.0})])
    assert math.isnan(found.budget_px)
    assert math.isnan(found.budget_ipc)
