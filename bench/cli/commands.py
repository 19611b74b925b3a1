"""The command line: arguments -> plan -> execute -> report. The only place that prints, beside the progress.

Torch and the plugins are imported inside the commands that need them, so ``--help``, a typing mistake and ``report``
answer at once.
"""

from __future__ import annotations

import argparse
import errno
import io
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ..errors import BenchError, UnwritableError, did_you_mean
from ..library import run_sweep, write_report
from ..sweep import readers
from ..sweep.store import Store
from .arguments import COMMANDS, parser_for, program
from .console import Console, warn
from .exporting import exported
from .flags import given_flags, import_plugins
from .output import patient_output
from .released_sets import imported, inspected
from .tuning import lines_of, tuned

OK, SUITE_FAILED, BAD_INPUT, CELL_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

#: Errors of the surroundings: no room, no right to write, no file left to open.
_SURROUNDINGS = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "EMFILE", "ENFILE")
    if hasattr(errno, name)
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see docs/scaling.md)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a plugin says may hold letters that a terminal lacks
    with patient_output() as output:
        code = _answer(given)
        output.flush()
        if output.problem:
            _say_error(f"not all of this could be printed ({output.problem}); whatever was to be done is done")
            code = code or SUITE_FAILED
    return code


def _answer(given: list[str]) -> int:
    """Run one command; whatever goes wrong becomes words and an exit code."""
    try:
        return _dispatch(given)
    except BenchError as error:
        _say_error(str(error))
        return BAD_INPUT
    except UnwritableError as error:
        _say_error(str(error))
        return SUITE_FAILED
    except KeyboardInterrupt:
        print("ddbench: interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as asked:  # after --help
        return int(asked.code or OK)
    except Exception as error:
        if _of_surroundings(error):
            _say_error(
                f"{error}; make room or choose another folder with --out, then give the same command again: what is finished is kept"
            )
            return SUITE_FAILED
        traceback.print_exc()
        print("ddbench: the suite itself failed; please report the lines above", file=sys.stderr)
        return SUITE_FAILED


def _say_error(text: str) -> None:
    print(f"ddbench: error: {text}", file=sys.stderr)


def _of_surroundings(error: Exception) -> bool:
    """Tell a full or closed disk from a fault of the suite."""
    # Python looks for a temporary folder by writing into each, and says that it "found" none if all are full.
    return isinstance(error, OSError) and (error.errno in _SURROUNDINGS or "temporary directory" in str(error))


def _dispatch(given: list[str]) -> int:
    command = "run"
    if given and not given[0].startswith("-"):
        command = given.pop(0)
        if command not in COMMANDS:
            raise BenchError(f"unknown command '{command}'{did_you_mean(command, COMMANDS)} (commands: {', '.join(COMMANDS)})")
    return _ACTIONS[command](parser_for(command).parse(given))


def _out_of(parsed: argparse.Namespace) -> Path:
    return parsed.out or readers.default_out()


def _report(parsed: argparse.Namespace) -> int:
    out = _out_of(parsed)
    if not out.is_dir():
        raise BenchError(f"the out folder '{out}' is not there; name the folder of an earlier run with --out")
    paths, warnings = write_report(Store(out))
    for warning in warnings:
        warn(warning)
    _say_written(paths)
    return OK


def _say_written(paths: Iterable[Path]) -> None:
    for path in paths:
        print(f"wrote {path}")


def _show(parsed: argparse.Namespace) -> int:
    from .describe import describe_record

    store = Store(_out_of(parsed))
    print(describe_record(store.find(parsed.cell), store, program()))
    return OK


def _list(parsed: argparse.Namespace) -> int:
    from ..data import DataOptions, default_data_root
    from .catalogue import catalogue, combinations_text

    import_plugins(parsed)
    if parsed.combinations:
        print(combinations_text())
        return OK
    root = Path(parsed.data_root) if parsed.data_root else default_data_root()
    print(catalogue(DataOptions(root, download=not parsed.offline)))
    return OK


def _prepare(parsed: argparse.Namespace) -> int:
    from ..data import DataOptions, default_data_root
    from .preparing import prepare

    import_plugins(parsed)
    root = Path(parsed.data_root) if parsed.data_root else default_data_root()
    options = DataOptions(root, download=not parsed.offline, large=True, tell=lambda sentence: print(sentence, flush=True))
    names = readers.datasets(",".join(parsed.datasets), "DATASETS")
    spaces = None if not parsed.spaces else () if parsed.spaces == ("none",) else parsed.spaces
    prepare(names, options, _out_of(parsed), parsed.split, spaces)
    return OK


def _new(parsed: argparse.Namespace) -> int:
    from ..registry import discover
    from .scaffold import how_to_try, new_plugin

    discover()
    file = new_plugin(parsed.kind, parsed.name, parsed.into)
    plugin = f" --plugin {file}" if parsed.into else ""
    print(f"wrote {file}\ntry it: {program()} {how_to_try(parsed.kind, parsed.name)} --budgets 1 --seeds 1{plugin}")
    return OK


def _check(parsed: argparse.Namespace) -> int:
    from ..contract.process import examined_in_a_process
    from ..data import default_data_root
    from .checking import Tally, line_of

    tally = Tally()
    for finding in examined_in_a_process(parsed.file, Path(parsed.data_root) if parsed.data_root else default_data_root()):
        print(line_of(finding), flush=True)
        tally.add(finding)
    print(tally.line())
    return tally.exit_code


def _inspect(parsed: argparse.Namespace) -> int:
    for line in inspected(parsed, _out_of(parsed)):
        print(line, flush=True)
    return OK


def _import(parsed: argparse.Namespace) -> int:
    for line in imported(parsed, _out_of(parsed), program()):
        print(line, flush=True)
    return OK


def _export(parsed: argparse.Namespace) -> int:
    for line in exported(parsed, _out_of(parsed), program()):
        print(line, flush=True)
    return OK


def _tune(parsed: argparse.Namespace) -> int:
    found = tuned(parsed, _out_of(parsed))
    for line in lines_of(found):
        print(line, flush=True)
    if not found.finished:
        print("interrupted: trials that ended are kept, the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return OK if found.best else CELL_FAILED


def _run(parsed: argparse.Namespace) -> int:
    if parsed.report_only:
        return _report(parsed)
    settings = readers.merge(given_flags(parsed), parsed.config)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Console(full=parsed.dry_run) as console:
            result = run_sweep(settings, console, _out_of(parsed), rerun=parsed.rerun, force=parsed.force, dry_run=parsed.dry_run)
    finally:
        signal.signal(signal.SIGTERM, before)
    _say_written(result.report)
    if not result.finished:
        print("interrupted: finished cells are kept, the same command goes on from here", file=sys.stderr)
    return result.exit_code


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "list": _list,
    "prepare": _prepare,
    "show": _show,
    "report": _report,
    "new": _new,
    "inspect": _inspect,
    "import": _import,
    "export": _export,
    "tune": _tune,
    "check": _check,
}
