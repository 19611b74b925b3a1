"""SVHN: house numbers cut into single digits, 73,257 training and 26,032 test images of 32x32 colour pixels.

The official files call the digit 0 class 10; here it is class 0, as in torchvision. The 531,131 extra images are left out.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from bench import DATASETS, BenchError, DataOptions, Dataset, Spec, Split, about
from bench.download import Download, fetch
from bench.errors import reason_of
from bench.file_kinds import kind_of_file
from bench.files import open_regular
from bench.guard import ForbiddenAccess

from ._torchvision import Official, open_dataset

SVHN = Spec("svhn", classes=10, shape=(3, 32, 32), class_names=tuple("0123456789"), mirror=False)
_FILES = {True: "train_32x32.mat", False: "test_32x32.mat"}


@DATASETS.register("svhn")
@about(SVHN, reference="Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning", keep=True)
def svhn(options: DataOptions) -> Dataset:
    """SVHN: digits of house numbers, 32x32 colour."""
    needed = tuple((name, f"SVHN/{name}", f"svhn/{name}") for name in _FILES.values())
    official = Official(".", needed, (), _open, _fetch, sizes=(73_257, 26_032))
    return open_dataset(SVHN, official, options)


def _fetch(options: DataOptions) -> None:
    from torchvision.datasets import SVHN as known  # here and not above: it takes longer to import than digits takes to open

    for part in ("train", "test"):
        url, name, md5 = known.split_list[part]
        fetch(Download((url,), name, md5), options.root, options.tell)


def _open(root: Path, train: bool) -> Split:
    name = _FILES[train]
    file = next((root / folder / name for folder in (".", "SVHN", "svhn") if os.path.exists(root / folder / name)), root / name)
    pixels, labels = _arrays(file)
    fits = pixels.ndim == 4 and pixels.shape[:3] == (32, 32, 3) and pixels.dtype == np.uint8
    if not fits or labels.size != pixels.shape[-1] or labels.dtype.kind not in "iu" or not np.isin(labels, np.arange(1, 11)).all():
        raise BenchError(
            f"{file} holds images {pixels.dtype} {pixels.shape} and labels {labels.dtype} {labels.shape}, and the official one has "
            "uint8 (32, 32, 3, n) and n labels from 1 to 10; replace it"
        )
    images = np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))
    return Split(torch.from_numpy(images), torch.from_numpy(labels.ravel().astype(np.int64) % 10))


def _arrays(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return ``X`` and ``y`` of a MATLAB file.

    Raises:
        BenchError: it is none.
    """
    from scipy.io import loadmat

    try:
        with open_regular(file) as stream:
            found = loadmat(stream, variable_names=("X", "y"))
        return np.asarray(found["X"]), np.asarray(found["y"])
    except (ForbiddenAccess, MemoryError):
        raise
    except Exception as error:  # a damaged file makes the reader raise whatever it likes
        if isinstance(error, OSError) and error.errno is not None:
            raise BenchError(f"{file} cannot be read ({reason_of(error)}); put the official file there") from error
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise BenchError(f"{file} is no MATLAB file with X and y, it holds {kind_of_file(file)} ({what}); replace it") from error
