"""Memory and time of fitting a pixel space: ``python -m benchmarks.whitening [--side 64] [--count 100000]``.

A file of generated colour images is memory-mapped, as a cached data set is, and a process of its own fits a space on
it. Counted is the memory that this process cannot give back, which leaves out the mapped file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import Split
from bench.nn.spaces import SPACES

from .measure import machine

_GIVEN_AT_ONCE = 1000  # images that are made together
_EVERY = 0.05  # seconds between two looks at the memory
_LIMIT = 3.0  # GB


def main(arguments: list[str] | None = None) -> int:
    """Fit in a fresh process and print its peak; 1 if that is above what it must stay below."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=64, help="height and width of an image of three channels")
    parser.add_argument("--count", type=int, default=100_000, help="number of images")
    parser.add_argument("--space", choices=[name for name in SPACES if name != "standard"], default="zca_kip")
    parser.add_argument("--out", type=Path, help="append one JSON line to this file")
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.fit:
        fit(options.space, options.fit, (options.count, 3, options.side, options.side))
        return 0
    if not sys.platform.startswith("linux"):
        parser.error(f"the memory of a process can only be measured on Linux, this is {sys.platform}")
    line = measure(options.space, options.count, options.side)
    print(f"{line['space']} on {line['count']:,} images of {line['numbers']:,} numbers: {line['gb']:.2f} GB, {line['seconds']:.0f} s")
    if options.out:
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
    return 0 if line["gb"] < _LIMIT else 1


def measure(space: str, count: int, side: int) -> dict[str, Any]:
    """Generate images, fit the space on them in a fresh process with one thread, and return its peak in GB and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        generate(images, count, side)
        command = [sys.executable, "-m", "benchmarks.whitening", "--fit", str(images), "--space", space]
        started = time.monotonic()
        child = subprocess.Popen(
            [*command, "--count", str(count), "--side", str(side)], env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        )
        peak = 0
        while child.poll() is None:
            peak = max(peak, _kept(child.pid))
            time.sleep(_EVERY)
        if child.returncode:
            raise SystemExit(f"fitting {space} ended with exit code {child.returncode}")
        seconds = time.monotonic() - started
    return {"space": space, "count": count, "numbers": 3 * side * side, "gb": peak / 1e9, "seconds": seconds, **machine()}


def generate(file: Path, count: int, side: int) -> None:
    """Write (count, 3, side, side) uint8 of coarse colours under noise, whose pixels are as alike as those of photographs."""
    draw = np.random.default_rng(0)
    images = np.memmap(file, np.uint8, "w+", shape=(count, 3, side, side))
    for start in range(0, count, _GIVEN_AT_ONCE):
        here = min(_GIVEN_AT_ONCE, count - start)
        coarse = draw.integers(0, 224, (here, 3, side // 4, side // 4), dtype=np.uint8).repeat(4, 2).repeat(4, 3)
        images[start : start + here] = coarse + draw.integers(0, 32, coarse.shape, dtype=np.uint8)
    images.flush()


def fit(space: str, file: Path, shape: tuple[int, int, int, int]) -> None:
    """Fit on a memory-mapped file with one thread."""
    torch.set_num_threads(1)
    images = torch.from_numpy(np.memmap(file, np.uint8, "c", shape=shape))
    SPACES[space].fit(Split(images, torch.zeros(len(images), dtype=torch.int64)))


def _kept(process: int) -> int:
    """Return the bytes of a process that lie in no file, 0 if it has just ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    lines = [line.split() for line in status.splitlines() if line.startswith(("RssAnon", "RssShmem"))]
    return sum(1024 * int(words[1]) for words in lines)


if __name__ == "__main__":
    raise SystemExit(main())
