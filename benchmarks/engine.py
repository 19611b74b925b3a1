"""Speed and memory of the engines as ratios to the plain unroll: ``python -m benchmarks.engine [--suite smoke|full]``.

Both sides run in this process by turns, with one thread and the allocator tuned for both. Every case is first checked
in float64 on a smaller size: a fast wrong answer is an error, not a number. Times are of the processor, on a GPU
(``--device cuda``) of the wall.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")

from bench.nn.runtime import tune_allocator

_TUNED = tune_allocator()  # before PyTorch allocates

import torch  # noqa: E402

from bench import BenchError  # noqa: E402
from bench.methods._unroll import EngineName  # noqa: E402
from bench.nn.convnet import library  # noqa: E402
from bench.nn.precision import Precision, exact_float32  # noqa: E402

from .cases import CASES, Case, Judge, Matching, Unroll  # noqa: E402
from .measure import clock_of, convolution_peak, machine, memory_mb, paired, peak_mb, peak_of_fresh_process  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run the suite and print a line per case; 1 if a case is wrong or below what it must reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=("smoke", "full"), default="smoke")
    parser.add_argument("--cases", help="names separated by semicolons instead of a suite: " + ", ".join(CASES))
    engines = get_args(EngineName)
    parser.add_argument("--engine", choices=engines, default="auto", help="the engine that is compared with --against")
    parser.add_argument("--against", choices=engines, default="plain", help="the engine that is the base of the ratios (default: plain)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="float32", help="of both sides; engines without bf16 stay in float32"
    )
    parser.add_argument("--out", type=Path, help="append one JSON line per case to this file")
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda was asked for, but torch finds no CUDA device; use --device cpu")
    names = options.cases.split(";") if options.cases else [n for n, case in CASES.items() if case.smoke or options.suite == "full"]
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"case '{unknown[0]}' does not exist; there are {'; '.join(CASES)}")
    torch.set_num_threads(1)
    exact_float32()
    setting = Setting(options.engine, options.against, torch.device(options.device), options.precision)
    if options.memory:
        print(json.dumps(one_process(options.memory[0], options.memory[1], setting)))
        return 0
    try:
        return run(names, setting, options.out)
    except BenchError as error:
        parser.error(str(error))


def run(names: list[str], setting: Setting, out: Path | None) -> int:
    """Measure cases and print a line for each; 1 if one is wrong or below what it must reach."""
    peak, reached, here = convolution_peak(setting.device), True, machine(setting.device)
    print(f"convolution peak {peak:.0f} GFLOP/s, one thread, {here.get('gpu', here['cpu'])}; {library.load()[1] or 'compiled kernels'}")
    for name in names:
        line = measure(name, CASES[name], setting, peak)
        print(describe(line), flush=True)
        reached &= line["reached"]
        if out:
            with out.open("a") as file:
                file.write(json.dumps(line) + "\n")
    return 0 if reached else 1


@dataclass(frozen=True)
class Setting:
    """What is compared, and where.

    Attributes:
        engine: our side.
        against: the base of the ratios.
        device: where both run.
        precision: of convolutions and matrix products.
    """

    engine: str = "auto"
    against: str = "plain"
    device: torch.device = torch.device("cpu")
    precision: Precision = "float32"

    def options(self) -> tuple[str, ...]:
        """Return the setting as words of the command line."""
        return ("--device", self.device.type, "--precision", self.precision)


def measure(name: str, case: Case, setting: Setting, peak: float) -> dict[str, Any]:
    """Check a case, time it, and look at its memory."""
    error = worst_error(case.work, setting)
    _, comma, tape = name.partition(", ")
    ours, base = f"{setting.engine}{comma}{tape}", setting.against
    if not isinstance(case.work, Unroll):  # these know two ways alone
        ours, base = "auto", "plain"
    line: dict[str, Any] = {"case": name, "engine": ours, "against": base, "precision": setting.precision, "error64": error}
    line |= {"gflop": round(case.work.gflop(), 2), "conv_peak": peak, "config": asdict(case.work)}
    line |= {"tuned_allocator": _TUNED, "machine": machine(setting.device), "must": case.must, "goal": case.goal}
    line["config"].pop("dtype", None)
    if case.pairs:
        sides = prepared(case.work, base, setting), prepared(case.work, ours, setting)
        line |= paired(*sides, case.pairs, clock=clock_of(setting.device))
        for side in ("base", "ours") if setting.precision == "float32" else ():
            line[f"{side}_of_peak"] = case.work.gflop() / line[f"{side}_s"]["median"] / peak
    if isinstance(case.work, Unroll):
        line["ours_memory"] = peak_of_fresh_process(name, ours, *setting.options())
        line["base_memory"] = peak_of_fresh_process(name, base, *setting.options()) if case.pairs else None
    line["reached"] = error < 1e-8 and (not case.pairs or line["ratio"]["median"] >= case.must)
    if case.memory and line.get("base_memory"):
        line["memory_share"] = line["ours_memory"]["mb"] / line["base_memory"]["mb"]
        line["memory_must"] = case.memory
    return line


def prepared(work: Unroll | Judge | Matching, side: str, setting: Setting) -> Any:
    """Prepare a side; after the engine's name ``, saved`` keeps all activations and ``, recomputed`` none."""
    engine, _, tape = side.partition(", ")
    if not isinstance(work, Unroll):
        return work.prepare(engine, setting.device)
    precision: Precision = "float32" if setting.precision == "bf16" and engine in ("plain", "cpp") else setting.precision
    budget = {"saved": 1 << 40, "recomputed": 0}.get(tape)
    return work.prepare(cast(EngineName, engine), budget, setting.device, precision)


