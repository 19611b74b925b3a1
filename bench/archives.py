"""Archives of data sets: one folder of an archive is unpacked, whole or not at all, and nothing of it lands elsewhere."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO

from .errors import BenchError, reason_of
from .file_kinds import kind_of_file
from .files import lock, open_regular, reaches_outside, set_aside

_MOST_FILES = 2_000_000
_CHUNK = 2**20
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError, ValueError),
)

#: Name in the archive, size, and what opens it.
Member = tuple[str, int, Callable[[], IO[bytes] | None]]


def unpack(archive: Path, target: Path, most_bytes: int) -> None:
    """Unpack the folder of an archive that is called like ``target``; what lies beside it is left out, and so are links.

    Of several processes that want it at once, one unpacks it and the others wait.

    Args:
        archive: a zip or (compressed) tar file.
        target: the folder that is to appear; one that is there is set aside as ``.damaged``.
        most_bytes: what its files have together at the most: a few bytes can unpack to a terabyte.

    Raises:
        BenchError: the archive is damaged, holds something else or far too much, or there is no room. Nothing is left then.
    """
    before = _identity(target)
    try:
        with lock(target.with_name(f".{target.name}.lock")):
            if _identity(target) == before:  # or another process was faster
                _unpack(archive, target, most_bytes)
    except _DAMAGE as error:
        raise BenchError(
            f"{archive} is damaged or no archive, it holds {kind_of_file(archive)} ({reason_of(error)}); replace it"
        ) from error
    except FileNotFoundError as error:
        raise BenchError(f"{archive} holds no folder {target.name}; replace it by the official archive") from error
    except OSError as error:
        raise BenchError(
            f"{archive} cannot be unpacked into {target.parent} ({reason_of(error)}); make room there, or replace it"
        ) from error


def _identity(target: Path) -> tuple[int, int] | None:
    """Return what tells whatever is at a path from what was there before, ``None`` where nothing is."""
    try:
        found = os.lstat(target)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _unpack(archive: Path, target: Path, most_bytes: int) -> None:
    scratch = target.with_name(f".unpacking-{target.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        _unpack_into(scratch, archive, target.name, most_bytes)
        (scratch / target.name).stat()
        if os.path.lexists(target):
            set_aside(target, ".damaged")
        os.replace(scratch / target.name, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpack_into(scratch: Path, archive: Path, folder: str, most_bytes: int) -> None:
    total = 0
    with open_regular(archive) as stream, closing(_members(stream)) as members:
        for count, (name, size, open_member) in enumerate(members):
            path = PurePosixPath(name)
            if reaches_outside(name):
                raise BenchError(f"{archive} holds {name!r}, which would land outside of its folder; take the official archive")
            total += size
            if total > most_bytes or count > _MOST_FILES:
                raise BenchError(f"{archive} unpacks to more than {most_bytes // 2**20:,} MiB; take the official archive")
            if path.parts[:1] != (folder,):
                continue
            file = scratch / path
            file.parent.mkdir(parents=True, exist_ok=True)
            opened = open_member()
            if opened is not None:
                with opened, file.open("xb") as out:
                    shutil.copyfileobj(opened, out)


def _members(stream: IO[bytes]) -> Generator[Member, None, None]:
    """Yield the regular files of an archive."""
    is_zip = stream.read(2) == b"PK"  # also of one that was cut off, whose table of contents, at its end, is gone
    stream.seek(0)
    if is_zip:
        with zipfile.ZipFile(stream) as packed:
            for info in packed.infolist():
                if not info.is_dir() and not _is_link(info):
                    yield info.filename, info.file_size, lambda info=info: packed.open(info)  # type: ignore[misc]
        return
    with tarfile.open(fileobj=stream) as tar:
        for member in tar:
            if member.isfile():
                yield member.name, member.size, lambda member=member: tar.extractfile(member)  # type: ignore[misc]
        while tar.fileobj and tar.fileobj.read(_CHUNK):
            pass  # the checksum of gzip comes last


def _is_link(info: zipfile.ZipInfo) -> bool:
    return (info.external_attr >> 28) == 0o12
