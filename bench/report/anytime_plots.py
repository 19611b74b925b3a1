"""Val accuracy against distillation time, one picture per section with a panel per budget, the same bytes for the same records."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pandas
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .anytime import curve_frame
from .numbers import budget_name, shortened
from .plots import Style, bars, pictures_of, range_of, style_of
from .sections import Section
from .statistics import MIN_SEEDS

_COLUMNS = 3
#: Inches: a panel, and what stands around all of them.
_PANEL, _LEFT, _BELOW, _ABOVE, _BESIDE, _GAPS = (3.1, 2.7), 0.62, 0.55, 0.95, 3.3, (0.3, 0.75)
_CHANCE: Any = {"color": "#8A8A8A", "linewidth": 1.0, "linestyle": (0, (1, 2))}


def draw_anytime(section: Section, styles: Mapping[str, Style]) -> dict[str, bytes]:
    """Draw the curves of one section, some of whose records have one.

    Returns:
        File format -> content.
    """
    return pictures_of(lambda: _figure(section, curve_frame(section), styles))


def _figure(section: Section, points: pandas.DataFrame, styles: Mapping[str, Style]) -> Figure:
    lines = {row.name: row for row in points.drop_duplicates("name").itertuples(name="Line", index=False)}
    own = {row.name: style_of(row, points, styles) for row in points.drop_duplicates("name").itertuples()}
    budgets = sorted(points.budget_px.unique())
    columns = min(_COLUMNS, len(budgets))
    rows = -(-len(budgets) // columns)
    width = _LEFT + columns * _PANEL[0] + (columns - 1) * _GAPS[0] + _BESIDE
    height = _ABOVE + rows * _PANEL[1] + (rows - 1) * _GAPS[1] + _BELOW
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    for axes, budget in zip(panels, budgets, strict=False):
        _panel(axes, points[points.budget_px == budget], own)
    for axes in panels[len(budgets) :]:
        axes.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel("val accuracy (%)")
    right = 1 - (_BESIDE - 0.2) / width
    figure.subplots_adjust(_LEFT / width, _BELOW / height, right, 1 - _ABOVE / height, _GAPS[0] / _PANEL[0], _GAPS[1] / _PANEL[1])
    _legend(figure, points, lines, own, (right + 0.01, 1 - (_ABOVE - 0.05) / height))
    figure.suptitle(f"{section.title} · on the way", x=0.01, y=1 - 0.12 / height, ha="left", va="top", fontsize=11, fontweight="bold")
    words = textwrap.fill(_subtitle(points), int(15 * width))
    figure.text(0.01, 1 - 0.36 / height, words, ha="left", va="top", fontsize=8, color="#666666")
    return figure


def _panel(axes: Axes, points: pandas.DataFrame, own: Mapping[str, Style]) -> None:
    """Draw means and intervals over the seeds of each point at one budget."""
    names = {"hue": "name", "style": "name", "hue_order": list(own), "style_order": list(own)}
    look: dict[str, Any] = {
        "palette": {name: style.colour for name, style in own.items()},
        "markers": {name: style.marker for name, style in own.items()},
        "dashes": {name: style.dashes for name, style in own.items()},
    }
    form: dict[str, Any] = {"linewidth": 1.5, "markersize": 5.0, "markeredgewidth": 0, "legend": False}
    ticks = {"capsize": 2.0, "elinewidth": 0.8}
    seaborn.lineplot(points, x="seconds", y="percent", errorbar=bars, err_style="bars", err_kws=ticks, ax=axes, **names, **look, **form)
    axes.axhline(100 * points.chance.max(), zorder=1, **_CHANCE)
    axes.set_title(budget_name(points.budget_px.iloc[0], points.budget_ipc.iloc[0]), loc="left", fontsize=9)
    _time_axis(axes, points.seconds.min(), points.seconds.max())
    axes.set_ylabel("")


def _time_axis(axes: Axes, low: float, high: float) -> None:
    """Make the axis logarithmic, with as many ticks as can be read."""
    axes.set_xscale("log")
    room = max((high / low) ** 0.05, 1.1)
    axes.set_xlim(low / room, high * room)
    few = high / low < 300
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=10))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("distillation seconds (log scale)")


def _legend(
    figure: Figure, points: pandas.DataFrame, lines: Mapping[str, Any], own: Mapping[str, Style], corner: tuple[float, float]
) -> None:
    """Name every line with its horizon and its schedule, without which curves that end elsewhere cannot be compared."""
    entries: list[tuple[Line2D, str]] = []
    for name, line in lines.items():
        style, of_line = own[name], points[points.name == name]
        dashes: Any = (0, style.dashes) if style.dashes else "-"
        drawn = Line2D([], [], color=style.colour, marker=style.marker, markersize=5, markeredgewidth=0, linewidth=1.5, linestyle=dashes)
        schedules = ", ".join(sorted({word for word in of_line.schedule if word})) or "schedule not told"
        horizon = range_of(of_line.horizon)
        text = f"{shortened(line.label, 38)}{name[len(line.label) :]}\n{horizon} outer steps, {schedules}"
        entries.append((drawn, text))
    entries.append((Line2D([], [], **_CHANCE), "guessing: always the largest class"))
    handles, labels = zip(*entries, strict=True)
    figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=corner, fontsize=8, handlelength=2.8, labelspacing=0.7, borderaxespad=0.0
    )


def _subtitle(points: pandas.DataFrame) -> str:
    seeds = points.groupby(["name", "budget_px"]).seed.nunique()
    words = [f"n = {range_of(seeds)} × {range_of(points.students)} (distillations × students)"]
    words += ["bars: 95 % t-intervals over distillations"] if (seeds >= MIN_SEEDS).any() else []
    words += [f"no bar: fewer than {MIN_SEEDS}"] if (seeds < MIN_SEEDS).any() else []
    words += ["time starts at the cost of prerequisites, and leaves out that of the curve", "val selects nothing here"]
    return "; ".join(words)
