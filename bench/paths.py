"""Paths as people type them: the one place where the suite reads them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import BenchError, shorten


def read_path(value: Any, what: str) -> Path:
    """Return a path with its ``~`` expanded; whether something is there is the caller's business.

    Args:
        value: what was typed.
        what: the flag or field it was typed for.

    Raises:
        BenchError: there can be no such path: NUL in it, a user without a home, a name that is too long.
    """
    text = str(value)
    if not text.strip():
        raise BenchError(f"{what} is empty; give it a path")
    try:
        text.encode()  # a file name that is no UTF-8 could not be written into a record
        path = Path(text).expanduser()
        path.resolve()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            os.lstat(path)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise BenchError(f"{what} {shorten(text)} cannot be a path: {reason}; give it another one") from error
    return path


def read_absolute_path(value: Any, what: str) -> Path:
    """Return a path as it is from every folder; see ``read_path``."""
    return read_path(value, what).resolve()
