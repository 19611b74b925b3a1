"""The command line: arguments -> plan -> execute -> report. The only place that prints, beside the progress.

Torch and the plugins are imported inside the commands that need them, so ``--help``, a typing mistake and ``report``
answer at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import BenchError, did_you_mean
from ..files import write_text
from ..sweep.settings import RunSettings, config_text
from ..sweep.store import Store
from . import settings as flags
from .arguments import COMMANDS, parser_for, program
from .settings import READERS

if TYPE_CHECKING:
    from ..sweep.planning.estimate import Estimate
    from ..sweep.planning.plan import Plan

OK, SUITE_FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see docs/scaling.md)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(given)
    except BenchError as error:
        print(f"ddbench: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("ddbench: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be written there, not even by the exit handlers.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
    except Exception:
        traceback.print_exc()
        print("ddbench: the suite itself failed; please report the lines above", file=sys.stderr)
        return SUITE_FAILED


def _dispatch(given: list[str]) -> int:
    command = "run"
    if given and not given[0].startswith("-"):
        command = given.pop(0)
        if command not in COMMANDS:
            raise BenchError(f"unknown command '{command}'{did_you_mean(command, COMMANDS)} (commands: {', '.join(COMMANDS)})")
    return _ACTIONS[command](parser_for(command).parse(given))


def _out_of(parsed: argparse.Namespace) -> Path:
    return parsed.out or flags.default_out()


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"ddbench: warning: {warning}", file=sys.stderr)


def _report(parsed: argparse.Namespace) -> int:
    out = _out_of(parsed)
    if not out.is_dir():
        raise BenchError(f"the out folder '{out}' is not there; name the folder of an earlier run with --out")
    _render(Store(out))
    return OK


def _render(store: Store, warnings: Sequence[str] = ()) -> None:
    """Render the report from all records; ``warnings`` were printed before and go into the report."""
    from ..report import render

    records, fresh = store.read_all()
    _warn(fresh)
    try:
        paths = render(list(records.values()), store.out, [*warnings, *fresh])
    except OSError as error:
        raise BenchError(f"the report cannot be written into '{store.out}': {error.strerror}; choose another folder with --out") from error
    for path in paths:
        print(f"wrote {path}")


def _show(parsed: argparse.Namespace) -> int:
    from .describe import describe_record

    store = Store(_out_of(parsed))
    print(describe_record(store.find(parsed.cell), store, program()))
    return OK


def _list(parsed: argparse.Namespace) -> int:
    from ..data import DataOptions, default_data_root
    from ..registry import discover
    from .catalogue import catalogue

    discover(tuple(parsed.plugin))
    root = Path(parsed.data_root).expanduser() if parsed.data_root else default_data_root()
    print(catalogue(DataOptions(root, download=not parsed.offline)))
    return OK


def _new(parsed: argparse.Namespace) -> int:
    from ..registry import discover
    from .scaffold import new_method

    discover()
    file = new_method(parsed.name, parsed.into)
    plugin = f" --plugin {file}" if parsed.into else ""
    print(f"wrote {file}\ntry it: {program()} --methods {parsed.name} --seeds 1{plugin}")
    return OK


def _given_flags(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the flags that were given, as ``settings.merge`` takes them."""
    given = {name: getattr(parsed, name.replace("-", "_"), None) for name in READERS if name not in ("set", "plugin")}
    given = {name: value for name, value in given.items() if value is not None}
    if parsed.set:
        given["set"] = flags.parse_set(parsed.set)
    if parsed.plugin:
        given["plugin"] = flags.plugin_paths(parsed.plugin, "--plugin")
    return given


def _run(parsed: argparse.Namespace) -> int:
    if parsed.report_only:
        return _report(parsed)
    settings = flags.merge(_given_flags(parsed), parsed.config)
    # Before torch is imported, here and in the workers: one thread computes the same everywhere, and fastest here.
    os.environ["OMP_NUM_THREADS"] = "1"
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _sweep(settings, parsed)
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _sweep(settings: RunSettings, parsed: argparse.Namespace) -> int:
    """Plan, show the plan, and unless this is a dry run execute and report it."""
    import torch

    from ..registry import UNAVAILABLE, discover
    from ..sweep import run
    from ..sweep.planning import estimate
    from ..sweep.planning.history import attach
    from ..sweep.planning.plan import Planner, require_known
    from . import table

    torch.set_num_threads(1)
    discover(settings.plugin)
    warnings = [f"plugin {name} does not import: {reason}" for name, reason in sorted(UNAVAILABLE.items())]
    require_known(parsed.force)
    devices = run.devices_for(settings.device)
    slots = settings.jobs or run.default_jobs(devices)
    store = Store(_out_of(parsed))
    with tempfile.TemporaryDirectory() as scratch:
        cache = _look_only(store.prerequisites, Path(scratch)) if parsed.dry_run else store.prerequisites
        planner = Planner(settings, cache, download=not parsed.dry_run)
        planner.check()
        if not parsed.dry_run:
            store.prepare()
        plan = planner.plan()
    records, corrupt = store.read_all(set_aside=not parsed.dry_run)
    _warn([*warnings, *corrupt])
    renamed = attach(plan, store, records, parsed.rerun, parsed.force)
    estimator = estimate.Estimator(plan, list(records.values()), store, devices[0])
    estimates = {planned.key: estimator(planned) for planned in plan.pending()}
    print((table.full_table if parsed.dry_run else table.short_table)(plan.cells, estimates))
    print(table.counts(plan.cells))
    print(estimate.summary(estimates, slots), flush=True)
    if parsed.dry_run:
        return OK
    write_text(store.out / "run.yaml", config_text(settings))
    for record in renamed:
        store.write(record)
    finished = _execute(settings, plan, store, estimates, slots, devices)
    records = store.read_all()[0]
    for line in run.closing_lines(plan, records, store):
        print(line)
    _render(store, [*warnings, *corrupt])
    if not finished:
        print("interrupted: finished cells are kept, the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return run.exit_code(plan, records)


def _look_only(folder: Path, scratch: Path) -> Path:
    """Return a folder in which everything of ``folder`` can be read and nothing of it can be changed."""
    if folder.is_dir():
        for file in folder.iterdir():
            (scratch / file.name).symlink_to(file.resolve())
    return scratch


def _execute(settings: RunSettings, plan: Plan, store: Store, estimates: dict[str, Estimate], slots: int, devices: tuple[str, ...]) -> bool:
    """Run the pending cells; tell whether the run came to its end."""
    from ..sweep import run
    from .progress import Countdown, make_progress

    environment = run.make_environment(settings, devices[0])
    run.write_unrun(plan, store, environment)
    jobs = run.make_jobs(plan, store, settings, environment, estimates)
    if not jobs:
        return True
    pending = {planned.key: planned for planned in plan.pending()}
    cells = {key: planned.cell for key, planned in pending.items()}
    total = len(plan.cells)
    with make_progress(cells, total, total - len(jobs), Countdown(estimates)) as progress:
        recorder = run.Recorder(store, pending, environment, progress)
        return run.run_jobs(jobs, recorder, run.make_executor(slots, settings.timeout, devices))


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {"run": _run, "list": _list, "show": _show, "report": _report, "new": _new}
