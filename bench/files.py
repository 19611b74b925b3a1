"""Files on disk: reading none but regular ones, knowing them again, and writing so that nobody ever sees half of one."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO

from filelock import FileLock
from pydantic import Field
from typing_extensions import TypedDict

from .errors import reason_of
from .schema import Count

#: What this process has hashed: (device, inode, size, time of change) -> SHA-256. A whitening of 75 MB is not read twice.
_HASHED: dict[tuple[int, int, int, int], str] = {}

#: Bytes of the longest text that is read at once: far more than any record, and far less than the memory of a machine.
_LONGEST_TEXT = 64 * 2**20


class Checksum(TypedDict):
    """By what a file is known again."""

    bytes: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@contextmanager
def open_regular(file: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading (a symbolic link to one counts).

    Raises:
        OSError: it is not there, cannot be read, or is something else: a pipe would be waited for, a device never ends.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody to write into it; for a regular file it means nothing.
    with open(file, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(file))
        yield stream


def regular(file: Path) -> Path:
    """Return a path that may be handed to a library that opens files by itself.

    Raises:
        OSError: as ``open_regular``.
    """
    with open_regular(file):
        return file


def read_bytes(file: Path) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: as ``open_regular``.
    """
    with open_regular(file) as stream:
        return stream.read()


def read_text(file: Path) -> str:
    """Return the text of a regular file in UTF-8.

    Raises:
        OSError: as ``read_bytes``, or the file is far longer than any text here: it would fill the memory.
        UnicodeDecodeError: (a ValueError) it is not UTF-8.
    """
    with open_regular(file) as stream:
        if os.fstat(stream.fileno()).st_size > _LONGEST_TEXT:
            raise OSError(errno.EINVAL, f"it is longer than {_LONGEST_TEXT // 2**20} MiB", str(file))
        return stream.read().decode("utf-8")


def read_end(file: Path, count: int) -> bytes:
    """Return the last ``count`` bytes of a regular file, or all of a shorter one.

    Raises:
        OSError: as ``open_regular``.
    """
    with open_regular(file) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - count))
        return stream.read(count)


def checksum(file: Path) -> Checksum:
    """Return size and SHA-256 of a regular file; one that did not change since is not read again by the same process.

    Raises:
        OSError: as ``open_regular``.
    """
    with open_regular(file) as stream:
        now = os.fstat(stream.fileno())
        identity = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
        if identity not in _HASHED:
            _HASHED[identity] = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    return {"bytes": now.st_size, "sha256": _HASHED[identity]}


def reaches_outside(name: str) -> bool:
    r"""Tell whether a name in a list or an archive would lie outside of the folder that it is relative to, on any system.

    Example:
        >>> from bench.files import reaches_outside
        >>> [reaches_outside(name) for name in ("a/b", "../a", "/a", r"a\..\..\b", "C:a")]
        [False, True, True, True, True]
    """
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in "".join(path.parts[:1])


def difference(folder: Path, listed: Mapping[str, Checksum]) -> str:
    """Say which file of a folder is not what was written, or return an empty string.

    Args:
        folder: where the files lie.
        listed: path relative to the folder -> what ``checksum`` said when it was written.
    """
    for name, written in listed.items():
        if reaches_outside(name):
            return f"{name!r} would lie elsewhere"
        try:
            if (folder / name).stat().st_size != written["bytes"] or checksum(folder / name) != written:
                return f"{name} is not what was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            return f"{name!r} cannot be read: {reason_of(error)}"
    return ""


def set_aside(path: Path, ending: str) -> Path:
    """Rename whatever is at ``path``, a folder or a dangling link as well, and return its new path.

    Args:
        path: what is in the way.
        ending: appended to its name; what an earlier call put there is removed.

    Raises:
        OSError: it cannot be renamed.
    """
    target = path.with_name(path.name + ending)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    os.replace(path, target)
    return target


def make_way(path: Path, ending: str) -> None:
    """Set aside what is at ``path`` unless it is a regular file, over which the next one is simply written.

    Raises:
        OSError: it cannot be renamed.
    """
    if os.path.lexists(path) and not path.is_file():
        set_aside(path, ending)


def lock(file: Path) -> FileLock:
    """Return the lock that whoever holds ``file`` has; it ends with its process, however that ends. Its folder is made if need be.

    Raises:
        OSError: the folder cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    make_way(file, ".damaged")
    return FileLock(file)


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a scratch path to write to, and rename it over ``file`` once the block ends without an error.

    The scratch file lies in the folder of ``file``, since a rename is atomic within one file system only. Its name begins
    with a dot, so that no glob takes it for a result, and ends like that of ``file``, since some writers choose the format
    by the ending. A random part keeps two writers of one file apart, also on two machines that share the folder.

    Args:
        file: what is to be replaced; its folder is made if need be.

    Raises:
        OSError: the disk is full, or the folder cannot be written. ``file`` is then as it was, and no scratch file stays.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{secrets.token_hex(4)}.{file.name}")
    try:
        yield scratch
        with scratch.open("r+b") as stream:
            os.fsync(stream.fileno())  # or a crash could leave the new name on a file without content
        os.replace(scratch, file)
    finally:
        scratch.unlink(missing_ok=True)


def write_bytes(file: Path, content: bytes) -> None:
    """Replace ``file`` by ``content`` in one go; see ``replacing``."""
    with replacing(file) as scratch:
        scratch.write_bytes(content)


def write_text(file: Path, text: str) -> None:
    """Replace ``file`` by ``text`` in UTF-8, line ends as they are, in one go; see ``replacing``."""
    write_bytes(file, text.encode())
