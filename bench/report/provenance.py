"""Where the numbers of a section were made, and a warning where that was not one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .numbers import escape

#: What can move a number. The rest of an environment (plugins' names, cores, the commit) is in the records.
_MOVING = ("cpu", "device", "engine", "kernels", "numpy", "precision", "scikit-learn", "scipy", "system", "threads", "torch")
#: Parts that only some methods have.
_OF_SOME = ("engine",)


def environment_lines(cells: Iterable[Any]) -> list[str]:
    """Describe the environments in which numbers were made: what is mixed, what they share, and the commits.

    Args:
        cells: tuples of records; those without a score made no number, and do not count.

    Returns:
        Sentences in Markdown; the one on mixed environments is first and bold.
    """
    found = [cell.environment for cell in cells if cell.n_students and cell.environment]
    made = [_flatten(environment) for environment in found]
    values = {
        name: sorted({one.get(name, "not recorded") for one in made if name in one or name not in _OF_SOME})
        for name in _MOVING
        if any(name in one for one in made)
    }
    mixed = [f"{name}: {_few(several)}" for name, several in values.items() if len(several) > 1]
    shared = [f"{name} {one[0]}" for name, one in values.items() if len(one) == 1]
    commits = sorted({_commit(environment) for environment in found if environment.get("commit")})
    lines = [f"**Mixed environments in this table** ({escape('; '.join(mixed))}): differences may come from them."] if mixed else []
    lines += [f"Made with {escape(', '.join(shared))}."] if shared else []
    lines += [f"Commit of the suite: {escape(_few(commits))}."] if commits else []
    return lines


def _flatten(environment: Mapping[str, Any]) -> dict[str, str]:
    """Bring the versions of packages to the top, under their own names."""
    flat = {**environment, **(environment.get("packages") or {})}
    return {name: str(value) for name, value in flat.items() if value is not None and value != ""}


def _commit(environment: Mapping[str, Any]) -> str:
    return str(environment["commit"])[:10] + (" with uncommitted changes" if environment.get("dirty") else "")


def _few(several: Sequence[str]) -> str:
    return ", ".join(several[:4]) + (f" and {len(several) - 4} more" if len(several) > 4 else "")