def worst_error(work: Unroll | Judge | Matching, setting: Setting) -> float:
    """Return the largest relative difference from plain in float64 on a smaller size; students and matching are compared in float32."""
    small, exact = work.small(), replace(setting, precision="float32")
    if not isinstance(small, Unroll):
        pairs = zip(prepared(small, "plain", exact)(), prepared(small, "auto", exact)(), strict=True)
        return 0.0 if all(torch.allclose(a, b, rtol=1e-3, atol=2e-4) for a, b in pairs) else float("inf")
    wide = replace(small, dtype=torch.float64)
    pairs = zip(prepared(wide, setting.engine, exact)(), prepared(wide, "plain", exact)(), strict=True)
    return max(float((mine - other).norm() / other.norm()) for mine, other in pairs)


def one_process(name: str, side: str, setting: Setting) -> dict[str, float]:
    """Run one side once and return the memory it took above what was there before, and its seconds."""
    run, device, clock = prepared(CASES[name].work, side, setting), setting.device, clock_of(setting.device)
    # The libraries' own start.
    torch.nn.functional.conv2d(torch.zeros(1, 1, 8, 8, device=device), torch.zeros(1, 1, 3, 3, device=device))
    before, start = memory_mb(device), clock()
    run()
    return {"mb": peak_mb(device) - before, "before_mb": before, "seconds": clock() - start}


def describe(line: dict[str, Any]) -> str:
    """Return a case's line for the terminal."""
    parts = [f"{line['case']:17s} {line['engine']:18s} error {line['error64']:.0e}"]
    if "ratio" in line:
        r, noisy = line["ratio"], ", noisy" if line["noisy"] else ""
        parts.append(f"{line['base_s']['median'] * 1e3:7.0f} -> {line['ours_s']['median'] * 1e3:6.0f} ms")
        parts.append(f"{r['median']:5.2f}x [{r['low']:.2f}, {r['high']:.2f}] (must {line['must']}, goal {line['goal']}){noisy}")
    if "ours_of_peak" in line:
        parts.append(f"{100 * line['base_of_peak']:.0f} -> {100 * line['ours_of_peak']:.0f} % of peak")
    if line.get("base_memory"):
        parts.append(f"memory {line['base_memory']['mb']:.0f} -> {line['ours_memory']['mb']:.0f} MB = 1/{1 / line['memory_share']:.1f}")
    elif line.get("ours_memory"):
        parts.append(f"memory {line['ours_memory']['mb']:.0f} MB, {line['ours_memory']['seconds']:.0f} s")
    return " | ".join(parts)


if __name__ == "__main__":
    raise SystemExit(main())
