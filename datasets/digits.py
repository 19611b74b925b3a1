"""Real handwritten digits that ship inside scikit-learn: the embedded data set, for first steps and tests.

1,797 images of 8x8 pixels with values 0..16. The file is ordered by collection and neighbours share writers, so the
splits are blocks: train 0-799, val 800-999, test 1000-1796. A random split would leak writers into the test images.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from bench import DATASETS, BenchError, DataOptions, Dataset, Spec, Split, about

SPEC = Spec("digits", classes=10, shape=(1, 8, 8), class_names=tuple("0123456789"), mirror=False)
_TRAIN, _VAL, _TEST = (0, 800), (800, 1000), (1000, 1797)
_BRIGHTEST = 16  # the scans were reduced to 8x8 blocks that count 4x4 binary pixels


@DATASETS.register("digits")
@about(SPEC, reference="Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, doi 10.24432/C50P49")
def digits(options: DataOptions) -> Dataset:
    """1,797 real 8x8 digits from scikit-learn; nothing to download."""
    del options  # the images lie inside an installed package, not in the data root
    file = _file()
    seen = _read(file, _TRAIN[0], _VAL[1])
    return Dataset(
        SPEC,
        train=seen.take(torch.arange(*_TRAIN)),
        val=seen.take(torch.arange(*_VAL)),
        test=lambda: _read(file, *_TEST),
        files=(file,),
    )


def _file() -> Path:
    package = find_spec("sklearn")
    for folder in (package.submodule_search_locations or ()) if package else ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return file
    raise BenchError("data set 'digits' lies inside scikit-learn, but its file digits.csv.gz is not there; install scikit-learn again")


def _read(file: Path, first: int, stop: int) -> Split:
    """Parse rows ``first`` to ``stop`` alone: 64 pixels and the class each, so test rows stay text until asked for."""
    rows = np.loadtxt(file, delimiter=",", skiprows=first, max_rows=stop - first, dtype=np.float64)
    pixels = np.rint(rows[:, :-1] * (255 / _BRIGHTEST)).astype(np.uint8)
    return Split(torch.from_numpy(pixels.reshape(-1, *SPEC.shape)), torch.from_numpy(rows[:, -1].astype(np.int64)))
