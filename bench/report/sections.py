"""Records -> sections: what may be compared with what, and nothing else side by side."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas

from ..record import Record, label_of
from .frame import record_frame, score_frame
from .numbers import plain, shortened
from .ranking import compared
from .rows import row_frame

#: Records that agree in all of these may stand in one table.
_SECTION = ["dataset", "protocol", "split", "protocol_hash", "data_hash", "network"]
_NAMES = _SECTION[:3]
#: A square of a table.
_SQUARE = ["label", "effort", "budget_px"]


@dataclass(frozen=True, eq=False)
class Section:
    """Everything on one data set (the same bytes of it), one split, one protocol (all its choices equal) and one network.

    Attributes:
        dataset: registered name.
        protocol: its name.
        split: ``dev`` or ``paper``.
        distinction: what tells this section from others of the same names, e.g. the protocol's hash, or empty.
        network: the student network of every row, or empty where no record names one.
        usual: whether this is the network of most records, so that neither title nor files need to name it.
        rows: a row per cell but for its seed, with the columns of ``row_frame`` and ``compared``, ``label`` and ``line`` (place in
            the table: contestants, then references, best first); ordered by budget and line.
        copies: squares of lines at budgets at which they come to the cell of another line, named by ``same_as``.
        full_data: students trained on the full data, if they were run; a row like the others.
    """

    dataset: str
    protocol: str
    split: str
    distinction: str
    network: str
    usual: bool
    rows: pandas.DataFrame
    copies: pandas.DataFrame
    full_data: Any

    @property
    def unusual_network(self) -> str:
        """The student network where it is not the usual one, else empty."""
        return "" if self.usual else self.network or "network not recorded"

    @property
    def title(self) -> str:
        """Data set, protocol, split and an unusual network in a few words."""
        parts = (self.dataset, self.protocol, f"split {self.split}", self.distinction, self.unusual_network)
        return " · ".join(part for part in parts if part)

    @property
    def plot(self) -> str:
        """Path of the plot without its ending, longer where split or network are not the usual ones or names clash."""
        split = "" if self.split == "dev" else self.split
        return f"plots/{_file_name(self.dataset, self.protocol, split, self.distinction, self.unusual_network)}"

    @property
    def anytime_plot(self) -> str:
        """Path of the plot of accuracy against time without its ending, beside the other one."""
        return f"{self.plot}-anytime"

    @property
    def page(self) -> str:
        """Path of the page of details, which all sections of a data set share."""
        return f"details/{_file_name(self.dataset)}.md"

    @property
    def budgets(self) -> dict[float, float]:
        """Granted pixels of the columns, ascending -> images per class (NaN where no record says)."""
        return self.rows.groupby("budget_px").budget_ipc.first().to_dict() if len(self.rows) else {}

    @cached_property
    def scored(self) -> pandas.DataFrame:
        """The rows with a number."""
        return self.rows[self.rows.n_scored > 0]

    @cached_property
    def table_rows(self) -> list[Any]:
        """The rows as tuples."""
        return list(self.rows.itertuples())

    @cached_property
    def everything(self) -> list[Any]:
        """All rows as tuples, the full data last."""
        return [*self.table_rows, *([] if self.full_data is None else [self.full_data])]

    @property
    def not_a_ceiling(self) -> str:
        """Why the full data are no upper bound here, or empty: the line was shortened, or a row lies above it."""
        full = self.full_data
        if full is None or not full.n_scored:
            return ""
        above = self.scored[self.scored.accuracy > full.accuracy]
        words = [f"shortened to effort {plain(full.effort)}" if full.effort < 1 else ""]
        words += [f"{above.loc[above.accuracy.idxmax()].label} lies above it"] if len(above) else []
        return ", ".join(word for word in words if word)


def _file_name(*parts: str) -> str:
    """Join what is not empty, in characters that every file system and link takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(part for part in parts if part))


def build_sections(records: Iterable[Record], stale: Collection[str] = ()) -> list[Section]:
    """Sort records into sections. The order of ``records`` does not matter.

    Args:
        records: all there are.
        stale: keys of those that other code than today's made.
    """
    found = record_frame(score_frame(records))
    if found.empty:
        return []
    found["stale"] = found.key.isin(list(stale))
    usual = found.groupby(_NAMES).network.transform(_usual_network)
    # A record that names no network and has no score to compare is listed with the usual network.
    found["network"] = found.network.where((found.network != "") | (found.n_students > 0), usual)
    found["unusual"] = found.network != usual
    groups = {key: records for key, records in found.groupby([*_SECTION[:-1], "unusual", "network"])}
    return [_section(key, records, _distinction(key, list(groups))) for key, records in groups.items()]


