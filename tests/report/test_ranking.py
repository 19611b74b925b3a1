"""Bold, tied, and the gain over random."""

from __future__ import annotations

import math

import pytest
from report.records import make_cell, make_record, only, reference, seeds, with_tensors

from bench.record import Record
from bench.report.marks import marks_of
from bench.report.statistics import t_half_width


def at(records, budget_px=640):
    """Return label -> row of one column."""
    return {row.label: row for row in only(records).table_rows if row.budget_px == budget_px}


def bold(records):
    return {label: row.standing for label, row in at(records).items() if row.standing}


BEST = [0.80, 0.82, 0.84]


def test_the_best_is_bold_and_a_clear_loser_is_not():
    assert bold([*seeds(BEST), *seeds([0.50, 0.52, 0.541], "loser")]) == {"podd": "best"}


def test_what_the_test_cannot_tell_from_the_best_is_tied():
    assert bold([*seeds(BEST), *seeds([0.79, 0.83, 0.82], "close")]) == {"podd": "best", "close": "tied"}


def test_pairing_by_seed_finds_a_small_steady_difference():
    # One point behind on every seed up to a tenth: means overlap by far, paired differences do not.
    assert bold([*seeds(BEST), *seeds([0.790, 0.811, 0.829], "steady")]) == {"podd": "best"}


def test_equal_rows_are_tied_and_a_constant_difference_is_not():
    assert bold([*seeds(BEST, "a"), *seeds(BEST, "b")]) == {"a": "tied", "b": "best"}
    assert bold([*seeds(BEST, "a"), *seeds([x - 0.01 for x in BEST], "b")]) == {"a": "best"}


def test_holm_counts_every_row_that_is_compared():
    # Alone p = 0.024 (mean 0.02, deviation 0.0055); with three such rows Holm's smallest is 0.073.
    behind = [0.80 - 0.0145, 0.82 - 0.0200, 0.84 - 0.0255]
    assert bold([*seeds(BEST), *seeds(behind, "x")]) == {"podd": "best"}
    assert bold([*seeds(BEST), *[r for name in "xyz" for r in seeds(behind, name)]]) == {
        "podd": "best",
        "x": "tied",
        "y": "tied",
        "z": "tied",
    }


def test_with_two_seeds_nothing_is_bold():
    assert bold([*seeds(BEST[:2]), *seeds([0.5, 0.51], "other")]) == {}


@pytest.mark.parametrize("changes", [{"tuned": False}, {"sources": []}, {"effort": 0.5}, {"effort": 2.0}])
def test_untuned_rows_and_other_efforts_are_never_bold(changes):
    assert bold([*seeds([0.90, 0.91, 0.92], "loud", **changes), *seeds(BEST)]) == {"podd": "best"}


def test_a_row_with_a_failed_seed_is_never_bold():
    broken = [*seeds([0.90, 0.91, 0.92], "loud"), make_record(status="failed", cell=make_cell("loud", seed=3))]
    assert bold([*broken, *seeds(BEST)]) == {"podd": "best"}


def test_too_few_seeds_in_common_make_no_tie():
    shifted = [make_record(x, cell=make_cell("other", seed=seed)) for seed, x in zip((2, 3, 4), BEST, strict=True)]
    assert bold([*seeds([0.81, 0.83, 0.85]), *shifted]) == {"podd": "best"}


def test_references_take_part():
    assert bold([*seeds([0.5, 0.51, 0.53]), *reference("tiles", BEST)]) == {"random[images=tiles]": "best"}


def test_a_copy_under_another_name_is_tested_once():
    # Were the alias a rival of its own, Holm would divide by two and call the other row tied.
    behind = [0.80 - 0.0120, 0.82 - 0.0200, 0.84 - 0.0280]  # p = 0.049
    assert bold([*seeds(BEST), *seeds(behind, "x", aliases=["podd[again]"])]) == {"podd": "best"}
    assert bold([*seeds(BEST), *seeds(behind, "x"), *seeds(behind, "y")]) == {"podd": "best", "x": "tied", "y": "tied"}


def test_one_untuned_seed_keeps_a_row_from_being_bold():
    records = seeds([0.90, 0.91, 0.92], "loud")
    records[1].cell.tuned = False
    assert bold([*records, *seeds(BEST)]) == {"podd": "best"}


