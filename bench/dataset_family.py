"""Data sets that take parameters in brackets: ``cub200[size=64]``. One class each, whose fields are the parameters."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeGuard, cast

from .brackets import without_paths, written
from .data import DataOptions, Dataset, DatasetPlugin, Spec, about
from .errors import BenchError, did_you_mean
from .fields import hyperparameters


class DatasetFamily(ABC):
    """A data set with parameters. Concrete ones are frozen dataclasses whose fields are the parameters.

    Attributes:
        name: registered name.
        reference: where the data come from.
        keep: whether the host is to keep it decoded, since reading its files takes long.

    Example:
        >>> from dataclasses import dataclass
        >>> import torch
        >>> from bench import Dataset, DatasetFamily, Spec, Split
        >>> @dataclass(frozen=True)
        ... class Stripes(DatasetFamily):
        ...     name, reference = "stripes", "drawn here"
        ...     size: int = 8
        ...
        ...     def describe(self, root):
        ...         return Spec(self.shown, 2, (1, self.size, self.size), ("plain", "striped"))
        ...
        ...     def open(self, options):
        ...         images = torch.zeros(4, 1, self.size, self.size, dtype=torch.uint8)
        ...         images[1::2, :, ::2] = 255
        ...         split = Split(images, torch.tensor([0, 1, 0, 1]))
        ...         return Dataset(self.describe(options.root), train=split, test=lambda: split)
        >>> Stripes(8).label, Stripes(16).label
        ('stripes', 'stripes[size=16]')
    """

    name: ClassVar[str]
    reference: ClassVar[str]
    keep: ClassVar[bool] = False

    @abstractmethod
    def describe(self, root: Path) -> Spec:
        """Return names and shapes; the name is ``self.shown``. Only what lists the images may be read, and no image.

        Raises:
            BenchError: without its files nothing can be said of it.
        """

    @abstractmethod
    def open(self, options: DataOptions) -> Dataset:
        """Open the data set, as the function of one without parameters does."""

    def settled(self, root: Path) -> Self:
        """Return the same with whatever depends on where the command runs made certain, such as a relative path."""
        del root
        return self

    @property
    def label(self) -> str:
        """The name as it is typed, with those parameters that are not the defaults."""
        values = {item.name: getattr(self, item.name) for item in fields(cast(Any, self)) if getattr(self, item.name) != item.default}
        return written(self.name, values)

    @property
    def shown(self) -> str:
        """The name as records and tables show it: of a path, its last part alone."""
        return without_paths(self.label)


def member(kind: type[DatasetFamily], given: Mapping[str, Any], root: Path) -> DatasetFamily:
    """Return the data set of a family that has some parameters.

    Args:
        kind: the family.
        given: parameter -> value, as typed.
        root: the data root.

    Raises:
        BenchError: a parameter is unknown, missing, or does not fit its type.
    """
    known, checked = hyperparameters(kind, f"data set '{kind.name}'"), {}
    for key, value in given.items():
        if key not in known:
            raise BenchError(f"data set '{kind.name}' has no parameter '{key}'{did_you_mean(key, known)} (parameters: {', '.join(known)})")
        checked[key] = known[key].read(value, f"data set '{kind.name}': {key}")
    if missing := [key for key in required(kind) if key not in checked]:
        raise BenchError(f"data set '{kind.name}' needs {missing[0]}; write it like {kind.name}[{missing[0]}=...]")
    return kind(**checked).settled(root)


def is_family(entry: object) -> TypeGuard[type[DatasetFamily]]:
    """Tell whether what is registered takes parameters."""
    return isinstance(entry, type) and issubclass(entry, DatasetFamily)


def required(kind: type[DatasetFamily]) -> list[str]:
    """Return the parameters that have no default."""
    return [item.name for item in fields(cast(Any, kind)) if item.default is MISSING and item.default_factory is MISSING]


def plugin_of(family: DatasetFamily, spec: Spec) -> DatasetPlugin:
    """Return what opens one data set of a family, like a registered function."""

    @about(spec, reference=family.reference, keep=family.keep)
    def opened(options: DataOptions) -> Dataset:
        return family.open(options)

    opened.__doc__ = inspect.getdoc(family)
    return cast(DatasetPlugin, opened)
