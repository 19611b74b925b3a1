"""The README's first command as a whole: ``python -m benchmarks.whole [--against CHECKOUT]``.

By default our engine is compared with the plain unroll, with ``--against`` this checkout with another one, e.g. the
parent commit in a git worktree. Both sides distil, judge and report everything, by turns and each in an empty folder.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.nn.convnet import library

from .measure import bootstrap_median, machine

_PR_SET_CHILD_SUBREAPER = 36  # of <sys/prctl.h>

ROOT = Path(__file__).parent.parent
COMMAND = ("run_bench.py", "--methods", "podd,rat_bptt", "--budgets", "0.3,0.5,1")
PLAIN = ("--set", "rat_bptt.engine=plain", "--set", "podd.engine=plain")
QUICK = ("--effort", "1e-9", "--seeds", "1", "--students", "1")


@dataclass(frozen=True)
class Comparison:
    """What stands against this checkout, and what is asked of the ratio base / ours of processor time.

    Attributes:
        checkout: where the base is run.
        flags: what it is run with beside ``COMMAND``.
        must: smallest ratio to reach.
        goal: the ratio to aim for.
    """

    checkout: Path
    flags: tuple[str, ...]
    must: float
    goal: float


def main(arguments: list[str] | None = None) -> int:
    """Run both sides by turns and print their times; 1 if the ratio is below what it must reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout of the suite, instead of the plain unroll")
    parser.add_argument("--pairs", type=int, default=1, help="how often each side is run")
    parser.add_argument("--effort", type=float, default=1.0, help="share of every recipe's outer steps, for a quick look")
    parser.add_argument("--out", type=Path, help="append one JSON line to this file")
    options = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        parser.error(f"the time of a command's processes can only be measured on Linux, this is {sys.platform}; use time(1)")
    if options.pairs < 1:
        parser.error(f"--pairs is {options.pairs}; each side has to run at least once")
    if options.against and not (options.against / COMMAND[0]).is_file():
        parser.error(f"--against {options.against} has no {COMMAND[0]}; name the root of another checkout")
    # Workers come from a fork server that outlives the command for a moment; its time is to arrive here.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    against = Comparison(options.against.resolve(), (), 1 / 1.05, 1.0) if options.against else Comparison(ROOT, PLAIN, 1.5, 2.5)
    line = compare(against, options.pairs, () if options.effort == 1.0 else ("--effort", str(options.effort)))
    print(describe(line))
    if options.out:
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
    return 0 if line["ratio"]["cpu_s"]["median"] >= against.must else 1


def compare(against: Comparison, pairs: int, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Time both sides by turns.

    Args:
        against: the other side.
        pairs: how often each side is run.
        more: further flags of both.

    Returns:
        Medians of seconds, and the paired ratios with their 95 % bootstrap intervals.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    sides = {"base": (against.checkout, (*more, *against.flags)), "ours": (ROOT, more)}
    for checkout, flags in sides.values():  # builds the kernels, which two checkouts need not share
        whole(checkout, *flags, *QUICK)
    runs: dict[str, list[dict[str, float]]] = {"base": [], "ours": []}
    for pair in range(pairs):
        # The first of a pair changes, because a machine gets slower as it gets warm.
        for name in sorted(sides, reverse=pair % 2 == 0):
            runs[name].append(whole(sides[name][0], *sides[name][1]))
    line: dict[str, Any] = {"case": "whole command", "command": " ".join((*COMMAND, *more)), "pairs": pairs}
    line |= {"kernels": library.load()[1] or "compiled", "against": commit_of(against.checkout) if not against.flags else "plain"}
    line |= {name: {unit: statistics.median(run[unit] for run in found) for unit in found[0]} for name, found in runs.items()}
    line["ratio"] = {}
    for unit in ("cpu_s", "wall_s"):
        ratios = [base[unit] / ours[unit] for base, ours in zip(runs["base"], runs["ours"], strict=True)]
        low, high = bootstrap_median(ratios)
        line["ratio"][unit] = {"median": statistics.median(ratios), "low": low, "high": high}
    return line | {"commit": commit_of(ROOT), "machine": machine(), "must": against.must, "goal": against.goal}


def describe(line: dict[str, Any]) -> str:
    """Return the result for the terminal."""
    parts = []
    for unit, words in (("cpu_s", "processor time"), ("wall_s", "wall time")):
        ratio = line["ratio"][unit]
        seconds = f"{line['base'][unit]:.1f} -> {line['ours'][unit]:.1f} s"
        parts.append(f"{words} {seconds}, {ratio['median']:.3f}x [{ratio['low']:.3f}, {ratio['high']:.3f}]")
    return f"whole command against {line['against']}: {'; '.join(parts)} (must {line['must']:.2f}, goal {line['goal']}); {line['kernels']}"


def whole(checkout: Path, *more: str) -> dict[str, float]:
    """Run the command of a checkout in a process of its own, into an empty folder; seconds of wall and of all its processes.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    with tempfile.TemporaryDirectory() as out:
        load, before, start = os.getloadavg()[0], _children(), time.perf_counter()
        # The folder of a script comes first on its path, so the checkout imports its own packages, whatever is installed.
        subprocess.run([sys.executable, *COMMAND, *more, "--out", out], cwd=checkout, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        _reap()
    return {"wall_s": wall, "cpu_s": _children() - before, "load_before": load}


def commit_of(checkout: Path) -> str:
    """Return the commit of a checkout, or its path where git tells none."""
    done = subprocess.run(["git", "-C", str(checkout), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or str(checkout)


def _children() -> float:
    """Return the processor time of all processes that have ended below this one, user and system."""
    import resource  # not on Windows

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _reap() -> None:
    """Wait for processes that the command left to end by themselves; their time counts only then."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    raise SystemExit(main())
