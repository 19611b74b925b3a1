"""``new method|objective|form|dataset NAME``: a file that runs, passes the contract tests, and asks to be changed.

The files are the examples of docs/add-a-method.md and docs/add-a-dataset.md, which are tested.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Any

from .. import datasets, methods
from ..errors import BenchError, reason_of
from ..registry import DATASETS, FORMS, METHODS, OBJECTIVES, Registry

_TEMPLATES = Path(__file__).parent / "templates"

#: What can be written: its registry, the folder it belongs into, and how it is tried ("{name}" is the new one's name).
KINDS: dict[str, tuple[Registry[Any], Path, str]] = {
    "method": (METHODS, Path(methods.__path__[0]), "--methods {name}"),
    "objective": (OBJECTIVES, Path(methods.__path__[0]) / "objectives", '--methods "rat_bptt[objective={name}]"'),
    "form": (FORMS, Path(methods.__path__[0]) / "forms", '--methods "random[form={name}]"'),
    "dataset": (DATASETS, Path(datasets.__path__[0]), "--datasets {name}"),
}


def rendered(kind: str, name: str) -> str:
    """Return the text of a new file of one of ``KINDS``."""
    text = (_TEMPLATES / f"{kind}.txt").read_text(encoding="utf-8")
    for mark, value in (("@TITLE@", name.replace("_", " ").capitalize()), ("@NAME@", name), ("@CLASS@", _class_name(name))):
        text = text.replace(mark, value)
    return text


def new_plugin(kind: str, name: str, folder: Path | None = None) -> Path:
    """Write a runnable plugin file.

    Args:
        kind: one of ``KINDS``.
        name: its registered name, e.g. ``my_method``.
        folder: where the file is put; by default the folder in which plugins of its kind are discovered.

    Returns:
        Path of the new file.

    Raises:
        BenchError: the name is no good or taken, or the file cannot be written.
    """
    registry, home, _ = KINDS[kind]
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or keyword.iskeyword(_class_name(name)):
        raise BenchError(f"'{name}' cannot name a {kind}; use small letters, digits and underscores, e.g. my_{kind}")
    if name in registry:
        raise BenchError(f"the {registry.kind} '{name}' exists already; choose another name")
    file = (folder or home) / f"{name}.py"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(rendered(kind, name))
    except FileExistsError as error:
        raise BenchError(f"{file} exists already; nothing was changed") from error
    except OSError as error:
        raise BenchError(f"{file} cannot be written: {reason_of(error)}; choose a folder with --into") from error
    return file


def how_to_try(kind: str, name: str) -> str:
    """Return the flags that run the new plugin."""
    return KINDS[kind][2].format(name=name)


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_") if part)
