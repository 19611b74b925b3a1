"""How the benchmarks measure: processor time of one thread or wall time of a GPU, both sides by turns, peaks of fresh processes."""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

Run = Callable[[], object]
Clock = Callable[[], float]


def paired(base: Run, ours: Run, pairs: int, warm_ups: int = 1, clock: Clock = time.process_time) -> dict[str, Any]:
    """Run both by turns and return times in seconds of ``clock`` (processor time) and the paired ratio base / ours.

    The ratio is the median over pairs with a 95 % bootstrap interval of it; ``noisy`` says that wall time was more than
    1.15 times the processor's, which is other work on the machine and no fault of either side.
    """
    for _ in range(warm_ups):
        base()
        ours()
    times: list[tuple[float, float]] = []
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(pairs):
        times.append((_seconds(base, clock), _seconds(ours, clock)))
    noisy = clock is time.process_time and time.perf_counter() - wall > 1.15 * (time.process_time() - cpu)
    ratios = [one / other for one, other in times]
    low, high = bootstrap_median(ratios)
    sides = {
        name: {"median": statistics.median(t[side] for t in times), "min": min(t[side] for t in times)}
        for side, name in enumerate(("base_s", "ours_s"))
    }
    return {"pairs": pairs, **sides, "ratio": {"median": statistics.median(ratios), "low": low, "high": high}, "noisy": noisy}


def _seconds(run: Run, clock: Clock) -> float:
    start = clock()
    run()
    return clock() - start


def clock_of(device: torch.device) -> Clock:
    """Return the clock for work on a device: of the processor, or of the wall once a GPU has done all it was told."""
    if device.type == "cpu":
        return time.process_time

    def finished() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return finished


def bootstrap_median(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the median."""
    generator = random.Random(0)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws) - 1]


def convolution_peak(device: torch.device) -> float:
    """Return the best GFLOP/s of PyTorch's own forward convolution on shapes of the large network, one thread."""
    best, clock = 0.0, clock_of(device)
    for size, count in ((16, 16), (8, 64)) if device.type == "cpu" else ((16, 1024), (8, 4096)):
        x, w = torch.randn(count, 128, size, size, device=device), torch.randn(128, 128, 3, 3, device=device)
        work = 2 * count * size * size * 128 * 128 * 9 / 1e9
        with torch.no_grad():
            F.conv2d(x, w, padding=1)
            best = max([best, *(work / _seconds(lambda x=x, w=w: F.conv2d(x, w, padding=1), clock) for _ in range(12))])
    return best


def memory_mb(device: torch.device) -> float:
    """Return the memory of this process now: resident, or what PyTorch holds on a GPU."""
    return status_mb("VmRSS") if device.type == "cpu" else torch.cuda.memory_reserved(device) / 2**20


def peak_mb(device: torch.device) -> float:
    """Return the largest memory this process ever had.

    Not ``ru_maxrss``, which a child inherits from the process that started it.
    """
    return status_mb("VmHWM") if device.type == "cpu" else torch.cuda.max_memory_reserved(device) / 2**20


def status_mb(field: str) -> float:
    """Return one of the sizes that Linux tells of this process, e.g. ``VmRSS``, or ``RssAnon`` without what is mapped from files."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak_of_fresh_process(case: str, side: str, *options: str) -> dict[str, float]:
    """Run one side of a case once in a process of its own: MB above what importing and preparing took, and seconds."""
    command = [sys.executable, "-m", "benchmarks.engine", "--memory", case, side, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def machine(device: torch.device | None = None) -> dict[str, Any]:
    """Return what the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    model = platform.processor()
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return {
        "cpu": model,
        **({"gpu": torch.cuda.get_device_name(device)} if device and device.type == "cuda" else {}),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
