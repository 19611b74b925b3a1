"""How commands read the flags that several of them have. Free of torch until plugins are imported."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..paths import read_path
from ..sweep import readers
from ..sweep.readers import READERS


def reader_of(flag: str, reader: str = "") -> Callable[[str], Any]:
    """Return what reads the text of ``--flag``, as a flag of a run is read: the one of the same name, or ``reader``."""
    return lambda text: READERS[reader or flag](text, f"--{flag}")


def path_of(flag: str) -> Callable[[str], Path]:
    """Return what reads the text of ``flag`` as a path."""
    return lambda text: read_path(text, flag)


def given_flags(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the flags of a run that were given, as ``readers.merge`` takes them."""
    given = {name: getattr(parsed, name.replace("-", "_"), None) for name in READERS if name not in ("set", "plugin")}
    given = {name: value for name, value in given.items() if value is not None}
    if parsed.set:
        given["set"] = readers.parse_set(parsed.set)
    if parsed.plugin:
        given["plugin"] = readers.plugin_paths(parsed.plugin, "--plugin")
    return given


def import_plugins(parsed: argparse.Namespace) -> None:
    """Import all plugins, those of ``--plugin`` among them.

    Raises:
        BenchError: one that was given does not import.
    """
    from ..plugin_trial import discover_tried

    discover_tried(readers.plugin_paths(parsed.plugin, "--plugin") if parsed.plugin else ())
