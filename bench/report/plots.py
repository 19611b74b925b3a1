"""Accuracy against pixels, one picture per data set and protocol, the same bytes for the same records."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import pandas
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from .numbers import percent, plain, shortened
from .sections import Section
from .statistics import MIN_SEEDS, t_interval

_FORMATS = ("png", "svg")

# Okabe & Ito's colours, which stay apart for colour-blind readers and in print; yellow is too light for a line.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "D", "^", "P", "X", "v", "p", "h", "*")
_REFERENCE_MARKERS = ("v", "^", "<", ">", "d", "8")
_REFERENCE_DASHES = ((5, 2), (1.5, 1.5), (5, 2, 1, 2), (8, 3), (3, 1, 1, 1, 1, 1), (1, 3))
_GREY, _INK, _BELOW_RANDOM = "#8A8A8A", "#333333", "#ECECEC"
_FULL_DATA: Any = {"color": _INK, "linewidth": 1.0, "linestyle": (0, (6, 3))}

#: Everything that a user's own matplotlib settings could change is put back to the defaults first.
_STYLE: Any = {
    "svg.hashsalt": "ddbench",
    "font.size": 9,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#E2E2E2",
    "legend.frameon": False,
}

#: How contestants and references are drawn; references first, so that they lie below.
_WEIGHTS = {"reference": (1.0, 4.0, 2.0), "contestant": (1.8, 6.0, 3.0)}

_DPI = 120
#: Inches around the axes for what stands there; the legend on the right is measured.
_LEFT, _BELOW, _ABOVE, _LINE, _GAP = 0.62, 0.55, 0.94, 0.13, 0.1

#: Two ticks of the pixel axis need this ratio between them to stay readable.
_TICK_RATIO = 1.12


class Style(NamedTuple):
    """How the line of a method is drawn; ``dashes`` are on and off in points, or empty for a solid line."""

    colour: Any
    marker: str
    dashes: Any = ""


def method_styles(sections: Iterable[Section]) -> dict[str, Style]:
    """Choose a style per method variant, the same one in every plot of a report."""
    kinds = {row.label: row.kind for section in sections for row in section.rows.itertuples()}
    contestants = sorted(label for label, kind in kinds.items() if kind != "reference")
    # From the eighth on colours come again, with another marker and dashed.
    styles = {
        label: Style(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)], "" if i < len(_COLOURS) else (4, 1.5))
        for i, label in enumerate(contestants)
    }
    for i, label in enumerate(sorted(set(kinds) - set(contestants))):
        styles[label] = Style(_GREY, _REFERENCE_MARKERS[i % 6], _REFERENCE_DASHES[i % 6])
    return styles


def draw_section(section: Section, styles: Mapping[str, Style]) -> dict[str, bytes]:
    """Draw one section.

    Returns:
        File format -> content.
    """

    def draw() -> Figure:
        figure = _figure(section, styles)
        _lay_out(figure)
        return figure

    return pictures_of(draw)


def pictures_of(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """Return the bytes of a figure in every format, drawn in the style of this suite, whatever the settings of the process are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = draw()
        return {kind: _encode(figure, kind) for kind in _FORMATS}


def _lay_out(figure: Figure) -> None:
    """Give the axes the room that is left; matplotlib's own engines would draw everything twice to find out."""
    axes = figure.axes[0]
    legend = axes.get_legend()
    width, height = figure.get_size_inches()
    beside = legend.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / figure.dpi if legend else 0.0
    right = 1 - (beside + 2 * _GAP) / width
    above = _ABOVE + _LINE * axes.get_title("left").count("\n")
    figure.subplots_adjust(left=_LEFT / width, right=max(right, 0.4), bottom=_BELOW / height, top=1 - above / height)


def _encode(figure: Figure, kind: str) -> bytes:
    """Return the bytes of a picture, which are the same for the same figure."""
    # Dates and the version of the library would make equal pictures differ.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": "ddbench"}}[kind]
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=_DPI, metadata=metadata)
    return stream.getvalue()


