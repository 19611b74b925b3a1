"""Folders of pictures, one folder per class as torchvision's ImageFolder has them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import BenchError, cut, one_line, reason_of
from ..files import open_regular
from .contents import Collector, Contents, check_declared

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
_FORMATS = ("PNG", "JPEG", "BMP")
#: Names of the two arrays that a folder becomes.
IMAGES, FOLDERS = "images", "folders"


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder of folders, both in the order of their names.

    Attributes:
        contents: arrays ``images``, (n, h, w, c) uint8, and ``folders``, (n,) the number of each picture's folder.
        folders: their names.
        files: the pictures.
    """

    contents: Contents
    folders: tuple[str, ...]
    files: tuple[Path, ...]


def read_picture_folder(path: Path) -> PictureFolder:
    """Read the pictures of a folder of folders; whatever else lies in it is named.

    Raises:
        BenchError: there is no folder with pictures in it, or the pictures are of different sizes, too large or damaged.
        OSError: a folder cannot be looked into.
    """
    inside = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    folders = [each for each in inside if each.is_dir()]
    files = [(number, file) for number, folder in enumerate(folders) for file in _pictures(folder)]
    if not files:
        raise BenchError(f"{path} holds no folder with pictures; it needs one folder per class, with {', '.join(_ENDINGS)} files in it")
    found, pictures, size = Collector(path), list[np.ndarray](), 0
    for _, file in files:
        pictures.append(_read(file))
        size += pictures[-1].nbytes
        check_declared(path, size)
    if len({picture.shape for picture in pictures}) > 1:
        sizes = sorted({"x".join(map(str, picture.shape)) for picture in pictures})
        raise BenchError(f"the pictures in {path} are of different sizes ({', '.join(sizes[:4])}); bring them to one")
    found.collect({IMAGES: np.stack(pictures), FOLDERS: np.array([number for number, _ in files])})
    if beside := [each.name for each in inside if not each.is_dir()]:
        found.remarks.append(f"{cut(one_line(', '.join(beside)))} beside the folders is not read")
    contents = found.contents(f"{len(folders)} folders of pictures")
    return PictureFolder(contents, tuple(folder.name for folder in folders), tuple(file for _, file in files))


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _ENDINGS and not file.name.startswith("."))


def _read(file: Path) -> np.ndarray:
    """Return one picture (h, w, c) uint8, gray ones with one channel."""
    from PIL import Image

    try:
        with open_regular(file) as stream, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(stream, formats=_FORMATS) as picture:
                check_declared(file, picture.width * picture.height * 4)
                gray = picture.mode in ("1", "L", "I;16", "LA")
                values = np.asarray(picture.convert("L" if gray else "RGB"))
    except (BenchError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged picture makes its reader raise
        raise BenchError(f"the picture {file} cannot be read ({type(error).__name__}: {cut(reason_of(error), 80)}); replace it") from error
    return values[..., None] if values.ndim == 2 else values
