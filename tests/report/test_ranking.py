"""Bold, tied, and the gain over random."""

from __future__ import annotations

import pytest
from report.records import make_cell, make_record, reference, seeds

from bench.report.ranking import gain_over_random, standings
from bench.report.sections import build_sections
from bench.report.statistics import t_half_width


def bold(records):
    (section,) = build_sections(records)
    found = standings(section.at(640))
    return {row.label: found[row.identity] for row in section.at(640) if row.identity in found}


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


@pytest.mark.parametrize("changes", [{"tuned": False}, {"effort": 0.5}, {"effort": 2.0}])
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


def test_gain_is_the_difference_of_the_shown_means_with_a_paired_interval():
    ours, tiles = [0.70, 0.75, 0.77], [0.40, 0.42, 0.50]
    (section,) = build_sections([*seeds(ours), *reference("tiles", tiles), *reference("lowres", [0.1, 0.1, 0.1])])
    gain = gain_over_random(section, section.contestants()[0].first)
    assert gain.difference == pytest.approx(sum(ours) / 3 - sum(tiles) / 3)
    assert gain.half_width == pytest.approx(t_half_width([a - b for a, b in zip(ours, tiles, strict=True)]))
    assert gain.over == "random[images=tiles]"


def test_gain_over_other_seeds_has_no_interval():
    (section,) = build_sections([*seeds([0.7, 0.8]), *reference("tiles", [0.4, 0.5, 0.6])])
    gain = gain_over_random(section, section.contestants()[0].first)
    assert gain.difference == pytest.approx(0.25)
    assert gain.half_width is None


def test_no_gain_without_a_reference_at_the_same_budget():
    (section,) = build_sections([*seeds([0.7]), *reference("tiles", [0.4], ipc=0.3)])
    assert gain_over_random(section, section.contestants()[0].first) is None


def test_the_strongest_reference_gains_nothing_over_itself():
    (section,) = build_sections(reference("tiles", [0.4, 0.5], aliases=["random[images=lowres]"]))
    gains = [gain_over_random(section, row) for row in section.rows()]
    assert [(gain.difference, gain.half_width) for gain in gains] == [(0.0, None), (0.0, None)]