def _figure(section: Section, styles: Mapping[str, Style]) -> Figure:
    points = _placed(pandas.concat([section.scored, section.copies[section.copies.n_scored > 0]], ignore_index=True))
    # Any row of each line, for what its rows share.
    lines = {row.name: row for row in points.sort_values("line").drop_duplicates("name").itertuples()}
    own = {name: style_of(row, points, styles) for name, row in lines.items()}
    figure = Figure(figsize=(8.2, max(4.2, 1.6 + 0.2 * (len(own) + 4))))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _pixel_axis(axes, points)
    _draw_lines(axes, points, own)
    if section.full_data is not None and section.full_data.n_scored:
        axes.axhline(100 * section.full_data.accuracy, zorder=1, **_FULL_DATA)
    _accuracy_axis(axes)
    random = _draw_random(axes, points)
    _legend(axes, section, points, [(row, own[name]) for name, row in lines.items()], random)
    axes.set_title(textwrap.fill(_subtitle(points), 110), loc="left", fontsize=8, color="#666666", pad=8)
    figure.suptitle(section.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _placed(scored: pandas.DataFrame) -> pandas.DataFrame:
    """Add to the rows ``used`` pixels (granted ones where the audit was not kept), ``px``, where they are drawn, and ``name``.

    The points of one budget stand side by side, so that neither markers nor bars hide one another.
    """
    used = scored.used_px.fillna(scored.budget_px)
    budgets = sorted(scored.budget_px.unique())
    by_budget = scored.groupby("budget_px").line
    most = by_budget.nunique().max()
    span = max(used.max() / used.min(), 4.0)
    gap = min((high / low for low, high in zip(budgets, budgets[1:], strict=False)), default=span)
    step = min(span**0.025, gap ** (0.6 / most))
    place = by_budget.rank("dense") - (by_budget.transform("nunique") + 1) / 2
    effort = ["" if effort == 1 else f" (effort {plain(effort)})" for effort in scored.effort]
    return scored.assign(used=used, px=used * step**place, name=scored.label + effort)


def style_of(row: Any, points: pandas.DataFrame, styles: Mapping[str, Style]) -> Style:
    """Return the style of a line; a faint, dotted one where the same method is there with more effort, too."""
    style = styles[row.label]
    most = points[points.label == row.label].effort.max()
    return style if row.effort == most else Style(to_rgba(style.colour, 0.45), style.marker, (1, 1.5))


def _draw_lines(axes: Axes, points: pandas.DataFrame, own: Mapping[str, Style]) -> None:
    """Draw means and intervals over the independent values of each point."""
    values = points.explode("values").assign(percent=lambda frame: 100 * frame["values"].astype(float))
    names = {"hue": "name", "style": "name", "hue_order": list(own), "style_order": list(own)}
    look: dict[str, Any] = {
        "palette": {name: style.colour for name, style in own.items()},
        "markers": {name: style.marker for name, style in own.items()},
        "dashes": {name: style.dashes for name, style in own.items()},
    }
    for kind, (width, size, z) in _WEIGHTS.items():
        drawn = values[values.kind == kind]
        if len(drawn):
            ticks = {"capsize": 2.5, "elinewidth": 0.6 * width, "zorder": z}
            form: dict[str, Any] = {"linewidth": width, "markersize": size, "markeredgewidth": 0, "zorder": z, "legend": False}
            seaborn.lineplot(drawn, x="px", y="percent", errorbar=bars, err_style="bars", err_kws=ticks, ax=axes, **names, **look, **form)
    for row in points[points.adapted != ""].itertuples():
        axes.plot([row.px], [100 * row.accuracy], zorder=4, **_marker(own[row.name], hollow=True, size=_WEIGHTS[row.kind][1]))


def bars(values: pandas.Series) -> tuple[float, float]:
    """Return the ends of the interval of a mean of accuracies in per cent; NaN for fewer than three."""
    low, high = t_interval([value / 100 for value in values])
    # Where there is no spread, the last bit must not put the mean outside.
    return min(100 * low, values.mean()), max(100 * high, values.mean())


def _marker(style: Style, hollow: bool, size: float = 6.0) -> dict[str, Any]:
    face = "white" if hollow else style.colour
    return {"marker": style.marker, "markersize": size, "markerfacecolor": face, "markeredgecolor": style.colour, "linestyle": ""}


def _accuracy_axis(axes: Axes) -> None:
    axes.margins(y=0.06)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -3.0), min(high, 104.0))
    axes.set_ylabel("test accuracy (%)")


