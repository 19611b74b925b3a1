"""YAML as people write it, read into plain values: the one place where the suite reads YAML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.reader import Reader

from .errors import BenchError
from .files import read_text

_DEEPEST = 40  # lists and mappings inside each other; whoever reads the values may then recurse
_LONGEST_NUMBER = 400  # characters; Python itself refuses to read a number of some thousand digits
_TAG = "tag:yaml.org,2002:"
_FLOAT = r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"


class _Loader(yaml.SafeLoader):
    """``1e-3`` is a number, ``no`` and ``2024-01-01`` are words, ``010`` is ten, a key twice is a mistake.

    What comes out is plain JSON and small: texts, numbers, truth values, null, and lists and mappings of them. Other tags
    are refused, and so are aliases, a few of which can stand for more values than memory holds.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):  # type: ignore[no-untyped-call]
            raise ConstructorError(None, None, "an alias is not followed; write the value out once more", mark)
        if self.depth > _DEEPEST:
            raise ConstructorError(None, None, f"more than {_DEEPEST} lists or mappings stand inside each other", mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        text = super().construct_scalar(node)
        # Escapes can write what the text of a file may not hold: NUL, halves of characters, control codes.
        if found := Reader.NON_PRINTABLE.search(str(text)):
            raise ConstructorError(None, None, f"it holds the character {found[0]!r}, which no text has", node.start_mark)
        return str(text)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise ConstructorError(None, None, "a mapping was announced, and something else follows", node.start_mark)
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if isinstance(key, (list, dict)):
                raise ConstructorError(None, None, "a list or a mapping cannot be a key", key_node.start_mark)
            if key in found:
                raise ConstructorError(None, None, f"key '{key}' appears twice", key_node.start_mark)
            found[key] = self.construct_object(value_node, deep=True)  # type: ignore[no-untyped-call]
        return found


def _list(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


def _truth(loader: _Loader, node: yaml.ScalarNode) -> bool:
    text = loader.construct_scalar(node).lower()
    if text not in ("true", "false"):
        raise ConstructorError(None, None, f"'{text}' is neither true nor false", node.start_mark)
    return text == "true"


def _number(kind: type[int] | type[float]) -> Any:
    def read(loader: _Loader, node: yaml.ScalarNode) -> int | float:
        text = loader.construct_scalar(node)
        if len(text) > _LONGEST_NUMBER:
            raise ConstructorError(None, None, f"a number of {len(text)} characters is more than anything here can be", node.start_mark)
        try:
            return kind(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
        except ValueError as error:  # it contradicts its explicit tag
            raise ConstructorError(None, None, f"'{text}' is not a number", node.start_mark) from error

    return read


def _refuse(loader: _Loader, node: yaml.Node) -> None:
    tag = str(node.tag).replace(_TAG, "!!")
    raise ConstructorError(None, None, f"the tag {tag} is not read; write a plain text, number, list or mapping", node.start_mark)


_Loader.yaml_constructors = {
    f"{_TAG}null": lambda loader, node: None,
    f"{_TAG}bool": _truth,
    f"{_TAG}int": _number(int),
    f"{_TAG}float": _number(float),
    f"{_TAG}str": _Loader.construct_scalar,
    f"{_TAG}seq": _list,
    f"{_TAG}map": lambda loader, node: loader.construct_mapping(node, deep=True),
    None: _refuse,
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag == f"{_TAG}null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}float", re.compile(f"^(?:{_FLOAT})$"), list("-+0123456789."))
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"^[-+]?\d[\d_]*$"), list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))


def read_yaml(text: str, source: str) -> Any:
    """Parse YAML into plain values.

    Raises:
        BenchError: the text is not YAML, has a key twice, or holds what is more than plain; names ``source`` and the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise BenchError(f"{source}{line} is not valid YAML: {getattr(error, 'problem', None) or error}") from error
    except (ValueError, OverflowError) as error:  # PyYAML's own, for an escape beyond all characters
        raise BenchError(f"{source} is not valid YAML: {error}") from error


def read_yaml_file(file: Path, what: str) -> Any:
    """Parse a YAML file into plain values.

    Args:
        file: a regular file in UTF-8.
        what: what it is, for the message.

    Raises:
        BenchError: as ``read_yaml``, or the file cannot be read.
    """
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or ("it is not text" if isinstance(error, UnicodeDecodeError) else str(error))
        raise BenchError(f"{what} '{file}' cannot be read: {reason}; it must be a text file in YAML") from error
    return read_yaml(text, str(file))
