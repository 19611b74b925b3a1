"""The commands and flags of the command line. Free of torch."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import BenchError, did_you_mean
from ..judge.protocol import PROTOCOLS
from ..sweep import readers
from .exporting import add_export_flags
from .flags import path_of, reader_of
from .released_sets import add_release_flags
from .tuning import add_tune_flags

COMMANDS = {
    "run": "plan, run and report a sweep (the default: the word may be left out)",
    "list": "methods and their parts, data sets and protocols, and which of them can be used here",
    "prepare": "download data sets, decode them once, and fit their pixel spaces, so that runs find all of it",
    "show": "everything about one cell: configuration, lineage, scores, log, command to run it again",
    "report": "render the tables and plots from the records once more",
    "new": "write a file to start from: new method|objective|form|dataset NAME",
    "inspect": "say what distilled sets of somebody else are, with evidence: inspect FILES; --probe trains on what they may be",
    "import": "make a set of this suite of files of somebody else: import FILES --dataset NAME --name NAME",
    "export": "write the set of a cell for other people's code: export CELL --format pt|npz|images|ddranking",
    "tune": "try settings of a method on val, the same number of equally long trials for every method, and write the best as a rule",
    "check": "run the contract over a plugin file: check FILE says what a method, a part or a data set does not keep",
}

_DATA_ROOT = "folder of the data sets (default: $DDBENCH_DATA or a cache folder)"

_EXIT_CODES = """exit codes:
  0  every cell is ok or refused     1  the suite itself failed     2  the input is wrong
  3  some cell failed, was rejected, timed out or ran out of memory     130  interrupted
"""

_CHECK_EXIT_CODES = """exit codes:
  0  everything holds     2  the file does not import, or registers nothing     3  something does not hold
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, with the closest name that exists."""

    def error(self, message: str) -> NoReturn:
        """Raise what the command line prints in one line, instead of printing the usage.

        Raises:
            BenchError: always.
        """
        raise BenchError(f"{message}; see --help")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse, and name the closest option for an unknown one."""
        parsed, unknown = self.parse_known_args(arguments)
        if unknown:
            option = unknown[0].partition("=")[0]
            known = [name for action in self._actions for name in action.option_strings]
            kind = "option" if option.startswith("-") else "argument"
            raise BenchError(f"unknown {kind} '{option}'{did_you_mean(option, known)}; see --help")
        return parsed


def parser_for(command: str) -> Parser:
    """Return the parser of one of ``COMMANDS``."""
    return _PARSERS[command]()


def _new_parser(command: str, description: str, **options: Any) -> Parser:
    name = program() if command == "run" else f"{program()} {command}"
    return Parser(prog=name, description=description, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)


def program() -> str:
    """Return how the suite was called, for messages that show a command."""
    script = Path(sys.argv[0])
    if script.name != "run_bench.py":
        return "ddbench"
    return f"python {shlex.quote(str(script))}"


def _add_out(parser: argparse.ArgumentParser) -> None:
    about = "folder of the results (default: $DDBENCH_OUT or results)"
    parser.add_argument("--out", metavar="DIR", type=path_of("--out"), default=None, help=about)


def _add_plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin", metavar="FILE.py", action="append", default=[], help="a Python file that registers plugins; may be repeated"
    )


