"""Plots: the right things are drawn, and the same bytes come out."""

from __future__ import annotations

import matplotlib
import pytest
from matplotlib.collections import PolyCollection
from report.records import full_data, make_cell, make_record, reference, seeds

from bench.report.plots import _figure, _spread, draw_section, method_styles
from bench.report.sections import build_sections

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
    assert legend_of([*seeds(BEST), full_data(0.6, effort=0.01)])[-1] == "full data, 60.0 % (effort 0.01)"


def test_points_lie_at_used_pixels_and_percent():
    axes = figure_of([*seeds(BEST, ipc=1), *seeds([0.5, 0.5, 0.5], ipc=0.3)]).axes[0]
    line = next(line for line in axes.lines if len(line.get_xdata()) == 2)
    assert list(line.get_xdata()) == [188, 636]
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
    faces = {line.get_xdata()[0]: line.get_markerfacecolor() for line in axes.lines if list(line.get_xdata()) in ([188], [636])}
    assert faces[188] == "white"
    assert faces[636] != "white"


def test_single_seed_and_effort_are_said_above_the_plot():
    title = figure_of(seeds([0.5], effort=0.01)).axes[0].get_title(loc="left")
    assert "SINGLE SEED" in title
    assert "REDUCED EFFORT 0.01" in title
    assert "n = 3 × 2" in figure_of(seeds(BEST)).axes[0].get_title(loc="left")


def test_a_line_that_is_only_a_copy_is_not_drawn_twice():
    assert "random[images=tiles]" not in legend_of(reference("lowres", BEST, aliases=["random[images=tiles]"]))


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
    sections = build_sections([make_record([accuracy] * 2)])
    assert set(draw_section(sections[0], method_styles(sections))) == {"png", "svg"}


def test_settings_of_the_user_neither_matter_nor_change():
    sections = build_sections(seeds(BEST))
    expected = draw_section(sections[0], method_styles(sections))
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "none", "axes.facecolor": "pink"}):
        assert draw_section(sections[0], method_styles(sections)) == expected
        assert matplotlib.rcParams["axes.facecolor"] == "pink"
