"""Folders of pictures, one folder per class as torchvision's ImageFolder has them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from ..errors import BenchError, cut, reason_of
from ..files import open_regular
from .contents import Collector, Contents, check_declared

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
_FORMATS = ("PNG", "JPEG", "BMP")
#: Names of the two arrays that a folder becomes.
IMAGES, FOLDERS = "images", "folders"


def read_picture_folder(path: Path) -> tuple[Contents, tuple[str, ...]]:
    """Read the pictures of a folder of folders, both in the order of their names.

    Returns:
        Arrays ``images``, (n, h, w, c) uint8, and ``folders``, (n,) the number of each picture's folder; and the folders' names.

    Raises:
        BenchError: there is no folder with pictures in it, or the pictures are of different sizes, too large or damaged.
    """
    folders = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    files = [(number, file) for number, folder in enumerate(folders) for file in _pictures(folder)]
    if not files:
        raise BenchError(f"{path} holds no folder with pictures; it needs one folder per class, with {', '.join(_ENDINGS)} files in it")
    pictures = [_read(file) for _, file in files]
    if len({picture.shape for picture in pictures}) > 1:
        sizes = sorted({"x".join(map(str, picture.shape)) for picture in pictures})
        raise BenchError(f"the pictures in {path} are of different sizes ({', '.join(sizes[:4])}); bring them to one")
    check_declared(path, sum(picture.nbytes for picture in pictures))
    found = Collector(path)
    found.collect({IMAGES: np.stack(pictures), FOLDERS: np.array([number for number, _ in files])})
    return found.contents(f"{len(folders)} folders of pictures"), tuple(folder.name for folder in folders)


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