def _run_parser() -> Parser:
    commands = "\n".join(f"  {name:<8}{text}" for name, text in COMMANDS.items())
    parser = _new_parser(
        "run",
        "Distil data sets under a budget of pixels, judge the results, and write tables and plots.",
        usage="%(prog)s [command] [flags]",
        epilog=f"commands (each has its own --help):\n{commands}\n\n{_EXIT_CODES}",
    )
    what = parser.add_argument_group("what is run (lists are comma-separated; defaults are in bench/defaults.yaml)")
    how = parser.add_argument_group("how it is run")
    where = parser.add_argument_group("where things are")
    _add_what(what)
    how.add_argument(
        "--jobs", metavar="N", type=reader_of("jobs"), help="cells at a time, one thread each (default: one per core, or one per GPU)"
    )
    how.add_argument("--device", metavar="D", type=reader_of("device"), help="cpu, cuda or auto (default: cpu)")
    how.add_argument("--timeout", metavar="T", type=reader_of("timeout"), help="longest time of one stage of a cell: 90 (seconds), 30m, 2h")
    how.add_argument(
        "--keep-on-timeout",
        action="store_true",
        default=None,
        help="where a distillation takes longer, judge what it had by then; such rows are marked and not ranked",
    )
    how.add_argument(
        "--curve",
        metavar="C",
        type=reader_of("curve"),
        help="score sets on val at 8 outer steps on the way: on, off, or auto (default), where that costs at most a tenth of the cell",
    )
    how.add_argument("--dry-run", action="store_true", default=False, help="show the cells and an estimate of the time; write nothing")
    how.add_argument(
        "--rerun",
        metavar="LIST",
        type=lambda text: readers.statuses(text, "--rerun"),
        default=(),
        help=f"run such cells again: {', '.join(readers.RERUN)}",
    )
    how.add_argument(
        "--force",
        metavar="METHODS",
        type=lambda text: readers.texts(text, "--force"),
        default=(),
        help="run the cells of these methods again from the start",
    )
    how.add_argument("--report-only", action="store_true", default=False, help="only render the report, like the command report")
    _add_out(where)  # type: ignore[arg-type]
    where.add_argument(
        "--config",
        metavar="FILE",
        type=path_of("--config"),
        default=None,
        help="a YAML file with any of these flags, such as the run.yaml of an earlier run; flags win",
    )
    _add_plugin(where)  # type: ignore[arg-type]
    where.add_argument("--data-root", metavar="DIR", type=reader_of("data-root"), help=_DATA_ROOT)
    where.add_argument("--offline", action="store_true", default=None, help="never download a data set")
    return parser


def _add_what(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--methods",
        metavar="LIST",
        type=reader_of("methods"),
        help='methods, with hyper-parameters and grids in brackets: "name[field=value,other=[10,20]],name"',
    )
    add(
        "--datasets",
        metavar="LIST",
        type=reader_of("datasets"),
        help='data sets, with parameters in brackets if they take some: "digits,cub200[size=64]"',
    )
    add("--budgets", metavar="LIST", type=reader_of("budgets"), help="images per class (0.3,1,10) or pixels per data set (9180px)")
    add("--seeds", metavar="N", type=reader_of("seeds"), help="number of distillation seeds; '3,' is the seed 3 alone, '0,2' a list")
    add("--students", metavar="N", type=reader_of("students"), help="fresh students that judge each set")
    add("--protocol", metavar="NAME", type=reader_of("protocol"), help=f"how sets are judged: {', '.join(PROTOCOLS)}")
    add(
        "--split", metavar="S", type=reader_of("split"), help="dev (val is kept out of the training images) or paper (all of them are used)"
    )
    add(
        "--network",
        metavar="NAME",
        type=reader_of("network"),
        help="student network of every row, references included, e.g. convnet-d3-w32",
    )
    add(
        "--effort",
        metavar="X",
        type=reader_of("effort"),
        help="fraction of the outer steps to take; 0.01 is a quick look, and is marked; below 1 there is no full-data line",
    )
    add("--set", metavar="METHOD.FIELD=VALUE", action="append", default=[], help="set a hyper-parameter; may be repeated")
    add("--no-reference", action="store_true", default=None, help="leave out the forms of random selection and the full-data line")


def _list_parser() -> Parser:
    parser = _new_parser("list", COMMANDS["list"])
    _add_plugin(parser)
    parser.add_argument("--data-root", metavar="DIR", type=reader_of("data-root"), help="folder of the data sets")
    parser.add_argument("--offline", action="store_true", default=False, help="do not count what would have to be downloaded")
    parser.add_argument(
        "--combinations", action="store_true", default=False, help="instead, which form goes with which objective, and why not"
    )
    return parser


