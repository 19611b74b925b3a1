"""Curves of accuracy against time, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas
import pytest
from report.records import full_data, make_cell, make_record, only, reference, row_of, seeds

from bench.record import Record
from bench.report import render
from bench.report.anytime import curve_frame, curve_values, has_curves, learned_nothing
from bench.report.details import details_page
from bench.report.leaderboard import leaderboard

STEPS = (1, 10, 100)


def with_curve(record: Record, vals: list[float], losses: list[float] | None = None, seconds: float = 1.0, **changes: Any) -> Record:
    """Give a record a curve: two students a point apart around each of ``vals``, after ``seconds`` times the step."""
    points: list[dict[str, Any]] = []
    for step, val in zip(STEPS, vals, strict=False):
        points.append({"step": step, "seconds": seconds * step, "val": [val - 0.01, val + 0.01]})
    for point, loss in zip(points, losses or [], strict=False):
        point["loss"] = loss
    curve = {"version": 1, "horizon": 100, "schedule": "constant", "chance": 0.1, "seconds": 7.0, "points": points, **changes}
    record.distil["curve"] = curve
    return Record.from_json(record.to_json())


def three(vals: list[float] = [0.2, 0.4, 0.6], **changes: Any) -> list[Record]:  # noqa: B006 - never changed
    """Three seeds, the second five points below the first and the third five above."""
    shifts = (0.0, -0.05, 0.05)
    return [with_curve(record, [v + s for v in vals], **changes) for s, record in zip(shifts, seeds([0.6, 0.5, 0.7]), strict=True)]


def test_time_starts_at_the_cost_of_the_prerequisites_and_is_the_mean_over_seeds():
    records = three()
    for record, seconds in zip(records, (10.0, 20.0, 30.0), strict=True):
        parts = {"experts": seconds - 4, "space": 4.0}
        record.distil["prerequisites"] = [{"name": name, "key": "k", "seconds": part} for name, part in parts.items()]
    frame = curve_frame(only(records))
    assert frame.groupby("step").seconds.unique().map(list).to_dict() == {1: [21.0], 10: [30.0], 100: [120.0]}
    assert frame[frame.step == 10].percent.tolist() == pytest.approx([40, 35, 45])


def test_a_step_that_some_seed_lacks_is_no_point_of_the_row():
    records = [*three()[:2], with_curve(make_record(0.7, cell=make_cell(seed=2)), [0.3])]
    assert set(curve_frame(only(records)).step) == {1}


def test_tables_say_horizon_schedule_and_what_the_curve_took():
    assert curve_values(row_of(three())) == {
        "horizon": "100",
        "schedule": "constant",
        "first": "20.0 (1.0 s)",
        "middle": "40.0 (10 s)",
        "last": "60.0 (1.7 min)",
        "took": "7.0 s",
    }
    assert "| outer steps | schedule" in " ".join(details_page([only(three())]).split())


@pytest.mark.parametrize(
    ("vals", "losses", "named"),
    [
        ([0.10, 0.11, 0.12], [4.0, 2.0, 1.0], True),  # 0.12 < 0.1 + 2 * sqrt(0.1 * 0.9 / 200) = 0.142
        ([0.10, 0.11, 0.15], [4.0, 2.0, 1.0], False),
        ([0.10, 0.11, 0.12], [4.0, 3.9, 3.7], False),  # less than a tenth
        ([0.10, 0.11, 0.12], [-1.0, -2.0, -3.0], True),
        ([0.10, 0.11, 0.12], [1.0, 2.0, 3.0], False),
        ([0.10, 0.11, 0.12], None, False),
        ([0.10], [4.0], False),
    ],
)
def test_a_method_whose_loss_falls_while_val_stays_at_chance_is_named(vals, losses, named):
    section = only([with_curve(make_record(0.1, cell=make_cell()), vals, losses)])
    assert bool(learned_nothing(section)) is named
    for page in (leaderboard([section], []), details_page([section])):
        assert ("while val accuracy stayed at chance" in page) is named


def test_the_sentence_has_the_numbers():
    (sentence,) = learned_nothing(only([with_curve(make_record(0.1, cell=make_cell(ipc=0.3)), [0.1, 0.11, 0.12], [4.0, 2.0, 1.0])]))
    assert sentence == (
        "podd at 0.3 IPC (192 px): its loss fell from 4 to 1 while val accuracy stayed at chance (at most 12.0 %, guessing reaches 10.0 %)"
    )


def test_a_plot_is_drawn_where_there_is_a_curve_and_only_there(tmp_path):
    plain = [*seeds([0.6, 0.5, 0.7]), *reference("lowres", [0.5, 0.5, 0.5]), full_data()]
    without = {path.name: path.read_bytes() for path in render(plain, tmp_path / "a")}
    assert not any("anytime" in name for name in without)
    assert not any(has_curves(section) for section in (only(plain),))
    records = [*three(), *reference("lowres", [0.5, 0.5, 0.5]), full_data()]
    paths = render(records, tmp_path / "b")
    drawn = sorted(path.name for path in paths if "anytime" in path.name)
    assert drawn == ["digits-native-v1-anytime.png", "digits-native-v1-anytime.svg"]
    assert "![val accuracy against time](plots/digits-native-v1-anytime.png)" in paths[0].read_text()
    again = {path.name: path.read_bytes() for path in render(records[::-1], tmp_path / "c")}
    assert again == {path.name: path.read_bytes() for path in paths}
    # Once the curves are gone from the records, so is the picture.
    render(plain, tmp_path / "b")
    assert not list((tmp_path / "b" / "plots").glob("*anytime*"))


def test_the_legend_has_horizon_and_schedule_and_the_axis_is_logarithmic():
    from bench.report import anytime_plots
    from bench.report.plots import method_styles

    section = only([*three(), *[with_curve(r, [0.3, 0.5, 0.6], horizon=250) for r in seeds([0.6] * 3, ipc=2.0)]])
    figure = anytime_plots._figure(section, curve_frame(section), method_styles([section]))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["podd\n100-250 outer steps, constant", "guessing: always the largest class"]
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "log"]
    assert [axes.get_title("left") for axes in figure.axes] == ["1 IPC (640 px)", "2 IPC (1,280 px)"]
    line = figure.axes[0].lines[0]
    assert list(line.get_xdata()) == [1.0, 10.0, 100.0]
    assert list(line.get_ydata()) == pytest.approx([20, 40, 60])
    (intervals,) = figure.axes[0].containers
    low, high = intervals.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((20 - 12.42, 20 + 12.42), abs=0.01)  # 4.303 * 5 / sqrt(3)


def test_two_seeds_have_no_interval():
    from bench.report.plots import bars

    assert all(math.isnan(end) for end in bars(pandas.Series([20.0, 30.0])))
