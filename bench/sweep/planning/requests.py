"""Which methods a sweep runs: ``podd[order=random,window=[10,20]],rat_bptt`` becomes three requests. Free of torch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import BenchError
from ...recipes import read_yaml

_SELECTION = re.compile(r"(?P<name>[^\[\]=\s]+)(\[(?P<fields>.*)\])?", re.DOTALL)


@dataclass(frozen=True)
class MethodRequest:
    """One method with the hyper-parameters typed in its brackets.

    Attributes:
        name: registered name of the method.
        variant: the bracketed parameters as they are shown, e.g. ``order=random,window=10``, or empty.
        fields: field -> value.
    """

    name: str
    variant: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The request as it is typed."""
        return f"{self.name}[{self.variant}]" if self.variant else self.name


def split_list(text: str, what: str) -> tuple[str, ...]:
    """Split at the commas outside brackets.

    Args:
        text: e.g. ``"podd[order=random,labels=fixed],rat_bptt"``.
        what: the flag, for the message.

    Raises:
        BenchError: brackets do not match, or there is nothing between two commas.
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if depth < 0:
            break
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise BenchError(f"{what} '{text}' has a bracket too many or too few; write it like name[field=value],name")
    parts = [part.strip() for part in parts]
    if not all(parts):
        raise BenchError(f"{what} '{text}' has nothing between two commas; write it like a,b,c")
    return tuple(parts)


def parse_requests(items: tuple[str, ...]) -> tuple[MethodRequest, ...]:
    """Turn ``("podd[window=[10,20]]", "rat_bptt")`` into one request per point of every grid, without repetitions.

    Raises:
        BenchError: an item is not of the form ``name`` or ``name[field=value,...]``.
    """
    found: dict[str, MethodRequest] = {}
    for item in items:
        for request in _parse_item(item):
            found.setdefault(request.label, request)
    return tuple(found.values())


def _parse_item(item: str) -> Iterator[MethodRequest]:
    match = _SELECTION.fullmatch(item)
    if match is None:
        raise BenchError(f"method '{item}' is neither a name nor name[field=value,...]; write it like name[field=value]")
    if not (match["fields"] or "").strip():
        yield MethodRequest(match["name"])
        return
    axes = []
    for assignment in split_list(match["fields"], f"method '{match['name']}':"):
        key, text = split_assignment(assignment, f"method '{item}'")
        axes.append([(key, *option) for option in _options(text, f"{match['name']}[{assignment}]")])
    if len({axis[0][0] for axis in axes}) < len(axes):
        raise BenchError(f"method '{item}' sets a field twice; set each once, or give a grid like window=[10,20]")
    for point in itertools.product(*axes):
        variant = ",".join(f"{key}={shown}" for key, shown, _ in point)
        yield MethodRequest(match["name"], variant, {key: value for key, _, value in point})


def split_assignment(text: str, where: str) -> tuple[str, str]:
    """Split ``field=value`` at its first equals sign.

    Raises:
        BenchError: there is none, or nothing on one side of it.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals and value):
        raise BenchError(f"{where}: '{text}' is not of the form field=value")
    return key, value


def read_value(text: str, where: str) -> Any:
    """Read a value by the rules of YAML, so that ``1e-3`` is a number, ``true`` a truth value and ``random`` a word."""
    return read_yaml(text, where)


def _options(text: str, where: str) -> list[tuple[str, Any]]:
    """Return (text, value) of every point of a grid; a plain value is a grid of one, a list value is ``[[8,8]]``."""
    value = read_value(text, where)
    if not isinstance(value, list):
        return [(text, value)]
    if not value:
        raise BenchError(f"{where} is an empty grid; give it at least one value, like [10,20]")
    inner = split_list(text.strip()[1:-1], where)
    return list(zip(inner, value, strict=True))
