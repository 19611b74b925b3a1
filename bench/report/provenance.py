"""Where the numbers of a section were made, and a warning where that was not one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..record import Record
from .numbers import escape

#: Parts of an environment that change between runs without touching a number, or that are shown on their own.
_APART = ("commit", "dirty", "cores")
#: Parts that only some methods have.
_OF_SOME = ("engine",)


def environment_lines(records: Iterable[Record]) -> list[str]:
    """Describe the environments of some records: what is mixed, what they share, and the commits.

    Returns:
        Sentences in Markdown; the one on mixed environments is first and bold.
    """
    found = [record.environment for record in records if record.environment]
    made = [_flatten(environment) for environment in found]
    names = sorted({name for one in made for name in one})
    values = {name: sorted({one.get(name, "not recorded") for one in made if name in one or name not in _OF_SOME}) for name in names}
    mixed = [f"{name}: {_few(several)}" for name, several in values.items() if len(several) > 1]
    shared = [f"{name} {one[0]}" for name, one in values.items() if len(one) == 1]
    commits = sorted({_commit(environment) for environment in found if environment.get("commit")})
    lines = [f"**Mixed environments in this table** ({escape('; '.join(mixed))}): differences may come from them."] if mixed else []
    if shared:
        lines.append(f"Made with {escape(', '.join(shared))}.")
    if commits:
        lines.append(f"Commit of the suite: {escape(_few(commits))}.")
    return lines


def _flatten(values: Mapping[str, Any]) -> dict[str, str]:
    """Bring nested parts (the versions of packages) to the top, under their own names."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value))
        elif value is not None and value != "" and name not in _APART:
            flat[name] = str(value)
    return flat


def _commit(environment: Mapping[str, Any]) -> str:
    return str(environment["commit"])[:10] + (" with uncommitted changes" if environment.get("dirty") else "")


def _few(several: Sequence[str]) -> str:
    return ", ".join(several[:4]) + (f" and {len(several) - 4} more" if len(several) > 4 else "")
