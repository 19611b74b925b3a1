"""Accuracy against pixels, one picture per data set and protocol, the same bytes for the same records."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from .numbers import percent, plain
from .rows import Row
from .sections import Line, Section

FORMATS = ("png", "svg")

# Okabe & Ito's colours, which stay apart for colour-blind readers and in print; yellow is too light for a line.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "D", "^", "P", "X", "v", "p", "h", "*")
_GREY = "#8A8A8A"
_REFERENCE_MARKERS = ("v", "^", "<", ">", "d", "8")
_REFERENCE_DASHES = ((0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 3)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))
_INK = "#333333"
_BELOW_RANDOM = "#ECECEC"

#: Everything that a user's own matplotlib settings could change is put back to the defaults first.
_STYLE: Any = {
    "svg.hashsalt": "ddbench",
    "font.size": 9,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E2E2E2",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
}

#: Two ticks of the pixel axis need this ratio between them to stay readable.
_TICK_RATIO = 1.12


@dataclass(frozen=True)
class Style:
    """How the line of a method is drawn."""

    colour: str
    marker: str
    dashes: Any = "-"
    width: float = 1.8
    marker_size: float = 6.0
    z: float = 3.0
    alpha: float = 1.0


def method_styles(sections: Iterable[Section]) -> dict[str, Style]:
    """Choose a style per method variant, the same one in every plot of a report."""
    firsts = [line.first for section in sections for line in section.lines]
    contestants = sorted({row.label for row in firsts if row.kind != "reference"})
    references = sorted({row.label for row in firsts if row.kind == "reference"})
    styles = {}
    for i, label in enumerate(contestants):
        # From the eighth on colours come again, with another marker and dashed.
        dashes = "-" if i < len(_COLOURS) else (0, (4, 1.5))
        styles[label] = Style(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)], dashes)
    for i, label in enumerate(references):
        marker, broken = _REFERENCE_MARKERS[i % len(_REFERENCE_MARKERS)], _REFERENCE_DASHES[i % len(_REFERENCE_DASHES)]
        styles[label] = Style(_GREY, marker, broken, width=1.0, marker_size=4.0, z=2.0)
    return styles


def _style_of(line: Line, section: Section, styles: Mapping[str, Style]) -> Style:
    """Return the style of a line; a faint, dotted one where the same method is there with more effort, too."""
    efforts = {other.first.effort for other in section.lines if other.label == line.label}
    style = styles[line.label]
    return style if line.first.effort == max(efforts) else replace(style, dashes=(0, (1, 1.5)), width=1.3, alpha=0.45)


def draw_section(section: Section, styles: Mapping[str, Style]) -> dict[str, bytes]:
    """Draw one section.

    Returns:
        File format -> content.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = _figure(section, styles)
        return {kind: _encode(figure, kind) for kind in FORMATS}


def _encode(figure: Figure, kind: str) -> bytes:
    # Dates and the version of the library would make equal pictures differ.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": "ddbench"}}[kind]
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=200, metadata=metadata)
    return stream.getvalue()


