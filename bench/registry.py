"""Dictionaries with good manners, filled by decorators: methods and their parts, data sets, and decoders."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from .errors import BenchError, unknown_name
from .keys import digest

T = TypeVar("T")


class RegistrationError(Exception):
    """Two plugins claim one name; the text names both modules."""


class Registry(Generic[T]):
    """Names of one kind of plugin. Nothing is ever overwritten."""

    def __init__(self, kind: str) -> None:
        """Make an empty registry; ``kind`` (``"method"``, ...) appears in its messages."""
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers its object under ``name``.

        Raises:
            RegistrationError: the name is taken (both modules are named), reserved, or cannot be typed; the entry is of
                another kind; or it is a part one of whose fields a part of another kind has.
        """

        def add(entry: T) -> T:
            _check_entry(self.kind, name, entry)
            if name in self._entries and not _same_definition(self._entries[name], entry):
                raise RegistrationError(
                    f"{self.kind} '{name}' is registered twice: by {_place_of(self._entries[name])} and by {_place_of(entry)}"
                )
            if self.kind in _PARTS:
                claim_fields(self.kind, cast(type, entry))
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        """Return the entry called ``name``.

        Raises:
            BenchError: there is none; the message has the closest name and all names.
        """
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def forget_module(self, module: str) -> None:
        """Take out what ``module`` registered before it failed to import."""
        self._entries = {name: entry for name, entry in self._entries.items() if _module_of(entry) != module}

    def __contains__(self, name: object) -> bool:
        """Tell whether ``name`` is registered."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in alphabetical order."""
        return iter(sorted(self._entries))


METHODS: Registry[Any] = Registry("method")
DATASETS: Registry[Any] = Registry("data set")
PARAMETERIZATIONS: Registry[Any] = Registry("parameterization")
FORMS: Registry[Any] = Registry("form")
OBJECTIVES: Registry[Any] = Registry("objective")
SELECTIONS: Registry[Any] = Registry("selection")
PREREQUISITES: Registry[Any] = Registry("prerequisite")

_ALL = (METHODS, DATASETS, PARAMETERIZATIONS, FORMS, OBJECTIVES, SELECTIONS, PREREQUISITES)
#: Folders inside the folder of methods whose files are plugins, too.
_FAMILIES = ("forms", "objectives", "selections", "prerequisites")

#: Kinds of parts whose fields share one flat namespace in brackets and recipes.
_PARTS = ("form", "objective")
_FIXED_PARTS: dict[str, type] = {}
#: Fields that choose parts; ``images`` is another name of ``form``.
_CHOOSING = ("form", "objective", "images")
#: Names that mean something else where a part is chosen.
_RESERVED = {"form": ("auto",), "objective": ("none",), "selection": ("noise", "real")}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)
#: What an entry of a registry is a subclass of: module of ``bench`` and class. Looked up when something registers, since
#: whatever is one has imported it, and this module is to stay light.
_BASES = {
    "method": ("method", "Method"),
    "parameterization": ("parameterization", "Parameterization"),
    "form": ("form", "Form"),
    "objective": ("objective", "Objective"),
    "prerequisite": ("prerequisite", "Prerequisite"),
}
#: Kinds whose entries are called.
_FUNCTIONS = ("data set", "selection")


def _check_entry(kind: str, name: str, entry: object) -> None:
    label = f"{kind} '{name}' of {_place_of(entry)}"
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise RegistrationError(f"{label} cannot be typed; use letters, digits and underscores")
    if name in _RESERVED.get(kind, ()):
        raise RegistrationError(f"{label} is a reserved name; give it another one")
    if kind in _FUNCTIONS and not callable(entry):
        raise RegistrationError(f"{label} is a {type(entry).__name__}; register a function")
    if kind in _BASES:
        _check_class(kind, name, entry, label)


def _check_class(kind: str, name: str, entry: object, label: str) -> None:
    module, base = _BASES[kind]
    what = entry.__name__ if isinstance(entry, type) else "Name"
    if not (isinstance(entry, type) and issubclass(entry, getattr(importlib.import_module(f"bench.{module}"), base))):
        raise RegistrationError(f"{label} is no class {what}({base}), so it is no {kind}; derive it from bench.{base}")
    if missing := sorted(getattr(entry, "__abstractmethods__", ())):
        raise RegistrationError(f"{label} lacks {missing[0]}(), which every {kind} has")
    if (own := getattr(entry, "name", None)) != name:
        raise RegistrationError(f"{label} has the name {own!r}; let both agree: name = '{name}'")


