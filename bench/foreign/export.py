"""A set of this suite as files that other people's code reads: plain tensors, arrays, pictures, or what DD-Ranking takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..data import Batch
from ..decoders.images import Images
from ..decoders.poster import Poster
from ..distilled import DistilledSet
from ..errors import BenchError, reason_of
from ..files import checksum, replacing, write_text
from ..keys import readable_json

Format = Literal["pt", "npz", "images", "ddranking"]

#: Version of ``ABOUT``.
SCHEMA = 1
ABOUT = "about.json"


@dataclass(frozen=True)
class Pixels:
    """How images of a set are brought into other coordinates; needed where the stored ones are not what a format takes.

    Attributes:
        to_colours: decoded images (n, c, h, w) as plain pixels, as far as the space keeps them.
        to_space: decoded images as students see them.
        keeps_scale: whether ``to_colours`` gives back the pixels that an image had.
    """

    to_colours: Callable[[Tensor], Tensor]
    to_space: Callable[[Tensor], Tensor]
    keeps_scale: bool


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: paths, ``about.json`` last.
        read_again: option -> value, by which ``import`` reads the first file as the set that it was; empty where it cannot.
    """

    files: tuple[Path, ...]
    read_again: Mapping[str, str]


Arrays = Mapping[str, Tensor]
#: Writes one file.
Writer = Callable[[Path], None]


@dataclass(frozen=True)
class _Content:
    """What is to be written.

    Attributes:
        files: path relative to the folder -> what writes it.
        about: facts for ``about.json``.
    """

    files: Mapping[str, Writer]
    about: Mapping[str, Any]


