"""The hash of a method's code: blind to comments, docstrings and layout, so that only what can change a result shows."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FOLLOWED = ("bench.methods.", "bench.decoders.")
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_hash(*parts: Any) -> str:
    """Return 16 hexadecimal digits over the syntax trees of the files of some classes and functions.

    Own files are all of a part's folder, or the one file of its module. Of the plugin folder and of the decoders,
    imported modules are followed.
    """
    found: dict[Path, str] = {}
    waiting = [own for part in parts for own in _own_files(Path(inspect.getfile(part)).resolve(), part.__module__)]
    while waiting:
        file, module = waiting.pop()
        if file not in found:
            tree = ast.parse(file.read_bytes())
            found[file] = tree_hash(tree)
            waiting += _imported_parts(tree, file, module)
    return hashlib.sha256("\n".join(sorted(found.values())).encode()).hexdigest()[:16]


def _own_files(file: Path, module: str) -> Iterator[tuple[Path, str]]:
    """Yield (file, module name): all files of a package, or just the file."""
    if file.name != "__init__.py":
        yield file, module
        return
    for path in sorted(file.parent.rglob("*.py")):
        parts = path.relative_to(file.parent).with_suffix("").parts
        inner = parts[:-1] if parts[-1] == "__init__" else parts
        yield path, ".".join((module, *inner))


def _imported_parts(tree: ast.Module, file: Path, module: str) -> Iterator[tuple[Path, str]]:
    """Yield (file, module name) of the plugins' shared modules and of the decoders that ``tree`` imports."""
    for name in _imported_names(tree, module, file.name == "__init__.py") if _followed(module) else ():
        if _followed(name) and (found := _file_of(name, file, module)) is not None:
            yield found, name


def _followed(module: str) -> bool:
    return module.startswith(_FOLLOWED)


def _file_of(name: str, file: Path, module: str) -> Path | None:
    """Return the file of the module ``name``, without importing it; ``file`` is that of ``module``, which asks for it."""
    package, _, rest = name.partition(".")[2].partition(".")
    if module.split(".")[1] == package:
        home = file.parents[module.count(".") - 2 + (file.name == "__init__.py")]
    else:
        home = Path(importlib.import_module(f"bench.{package}").__path__[0])
    path = home.joinpath(*rest.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate.resolve()
    return None


def _imported_names(tree: ast.Module, module: str, is_package: bool) -> Iterator[str]:
    """Yield every name that may be a module: of ``from .a import b`` both ``a`` and ``a.b``."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *(node.module.split(".") if node.module else [])])
            yield prefix
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def tree_hash(tree: ast.AST) -> str:
    """Hash a syntax tree without its docstrings; the same on every version of Python that parses it alike."""
    return hashlib.sha256(_dump(tree).encode()).hexdigest()


def _dump(node: object) -> str:
    """Write a tree with its non-empty fields only: newer versions of Python add fields that are empty in old code."""
    if isinstance(node, ast.AST):
        parts = []
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(node, _WITH_DOCSTRING):
                value = value[1:] if ast.get_docstring(node, clean=False) is not None else value
            if value is not None and value != [] and name not in ("kind", "type_comment", "type_ignores", "ctx"):
                parts.append(f"{name}={_dump(value)}")
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list):
        return f"[{','.join(_dump(item) for item in node)}]"
    return repr(node)
