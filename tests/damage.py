"""Files that somebody edited badly: valid YAML in which nodes are deleted, replaced, retyped, or given a tag."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

TAGS = ["!!timestamp", "!!binary", "!!set", "!!python/name:os.system", "!!int", "!!float", "!!bool", "!!str", "!!seq", "!!map"]
TAGS += ["!mine", "&a", "*a"]
#: Values that mean something to YAML, to a shell or to a terminal, and extremes.
ODDITIES = [None, True, 0, -1, 1.5, 10**30, float("nan"), float("inf"), "", "x", "[" * 50, "(4,6)", "'a,b'", [], {}, [[]]]
ODDITIES += ["~nouser", "a\0b", "\ud800", "\x1b[31m"]
#: What a node may turn into.
replacements = st.one_of(
    st.sampled_from(ODDITIES),
    st.text(st.characters(), max_size=8),
    st.integers(),
    st.floats(),
    st.lists(st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every node below the first."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from _places(value, (*path, key))


def _change(draw: st.DrawFn, content: Any) -> None:
    places = sorted(_places(content), key=repr)
    if not places:
        return
    *above, last = draw(st.sampled_from(places))
    parent = content
    for key in above:
        parent = parent[key]
    action = draw(st.sampled_from(["delete", "replace", "repeat", "rename"]))
    if action == "delete":
        del parent[last]
    elif action == "repeat" and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[last]))
    elif action == "rename" and isinstance(parent, dict):
        parent[draw(st.text(max_size=6) | st.integers())] = parent.pop(last)
    else:
        parent[last] = draw(replacements)


@st.composite
def mutations(draw: st.DrawFn, content: Any) -> str:
    """Draw the text of a YAML file that was ``content`` before somebody changed a few nodes, and maybe some letters."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        _change(draw, content)
    text = yaml.safe_dump(content, sort_keys=False)
    if draw(st.booleans()):
        colon = draw(st.sampled_from([i for i, letter in enumerate(text) if letter in ":-"] or [0]))
        text = f"{text[: colon + 1]} {draw(st.sampled_from(TAGS))} {text[colon + 1 :]}"
    return text