def _prepare_parser() -> Parser:
    parser = _new_parser("prepare", COMMANDS["prepare"])
    parser.add_argument("datasets", metavar="DATASETS", nargs="+", help='data sets, e.g. cub200,svhn or "cub200[size=64]"')
    parser.add_argument("--data-root", metavar="DIR", type=reader_of("data-root"), help=_DATA_ROOT)
    parser.add_argument("--offline", action="store_true", default=False, help="use what is there, and open no connection")
    parser.add_argument(
        "--split", metavar="S", type=reader_of("split"), default="dev", help="split whose pixel spaces are fitted (default: dev)"
    )
    parser.add_argument(
        "--spaces",
        metavar="LIST",
        type=lambda text: readers.texts(text, "--spaces"),
        default=(),
        help="pixel spaces to fit (default: that of the data set, or none for none)",
    )
    _add_out(parser)
    _add_plugin(parser)
    return parser


def _show_parser() -> Parser:
    parser = _new_parser("show", COMMANDS["show"])
    parser.add_argument("cell", metavar="CELL", help="the first digits of a cell's key, as --dry-run shows them")
    _add_out(parser)
    return parser


def _report_parser() -> Parser:
    parser = _new_parser("report", COMMANDS["report"])
    _add_out(parser)
    return parser


def _new_parser_of_new() -> Parser:
    parser = _new_parser("new", COMMANDS["new"])
    kinds = ("method", "objective", "form", "dataset")
    parser.add_argument("kind", metavar="KIND", choices=kinds, help=f"what to write: {', '.join(kinds)}")
    parser.add_argument("name", metavar="NAME", help="its name, e.g. my_method")
    parser.add_argument(
        "--into",
        metavar="DIR",
        type=path_of("--into"),
        default=None,
        help="folder of the new file (default: where plugins are found)",
    )
    return parser


def _export_parser() -> Parser:
    parser = _new_parser("export", COMMANDS["export"])
    add_export_flags(parser)
    _add_surroundings(parser)
    return parser


def _tune_parser() -> Parser:
    parser = _new_parser("tune", COMMANDS["tune"])
    add_tune_flags(parser)
    _add_out(parser)
    _add_plugin(parser)
    return parser


def _check_parser() -> Parser:
    parser = _new_parser("check", COMMANDS["check"], epilog=_CHECK_EXIT_CODES)
    parser.add_argument("file", metavar="FILE", help="a Python file that registers plugins, wherever it lies")
    parser.add_argument(
        "--data-root", metavar="DIR", type=reader_of("data-root"), help="folder of the data sets, for a file that registers one"
    )
    return parser


def _inspect_parser() -> Parser:
    parser = _new_parser("inspect", COMMANDS["inspect"])
    add_release_flags(parser, required=False)
    parser.add_argument("--probe", action="store_true", default=False, help="train on every plausible reading, about a minute each")
    _add_surroundings(parser)
    return parser


def _import_parser() -> Parser:
    parser = _new_parser("import", COMMANDS["import"])
    add_release_flags(parser, required=True)
    parser.add_argument("--name", metavar="NAME", required=True, help="what to call it: --methods imported[name=NAME] judges it")
    parser.add_argument("--no-probe", action="store_true", default=False, help="leave out the trial that shows a wrong reading")
    _add_surroundings(parser)
    return parser


def _add_surroundings(parser: argparse.ArgumentParser) -> None:
    _add_out(parser)
    _add_plugin(parser)
    parser.add_argument("--data-root", metavar="DIR", type=reader_of("data-root"), help="folder of the data sets")


_PARSERS: dict[str, Callable[[], Parser]] = {
    "run": _run_parser,
    "list": _list_parser,
    "prepare": _prepare_parser,
    "show": _show_parser,
    "report": _report_parser,
    "new": _new_parser_of_new,
    "inspect": _inspect_parser,
    "import": _import_parser,
    "export": _export_parser,
    "tune": _tune_parser,
    "check": _check_parser,
}
