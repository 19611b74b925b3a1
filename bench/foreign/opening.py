"""From a path to what lies there: the reader is chosen by the first bytes of a file, and by its name where these do not tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import BenchError, reason_of
from ..file_kinds import kind_of
from ..files import Checksum, checksum, open_regular
from .contents import Contents
from .hdf5_files import read_hdf5_file
from .msgpack_files import read_msgpack_file
from .numpy_files import read_npy_file, read_npz_file
from .picture_folders import read_picture_folder
from .safetensors_files import read_safetensors_file
from .torch_files import read_torch_file

_TORCH = (".pt", ".pth", ".bin", ".tar", ".pkl", ".ckpt")
_KINDS = ".pt, .pth, .npz, .npy, .h5, .msgpack, .safetensors, or a folder of pictures"


@dataclass(frozen=True)
class Release:
    """The files of one released set.

    Attributes:
        contents: what each holds, in the order in which they were given.
        checksums: name -> what the file is known by; a folder of pictures has one of each picture.
        folders: names of the folders of pictures, whose order is that of their numbers; empty otherwise.
    """

    contents: tuple[Contents, ...]
    checksums: dict[str, Checksum]
    folders: tuple[str, ...] = ()


def open_release(paths: Sequence[Path]) -> Release:
    """Read some files, which together are one set.

    Raises:
        BenchError: one is not there, is of no kind that is read, or cannot be read safely or in the memory that there is.
    """
    contents: list[Contents] = []
    checksums: dict[str, Checksum] = {}
    folders: tuple[str, ...] = ()
    if len({path.resolve() for path in paths}) < len(paths):
        raise BenchError("a file was given twice; give every file of the set once")
    for path in paths:
        try:
            if path.is_dir():
                pictures = read_picture_folder(path)
                found, folders = pictures.contents, pictures.folders
                checksums.update({f"{path.name}/{file.relative_to(path).as_posix()}": checksum(file) for file in pictures.files})
            else:
                found = _reader(path)(path)
                checksums[path.name if path.name not in checksums else str(path)] = checksum(path)
        except OSError as error:
            raise BenchError(f"{path} cannot be read: {reason_of(error)}; give the files of a distilled set") from error
        except MemoryError as error:
            raise BenchError(f"{path} asks for more memory than there is; give a smaller file") from error
        contents.append(found)
    return Release(tuple(contents), checksums, folders)


def _reader(path: Path) -> Callable[[Path], Contents]:
    """Return what reads a file.

    Raises:
        BenchError: no reader does.
        OSError: it cannot be opened.
    """
    with open_regular(path) as stream:
        head = stream.read(64)
    ending = path.suffix.lower()
    if head.startswith(b"\x93NUMPY"):
        return read_npy_file
    if head.startswith(b"\x89HDF"):
        return read_hdf5_file
    if head.startswith(b"PK\x03\x04"):
        return read_npz_file if ending == ".npz" else read_torch_file
    if ending == ".safetensors" or head[8:9] == b"{":
        return read_safetensors_file
    if head.startswith(b"\x80") and ending != ".msgpack" and (ending in _TORCH or head[1:2] in b"\x02\x03\x04\x05"):
        return read_torch_file
    # A map of msgpack; checkpoints of Flax have no ending of their own.
    if ending == ".msgpack" or head[:1] and (0x80 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF)):
        return read_msgpack_file
    raise BenchError(f"{path} holds {kind_of(head)}, which is no distilled set; give {_KINDS}")
