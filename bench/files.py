"""Writing files so that a reader sees the old one or the new one, never half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
