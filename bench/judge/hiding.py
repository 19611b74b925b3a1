"""Looks for content beside the stored tensors: on the module, on its class, and in the program text that defines it.

What decodes a set must come from its tensors, which are counted. A table of pixels in a decoder's source would be free
and would not even be in the set. So the search refuses tensors, arrays and byte strings anywhere but in the state, and
more numbers or text in one place than a program needs.
"""

from __future__ import annotations

import ast
import functools
import io
import sys
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..data import Spec
from ..errors import RejectedSet
from ..parameterization import Parameterization
from ..registry import Registry
from .ownership import HOST, installed_in, is_of_a_library

_MAX_DEPTH = 8
_MAX_BYTES = 64
_MAX_TEXT = 1024
_MAX_NUMBERS = 128  # in one place: a global, an attribute of a class, a literal
_MAX_NUMBERS_ON_INSTANCE = 65_536  # what a rebuilt object holds comes from its config: positions, grids
_MAX_NUMBERS_IN_FILE = 2_000
_MAX_TEXT_IN_FILE = 32_768
_MAX_INTEGER = 2**63

#: Names by which a program reads its own text, docstrings and comments included, or memory that is not Python's.
_SELF_READING = frozenset(["__doc__", "__file__", "__loader__", "__spec__", "inspect", "linecache", "tokenize", "ctypes", "mmap"])

#: Types whose insides belong to a library and lead all over the process.
_LIBRARY_INSIDES = ("torch", "numpy", "logging", "re", "threading", "typing", "abc", "ast", "collections", "weakref", "enum")
_OF_NN_MODULE = frozenset(vars(nn.Module()))


def check_nothing_hidden(parameterization: Parameterization) -> None:
    """Search a parameterization, its class and the files that define it.

    Raises:
        RejectedSet: something was found that must be a declared tensor; says what and where.
    """
    own = check_program(type(parameterization))
    _check_instance(parameterization, own)


def check_program(kind: type[Parameterization]) -> frozenset[str]:
    """Search the class of a parameterization and the files that define it.

    Returns:
        Names of the modules that were searched.

    Raises:
        RejectedSet: something was found that must be a declared tensor; says what and where.
    """
    modules = _own_modules(kind)
    own = frozenset(module.__name__ for module in modules)
    if not own:
        raise RejectedSet(f"the module that defines {kind.__name__} is not there; a decoder is judged with its source")
    for base in kind.__mro__:
        if base.__module__ in own:
            _check_class(base, own)
    for module in modules:
        for key, value in vars(module).items():
            if not key.startswith("__"):
                _Search(f"'{key}' of {module.__name__}", _MAX_NUMBERS, own).look(value)
        if not _is_namespace(module):
            _check_text(module)
    return own


def _check_instance(parameterization: Parameterization, own: frozenset[str]) -> None:
    stored = {id(t) for module in parameterization.modules() for t in (*module._parameters.values(), *module._buffers.values())}
    for prefix, module in parameterization.named_modules():
        for key, value in vars(module).items():
            # The containers of nn.Module itself hold the declared tensors and the submodules, which are visited anyway.
            # Hooks belong to nn.Module as well, but hold functions of the plugin.
            if key not in _OF_NN_MODULE or key.endswith("hooks"):
                where = f"attribute '{'.'.join(filter(None, (prefix, key)))}' of {type(parameterization).__name__}"
                _Search(where, _MAX_NUMBERS_ON_INSTANCE, own, {id(parameterization), *stored}).look(value)


def _check_class(kind: type, own: frozenset[str]) -> None:
    for key, value in vars(kind).items():
        if key != "__doc__":
            _Search(f"'{key}' of class {kind.__name__}", _MAX_NUMBERS, own).look(value)


