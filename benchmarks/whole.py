"""The README's first command as a whole, against the same command with the plain unroll: ``python -m benchmarks.whole``.

Both sides distil, judge and report everything; only the engine of the unroll differs. Kernels are built beforehand.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.nn.convnet import library

from .measure import machine

_PR_SET_CHILD_SUBREAPER = 36  # of <sys/prctl.h>

ROOT = Path(__file__).parent.parent
COMMAND = ("run_bench.py", "--methods", "podd,rat_bptt", "--budgets", "0.3,0.5,1")
PLAIN = ("--set", "rat_bptt.engine=plain", "--set", "podd.engine=plain")


def main(arguments: list[str] | None = None) -> int:
    """Run both sides one after another and print their times; 1 if the engine does not reach 1.5 times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", type=float, default=1.0, help="share of every recipe's outer steps, for a quick look")
    parser.add_argument("--out", type=Path, help="append one JSON line to this file")
    options = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        parser.error(f"the time of a command's processes can only be measured on Linux, this is {sys.platform}; use time(1)")
    reason = library.load()[1]
    # Workers come from a fork server that outlives the command for a moment; its time is to arrive here.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    effort = () if options.effort == 1.0 else ("--effort", str(options.effort))
    ours, base = whole(*effort), whole(*effort, *PLAIN)
    ratio = {unit: base[unit] / ours[unit] for unit in ("cpu_s", "wall_s")}
    line: dict[str, Any] = {"case": "whole command", "command": " ".join((*COMMAND, *effort)), "kernels": reason or "compiled"}
    line |= {"base": base, "ours": ours, "ratio": ratio, "machine": machine(), "must": 1.5, "goal": 2.5}
    print(
        f"whole command: {base['wall_s']:.0f} -> {ours['wall_s']:.0f} s ({ratio['wall_s']:.2f}x), processor time "
        f"{base['cpu_s']:.0f} -> {ours['cpu_s']:.0f} s ({ratio['cpu_s']:.2f}x; must 1.5, goal 2.5); {line['kernels']}"
    )
    if options.out:
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
    return 0 if ratio["cpu_s"] >= 1.5 else 1


def whole(*more: str) -> dict[str, float]:
    """Run the command in a process of its own, into an empty folder; seconds of wall and of all its processes.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    with tempfile.TemporaryDirectory() as out:
        load, before, start = os.getloadavg()[0], os.times(), time.perf_counter()
        subprocess.run([sys.executable, *COMMAND, *more, "--out", out], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - start
        _reap()
        after = os.times()
    used = (after.children_user + after.children_system) - (before.children_user + before.children_system)
    return {"wall_s": wall, "cpu_s": used, "load_before": load}


def _reap() -> None:
    """Wait for processes that the command left to end by themselves; their time counts only then."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    raise SystemExit(main())
