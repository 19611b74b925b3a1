"""Downloads that go on where they ended, are checked, and appear under their name only when they are whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from .errors import BenchError
from .files import checksum, lock

_PATIENCE = 15.0  # seconds without an answer before a try counts as failed; urllib would wait for ever
_CHUNK = 2**20
_TOLD = 10  # parts of a download that are told of


@dataclass(frozen=True)
class Download:
    """One file of a data set.

    Attributes:
        urls: where it can be had, tried in turn.
        file: where it belongs, relative to the data root.
        md5: of the official file; empty if nobody tells.
    """

    urls: tuple[str, ...]
    file: str
    md5: str = ""


def fetch(wanted: Download, root: Path, tell: Callable[[str], None]) -> Path:
    """Download a file unless it is there, and return its path.

    What arrived before a connection ended is kept as ``.NAME.part`` beside it, and the next call goes on from there.

    Args:
        wanted: what to get.
        root: the data root.
        tell: hears how far it is.

    Raises:
        BenchError: what came is not the official file. Nothing of it is kept.
        OSError: no address answered, the connection ended, or there is no room.
    """
    target = root / wanted.file
    with lock(target.with_name(f".{target.name}.lock")):
        if target.exists():
            return target
        part = target.with_name(f".{target.name}.part")
        resumed = part.exists()
        _receive_from_any(wanted, part, tell)
        if resumed and not _is_official(part, wanted):
            part.unlink()  # it began with another file, or another version of it
            _receive_from_any(wanted, part, tell)
        if not _is_official(part, wanted):
            found = _md5_of(part)
            part.unlink()
            raise BenchError(
                f"{wanted.urls[0]} gave a file with the MD5 {found}, and the official {target.name} has {wanted.md5}; nothing was kept, "
                f"so try again later, or put the official file at {target}"
            )
        if not wanted.md5:
            tell(f"{target.name} is unverified, as nobody tells its checksum (its SHA-256 is {checksum(part)['sha256']})")
        os.replace(part, target)
    return target


def _receive_from_any(wanted: Download, part: Path, tell: Callable[[str], None]) -> None:
    """Try one address after the other.

    Raises:
        OSError: of the last one.
    """
    for number, url in enumerate(wanted.urls, 1):
        try:
            return _receive(url, part, tell)
        except OSError:
            if number == len(wanted.urls):
                raise


def _receive(url: str, part: Path, tell: Callable[[str], None]) -> None:
    """Get the rest of a file, in as many tries as it takes, as long as each of them brings something.

    Raises:
        OSError: a try brought nothing.
    """
    while True:
        before = _size(part)
        try:
            return _receive_once(url, part, before, tell)
        except (OSError, HTTPException) as error:
            if _size(part) > before:
                continue
            raise error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}") from error


def _receive_once(url: str, part: Path, start: int, tell: Callable[[str], None]) -> None:
    headers = {"User-Agent": "ddbench", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urlopen(Request(url, headers=headers), timeout=_PATIENCE)
    except HTTPError as error:
        error.close()  # it holds the connection
        if error.code != 416:
            raise
        if error.headers.get("Content-Range", "") == f"bytes */{start}":
            return  # all of it is there
        part.unlink()  # it cannot be the beginning of what lies there now
        return _receive_once(url, part, 0, tell)
    with answer:
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            if answer.status == 206:
                raise OSError(f"{url} gives another part than was asked for")
            start = 0  # the server sends all of it whatever was asked for
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else 0
        tell(f"{'going on with' if start else 'downloading'} {part.name[1:].removesuffix('.part')} from {url} ({_mb(total)})")
        with part.open("ab" if start else "wb") as stream:
            done = start
            while chunk := answer.read(_CHUNK):
                stream.write(chunk)
                done += len(chunk)
                if total and _TOLD * done // total > _TOLD * (done - len(chunk)) // total and done < total:
                    tell(f"  {_mb(done)} of {_mb(total)}")
    if total and done != total:
        raise OSError(f"the connection ended after {done:,} of {total:,} bytes; the same command goes on from there")


def _mb(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count else "of unknown size"


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _is_official(file: Path, wanted: Download) -> bool:
    return not wanted.md5 or _md5_of(file) == wanted.md5


def _md5_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
