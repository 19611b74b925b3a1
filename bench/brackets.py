"""Names with parameters in brackets: ``podd[order=random,window=[10,20]],rat_bptt`` becomes three requests. Free of torch."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import BenchError, cut, shorten
from .record import label_of
from .yaml_text import read_yaml

#: Cells of one run. More take minutes to plan and fill memory; several runs into one folder share everything.
MOST_CELLS = 100_000

#: A quoted text counts as one letter; like in YAML, quotes open where a value begins, and an apostrophe is an apostrophe.
_LETTER = re.compile(r"""(?<![^\s,\[({=:])(?:'(?:[^']|'')*'|"(?:[^"\\]|\\.)*")|.""", re.DOTALL)
_SELECTION = re.compile(r"(?P<name>[^\[\]=\s]+)(\[(?P<fields>.*)\])?", re.DOTALL)


@dataclass(frozen=True)
class Request:
    """One method or data set with the parameters typed in its brackets.

    Attributes:
        name: its registered name.
        variant: the bracketed parameters as they are shown, e.g. ``order=random,window=10``, or empty.
        fields: field -> value.
    """

    name: str
    variant: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The request as it is typed."""
        return label_of(self.name, self.variant)


def split_list(text: str, what: str) -> tuple[str, ...]:
    """Split at the commas outside brackets and quotes.

    Args:
        text: e.g. ``"podd[order=random,labels=fixed],rat_bptt"``.
        what: the flag, for the message.

    Raises:
        BenchError: brackets do not match, or there is nothing between two commas.
    """
    parts, depth = [""], 0
    for letter in _LETTER.findall(text):
        depth += (letter in "[({") - (letter in "])}")
        if depth < 0:
            break
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise BenchError(f"{what} {shorten(text)} has a bracket too many or too few; write it like name[field=value],name")
    parts = [part.strip() for part in parts]
    if not all(parts):
        raise BenchError(f"{what} {shorten(text)} has nothing between two commas; write it like a,b,c")
    return tuple(parts)


def parse_requests(items: tuple[str, ...], kind: str = "method") -> tuple[Request, ...]:
    """Turn ``("podd[window=[10,20]]", "rat_bptt")`` into one request per point of every grid, without repetitions.

    Args:
        items: as typed, one each.
        kind: what they name, for messages.

    Raises:
        BenchError: an item is not of the form ``name`` or ``name[field=value,...]``, or its grids have too many points.
    """
    found: dict[str, Request] = {}
    for item in items:
        for request in _parse_item(item, kind):
            found.setdefault(request.label, request)
        bounded(len(found), f"the list of {kind}s")
    return tuple(found.values())


def bounded(count: int, what: str) -> None:
    """Refuse what asks for more cells than one run may have, before anything is made of them.

    Raises:
        BenchError: says what to do.
    """
    if count > MOST_CELLS:
        raise BenchError(
            f"{what} asks for {count:,} cells; one run has at most {MOST_CELLS:,}, so ask for less, and for the rest in another"
        )


def _parse_item(item: str, kind: str) -> Iterator[Request]:
    match = _SELECTION.fullmatch(item)
    if match is None:
        raise BenchError(f"{kind} {shorten(item)} is neither a name nor name[field=value,...]; write it like name[field=value]")
    if not (match["fields"] or "").strip():
        yield Request(match["name"])
        return
    axes = []
    for assignment in split_list(match["fields"], f"{kind} '{cut(match['name'])}':"):
        key, text = split_assignment(assignment, f"{kind} {shorten(item)}")
        axes.append([(key, *option) for option in _options(text, cut(f"{match['name']}[{assignment}]"))])
    bounded(math.prod(map(len, axes)), f"{kind} {shorten(item)}")
    if len({axis[0][0] for axis in axes}) < len(axes):
        raise BenchError(f"{kind} {shorten(item)} sets a field twice; set each once, or give a grid like window=[10,20]")
    for point in itertools.product(*axes):
        variant = ",".join(f"{key}={shown}" for key, shown, _ in point)
        yield Request(match["name"], variant, {key: value for key, _, value in point})


def parse_one(text: str, kind: str) -> Request:
    """Return the request of a name that may have parameters; a plain name is taken as it is, whatever its letters.

    Raises:
        BenchError: its brackets cannot be read, or hold a grid.
    """
    if "[" not in text:
        return Request(text)
    found = parse_requests((text,), kind)
    if len(found) > 1:
        raise BenchError(f"{kind} {shorten(text)} is a grid of {len(found)}; name one of them here")
    return found[0]


def written(name: str, fields: Mapping[str, Any]) -> str:
    """Return a name with parameters as it is typed."""
    return label_of(name, ",".join(f"{key}={write_value(value)}" for key, value in fields.items()))


def without_paths(label: str) -> str:
    """Return a name with parameters as records and tables show it: of a path, its last part alone.

    Records travel, and paths are private.

    Example:
        >>> from bench.brackets import without_paths
        >>> without_paths("image_folder[path=/home/me/birds,size=64]"), without_paths("podd[order=random]")
        ('image_folder[path=birds,size=64]', 'podd[order=random]')
    """
    try:
        request = parse_one(label, "name")
    except BenchError:
        return label
    fields = {key: os.path.basename(value) if _is_path(value) else value for key, value in request.fields.items()}
    return written(request.name, fields) if fields != request.fields else label


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and os.path.isabs(value) and os.path.basename(value) != ""


def split_assignment(text: str, where: str) -> tuple[str, str]:
    """Split ``field=value`` at its first equals sign.

    Raises:
        BenchError: there is none, or nothing on one side of it.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals and value):
        raise BenchError(f"{where}: {shorten(text)} is not of the form field=value")
    return key, value


def read_value(text: str, where: str) -> Any:
    """Read a value by the rules of YAML, so that ``1e-3`` is a number, ``true`` a truth value and ``random`` a word."""
    return read_yaml(text, where)


def write_value(value: Any) -> str:
    """Return a value as it is typed in brackets, so that ``read_value`` gives it back and no grid comes of it."""
    if isinstance(value, str) and _is_typed_bare(value):
        return value
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return f"[{text}]" if isinstance(value, (list, tuple)) else text


def _is_typed_bare(text: str) -> bool:
    """Tell whether a text means itself in brackets, without quotes."""
    try:
        return not set("'\"") & set(text) and [r.fields for r in _parse_item(f"name[field={text}]", "text")] == [{"field": text}]
    except BenchError:
        return False


def _options(text: str, where: str) -> list[tuple[str, Any]]:
    """Return (text, value) of every point of a grid; a plain value is a grid of one.

    A list that is a value is a grid of one list, ``[[8,8]]``, and is shown like that.
    """
    value = read_value(text, where)
    if not isinstance(value, list):
        return [(text, value)]
    if not value:
        raise BenchError(f"{where} is an empty grid; give it at least one value, like [10,20]")
    points = [(point, read_value(point, where)) for point in split_list(text.strip()[1:-1], where)]
    return [(f"[{point}]" if isinstance(found, list) else point, found) for point, found in points]
