"""Write the whole report. It is a pure function of the records: equal records give equal bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from ..files import write_bytes
from ..record import Record
from .anytime import has_curves
from .curves import curves_csv, curves_markdown
from .details import details_page
from .leaderboard import leaderboard
from .sections import Section, build_sections


def render(records: Iterable[Record], out: Path, warnings: Sequence[str] = (), stale: Collection[str] = ()) -> list[Path]:
    """Write leaderboard.md, accuracy_vs_pixels.md and .csv, a page of details per data set, and a plot per section as PNG and SVG.

    Every file is written beside its place and renamed, so a reader never sees half of one.

    Args:
        records: all records there are, in any order.
        out: the out folder; made if it is not there.
        warnings: sentences to show at the top of the leaderboard, e.g. on files that could not be read.
        stale: keys of records that other code made than today's.

    Returns:
        The paths written, the leaderboard first.
    """
    sections = build_sections(records, stale)
    plots = _draw(sections)
    pages: dict[str, list[Section]] = {}
    for section in sections:
        pages.setdefault(section.page, []).append(section)
    files = {
        "leaderboard.md": leaderboard(sections, warnings).encode(),
        "accuracy_vs_pixels.md": curves_markdown(sections).encode(),
        "accuracy_vs_pixels.csv": curves_csv(sections).encode(),
        **{path: details_page(shown).encode() for path, shown in pages.items()},
        **plots,
    }
    for name, content in files.items():
        write_bytes(out / name, content)
    _drop_outgrown(sections, plots, out)
    return [out / name for name in files]


def _draw(sections: Sequence[Section]) -> dict[str, bytes]:
    """Draw every section that has a point to show: path relative to the out folder -> content."""
    shown = [section for section in sections if len(section.scored)]
    if not shown and not any(has_curves(section) for section in sections):
        return {}
    from .anytime_plots import draw_anytime
    from .plots import draw_section, method_styles  # seaborn takes a second to import

    styles = method_styles(sections)
    drawn = {section.plot: draw_section(section, styles) for section in shown}
    drawn |= {section.anytime_plot: draw_anytime(section, styles) for section in sections if has_curves(section)}
    return {f"{path}.{kind}": picture for path, pictures in drawn.items() for kind, picture in pictures.items()}


def _drop_outgrown(sections: Sequence[Section], plots: Mapping[str, bytes], out: Path) -> None:
    """Remove a plot whose section has another name by now, since the old file would show old records for ever."""
    for section in sections:
        # A network is usual as long as most records have it, which more records can change.
        for distinction, usual, kind in product({"", section.distinction}, (True, False), ("png", "svg")):
            other = replace(section, distinction=distinction, usual=usual)
            for name in (f"{other.plot}.{kind}", f"{other.anytime_plot}.{kind}"):
                if name not in plots:
                    (out / name).unlink(missing_ok=True)