def claim_fields(kind: str, part: type) -> None:
    """Refuse a part that shares a field's name with a part of another kind; alternatives of one kind may share one.

    Args:
        kind: ``form``, ``objective``, or the name of a part that every product has, which is remembered.
        part: dataclass of hyper-parameters.

    Raises:
        RegistrationError: names both parts and the field.
    """
    others: dict[str, type] = {
        **_FIXED_PARTS,
        **{f"form '{n}'": FORMS[n] for n in FORMS},
        **{f"objective '{n}'": OBJECTIVES[n] for n in OBJECTIVES},
    }
    mine = _field_names(part)
    if reserved := mine & set(_CHOOSING):
        raise RegistrationError(f"{part.__name__} has the field '{min(reserved)}', which chooses a part; give it another name")
    for label, other in others.items():
        if label.partition(" '")[0] != kind and (shared := mine & _field_names(other)):
            raise RegistrationError(
                f"{part.__name__} of {_place_of(part)} has the field '{min(shared)}', which belongs to the {label}; give it another name"
            )
    if kind not in _PARTS:
        _FIXED_PARTS[kind] = part


def _field_names(part: type) -> set[str]:
    return {item.name for item in dataclasses.fields(part)} if dataclasses.is_dataclass(part) else set()


#: Plugins that could not be imported: name of the module or file -> reason. They never take the others down.
UNAVAILABLE: dict[str, str] = {}


def require(registry: Registry[Any], name: str) -> Any:
    """Return what is registered under ``name``.

    Raises:
        BenchError: nothing is; says why if a plugin of that name did not import.
    """
    if name in registry:
        return registry[name]
    raise not_registered(registry, name)


def not_registered(registry: Registry[Any], name: str, also: Iterable[str] = ()) -> BenchError:
    """Build the error for a name that is not registered, which says why if a plugin of that name did not import.

    Args:
        registry: where it was looked for.
        name: what was asked for.
        also: further names that exist.
    """
    for module, reason in UNAVAILABLE.items():
        if name == module.rpartition(".")[2] or f"(entry point {name})" in module:
            return BenchError(f"{registry.kind} '{name}' is not available: its plugin {module} does not import ({reason})")
    return unknown_name(registry.kind, name, [*registry, *also])


def discover(plugin_files: tuple[str, ...] = ()) -> None:
    """Import every plugin: the two plugin folders, the installed entry points, and ``plugin_files``.

    A plugin that does not import is put into ``UNAVAILABLE`` with its reason.

    Raises:
        BenchError: a file of ``plugin_files`` was asked for by name and does not import.
    """
    for package in ("bench.decoders", "bench.methods", *(f"bench.methods.{family}" for family in _FAMILIES), "bench.datasets"):
        if package in UNAVAILABLE or importlib.util.find_spec(package) is None:
            continue
        home = importlib.import_module(package)
        for found in pkgutil.iter_modules(home.__path__, prefix=f"{package}."):
            _try(found.name, partial(importlib.import_module, found.name))
    for group in ("ddbench.methods", "ddbench.datasets"):
        for point in entry_points(group=group):
            _try(f"{point.value} (entry point {point.name})", point.load)
    for file in plugin_files:
        load_plugin_file(file)


def load_plugin_file(file: str) -> None:
    """Import one Python file that registers plugins (``--plugin path.py``).

    Raises:
        BenchError: the file is missing or does not import.
    """
    path = Path(file).resolve()
    if not path.is_file():
        found = "is not a regular file" if path.exists() else "does not exist"
        raise BenchError(f"plugin file '{file}' {found}; give --plugin the path of a Python file")
    name = _module_name(path)
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"plugin file '{file}' is not a Python file; give --plugin a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # What it prints is not what the command was asked for, whose output may be read by a program.
        with contextlib.redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except RegistrationError as error:
        del sys.modules[name]
        _forget(name)
        raise BenchError(f"plugin file '{file}' does not load: {error}") from error
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        _forget(name)
        raise BenchError(f"plugin file '{file}' does not import: {type(error).__name__}: {error}") from error


def is_loaded(file: str) -> bool:
    """Tell whether this process has imported a plugin file."""
    return _module_name(Path(file).resolve()) in sys.modules


def _module_name(path: Path) -> str:
    return f"ddbench_plugin_{path.stem}_{digest(str(path), 8)}"


def _try(name: str, load: Callable[[], Any]) -> None:
    try:
        load()
    except (Exception, SystemExit) as error:
        # Whatever a broken plugin raises must not keep the others from working.
        UNAVAILABLE[name] = f"{type(error).__name__}: {error}"
        _forget(name)
    else:
        UNAVAILABLE.pop(name, None)


def _forget(module: str) -> None:
    for registry in _ALL:
        registry.forget_module(module)


def _module_of(entry: object) -> str:
    return str(getattr(entry, "__module__", type(entry).__module__))


def _place_of(entry: object) -> str:
    """Return where an entry comes from, as its author knows it: a module, or the file given by ``--plugin``."""
    return str(plugin_file_of(entry) or _module_of(entry))


def plugin_file_of(entry: object) -> Path | None:
    """Return the file given by ``--plugin`` in which an entry is defined, or ``None`` if it comes from elsewhere."""
    module = _module_of(entry)
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and module.startswith("ddbench_plugin_") else None


def _same_definition(one: object, other: object) -> bool:
    """A module that is imported again after a failure half-way may register the same thing again."""
    same_place = _module_of(one) == _module_of(other)
    return same_place and getattr(one, "__qualname__", None) == getattr(other, "__qualname__", one)
