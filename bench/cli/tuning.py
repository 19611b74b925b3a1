"""The flags and the words of ``tune``. Free of torch until it runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..sweep import readers
from ..sweep.readers import READERS
from .console import Console
from .flags import given_flags, import_plugins, path_of, reader_of

if TYPE_CHECKING:
    from ..tuning import Tuned

#: Flag -> the flag of a run that it is one of, and what it says.
_SHARED = {
    "dataset": ("datasets", "the data set, e.g. digits"),
    "budget": ("budgets", "images per class (0.3) or pixels per data set (9180px)"),
    "seeds": ("seeds", "distillation seeds of every trial (default: 1)"),
    "students": ("students", "fresh students of every seed (default: 5)"),
    "protocol": ("protocol", "how students are trained"),
    "network": ("network", "student network, e.g. convnet-d3-w32"),
    "jobs": ("jobs", "cells at a time (default: one per core, or one per GPU)"),
    "device": ("device", "cpu, cuda or auto (default: cpu)"),
    "timeout": ("timeout", "longest time of one stage of a trial: 90 (seconds), 3m; one that takes longer has failed"),
    "data-root": ("data-root", "folder of the data sets"),
}
_SHOWN = 5  # trials that are listed in the end


def add_tune_flags(parser: argparse.ArgumentParser) -> None:
    """Add the method, what it is tuned on, and how much."""
    about = 'what is tuned; what is in brackets stays fixed: "random[form=tiles]"'
    parser.add_argument("methods", metavar="METHOD", type=lambda text: READERS["methods"](text, "METHOD"), help=about)
    for flag, (shared, said) in _SHARED.items():
        needed = flag in ("dataset", "budget")
        parser.add_argument(
            f"--{flag}",
            dest=shared.replace("-", "_"),
            metavar=flag.upper() if needed else "X",
            required=needed,
            type=reader_of(flag, shared),
            help=said,
        )
    parser.set_defaults(seeds=(0,), set=[])
    whole = readers.positive_whole
    parser.add_argument(
        "--trials", metavar="N", type=lambda text: whole(text, "--trials"), default=12, help="settings to try (default: 12)"
    )
    parser.add_argument(
        "--steps", metavar="N", type=lambda text: whole(text, "--steps"), default=300, help="outer steps of a trial at most (default: 300)"
    )
    parser.add_argument(
        "--draw", metavar="N", type=lambda text: readers.whole(text, "--draw"), default=0, help="seed of the search (default: 0)"
    )
    parser.add_argument(
        "--into",
        metavar="DIR",
        type=path_of("--into"),
        default=None,
        help="folder of the trials and the rule (default: beside the method's recipes, where the rule is used from then on)",
    )
    parser.add_argument("--offline", action="store_true", default=None, help="never download a data set")


def tuned(parsed: argparse.Namespace, out: Path) -> Tuned:
    """Run the trials of a method.

    Raises:
        BenchError: the input is wrong.
        OSError: nothing can be written.
    """
    from ..tuning import TuningSettings, tune

    import_plugins(parsed)
    wanted = TuningSettings(parsed.trials, parsed.steps, parsed.draw, parsed.into)
    with Console(full=False) as console:
        return tune(readers.merge(given_flags(parsed), None), wanted, out, console)


def lines_of(found: Tuned) -> Iterator[str]:
    """Yield the best trials, the rule, and where both were written."""
    ranked = sorted(found.trials, key=lambda trial: (-trial.score, trial.number))
    for trial in ranked[:_SHOWN]:
        said = f"{100 * trial.score:5.1f} % on val" if trial.val else f"{trial.status}: {trial.reason}"
        fields = ", ".join(f"{name}={value}" for name, value in trial.fields.items())
        yield f"trial {trial.number:>2}: {said}  {fields}{' (what stood)' if trial.number == 0 else ''}"
    if len(ranked) > _SHOWN:
        yield f"and {len(ranked) - _SHOWN} more trials"
    if found.rule:
        yield "the rule of the best:"
        yield found.rule.rstrip()
    yield from (f"wrote {file}" for file in found.files)
