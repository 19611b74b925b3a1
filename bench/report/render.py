"""Write the whole report. It is a pure function of the records: equal records give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from ..files import write_bytes
from ..record import Record
from .curves import curves_csv, curves_markdown
from .leaderboard import leaderboard
from .plots import FORMATS, draw_section, method_styles
from .sections import Section, build_sections


def render(records: Iterable[Record], out: Path, warnings: Sequence[str] = ()) -> list[Path]:
    """Write leaderboard.md, accuracy_vs_pixels.md and .csv, and a plot per data set and protocol as PNG and SVG.

    Every file is written beside its place and renamed, so a reader never sees half of one.

    Args:
        records: all records there are, in any order.
        out: the out folder; made if it is not there.
        warnings: sentences to show at the top of the leaderboard, e.g. on files that could not be read.

    Returns:
        The paths written, the leaderboard first.
    """
    sections = build_sections(records)
    plots = _draw(sections)
    links = [_plot_path(section, "png") if _plot_path(section, "png") in plots else "" for section in sections]
    files = {
        "leaderboard.md": leaderboard(sections, warnings, links).encode(),
        "accuracy_vs_pixels.md": curves_markdown(sections).encode(),
        "accuracy_vs_pixels.csv": curves_csv(sections).encode(),
        **plots,
    }
    for name, content in files.items():
        write_bytes(out / name, content)
    _drop_outgrown(sections, plots, out)
    return [out / name for name in files]


def _draw(sections: Sequence[Section]) -> dict[str, bytes]:
    """Draw every section that has a point to show: path relative to the out folder -> content."""
    styles = method_styles(sections)
    drawn: dict[str, bytes] = {}
    for section in sections:
        if any(row.final for row in section.rows()):
            pictures = draw_section(section, styles)
            drawn.update({_plot_path(section, kind): pictures[kind] for kind in FORMATS})
    return drawn


def _drop_outgrown(sections: Sequence[Section], plots: Mapping[str, bytes], out: Path) -> None:
    """Remove a plot whose section has another name by now, since the old file would show old records for ever."""
    for section in sections:
        # A network is usual as long as most records have it, which more records can change.
        for distinction, usual, kind in product({"", section.distinction}, (True, False), FORMATS):
            name = _plot_path(replace(section, distinction=distinction, usual=usual), kind)
            if name not in plots:
                (out / name).unlink(missing_ok=True)


def _plot_path(section: Section, kind: str) -> str:
    return f"plots/{section.slug}.{kind}"
