"""Plots: the right things are drawn, and the same bytes come out."""

from __future__ import annotations

import math

import matplotlib
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from report.records import full_data, make_cell, make_record, reference, seeds, with_tensors

from bench.report.plots import _figure, _spread, draw_section, method_styles
from bench.report.sections import build_sections
from bench.report.statistics import t_interval

BEST = [0.80, 0.82, 0.84]


def figure_of(records):
    sections = build_sections(records)
    return _figure(sections[0], method_styles(sections))


def legend_of(records) -> list[str]:
    return [text.get_text() for text in figure_of(records).axes[0].get_legend().get_texts()]


def test_every_line_with_a_score_is_in_the_legend():
    records = [*seeds(BEST), *reference("tiles", [0.5, 0.6, 0.7]), full_data(0.97), make_record(status="refused", cell=make_cell("mtt"))]
    assert legend_of(records) == ["podd", "random[images=tiles]", "up to the strongest random form", "full data, 97.0 %"]


def test_full_data_at_another_effort_says_so_in_the_legend():
    assert legend_of([*seeds(BEST), full_data(0.97, effort=0.01)])[-1] == "full data, 97.0 % (not a ceiling: shortened\nto effort 0.01)"


def test_points_lie_at_used_pixels_and_percent():
    axes = figure_of([*seeds(BEST, ipc=1), *seeds([0.5, 0.5, 0.5], ipc=0.3)]).axes[0]
    line = next(line for line in axes.lines if len(line.get_xdata()) == 2)  # alone at its budgets, so it is not moved aside
    assert list(line.get_xdata()) == pytest.approx([188, 636])
    assert list(line.get_ydata()) == pytest.approx([50, 82])
    assert axes.get_xscale() == "log"


def test_ticks_name_pixels_below_and_ipc_above():
    axes = figure_of([*seeds(BEST, ipc=1), *seeds(BEST, ipc=0.3)]).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["192", "640"]
    (top,) = axes.child_axes
    assert [tick.get_text() for tick in top.get_xticklabels()] == ["0.3", "1"]


def test_close_budgets_do_not_run_into_one_another():
    assert _spread([9180, 9216, 10240, 102400], 20) == [10240, 102400]
    assert _spread([192, 320, 640], 4) == [192, 320, 640]


def test_adapted_points_are_hollow():
    axes = figure_of([*seeds(BEST, ipc=0.3, adapted="lowres"), *seeds(BEST, ipc=1)]).axes[0]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[188]]


def test_single_seed_and_effort_are_said_above_the_plot():
    title = figure_of(seeds([0.5], effort=0.01)).axes[0].get_title(loc="left")
    assert "SINGLE SEED" in title
    assert "REDUCED EFFORT 0.01" in title
    assert "n = 3 × 2" in figure_of(seeds(BEST)).axes[0].get_title(loc="left")


def test_a_name_that_only_comes_to_another_cell_is_no_line():
    assert legend_of(reference("lowres", BEST, aliases=["random[images=tiles]"])) == [
        "random[images=lowres]",
        "up to the strongest random form",
    ]


def test_a_line_goes_on_through_a_budget_at_which_it_comes_to_another_cell():
    records = [*reference("tiles", BEST, ipc=0.3), *reference("lowres", BEST, ipc=1, aliases=["random[images=tiles]"])]
    assert sorted(len(line.get_xdata()) for line in figure_of(records).axes[0].lines if line.get_marker() in "<>^v") == [1, 2]


def test_methods_at_one_budget_stand_side_by_side_around_it():
    axes = figure_of([record for name in "abc" for record in seeds(BEST, name)]).axes[0]
    x = sorted(line.get_xdata()[0] for line in axes.lines if line.get_marker() in "osD")
    assert len(set(x)) == 3
    assert x[1] == pytest.approx(636)
    assert x[2] / x[1] == pytest.approx(x[1] / x[0])
    assert x[2] / x[0] < 1.2


def test_twenty_methods_stay_nearer_to_their_budget_than_to_the_next():
    records = [record for i in range(20) for ipc in (0.5, 0.6) for record in seeds(BEST, f"m{i:02d}", ipc=ipc)]
    axes = figure_of(records).axes[0]
    lines = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert len({tuple(map(float, x)) for x in lines}) >= 20
    assert max(x[0] for x in lines) < min(x[1] for x in lines)


@pytest.mark.parametrize("accuracies", [[0.98, 0.5, 0.99], [0.02, 0.4, 0.01], [0.97, 0.98, 0.99]])
def test_bars_are_drawn_as_intervals_within_what_can_be_and_never_leave_the_axes(accuracies):
    axes = figure_of(seeds(accuracies)).axes[0]
    low, high = (100 * bound for bound in t_interval(accuracies))
    bars = [drawn for drawn in axes.collections if isinstance(drawn, LineCollection)]
    ends = [y for bar in bars for segment in bar.get_segments() for _, y in segment]
    assert (min(ends), max(ends)) == pytest.approx((low, high))
    bottom, top = axes.get_ylim()
    assert bottom <= low <= high <= top


@pytest.mark.parametrize("records", [seeds(BEST[:2]), with_tensors(seeds(BEST), "a", "a", "a")])
def test_what_has_no_interval_has_no_bar(records):
    bars = [drawn for drawn in figure_of(records).axes[0].collections if isinstance(drawn, LineCollection)]
    assert not [y for bar in bars for segment in bar.get_segments() for _, y in segment if not math.isnan(y)]


def test_full_data_that_are_no_ceiling_say_so_in_the_legend():
    assert legend_of([*seeds(BEST), full_data(0.6)])[-1] == "full data, 60.0 % (not a ceiling: podd lies\nabove it)"


def test_the_shade_of_random_does_not_cover_budgets_without_a_random_form():
    axes = figure_of([*seeds(BEST, ipc=1), *seeds(BEST, ipc=10), *reference("tiles", [0.3, 0.3, 0.3], ipc=1)]).axes[0]
    (shade,) = [drawn for drawn in axes.collections if isinstance(drawn, PolyCollection)]
    assert shade.get_paths()[0].vertices[:, 0].max() == 636


def test_a_method_keeps_its_style_in_every_plot():
    sections = build_sections([*seeds(BEST, "a"), *seeds(BEST, "b"), *seeds(BEST, "b", dataset="mnist", data_hash="d2")])
    styles = method_styles(sections)
    assert set(styles) == {"a", "b"}
    assert styles["a"].colour != styles["b"].colour


def test_twenty_methods_are_all_different():
    styles = method_styles(build_sections([record for i in range(20) for record in seeds([0.5], f"m{i:02d}")]))
    assert len({(style.colour, style.marker, str(style.dashes)) for style in styles.values()}) == 20


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_extreme_accuracies_can_be_drawn(accuracy):
    sections = build_sections([make_record([accuracy] * 2, cell=make_cell(seed=seed)) for seed in range(3)])
    assert set(draw_section(sections[0], method_styles(sections))) == {"png", "svg"}


def test_settings_of_the_user_neither_matter_nor_change():
    sections = build_sections(seeds(BEST))
    expected = draw_section(sections[0], method_styles(sections))
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "none", "axes.facecolor": "pink"}):
        assert draw_section(sections[0], method_styles(sections)) == expected
        assert matplotlib.rcParams["axes.facecolor"] == "pink"