def _figure(section: Section, styles: Mapping[str, Style]) -> Figure:
    lines = [line for line in section.lines if not line.is_copy and _points(line)]
    height = max(4.2, 1.6 + 0.2 * (len(lines) + 4))
    figure = Figure(figsize=(8.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _pixel_axis(axes, section, lines)
    for line in lines:
        _draw_line(axes, line, _style_of(line, section, styles))
    _accuracy_axis(axes, section, lines)
    _draw_random(axes, section)
    _draw_full_data(axes, section)
    _legend(axes, section, lines, styles)
    axes.set_title(textwrap.fill(_subtitle(lines), 110), loc="left", fontsize=8, color="#666666", pad=8)
    title = figure.suptitle(section.title, ha="left", fontsize=11, fontweight="bold", color=_INK)
    figure.draw_without_rendering()  # finds out where the axes begin, to put the title there
    title.set_x(axes.get_position().x0)
    return figure


def _points(line: Line) -> list[Row]:
    """Return the rows of a line that have a place in the plot, by pixels."""
    return sorted((row for row in line.rows.values() if row.final and _pixels(row)), key=_pixels)


def _pixels(row: Row) -> float:
    """Return the pixels a row really uses (granted ones where the audit was not kept)."""
    return row.audited("pixels") or row.budget_px or 0


def _draw_line(axes: Axes, line: Line, style: Style) -> None:
    rows = _points(line)
    x = [_pixels(row) for row in rows]
    finals = [row.final for row in rows if row.final]
    y = [100 * final.mean for final in finals]
    errors = [100 * (final.half_width or 0.0) for final in finals]
    axes.plot(x, y, color=style.colour, linestyle=style.dashes, linewidth=style.width, alpha=style.alpha, zorder=style.z)
    bars: dict[str, Any] = {
        "ecolor": style.colour,
        "elinewidth": style.width * 0.6,
        "capsize": 2.5,
        "alpha": 0.8 * style.alpha,
        "zorder": style.z,
    }
    axes.errorbar(x, y, yerr=errors, fmt="none", **bars)
    for row, px, accuracy in zip(rows, x, y, strict=True):
        axes.plot([px], [accuracy], linestyle="", zorder=style.z + 1, **_marker(style, hollow=bool(row.adapted)))


def _marker(style: Style, hollow: bool) -> dict[str, Any]:
    face = "white" if hollow else style.colour
    size, edge = style.marker_size, style.colour
    return {"marker": style.marker, "markersize": size, "markerfacecolor": face, "markeredgecolor": edge, "alpha": style.alpha}


def _pixel_axis(axes: Axes, section: Section, lines: Sequence[Line]) -> None:
    used = [_pixels(row) for line in lines for row in _points(line)]
    budgets = [px for px in section.budgets if any(row.final for row in section.at(px))]
    low, high = min([*used, *budgets]), max([*used, *budgets])
    room = max((high / low) ** 0.06, 1.15) if high / low > 1.3 else 2.0
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    ticks = _spread(budgets, (high * room) / (low / room))
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{px:,}" for px in ticks])
    axes.set_xlabel("stored pixels per data set (log scale)")
    top = axes.secondary_xaxis("top")
    top.xaxis.set_major_locator(FixedLocator(ticks))
    top.xaxis.set_minor_locator(NullLocator())
    top.xaxis.set_minor_formatter(NullFormatter())
    top.set_xticklabels([plain(section.ipc_of(px)) for px in ticks])
    top.set_xlabel("images per class (IPC)", fontsize=8, color="#666666")
    top.tick_params(labelsize=8, labelcolor="#666666")


def _spread(budgets: Sequence[int], span: float) -> list[int]:
    """Drop budgets whose tick labels would run into the one before; the largest always stays."""
    ratio = max(_TICK_RATIO, span**0.075)
    kept: list[int] = []
    for px in sorted(budgets, reverse=True):
        if not kept or kept[-1] / px >= ratio:
            kept.append(px)
    return sorted(kept)


def _accuracy_axis(axes: Axes, section: Section, lines: Sequence[Line]) -> None:
    bounds = [bound for line in lines for row in _points(line) for bound in (row.final.bounds or (row.final.mean,) if row.final else ())]
    if section.full_data and section.full_data.final:
        bounds.append(section.full_data.final.mean)
    low, high = 100 * min(bounds), 100 * max(bounds)
    room = max(0.06 * (high - low), 1.0)
    axes.set_ylim(max(0.0, low - room), min(104.0, high + room))
    axes.set_ylabel("test accuracy (%)")


def _draw_random(axes: Axes, section: Section) -> None:
    """Shade what the strongest random form of each budget reaches, at the pixels that it uses."""
    strongest = [(px, row) for px in section.budgets if (row := section.strongest_reference(px))]
    if not strongest:
        return
    corners = sorted((_pixels(row), 100 * row.final.mean) for _, row in strongest if row.final)
    # Beyond the outermost budgets the shade goes on to the frame, so that a single budget is a band; but not over
    # budgets at which no random form was run.
    left, right = axes.get_xlim()
    if strongest[0][0] == section.budgets[0]:
        corners.insert(0, (left, corners[0][1]))
    if strongest[-1][0] == section.budgets[-1]:
        corners.append((right, corners[-1][1]))
    x, y = zip(*corners, strict=True)
    axes.fill_between(x, y, axes.get_ylim()[0], color=_BELOW_RANDOM, linewidth=0, zorder=0)
    axes.plot(x, y, color="#B5B5B5", linewidth=1.4, zorder=1)


def _draw_full_data(axes: Axes, section: Section) -> None:
    if section.full_data is None or section.full_data.final is None:
        return
    accuracy = 100 * section.full_data.final.mean
    axes.axhline(accuracy, color=_INK, linewidth=1.0, linestyle=(0, (6, 3)), zorder=1)


def _legend(axes: Axes, section: Section, lines: Sequence[Line], styles: Mapping[str, Style]) -> None:
    entries = [_entry(line, _style_of(line, section, styles)) for line in lines]
    if any(section.strongest_reference(px) for px in section.budgets):
        entries.append((Line2D([], [], color=_BELOW_RANDOM, linewidth=8), "up to the strongest random form"))
    if section.full_data and section.full_data.final:
        dashed = Line2D([], [], color=_INK, linewidth=1.0, linestyle=(0, (6, 3)))
        entries.append((dashed, f"full data, {percent(section.full_data.final.mean)} %{_effort(section.full_data)}"))
    if any(row.adapted for line in lines for row in _points(line)):
        hollow = Line2D([], [], linestyle="", **_marker(Style(_INK, "o"), hollow=True))
        entries.append((hollow, "hollow: whole images, adapted below 1 IPC"))
    handles, labels = zip(*entries, strict=True)
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.02)}
    axes.legend(handles, labels, fontsize=8, handlelength=2.8, labelspacing=0.6, borderaxespad=0.0, **place)


def _entry(line: Line, style: Style) -> tuple[Line2D, str]:
    hollow = all(row.adapted for row in _points(line))
    drawn = Line2D([], [], color=style.colour, linestyle=style.dashes, linewidth=style.width, **_marker(style, hollow))
    label = line.label if len(line.label) <= 44 else line.label[:43] + "…"
    return drawn, label + _effort(line.first)


def _effort(row: Row) -> str:
    return "" if row.effort == 1 else f" (effort {plain(row.effort)})"


def _subtitle(lines: Sequence[Line]) -> str:
    rows = [row for line in lines for row in _points(line)]
    finals = [row.final for row in rows if row.final]
    seeds = sorted({final.n_distil for final in finals})
    size = f"{_range(seeds)} × {_range(sorted({final.n_students or 0 for final in finals}))}"
    if seeds == [1]:
        words = [f"SINGLE SEED: n = {size} (distillations × students), 95 % t-intervals over students only"]
    else:
        words = [f"n = {size} (distillations × students), 95 % t-intervals over distillations"]
        words += ["points of a SINGLE SEED: over students only"] if 1 in seeds else []
    if efforts := sorted({row.effort for row in rows} - {1}):
        words.append(f"REDUCED EFFORT {', '.join(plain(effort) for effort in efforts)}" if efforts[0] < 1 else "effort above 1")
    return "; ".join(words)


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]}-{values[-1]}"