@dataclass
class _Search:
    """One walk over a value and what it refers to.

    Attributes:
        where: what is searched, for the sentence.
        most: how many numbers may be found in all.
        own: names of modules whose classes and functions are entered.
        seen: objects not to enter again.
    """

    where: str
    most: int
    own: frozenset[str]
    seen: set[int] = field(default_factory=set)
    numbers: int = 0
    text: int = 0
    keep: list[object] = field(default_factory=list)  # so that ids of temporary objects are not used again

    def look(self, value: object, depth: int = 0) -> None:
        if isinstance(value, (bool, int, float, complex, str, type(None))):
            self.leaf(value)
            return
        if id(value) in self.seen or depth > _MAX_DEPTH:
            return
        self.seen.add(id(value))
        self.keep.append(value)
        self.refuse_storage(value)
        for part in self.parts(value):
            self.look(part, depth + 1)

    def leaf(self, value: object) -> None:
        if isinstance(value, str):
            self.text += len(value)
            if self.text > 16 * _MAX_TEXT or len(value) > _MAX_TEXT:
                self.refuse(f"a text of {max(self.text, len(value))} characters")
        elif isinstance(value, int) and abs(value) >= _MAX_INTEGER:
            self.refuse("a whole number of more than 63 bits")
        elif value is not None and not isinstance(value, bool):
            self.numbers += 1
            if self.numbers > self.most:
                self.refuse(f"more than {self.most} numbers")

    def refuse_storage(self, value: object) -> None:
        if isinstance(value, Tensor) and value.numel():
            self.refuse(f"a tensor of {value.numel()} numbers")
        if isinstance(value, np.ndarray) and value.size:
            self.refuse(f"an array of {value.size} numbers")
        if isinstance(value, (bytes, bytearray, memoryview)) and len(value) > _MAX_BYTES:
            self.refuse(f"{len(value)} bytes")
        if isinstance(value, io.IOBase):
            self.refuse("a file")
        if type(value).__module__ == "array" and isinstance(value, Sequence):
            self.refuse(f"an array of {len(value)} numbers")

    def parts(self, value: object) -> Iterator[object]:
        """Yield what a value refers to, as far as it is the plugin's own."""
        if isinstance(value, (bytes, bytearray, memoryview, Tensor, np.ndarray, Registry, types.ModuleType)) or type(value) is Spec:
            return
        if isinstance(value, Mapping):
            yield from value.keys()
            yield from value.values()
        elif isinstance(value, (Sequence, Set)):
            yield from value
        elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial, staticmethod, classmethod, property)):
            yield from self.parts_of_function(value)
        elif isinstance(value, type):
            if value.__module__ in self.own:
                yield from (item for key, item in vars(value).items() if key != "__doc__")
        else:
            yield from self.parts_of_object(value)

    def parts_of_object(self, value: object) -> Iterator[object]:
        if isinstance(value, nn.Module):
            yield vars(value)
        elif type(value).__module__.partition(".")[0] not in _LIBRARY_INSIDES:
            yield getattr(value, "__wrapped__", None)
            yield from (getattr(value, "__dict__", None) or {}).values()
            for kind in type(value).__mro__:
                slots = vars(kind).get("__slots__", ())
                yield from (getattr(value, slot, None) for slot in ((slots,) if isinstance(slots, str) else slots))

    def parts_of_function(self, value: Any) -> Iterator[object]:
        if isinstance(value, functools.partial):
            yield from (value.func, value.args, value.keywords)
        elif isinstance(value, property):
            yield from (value.fget, value.fset)
        elif isinstance(value, (types.MethodType, staticmethod, classmethod)):
            yield from (value.__func__, getattr(value, "__self__", None))
        elif value.__module__ in self.own:
            yield from (value.__defaults__, value.__kwdefaults__)
            for cell in value.__closure__ or ():
                try:
                    yield cell.cell_contents
                except ValueError:
                    continue  # an empty cell: a name that is not bound yet
            # Constants inside the body are found in the program text; attributes can be put on any function.
            yield from (item for key, item in vars(value).items() if key != "__wrapped__")

    def refuse(self, what: str) -> None:
        raise RejectedSet(f"{self.where} holds {what}; what decodes a set is stored in declared tensors, where it is counted")


def _own_modules(kind: type) -> list[types.ModuleType]:
    """Return the modules that define ``kind`` and its bases, and those of their author that they import."""
    defining = {base.__module__ for base in kind.__mro__ if not is_of_a_library(base.__module__)}
    packages = {name.partition(".")[0] for name in defining} - {HOST}
    waiting = [sys.modules[name] for name in sorted(defining) if name in sys.modules]
    homes = {Path(file).parent for module in waiting if (file := getattr(module, "__file__", None))}
    found: list[types.ModuleType] = []
    while waiting:
        module = waiting.pop()
        if module not in found and (module.__name__ in defining or _is_the_authors(module, packages, homes)):
            found.append(module)
            waiting += _imported(module)
    return found