def test_a_row_of_one_set_for_all_seeds_ranks_by_its_one_value():
    same = with_tensors(seeds([0.90, 0.91, 0.92], "same"), "a", "a", "a")
    assert bold([*same, *seeds(BEST)]) == {"same": "best"}
    assert bold([*with_tensors(seeds([0.79, 0.83, 0.82], "same"), "a", "a", "a"), *seeds(BEST)]) == {"podd": "best", "same": "tied"}


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (seeds([0.90, 0.91, 0.92], "loud", effort=0.5), "not ranked: effort 0.5"),
        (seeds([0.90, 0.91, 0.92], "loud", tuned=False), "not ranked: untuned"),
        (seeds([0.90, 0.91], "loud"), "not ranked: 2 seeds"),
        (seeds([0.9], "loud", tuned=False), "not ranked: untuned, 1 seed"),
        ([*seeds([0.90, 0.91], "loud"), make_record(status="oom", cell=make_cell("loud", seed=2))], "not ranked: 2 of 3 seeds"),
    ],
)
def test_a_higher_row_that_takes_no_part_says_why(records, why):
    found = at([*records, *seeds(BEST)])
    assert found["loud"].why == why
    assert found["podd"].why == ""


def test_a_higher_row_that_the_test_told_apart_says_so_and_a_lower_one_needs_no_reason():
    # "steady" is one point behind on every seed; "wild" is far behind, and tied for its spread.
    found = at([*seeds(BEST), *seeds([0.790, 0.811, 0.829], "steady"), *seeds([0.9, 0.5, 0.7], "wild")])
    assert {label: row.standing for label, row in found.items()} == {"podd": "best", "steady": "", "wild": "tied"}
    assert found["steady"].why.startswith("below podd: p = 0.00")
    assert found["wild"].why == ""
    assert at([*seeds(BEST), *seeds([0.5, 0.51, 0.53], "far")])["far"].why == ""


def test_a_higher_row_with_too_few_seeds_in_common_says_so():
    shifted = [make_record(x, cell=make_cell("other", seed=seed)) for seed, x in zip((2, 3, 4), BEST, strict=True)]
    found = at([*seeds([0.81, 0.83, 0.85]), *shifted, *seeds([0.9, 0.5, 0.7], "wild")])
    assert found["wild"].standing == "tied"
    assert found["other"].why == "fewer than 3 seeds in common with podd"


def test_gain_is_the_difference_of_the_shown_means_with_a_paired_interval():
    ours, tiles = [0.70, 0.75, 0.77], [0.40, 0.42, 0.50]
    row = at([*seeds(ours), *reference("tiles", tiles), *reference("lowres", [0.1, 0.1, 0.1])])["podd"]
    assert row.gain == pytest.approx(sum(ours) / 3 - sum(tiles) / 3)
    assert row.gain_half == pytest.approx(t_half_width([a - b for a, b in zip(ours, tiles, strict=True)]))


@pytest.mark.parametrize(("ours", "theirs"), [([0.7, 0.8, 0.9], [0.4, 0.5, 0.6, 0.7]), ([0.7, 0.8], [0.4, 0.5])])
def test_gain_over_other_or_fewer_than_three_seeds_has_no_interval(ours, theirs):
    row = at([*seeds(ours), *reference("tiles", theirs)])["podd"]
    assert row.gain == pytest.approx(sum(ours) / len(ours) - sum(theirs) / len(theirs))
    assert math.isnan(row.gain_half)


def test_no_gain_without_a_reference_at_the_same_budget():
    assert math.isnan(at([*seeds([0.7]), *reference("tiles", [0.4], ipc=0.3)])["podd"].gain)


def test_the_strongest_reference_gains_nothing_over_itself():
    found = at([*reference("tiles", [0.4, 0.5, 0.6]), *reference("lowres", [0.1, 0.1, 0.1])])
    assert (found["random[images=tiles]"].gain, math.isnan(found["random[images=tiles]"].gain_half)) == (0.0, True)
    assert found["random[images=lowres]"].gain == pytest.approx(-0.4)


def test_a_row_with_a_set_that_was_not_finished_in_time_is_marked_and_takes_no_part():
    records = [*seeds([0.9, 0.9, 0.91]), *seeds([0.5, 0.51, 0.52], "dm")]
    late = records[2]
    late.status, late.reason = "timeout", "stage distil took longer than 6 s; the set after 4 of 6 outer steps was judged"
    rows = {row.label: row for row in only([Record.from_json(record.to_json()) for record in records]).table_rows}
    assert (rows["podd"].status, rows["podd"].unranked, rows["podd"].standing) == ("timeout", "timed out", "")
    assert marks_of(rows["podd"])["(timed out)"] == "1 of 3 timed out"
    assert rows["podd"].accuracy == pytest.approx(2.71 / 3)
    assert (rows["dm"].standing, "(timed out)" in marks_of(rows["dm"])) == ("best", False)


def test_a_time_out_without_a_score_is_a_dash_as_ever():
    (row,) = only([make_record(status="timeout", reason="stage distil took longer than 6 s")]).table_rows
    assert (row.n_scored, row.status, row.timed_out, marks_of(row).get("(timed out)")) == (0, "timeout", False, None)
