"""The hash of a method's code: blind to comments, docstrings and layout, so that only what can change a result shows."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path

_PLUGINS = "bench.methods"
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_hash(method: type) -> str:
    """Return 16 hexadecimal digits over the syntax trees of a method's own files and of the shared parts it imports.

    Own files are all of its folder, or the one file of its module. Of the plugin folder, imported parts are followed.
    """
    found: dict[Path, str] = {}
    waiting = list(_own_files(Path(inspect.getfile(method)).resolve(), method.__module__))
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
    """Yield (file, module name) of the modules of the plugin folder that ``tree`` imports."""
    if not module.startswith(_PLUGINS + "."):
        return
    depth = module.removeprefix(_PLUGINS + ".").count(".") + (file.name == "__init__.py")
    root = file.parents[depth]
    for name in _imported_names(tree, module, file.name == "__init__.py"):
        if not name.startswith(_PLUGINS + "."):
            continue
        path = root.joinpath(*name.removeprefix(_PLUGINS + ".").split("."))
        if path.with_suffix(".py").is_file():
            yield path.with_suffix(".py"), name
        elif (path / "__init__.py").is_file():
            yield path / "__init__.py", name


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