def _is_the_authors(module: types.ModuleType, packages: Set[str], homes: Set[Path]) -> bool:
    """Tell whether a module that a plugin imports comes from the plugin's author and not from a library or the suite.

    Args:
        module: what is imported.
        packages: top-level packages of the modules that define the decoder.
        homes: the folders these lie in.
    """
    if is_of_a_library(module.__name__) and sys.modules.get(module.__name__) is module:  # a module may call itself anything
        return False
    root, file = module.__name__.partition(".")[0], getattr(module, "__file__", None)
    if root in packages or root == HOST or file is None:
        return True
    path = Path(file).resolve()
    # What is installed belongs to others, unless it lies beside the plugin; any other file was put there by somebody.
    return Path(file).parent in homes or not any(path.is_relative_to(folder) for folder in installed_in())


def _is_namespace(module: types.ModuleType) -> bool:
    """Tell a package that is a folder without program text of its own."""
    return getattr(module, "__file__", None) is None and hasattr(module, "__path__")


def _imported(module: types.ModuleType) -> Iterator[types.ModuleType]:
    """Yield the modules that ``module`` holds, and the loaded ones that its program text may import, anywhere in it."""
    yield from (value for value in vars(module).values() if isinstance(value, types.ModuleType))
    if not _is_namespace(module):
        yield from (sys.modules[name] for name in _imported_names(module) if name in sys.modules)


def _imported_names(module: types.ModuleType) -> Iterator[str]:
    package = module.__package__ or ""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


@functools.cache
def _parsed(path: str, changed: int) -> ast.Module:
    del changed  # part of the key: the file may change
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _tree(module: types.ModuleType) -> ast.Module:
    path = getattr(module, "__file__", None)
    if path is None or not path.endswith(".py") or not Path(path).is_file():
        raise RejectedSet(f"the program text of {module.__name__} is not there; a decoder is judged with its source beside it")
    return _parsed(path, Path(path).stat().st_mtime_ns)


def _check_text(module: types.ModuleType) -> None:
    """Refuse a file that carries more numbers or text than a program needs."""
    tree = _tree(module)
    documentation = {id(docstring) for docstring in _docstrings(tree)}
    numbers = text = 0
    for node in ast.walk(tree):
        if isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Dict)):
            inside = sum(isinstance(leaf, ast.Constant) and _is_number(leaf.value) for leaf in ast.walk(node))
            if inside > _MAX_NUMBERS:
                _refuse_text(module, node.lineno, f"a literal of {inside} numbers")
        if name := _SELF_READING & set(_names(node)):
            _refuse_text(module, getattr(node, "lineno", 1), f"the name {min(name)}, by which it could read its own text")
        if not isinstance(node, ast.Constant) or id(node) in documentation:
            continue
        value = node.value
        if isinstance(value, (str, bytes)):
            text += len(value)
            if len(value) > (_MAX_TEXT if isinstance(value, str) else _MAX_BYTES):
                _refuse_text(module, node.lineno, f"a text of {len(value)} characters")
        elif isinstance(value, int) and abs(value) >= _MAX_INTEGER:
            _refuse_text(module, node.lineno, "a whole number of more than 63 bits")
        numbers += _is_number(value)
    if numbers > _MAX_NUMBERS_IN_FILE or text > _MAX_TEXT_IN_FILE:
        _refuse_text(module, 1, f"{numbers} numbers and {text} characters of text")


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names and short strings that a node uses."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.alias):
        yield node.name.partition(".")[0]
    elif isinstance(node, ast.ImportFrom):
        yield (node.module or "").partition(".")[0]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, complex)) and not isinstance(value, bool)


def _refuse_text(module: types.ModuleType, line: int, what: str) -> None:
    raise RejectedSet(f"line {line} of {module.__name__} holds {what}; content belongs into declared tensors, where it is counted")


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield strings that are statements of their own, which code can read only through ``__doc__``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
