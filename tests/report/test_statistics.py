"""The statistics against scipy.stats, which the suite itself does not import, and against sums by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bench.report.statistics import holm, paired_p, sampling_error, t_half_width, t_interval

ACCURACIES = st.lists(st.integers(0, 797).map(lambda hits: hits / 797), min_size=3, max_size=12)


@given(ACCURACIES)
def test_t_interval_is_scipys(values):
    spread = stats.sem(values)
    if spread < 1e-12:
        assert t_half_width(values) == 0.0
    else:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=0.0, scale=spread)
        assert t_half_width(values) == pytest.approx((high - low) / 2, rel=1e-9)


def test_t_interval_of_three_by_hand():
    # mean 0.6, deviation 0.1, t(2, 97.5 %) = 4.3027
    assert t_half_width([0.5, 0.6, 0.7]) == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, 0.6]])
def test_fewer_than_three_values_have_no_interval(values):
    assert math.isnan(t_half_width(values))
    assert all(math.isnan(bound) for bound in t_interval(values))


def test_an_interval_is_cut_to_what_an_accuracy_can_be():
    assert t_interval([0.5, 0.6, 0.7]) == pytest.approx((0.6 - 0.2484, 0.6 + 0.2484), abs=1e-4)
    assert t_interval([0.02, 0.5, 0.98]) == (0.0, 1.0)


def test_order_of_seeds_does_not_change_a_bit():
    values = [0.1, 0.7, 0.3000001, 0.2]
    assert t_half_width(values) == t_half_width(values[::-1])


@given(st.lists(st.tuples(st.integers(0, 797), st.integers(0, 797)), min_size=3, max_size=12))
def test_paired_p_is_scipys(pairs):
    assume(len({a - b for a, b in pairs}) > 1)
    ours, theirs = [a / 797 for a, _ in pairs], [b / 797 for _, b in pairs]
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    assert paired_p(differences) == pytest.approx(stats.ttest_rel(ours, theirs).pvalue, rel=1e-6, abs=1e-12)


def test_differences_without_spread_are_decided_by_their_mean():
    assert paired_p([0.0, 0.0, 0.0]) == 1.0
    assert paired_p([0.01, 0.01, 0.01]) == 0.0
    # 0.62 - 0.6 and 0.82 - 0.8 differ in the last bit
    assert paired_p([0.62 - 0.6, 0.82 - 0.8, 0.72 - 0.7]) == 0.0


def test_holm_by_hand():
    # sorted: 0.01 x 4 = 0.04, 0.02 x 3 = 0.06, 0.03 x 2 = 0.06 (never below the one before), 0.4 x 1 = 0.4
    assert holm([0.03, 0.01, 0.4, 0.02]) == pytest.approx([0.06, 0.04, 0.4, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_could_not_be_tested_is_no_part_of_the_family():
    first, none, last = holm([0.03, math.nan, 0.01])
    assert (first, last) == (0.03, 0.02)
    assert math.isnan(none)
    assert math.isnan(paired_p([0.1, 0.2]))


def test_sampling_error_by_hand():
    assert sampling_error(0.5, 400) == pytest.approx(0.025)
    assert sampling_error(1.0, 400) == 0.0
