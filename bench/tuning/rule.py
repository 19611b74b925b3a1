"""The setting that did best becomes a rule of the method's recipe file. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..files import read_text, write_text
from ..keys import plain


def rule_text(when: Mapping[str, Any], values: Mapping[str, Any], source: str, trials: int) -> str:
    """Return a rule as recipe files have it.

    Args:
        when: ``dataset``, ``ipc`` and the parts for which it holds.
        values: what it sets.
        source: where the values come from.
        trials: how many settings were tried for it.
    """
    return f"- when: {_flow(when)}\n  set: {_flow(values)}\n  source: {_flow(source)}\n  trials: {trials}\n"


def append_rule(file: Path, rule: str, about: str) -> None:
    """Write a rule below all others of a recipe file, where it wins; one that is there already is not written twice.

    Args:
        file: the recipe file; it is made if it is not there.
        rule: as ``rule_text`` gives it.
        about: first line of a file that is made.

    Raises:
        OSError: the file cannot be read or written; it is then as it was.
        UnicodeDecodeError: it is not text.
    """
    before = read_text(file) if file.exists() else f"# {about}\n"
    if rule not in before:
        write_text(file, f"{before.rstrip()}\n\n{rule}")


def _flow(value: Any) -> str:
    """Return a value as one line of YAML."""
    text = yaml.safe_dump(plain(value), default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def best_of(scores: Sequence[float]) -> int:
    """Return the position of the largest score; of equal ones the first, which is nearest to what stood before."""
    return max(range(len(scores)), key=lambda position: (scores[position], -position))
