"""Small distilled sets as different people write them: one generator per convention, for the data set digits."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench import Dataset

CLASSES = 10


def real_images(dataset: Dataset, per_class: int = 1) -> Tensor:
    """Return plain pixels of real images, class after class."""
    index = torch.cat([dataset.train.of_class(label)[:per_class] for label in range(dataset.spec.classes)])
    return dataset.train.unit_images(index)


def drawn(images: int = CLASSES, shape: Sequence[int] = (1, 8, 8), seed: int = 0) -> Tensor:
    """Return smooth images that are no real ones, below and above the scale from 0 to 1."""
    noise = torch.randn(images, *shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(torch.nn.functional.pad(noise, (1, 1, 1, 1)), 3, 1) * 3


def ids(per_class: int = 1) -> Tensor:
    return torch.arange(CLASSES).repeat_interleave(per_class)


def dc(folder: Path, images: Tensor) -> list[Path]:
    """Images and class ids in two files (DC)."""
    torch.save(images, folder / "images.pt")
    torch.save(ids(), folder / "labels.pt")
    return [folder / "images.pt", folder / "labels.pt"]


def dc_result(folder: Path, images: Tensor, experiments: int = 1) -> list[Path]:
    """The result file of DC's own code, in the older format and with scalars of numpy: a list of [images, labels]."""
    accuracies = {"ConvNet": [np.float64(0.25), np.float64(0.5)]}
    found = [[images + number, ids()] for number in range(experiments)]
    torch.save({"data": found, "accs_all_exps": accuracies}, folder / "res.pt", _use_new_zipfile_serialization=False)
    return [folder / "res.pt"]


def datm(folder: Path, images: Tensor) -> list[Path]:
    """Images, logits and a learned rate in three files (DATM)."""
    torch.save(images, folder / "images_best.pt")
    torch.save(
        8.0 * torch.eye(CLASSES) - 3.0 + 0.1 * torch.randn(CLASSES, CLASSES, generator=torch.Generator().manual_seed(1)),
        folder / "labels_best.pt",
    )
    torch.save(torch.tensor(0.02), folder / "lr_best.pt")
    return [folder / name for name in ("images_best.pt", "labels_best.pt", "lr_best.pt")]


def rfad(folder: Path, images: Tensor) -> list[Path]:
    """Images, centred one-hot labels and a temperature in one archive (RFAD)."""
    centred = np.eye(CLASSES, dtype=np.float32) - 1 / CLASSES
    np.savez(folder / "best.npz", images=images.numpy(), labels=centred, platt=np.float32(1.7))
    return [folder / "best.npz"]


def datadam(folder: Path, images: Tensor) -> list[Path]:
    """Class ids that are floats (DataDAM)."""
    torch.save(images, folder / "images.pt")
    torch.save(ids().float(), folder / "labels.pt")
    return [folder / "images.pt", folder / "labels.pt"]


def mtt(folder: Path, images: Tensor) -> list[Path]:
    """Parameters that still require gradients (MTT)."""
    torch.save(torch.nn.Parameter(images), folder / "images_best.pt")
    torch.save(ids(), folder / "labels_best.pt")
    return [folder / "images_best.pt", folder / "labels_best.pt"]


def rat_bptt(folder: Path, images: Tensor) -> list[Path]:
    """Rows in class order without labels (RaT-BPTT)."""
    import h5py

    with h5py.File(folder / "data.h5", "w") as file:
        file["data"] = images.flatten(1).numpy()
    return [folder / "data.h5"]


def frepo(folder: Path, images: Tensor) -> list[Path]:
    """A checkpoint of Flax with learned targets, channels last, a second copy and optimizer state (FRePo)."""
    x = images.permute(0, 2, 3, 1).numpy().copy()
    y = (np.eye(CLASSES, dtype=np.float32) - 1 / CLASSES) / math.sqrt(CLASSES / 10) + 0.01 * np.arange(CLASSES, dtype=np.float32)
    state = {"params": {"x_proto": x, "y_proto": y}, "ema_average": {"x_proto": x * 0.5, "y_proto": y}}
    state = {"step": np.int64(7), **state, "opt_state": {"0": {"mu": {"x_proto": x * 0, "y_proto": y * 0}}}}
    (folder / "checkpoint_7").write_bytes(flax_bytes(state))
    return [folder / "checkpoint_7"]


def flax_bytes(state: Any) -> bytes:
    """Write what ``flax.serialization.msgpack_serialize`` writes."""

    def extension(value: Any) -> msgpack.ExtType:
        array = np.asarray(value)
        packed = msgpack.packb((array.shape, array.dtype.name, array.tobytes()), use_bin_type=True)
        return msgpack.ExtType(1 if isinstance(value, np.ndarray) else 3, packed)

    packed: bytes = msgpack.packb(state, default=extension, strict_types=True)
    return packed


def idc(folder: Path, tiles: Tensor) -> list[Path]:
    """8-bit images of four tiles each: (n·4, c, h/2, w/2) tiles, those of an image together, row after row (IDC)."""
    grid = tiles.unflatten(0, (-1, 2, 2))  # (n, rows, columns, c, h', w')
    images = grid.permute(0, 3, 1, 4, 2, 5).flatten(2, 3).flatten(3, 4)
    torch.save([(images * 255).round().to(torch.uint8), ids()], folder / "data.pt")
    return [folder / "data.pt"]


def poster(folder: Path, image: Tensor, label_array: Tensor | None = None) -> list[Path]:
    """A poster, and a label array where it has one (PoDD)."""
    torch.save({"poster": image[None], **({"labels": label_array[None]} if label_array is not None else {})}, folder / "poster.pt")
    return [folder / "poster.pt"]


def pictures(folder: Path, images: Tensor, names: Sequence[str]) -> list[Path]:
    """A folder of pictures for each class."""
    for name, image in zip(names, images, strict=True):
        (folder / "set" / name).mkdir(parents=True)
        Image.fromarray((image[0] * 255).round().to(torch.uint8).numpy()).save(folder / "set" / name / "0.png")
    return [folder / "set"]


class Runs:
    """What a malicious pickle holds: an object that calls a function when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


class Reduced:
    """An object that is pickled as a call."""

    def __init__(self, function: Any, arguments: tuple[Any, ...]) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def malicious(file: Path, mark: Path) -> Path:
    """Write a file of torch.save that opens ``mark`` when it is unpickled."""
    torch.save({"images": drawn(), "config": Runs(mark)}, file)
    return file


def plain_pickle(file: Path, content: Any) -> Path:
    file.write_bytes(pickle.dumps(content))
    return file
