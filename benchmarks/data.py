"""How fast a large data set opens in a worker, and in how much memory: ``python -m benchmarks.data [--train N] [--test N]``.

Arrays of the size of Tiny-ImageNet are generated once, kept decoded as ``prepare`` does it, and opened in fresh
processes. Nothing in them is a picture: opening does not look at pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import DATASETS, DataOptions, Dataset, Spec, Split, about, load_dataset
from bench.held_out import held_out
from bench.loading import prepare_dataset

from .measure import machine, memory_mb, peak_mb

CLASSES, SHAPE = 200, (3, 64, 64)
SPEC = Spec("like_tiny_imagenet", CLASSES, SHAPE, tuple(f"class {number}" for number in range(CLASSES)))
LONGEST_S, LARGEST_MB = 2.0, 1024.0
_CPU = torch.device("cpu")


def generated(count: int, seed: int) -> Split:
    """Return ``count`` images of noise, every class equally often, one after the other as in the official files."""
    numbers = np.random.default_rng(seed)
    images = np.empty((count, *SHAPE), np.uint8)
    for block in np.array_split(images, max(1, count // 1000)):
        block[...] = numbers.integers(0, 256, block.shape, dtype=np.uint8)
    return Split(torch.from_numpy(images), torch.arange(count) * CLASSES // count)


def register(train: int, test: int) -> None:
    """Register a data set that generates its images, the validation images last, as one of image files has them."""

    @DATASETS.register(SPEC.name)
    @about(SPEC, reference="generated for this benchmark", keep=True)
    def like_tiny_imagenet(options: DataOptions) -> Dataset:
        """Noise in the shape of Tiny-ImageNet."""
        whole = generated(train, 0)
        out = held_out(whole.labels, CLASSES, SPEC.name)
        kept = torch.ones(train, dtype=torch.bool).index_fill(0, out, False)
        cut = train - len(out)  # the images are noise, so only labels have to change places
        training = Split(whole.images[:cut], whole.labels[kept])
        return Dataset(
            SPEC, training, lambda: generated(test, 1), Split(whole.images[cut:], whole.labels[out]), files=(options.root / "nothing",)
        )


def opened(root: Path, split: str) -> dict[str, Any]:
    """Open the data set in this process, as a stage of a cell does, and return seconds and memory."""
    register(0, 0)  # nothing is generated here, or the numbers would show it
    before, started = memory_mb(_CPU), time.perf_counter()
    dataset = load_dataset(SPEC.name, split, DataOptions(root, download=False))  # type: ignore[arg-type]
    fingerprint = dataset.fingerprint()
    seconds, after = time.perf_counter() - started, memory_mb(_CPU)
    batch = torch.randint(0, len(dataset.train), (5000,), generator=torch.Generator().manual_seed(0))
    dataset.train.unit_images(batch)
    return {
        "split": split,
        "images": len(dataset.train),
        "seconds": round(seconds, 3),
        "opened_mb": round(after - before, 1),
        "resident_mb": round(after, 1),
        "peak_mb_with_a_batch_of_5000": round(peak_mb(_CPU), 1),
        "fingerprint": fingerprint,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one JSON line, and return 1 if opening is slower or larger than it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=int, default=100_000, help="training images")
    parser.add_argument("--test", type=int, default=10_000, help="test images")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--split", default="dev", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.open:
        print(json.dumps(opened(options.open, options.split)))
        return 0
    with tempfile.TemporaryDirectory(prefix="ddbench-data-") as scratch:
        register(options.train, options.test)
        started = time.perf_counter()
        prepare_dataset(SPEC.name, DataOptions(Path(scratch), download=False))
        kept = time.perf_counter() - started
        found = [_in_a_fresh_process(Path(scratch), split) for split in ("dev", "paper")]
    reached = all(each["seconds"] < LONGEST_S and each["resident_mb"] < LARGEST_MB for each in found)
    print(json.dumps({"generated_and_kept_s": round(kept, 1), "opened": found, "reached": reached, "machine": machine()}))
    return 0 if reached else 1


def _in_a_fresh_process(root: Path, split: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.data", "--open", str(root), "--split", split]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
