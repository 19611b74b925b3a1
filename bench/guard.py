"""Keeps code that must be closed from opening files or the network, and remembers every attempt.

While a method distils, the files of its data set are out of reach: the training images were loaded before, and nothing
else of them is its business; what cells share can be read and not be changed. While a set decodes, every file but
program text is out of reach, and so is the network. The guard sits on Python's audit events, which no Python code can
switch off. It stops mistakes and cheats written in Python; a hostile plugin with native code needs the operating
system's own walls (see docs/protocols.md).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAM_TEXT = (".py", ".pyc", ".so", ".pyd", ".dylib")
_NETWORK_EVENTS = frozenset(("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"))
#: What changes a file or folder without opening it, and how many of its arguments are paths.
_CHANGES = {
    "os.chmod": 1,
    "os.link": 2,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.symlink": 2,
    "os.truncate": 1,
    "shutil.rmtree": 1,
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PROGRAM_EVENTS = frozenset(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"))


class ForbiddenAccess(PermissionError):
    """Guarded code reached for something that is closed to it."""


class _Guard:
    """State of the one audit hook of this process; a hook can be added but never removed."""

    def __init__(self) -> None:
        self.installed = False
        self.closed_files: frozenset[str] = frozenset()
        self.open_files: frozenset[str] = frozenset()
        self.read_only: frozenset[str] = frozenset()
        self.only_program_text = False
        self.no_network = False
        self.violations: list[str] = []

    def hook(self, event: str, args: tuple[object, ...]) -> None:
        if self.read_only:
            self.check_change(event, args)
        if event in ("open", "os.rename", "os.link") and (self.closed_files or self.only_program_text):
            self.check_open(args[0])  # a file that is renamed or linked could be opened under its other name
        elif self.no_network and event in _NETWORK_EVENTS:
            self.refuse(f"used the network ({event})")
        elif self.only_program_text and event in _PROGRAM_EVENTS:
            # Another program would do the reading, outside the guard.
            self.refuse(f"started another process ({event})")

    def check_open(self, target: object) -> None:
        if not isinstance(target, (str, bytes, os.PathLike)):
            return
        path = os.path.realpath(os.fsdecode(target))
        harmless = path.startswith(("/proc/", "/sys/", "/dev/")) or (_is_program_text(path) and _python_reads())
        # By its own name as well: what lies in a closed folder may be a link to an image elsewhere.
        closed = self.is_closed(path) or self.is_closed(os.path.abspath(os.fsdecode(target)))
        if closed or (self.only_program_text and not harmless and path not in self.open_files):
            self.refuse(f"opened {path}")

    def is_closed(self, path: str) -> bool:
        """Tell whether a file is closed, or lies in a folder that is: a folder may hold a hundred thousand images."""
        while path not in self.closed_files:
            parent = os.path.dirname(path)
            if parent == path:
                return False
            path = parent
        return True

    def check_change(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            flags = args[2] if len(args) > 2 else 0
            paths = args[:1] if isinstance(flags, int) and flags & _WRITES else ()
        else:
            paths = args[: _CHANGES.get(event, 0)]
        for target in paths:
            if isinstance(target, (str, bytes, os.PathLike)):
                path = os.path.realpath(os.fsdecode(target))
                if any(path == folder or path.startswith(folder + os.sep) for folder in self.read_only):
                    self.refuse(f"changed {path}")

    def refuse(self, what: str) -> None:
        self.violations.append(what)
        raise ForbiddenAccess(f"guarded code {what}, which is closed to it")


_GUARD = _Guard()


def _is_program_text(path: str) -> bool:
    """Tell modules, shared libraries, and the temporary names under which Python writes compiled modules."""
    return path.endswith(_PROGRAM_TEXT) or ".pyc." in os.path.basename(path)


def _python_reads() -> bool:
    """Tell whether Python itself opens the file, to import it or to show a line of it, rather than the guarded code."""
    reader = sys._getframe(3).f_code.co_filename  # 0 is this function, then check_open, hook, and who opened
    return reader.startswith("<frozen importlib") or os.path.basename(reader) in ("linecache.py", "tokenize.py")


@contextmanager
def guarded(
    closed_files: Iterable[Path] = (),
    *,
    only_program_text: bool = False,
    no_network: bool = False,
    open_files: Iterable[Path] = (),
    read_only: Iterable[Path] = (),
) -> Iterator[list[str]]:
    """Close files (and the network) to the code inside; yields the growing list of attempts, caught or not.

    A guard inside another adds to what is closed and never opens anything, and its attempts count for both.

    Args:
        closed_files: files that must not be opened, and folders in which none must be, e.g. those of a data set.
        only_program_text: refuse every file but the Python modules and shared libraries that Python itself opens to
            import them, and refuse to start programs.
        no_network: refuse sockets.
        open_files: exceptions to ``only_program_text``, e.g. the files of the set that is being read.
        read_only: folders in which nothing may be written, renamed or removed, e.g. what cells share.
    """
    if not _GUARD.installed:
        sys.addaudithook(_GUARD.hook)
        _GUARD.installed = True
    before = dict(vars(_GUARD))
    violations: list[str] = []
    _GUARD.violations = violations
    _GUARD.no_network |= no_network
    excepted = _real(open_files)
    _GUARD.open_files = _GUARD.open_files & excepted if _GUARD.only_program_text else excepted
    _GUARD.only_program_text |= only_program_text
    closed = tuple(closed_files)
    _GUARD.closed_files |= _real(closed) | frozenset(map(os.path.abspath, closed))
    _GUARD.read_only |= _real(read_only)
    try:
        yield violations
    finally:
        before["violations"].extend(violations)
        vars(_GUARD).update(before)


def _real(paths: Iterable[Path]) -> frozenset[str]:
    return frozenset(os.path.realpath(path) for path in paths)