def export_set(
    distilled: DistilledSet, batch: Batch, form: Format, folder: Path, provenance: Mapping[str, Any], pixels: Pixels | None = None
) -> Exported:
    """Write a set into a new folder, and beside it ``about.json``: what the numbers are and where they come from.

    ``pt`` and ``npz`` hold the stored numbers as they are, wherever a plain reader can make sense of them: separate images, also
    smaller ones, and posters. Sets of other decoders go out as decoded images.

    Args:
        distilled: the set.
        batch: all its decoded images and labels.
        form: the kind of files.
        folder: must be empty or not there.
        provenance: what is known of the cell, plain JSON.
        pixels: needed for ``images``, unless the set holds plain pixels, and for ``ddranking`` if it does.

    Raises:
        BenchError: the folder is in use, or the format cannot hold such a set.
        OSError: it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"'{folder}' is there already and not an empty folder; name another one with --to, or remove it")
    if form == "images":
        content = _pictures(distilled, batch, pixels)
    elif form == "ddranking":
        content = _ddranking(distilled, batch, pixels)
    else:
        arrays, about = _stored(distilled, batch)
        content = _Content({f"set.{form}": _writer(arrays, form)}, about)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BenchError(f"'{folder}' cannot be a folder ({reason_of(error)}); name another one with --to") from error
    for name, write in content.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with replacing(folder / name) as scratch:
            write(scratch)
    listed = {name: checksum(folder / name) for name in content.files}
    facts = {**_facts(distilled), **content.about, "format": form, "files": listed, "provenance": dict(provenance)}
    write_text(folder / ABOUT, readable_json({"schema": SCHEMA, "ddbench": __version__, **facts}))
    return Exported((*(folder / name for name in content.files), folder / ABOUT), content.about.get("import", {}))


def _facts(distilled: DistilledSet) -> dict[str, Any]:
    spec = distilled.spec
    return {
        "dataset": spec.name,
        "shape": list(spec.shape),
        "class_names": list(spec.class_names),
        "space": distilled.space,
        "coordinates": distilled.coordinates,
        "network": distilled.network,
        "recipe": asdict(distilled.recipe),
        "label_kind": distilled.parameterization.label_kind,
        "parameterization": distilled.parameterization.name,
        "config": distilled.parameterization.config(),
    }


def _import_options(distilled: DistilledSet, labels: str, **others: str) -> dict[str, str]:
    """Return the options of ``import`` that read the exported numbers as what they were."""
    space = f"rgb:{distilled.space}" if distilled.coordinates == "rgb" else distilled.space
    recipe = ",".join(f"{name}={value}" for name, value in asdict(distilled.recipe).items())
    network = {"network": distilled.network} if distilled.network else {}
    return {"dataset": distilled.spec.name, "space": space, "labels": labels, "recipe": recipe, **network, **others}


def _stored(distilled: DistilledSet, batch: Batch) -> tuple[Arrays, dict[str, Any]]:
    """Return the stored numbers where they speak for themselves, and else decoded images with a row of labels each."""
    kind = distilled.parameterization
    if type(kind) is Images:  # a decoder that extends it may decode in another way
        return _stored_images(distilled, kind)
    if type(kind) is Poster:
        return _stored_poster(distilled, kind)
    return {"images": batch.images, "labels": batch.labels}, {"holds": "decoded images, and a row of labels for each"}


def _stored_images(distilled: DistilledSet, kind: Images) -> tuple[Arrays, dict[str, Any]]:
    images = kind.images.detach()
    small = (
        ""
        if tuple(images.shape[2:]) == distilled.spec.shape[1:]
        else ", smaller than the data set's: students see them upsampled bilinearly"
    )
    whole = {} if small else {"tiles": "1"}
    if (rows := kind.state_dict().get("labels")) is not None and rows.ndim == 2:
        again = _import_options(distilled, kind.label_kind, **whole)
        return {"images": images, "labels": rows}, {"holds": f"stored images{small}, and a row of labels for each", "import": again}
    ids = kind.class_ids().detach().to(torch.int64)
    about = {"holds": f"stored images{small}, and the class of each", "import": _import_options(distilled, "ids", **whole)}
    return {"images": images, "labels": ids}, about


def _stored_poster(distilled: DistilledSet, kind: Poster) -> tuple[Arrays, dict[str, Any]]:
    def grid(columns_rows: tuple[int, int]) -> str:
        return "x".join(map(str, columns_rows))

    arrays = {"poster": kind.poster.detach().unsqueeze(0)}
    by_patch = kind.label_form == "probabilities"
    if kind.label_array is not None:
        arrays["labels" if by_patch else "label_array"] = kind.label_array.detach()
    order = "-".join(map(str, kind.order))
    layout = {"patches": grid(kind.layout.patch_grid), "class-grid": grid(kind.layout.class_grid), "order": order}
    if kind.layout.toroidal:
        layout["crops"] = "toroidal"
    labels = "a row of labels for each" if by_patch else "the array that patches read their labels from"
    holds = "one poster, of which every patch is an image" + (f", and {labels}" * (len(arrays) > 1))
    return arrays, {"holds": holds, "import": _import_options(distilled, kind.label_form, **layout)}


def _plain(values: Tensor) -> Tensor:
    return values.detach().cpu().contiguous().clone()


def _writer(content: Tensor | Arrays, form: str) -> Writer:
    """Return what writes a tensor, or several by name, with nothing but numbers in the file."""
    plain: Any = _plain(content) if isinstance(content, Tensor) else {name: _plain(values) for name, values in content.items()}

    def write(file: Path) -> None:
        with open(file, "wb") as stream:  # by a stream, as both would else write the name of the file into it or behind it
            if form == "npz":
                np.savez(stream, allow_pickle=False, **{name: values.numpy() for name, values in plain.items()})
            elif form == "npy":
                np.save(stream, plain.numpy(), allow_pickle=False)
            else:
                torch.save(plain, stream)

    return write


def _ddranking(distilled: DistilledSet, batch: Batch, pixels: Pixels | None) -> _Content:
    """Return bare tensors, class after class: ``images.pt``, ``labels.pt`` and, where labels are rows, ``soft_labels.pt``."""
    spec, classes = distilled.spec, batch.labels.argmax(1)
    counts = torch.bincount(classes, minlength=spec.classes)
    if int(counts.min()) != int(counts.max()):
        raise BenchError(
            f"DD-Ranking takes the same number of images of every class, and this set has from {int(counts.min())} to {int(counts.max())}; "
            "export it as pt or npz"
        )
    images = batch.images if distilled.coordinates == "space" else _needed(pixels).to_space(batch.images)
    order = classes.argsort(stable=True)
    tensors = {"images.pt": images[order], "labels.pt": classes[order]}
    holds = f"decoded images in the space {distilled.space}, class after class, and their classes"
    if not _is_one_hot(batch.labels):
        tensors["soft_labels.pt"] = batch.labels[order]
        holds += ", and a row of labels each"
    files = {name: _writer(values, "pt") for name, values in tensors.items()}
    return _Content(files, {"holds": holds, "images_per_class": int(counts[0])})


def _pictures(distilled: DistilledSet, batch: Batch, pixels: Pixels | None) -> _Content:
    """Return one picture for each image, in a folder of its class; rows of labels are ``labels.npy``, in the order of the files."""
    if distilled.spec.channels not in (1, 3):
        raise BenchError(f"pictures have 1 or 3 channels, and {distilled.spec.name} has {distilled.spec.channels}; export it as pt or npz")
    colours, how = _colours(distilled, batch.images, pixels)
    classes = batch.labels.argmax(1)
    order = classes.argsort(stable=True)
    digits, files, numbers = len(str(distilled.spec.classes - 1)), dict[str, Writer](), Counter[int]()
    for index in order.tolist():
        label = int(classes[index])
        files[f"{label:0{digits}d}/{numbers[label]:05d}.png"] = _picture(colours[index])
        numbers[label] += 1
    holds = f"pictures of decoded images, a folder for each class number; {how}"
    if not _is_one_hot(batch.labels):
        files["labels.npy"] = _writer(batch.labels[order], "npy")
        holds += "; labels.npy has a row of labels for each, in the order of the files"
    return _Content(files, {"holds": holds})


def _picture(image: Tensor) -> Writer:
    """Return what writes a (c, h, w) uint8 image as PNG."""
    from PIL import Image

    values = image.permute(1, 2, 0).contiguous().numpy()
    return lambda file: Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(file, format="PNG")


def _colours(distilled: DistilledSet, images: Tensor, pixels: Pixels | None) -> tuple[Tensor, str]:
    """Return (n, c, h, w) uint8 pixels, and how they came about."""
    if distilled.coordinates == "rgb":
        plain, how = images, "pixels from 0 to 1 are 0 to 255"
    elif _needed(pixels).keeps_scale:
        plain, how = _needed(pixels).to_colours(images), f"taken out of the space {distilled.space}; pixels from 0 to 1 are 0 to 255"
    else:
        plain = _needed(pixels).to_colours(images)
        low, high = (float(edge) for edge in np.percentile(plain.double().numpy(), (1.0, 99.0)))
        plain = (plain - low) / max(high - low, 1e-12)
        how = f"the space {distilled.space} keeps no brightness and contrast, so all are stretched alike: to look at, not to train on"
    outside = float(((plain < 0) | (plain > 1)).float().mean())
    if outside:
        how += f"; {100 * outside:.2g} % of the pixels lay outside and were cut"
    return (plain.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8), how


def _needed(pixels: Pixels | None) -> Pixels:
    if pixels is None:
        raise ValueError("this format needs the images in other coordinates than the stored ones")
    return pixels


def _is_one_hot(labels: Tensor) -> bool:
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all())