def _pixel_axis(axes: Axes, points: pandas.DataFrame) -> None:
    budgets = points.groupby("budget_px").budget_ipc.first()
    low, high = min(points.px.min(), budgets.index.min()), max(points.px.max(), budgets.index.max())
    room = max((high / low) ** 0.06, 1.15) if high / low > 1.3 else 2.0
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    ticks = _spread(list(budgets.index), (high * room) / (low / room))
    top = axes.secondary_xaxis("top")
    for axis, labels in ((axes, [f"{px:,.0f}" for px in ticks]), (top, [plain(budgets[px]) for px in ticks])):
        axis.xaxis.set_major_locator(FixedLocator(ticks))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xticklabels(labels)
    axes.set_xlabel("stored pixels per data set (log scale; points of one budget stand side by side)")
    top.set_xlabel("images per class (IPC)", fontsize=8, color="#666666")
    top.tick_params(labelsize=8, labelcolor="#666666")


def _spread(budgets: Sequence[float], span: float) -> list[float]:
    """Drop budgets whose tick labels would run into the one before; the largest always stays."""
    ratio = max(_TICK_RATIO, span**0.075)
    kept: list[float] = []
    for px in sorted(budgets, reverse=True):
        if not kept or kept[-1] / px >= ratio:
            kept.append(px)
    return sorted(kept)


def _draw_random(axes: Axes, points: pandas.DataFrame) -> bool:
    """Shade what the strongest random form of each budget reaches, at the pixels that it uses; tell whether there is any."""
    references = points[points.kind == "reference"]
    if references.empty:
        return False
    strongest = references.loc[references.groupby("budget_px").accuracy.idxmax()].sort_values("budget_px")
    corners = sorted(zip(strongest.used, 100 * strongest.accuracy, strict=True))
    # Beyond the outermost budgets the shade goes on to the frame, so that a single budget is a band; but not over
    # budgets at which no random form was run.
    left, right = axes.get_xlim()
    if strongest.budget_px.min() == points.budget_px.min():
        corners.insert(0, (left, corners[0][1]))
    if strongest.budget_px.max() == points.budget_px.max():
        corners.append((right, corners[-1][1]))
    x, y = zip(*corners, strict=True)
    axes.fill_between(x, y, axes.get_ylim()[0], color=_BELOW_RANDOM, linewidth=0, zorder=0)
    axes.plot(x, y, color="#B5B5B5", linewidth=1.4, zorder=1)
    return True


def _legend(axes: Axes, section: Section, points: pandas.DataFrame, lines: Sequence[tuple[Any, Style]], random: bool) -> None:
    entries: list[tuple[Any, str]] = []
    for row, style in lines:
        width, size, _ = _WEIGHTS[row.kind]
        hollow = bool((points[points.name == row.name].adapted != "").all())
        dashes = (0, style.dashes) if style.dashes else "-"
        look = {**_marker(style, hollow, size), "color": style.colour, "linewidth": width, "linestyle": dashes}
        entries.append((Line2D([], [], **look), shortened(row.label, 44) + row.name[len(row.label) :]))
    if random:
        entries.append((Line2D([], [], color=_BELOW_RANDOM, linewidth=8), "up to the strongest random form"))
    if section.full_data is not None and section.full_data.n_scored:
        ceiling = f" (not a ceiling: {section.not_a_ceiling})" if section.not_a_ceiling else ""
        text = textwrap.fill(f"full data, {percent(section.full_data.accuracy)} %{ceiling}", 44)
        entries.append((Line2D([], [], **_FULL_DATA), text))
    if (points.adapted != "").any():
        entries.append((Line2D([], [], **_marker(Style(_INK, "o"), hollow=True)), "hollow: whole images, adapted below 1 IPC"))
    handles, labels = zip(*entries, strict=True)
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02)}
    axes.legend(handles, labels, fontsize=8, handlelength=2.8, labelspacing=0.6, borderaxespad=0.0, **place)


def _subtitle(points: pandas.DataFrame) -> str:
    size = f"n = {range_of(points.n_distill)} × {range_of(points.n_students)} (distillations × students)"
    few = (points.n_distill < MIN_SEEDS).any()
    words = [f"SINGLE SEED: {size}" if (points.n_scored == 1).all() else size]
    words += ["bars: 95 % t-intervals over distillations"] if points.half_width.notna().any() else []
    words += [f"no bar: fewer than {MIN_SEEDS}"] if few and points.half_width.notna().any() else []
    if efforts := sorted(set(points.effort) - {1}):
        words.append(f"REDUCED EFFORT {', '.join(plain(effort) for effort in efforts)}" if efforts[0] < 1 else "effort above 1")
    return "; ".join(words)


def range_of(values: pandas.Series) -> str:
    """Write the least and the largest of some numbers, ``3-5``, or the one that they are."""
    low, high = plain(values.min()), plain(values.max())
    return (low if low == high else f"{low}-{high}") or "?"
