"""What a file holds, told by its first bytes, for messages about files that are not what their names say."""

from __future__ import annotations

from pathlib import Path

from .errors import reason_of

#: First bytes -> what begins so. The first that fits counts.
_BEGINNINGS = {
    b"\x1f\x8b": "gzip data",
    b"PK\x03\x04": "a zip archive",
    b"\x93NUMPY": "a numpy array",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a Git LFS pointer instead of the file it stands for",
    b"\x00\x00\x08\x01": "an idx file of one dimension (labels)",
    b"\x00\x00\x08\x03": "an idx file of three dimensions (gray images)",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"<": "a web page or other XML text",
}


def kind_of(head: bytes) -> str:
    r"""Return in words what a file that begins with ``head`` holds.

    Example:
        >>> from bench.file_kinds import kind_of
        >>> kind_of(b"\x1f\x8b\x08\x00"), kind_of(b""), kind_of(b"abcdef")
        ('gzip data', 'nothing', 'bytes that begin with 61 62 63 64')
    """
    if not head:
        return "nothing"
    for beginning, kind in _BEGINNINGS.items():
        if head.startswith(beginning):
            return kind
    return f"bytes that begin with {head[:4].hex(' ')}"


def kind_of_file(file: Path) -> str:
    """Return what a file holds by its first bytes, or why it cannot be read."""
    try:
        with file.open("rb") as stream:
            return kind_of(stream.read(64))
    except OSError as error:
        return f"something unreadable: {reason_of(error)}"