def _usual_network(networks: pandas.Series) -> str:
    """Return the network of most records; a name beats none, however few have it, and of equals the first counts."""
    counts = networks.value_counts().to_dict()
    return min(counts, key=lambda name: (not name, -counts[name], name))


def _distinction(key: Sequence[Any], keys: Sequence[Sequence[Any]]) -> str:
    """Name the hashes in which sections of the same names differ."""
    namesakes = [other for other in keys if other[:3] == key[:3]]
    words = [f"{name} {key[at][:6]}" for at, name in ((3, "protocol"), (4, "data")) if len({other[at] for other in namesakes}) > 1]
    return ", ".join(words)


def _section(key: Sequence[Any], records: pandas.DataFrame, distinction: str) -> Section:
    dataset, protocol, split, _, _, unusual, network = key
    found = row_frame(records)
    found["label"] = [label_of(row.method, row.variant) for row in found.itertuples()]
    is_full = found.kind == "full_data"
    # Of several full-data lines that with a score and the most effort counts.
    full = found[is_full].sort_values(["n_scored", "effort", "label"], ascending=[False, False, True])
    rows = compared(_in_order(_named_apart(found[~is_full & found.budget_px.notna()])))
    full_data = next(full.itertuples(), None)
    return Section(dataset, protocol, split, distinction, network, not unusual, rows, _copies(rows), full_data)


def _named_apart(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Give rows of one name and other hyper-parameters (the recipe changed between runs) names that show the difference.

    The newest keeps the name as typed.
    """
    rows = rows.sort_values("newest", ascending=False)
    older = rows.duplicated(_SQUARE)
    newest = {tuple(row[name] for name in _SQUARE): row for _, row in rows[~older].iterrows()}
    taken = set(newest)
    for index, row in rows[older].iterrows():
        label, effort, budget = (row[name] for name in _SQUARE)
        variant = _with_differences(row, newest[label, effort, budget])
        while (label_of(row.method, variant), effort, budget) in taken:
            variant += "'"
        rows.loc[index, ["variant", "label"]] = variant, label_of(row.method, variant)
        taken.add((label_of(row.method, variant), effort, budget))
    # A form of random selection that somebody also entered as a contestant at another budget stays one line.
    rows.loc[rows.label.isin(rows[rows.kind == "reference"].label), "kind"] = "reference"
    return rows


def _with_differences(row: pandas.Series, newest: pandas.Series) -> str:
    """Return the variant of ``row`` with the hyper-parameters in which it is not like ``newest`` of the same name."""
    current, older = newest.cells[0].settings, row.cells[0].settings
    changed = [f"{name}={older.get(name)}" for name in sorted(current | older) if current.get(name) != older.get(name)]
    return ",".join([*([row.variant] if row.variant else []), *(shortened(text, 40) for text in changed)])


def _in_order(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Order lines: contestants before references, then by accuracy at the largest budget (missing last), the next, and name."""
    lines = rows.assign(reference=rows.kind == "reference").pivot(
        index=["reference", "label", "effort"], columns="budget_px", values="accuracy"
    )
    budgets = sorted(lines.columns, reverse=True)
    lines = lines.reset_index().sort_values(
        ["reference", *budgets, "label", "effort"], ascending=[True, *[False] * len(budgets), True, True], na_position="last"
    )
    places = {line: place for place, line in enumerate(zip(lines.label, lines.effort, strict=True))}
    line = [places[line] for line in zip(rows.label, rows.effort, strict=True)]
    return rows.assign(line=line).sort_values(["budget_px", "line"], ignore_index=True)


def _copies(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Return, for lines that at some budget come to the very cell of another line, that row under their own name."""
    lines = {(row.label, row.effort): row.line for row in rows.itertuples()}
    squares = set(rows[_SQUARE].itertuples(index=False, name=None))
    found = rows.assign(same_as=rows.label).explode("names")
    found = found.assign(label=found.names)
    is_copy = [(row.label, row.effort) in lines and (row.label, row.effort, row.budget_px) not in squares for row in found.itertuples()]
    found = found.loc[is_copy]
    return found.assign(line=[lines[row.label, row.effort] for row in found.itertuples()])
