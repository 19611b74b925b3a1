"""Files on disk: reading none but regular ones, and writing so that a reader sees the old or the new one, never half of it."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def read_bytes(file: Path) -> bytes:
    """Return the content of a regular file (a symbolic link to one counts).

    Raises:
        OSError: it is not there, cannot be read, or is something else: a pipe would be waited for, a device never ends.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody to write into it; for a regular file it means nothing.
    with open(file, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(file))
        return stream.read()


def read_text(file: Path) -> str:
    """Return the text of a regular file in UTF-8.

    Raises:
        OSError: as ``read_bytes``.
        UnicodeDecodeError: (a ValueError) it is not UTF-8.
    """
    return read_bytes(file).decode("utf-8")


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
