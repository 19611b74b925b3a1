"""Speed and memory of the engines as ratios to the plain unroll: ``python -m benchmarks.engine [--suite smoke|full]``.

Both sides run in this process by turns, with one thread and the allocator tuned for both. Every case is first checked
in float64 on a smaller size: a fast wrong answer is an error, not a number.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.nn.runtime import tune_allocator

_TUNED = tune_allocator()  # before PyTorch allocates

import torch  # noqa: E402

from bench.nn import native  # noqa: E402

from .cases import CASES, Case, Judge, Unroll  # noqa: E402
from .measure import convolution_peak, machine, paired, peak_mb, peak_of_fresh_process, resident_mb  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run the suite and print a line per case; 1 if a case is wrong or below what it must reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=("smoke", "full"), default="smoke")
    parser.add_argument("--cases", help="names separated by semicolons instead of a suite: " + ", ".join(CASES))
    parser.add_argument("--engine", default="auto", help="the engine that is compared with plain")
    parser.add_argument("--out", type=Path, help="append one JSON line per case to this file")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.memory:
        print(json.dumps(one_process(*options.memory)))
        return 0
    names = options.cases.split(";") if options.cases else [n for n, case in CASES.items() if case.smoke or options.suite == "full"]
    peak, reached = convolution_peak(), True
    print(f"convolution peak {peak:.0f} GFLOP/s, one thread, {machine()['cpu']}; {native.load()[1] or 'compiled kernels'}")
    for name in names:
        line = measure(name, CASES[name], options.engine, peak)
        print(describe(line), flush=True)
        reached &= line["reached"]
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(line) + "\n")
    return 0 if reached else 1


def measure(name: str, case: Case, engine: str, peak: float) -> dict[str, Any]:
    """Check a case, time it, and look at its memory."""
    error = worst_error(case.work, engine)
    _, comma, tape = name.partition(", ")
    ours = f"{engine}{comma}{tape}"
    line: dict[str, Any] = {"case": name, "engine": ours, "error64": error, "gflop": round(case.work.gflop(), 2), "conv_peak": peak}
    line |= {"config": asdict(case.work), "tuned_allocator": _TUNED, "machine": machine(), "must": case.must, "goal": case.goal}
    line["config"].pop("dtype", None)
    if case.pairs:
        line |= paired(case.work.prepare("plain"), prepared(case.work, ours), case.pairs)
        for side in ("base", "ours"):
            line[f"{side}_of_peak"] = case.work.gflop() / line[f"{side}_cpu_s"]["median"] / peak
    if isinstance(case.work, Unroll):
        line["ours_memory"] = peak_of_fresh_process(name, ours)
        line["base_memory"] = peak_of_fresh_process(name, "plain") if case.pairs else None
    line["reached"] = error < 1e-8 and (not case.pairs or line["ratio"]["median"] >= case.must)
    if case.memory and line.get("base_memory"):
        line["memory_share"] = line["ours_memory"]["mb"] / line["base_memory"]["mb"]
        line["memory_must"] = case.memory
    return line


def prepared(work: Unroll | Judge, side: str) -> Any:
    """Prepare a side; after the engine's name ``, saved`` keeps all activations and ``, recomputed`` none."""
    engine, _, tape = side.partition(", ")
    if tape and isinstance(work, Unroll):
        return work.prepare(engine, tape_budget={"saved": 1 << 40, "recomputed": 0}[tape])
    return work.prepare(engine)


def worst_error(work: Unroll | Judge, engine: str) -> float:
    """Return the largest relative difference from plain in float64 on a smaller size; students are compared in float32."""
    small = work.small()
    if isinstance(small, Judge):
        pairs = zip(small.prepare("plain")(), small.prepare(engine)(), strict=True)
        return 0.0 if all(torch.allclose(a, b, rtol=1e-3, atol=2e-4) for a, b in pairs) else float("inf")
    wide = Unroll(**{**small.__dict__, "dtype": torch.float64})
    pairs = zip(wide.prepare(engine)(), wide.prepare("plain")(), strict=True)
    return max(float((mine - other).norm() / other.norm()) for mine, other in pairs)


def one_process(name: str, side: str) -> dict[str, float]:
    """Run one side once and return the memory it took above what was there before, and its seconds."""
    run = prepared(CASES[name].work, side)
    torch.nn.functional.conv2d(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 3, 3))  # the libraries' own start
    before, start = resident_mb(), time.process_time()
    run()
    return {"mb": peak_mb() - before, "before_mb": before, "cpu_s": time.process_time() - start}


def describe(line: dict[str, Any]) -> str:
    """Return a case's line for the terminal."""
    parts = [f"{line['case']:17s} {line['engine']:18s} error {line['error64']:.0e}"]
    if "ratio" in line:
        r = line["ratio"]
        parts.append(f"{line['base_cpu_s']['median'] * 1e3:7.0f} -> {line['ours_cpu_s']['median'] * 1e3:6.0f} ms")
        parts.append(f"{r['median']:5.2f}x [{r['low']:.2f}, {r['high']:.2f}] (must {line['must']}, goal {line['goal']})")
        parts.append(f"{100 * line['base_of_peak']:.0f} -> {100 * line['ours_of_peak']:.0f} % of peak{', noisy' if line['noisy'] else ''}")
    if line.get("base_memory"):
        parts.append(f"memory {line['base_memory']['mb']:.0f} -> {line['ours_memory']['mb']:.0f} MB = 1/{1 / line['memory_share']:.1f}")
    elif line.get("ours_memory"):
        parts.append(f"memory {line['ours_memory']['mb']:.0f} MB, {line['ours_memory']['cpu_s']:.0f} s")
    return " | ".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
