"""The text of ``show``: everything a record says of one cell. Free of torch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

from ..files import read_end
from ..judge.protocol import DEFAULT_NETWORK, OWN_NETWORK
from ..record import Record, as_published, mean
from ..sweep.store import Store
from .earlier_runs import asked_for, data_root_of, earlier_runs, where_plugin_was

_LOG_LINES = 20
_LOG_BYTES = 2**16  # of the end of a log, which a plugin that prints a lot can make longer than the memory


def describe_record(record: Record, store: Store, program: str) -> str:
    """Return configuration, lineage, every score, the log's tail and the command that runs the cell again.

    Args:
        record: the cell's record.
        store: the out folder it lies in.
        program: how the suite is called, e.g. ``ddbench``.
    """
    parts = [_head(record), _lineage(record, store), _configuration(record)]
    if record.scores:
        parts.append(_scores(record))
    if record.audit:
        parts.append(_section("audit", record.audit.items()))
    if record.training:
        parts.append(_section("one student", record.training.items()))
    cost = {name: value for name, value in record.distil.items() if name != "computed"}
    if computed := record.distil.get("computed"):
        parts.append(_section("how the set was computed", computed.items()))
    parts.append(_section("cost", [*cost.items(), *((f"{k} seconds, this run", v) for k, v in record.seconds.items())]))
    parts.append(_section("environment", record.environment.items()))
    if record.traceback:
        parts.append("traceback\n" + _indented(record.traceback.splitlines()))
    parts.append(_log_tail(record, store))
    parts.append("run it again\n  " + command(record, store, program))
    return "\n\n".join(filter(None, parts))


def command(record: Record, store: Store, program: str) -> str:
    """Return the command that makes exactly this cell again, set and score, and a sentence where a path is not known."""
    cell, runs = record.cell, earlier_runs(store)
    words = []
    if cell.kind != "full_data":
        words += ["--methods", cell.label, "--budgets", str(cell.budget["requested"]), "--no-reference"]
    words += ["--datasets", asked_for(cell.dataset, runs), "--seeds", f"{cell.seed},", "--students", str(cell.protocol.get("students", ""))]
    words += ["--protocol", str(cell.protocol.get("name", "")), "--split", cell.split, "--effort", shortest(cell.effort)]
    network = str(cell.protocol.get("network", ""))
    if network not in (OWN_NETWORK, DEFAULT_NETWORK):
        words += ["--network", network]
    unknown = []
    for name in map(str, record.environment.get("plugins", [])):
        path = where_plugin_was(name, runs)
        if path is None:
            path = f"PATH/TO/{name}"
            unknown.append(f"  (where {name} lies is not written anywhere; put its path in place of {path})")
        words += ["--plugin", path]
    if (root := data_root_of(cell.dataset, runs)) is not None:
        words += ["--data-root", root]
    line = " ".join([program, *map(shlex.quote, [*words, "--out", str(store.out), "--force", cell.method])])
    return "\n".join([line, *unknown])


def shortest(number: float) -> str:
    """Return the shortest text that is read as exactly this number."""
    return repr(number).removesuffix(".0")


def _head(record: Record) -> str:
    cell = record.cell
    line = f"{cell.label} on {cell.dataset}, budget {cell.budget['requested']}, seed {cell.seed}: {record.status}"
    if record.scores:
        line += f", {100 * mean(record.scores['final']['test']):.2f} % on {record.scores['n_test']} test images"
    return line + (f"\n{record.reason}" if record.reason else "")


def _lineage(record: Record, store: Store) -> str:
    rows: list[tuple[str, Any]] = []
    if record.distil_key:
        rows.append(("set", store.set_folder(record.distil_key)))
    rows.append(("record", store.record_file(record.key)))
    rows += [("picture", store.out / picture) for picture in record.pictures]
    rows += [("made", record.started), ("other names", ", ".join(record.cell.aliases) or "none")]
    return _section("lineage", rows)


def _configuration(record: Record) -> str:
    cell = record.cell
    rows: list[tuple[str, Any]] = list(cell.fields.items())
    rows += [("method version", cell.method_version), ("code", cell.code_hash), ("reference", cell.reference)]
    rows += [("budget", f"{cell.budget['pixels']} px = {cell.budget['ipc']:g} IPC"), ("data", f"{cell.data_hash}, split {cell.split}")]
    rows += [("effort", f"{cell.effort:g}"), ("outer steps", cell.outer_steps), ("protocol", cell.protocol.get("name"))]
    rows += [("tuned", f"yes, {cell.tuning_trials} settings tried" if cell.tuned else "no")]
    rows += [("published", f"{as_published(one)} % ({one['source']})") for one in cell.published]
    rows += [("source", source) for source in cell.sources] + [("note", note) for note in cell.notes]
    rows += [(name, value) for name, value in (("adapted", cell.adapted), ("external", cell.external)) if value]
    rows += [("origin", cell.origin)] if cell.origin else []
    rows += [("network", cell.network)] if cell.network else []
    rows += [("data", "an unofficial copy")] if cell.unofficial else []
    rows += [(f"part {kind}", name) for kind, name in cell.parts.items()]
    rows += [(f"planned {name}", value) for name, value in cell.plan.items()]
    rows += [(f"prerequisite {one.get('name')}", one) for one in cell.prerequisites]
    return _section("configuration", rows)


def _scores(record: Record) -> str:
    """Show every single number, one line per list."""
    rows = []
    for name, value in record.scores.items():
        if isinstance(value, dict):
            rows += [(f"{name} {inner}", _numbers(item)) for inner, item in value.items()]
        elif isinstance(value, list):
            for entry in value:
                where = entry.get("step", entry.get("lr", ""))
                rows += [(f"{name} {where} {inner}", _numbers(item)) for inner, item in entry.items() if isinstance(item, list)]
        else:
            rows.append((name, value))
    return _section("scores", rows)


def _numbers(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(f"{number:.4f}" for number in value) or "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _section(title: str, rows: Iterable[tuple[str, Any]]) -> str:
    shown = [(name, value if isinstance(value, str) else _plain(value)) for name, value in rows]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join([title, *(f"  {name:{width}}  {value}" for name, value in shown)])


def _plain(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list, bool)) or value is None else str(value)


def _log_tail(record: Record, store: Store) -> str:
    if not record.log:
        return ""
    try:
        lines = read_end(store.out / record.log, _LOG_BYTES).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return f"log {store.out / record.log} is not there"
    return f"last lines of {store.out / record.log}\n" + _indented(lines[-_LOG_LINES:])


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)
