"""From a name to a data set that can be used: found, opened, checked, and split."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar, cast, get_args

import torch

from .array_layout import array_layout_files, folders_of_arrays, is_folder_name, plugin_of_arrays
from .brackets import Request, parse_one
from .data import DataOptions, Dataset, DatasetPlugin, Spec, Split, SplitName, default_data_root
from .dataset_family import is_family, member, plugin_of
from .decoded import Decoded, DecodedStore
from .errors import BenchError
from .guard import ForbiddenAccess
from .held_out import held_out
from .registry import DATASETS, not_registered


def load_dataset(name: str, split: SplitName = "dev", options: DataOptions | None = None) -> Dataset:
    """Open a data set, registered or in plain arrays, under one of the two splits.

    ``dev`` carves ``val`` from the training images (stratified: 10 %, at least 5 of a class, at most half of it, the
    same images for everybody) unless the plugin brings a fixed block. ``paper`` gives all training images and no val.

    Raises:
        BenchError: unknown name, the data is not there (the message says which files to put where), or it cannot be
            used: a file is damaged, images or labels do not fit the data set, a class has no training image, or nothing
            is left for ``val``. The same holds of ``test``, once it is called.
    """
    options = options or DataOptions(default_data_root())
    store, asked = DecodedStore(options.root), settled_name(name, options.root)
    kept = store.find(asked)
    if kept is None:
        plugin = find_dataset(name, options.root)
        if not (options.keep and getattr(plugin, "keep", False)):
            dataset = _under(split, _in_a_sentence(name, lambda: plugin(options), Dataset), name)
            return replace(dataset, files=(*dataset.files, store.home))
        kept = _decode(asked, plugin, store, options)
    dataset = replace(_under(split, kept.open(), name), hashed=kept.fingerprint(split))
    return replace(dataset, files=(*dataset.files, store.home))


def prepare_dataset(name: str, options: DataOptions) -> Decoded:
    """Keep a data set decoded, which downloads it if that is allowed, and return it.

    Raises:
        BenchError: as ``load_dataset``, or there is no room for it.
    """
    store, asked = DecodedStore(options.root), settled_name(name, options.root)
    return store.find(asked) or _decode(asked, find_dataset(name, options.root), store, options)


def _decode(asked: str, plugin: DatasetPlugin, store: DecodedStore, options: DataOptions) -> Decoded:
    """Let a plugin read its files, check what it read, and keep it."""
    opened = _in_a_sentence(asked, lambda: plugin(options), Dataset)
    fingerprints = {}
    for split in get_args(SplitName):
        # One image of every class can be used under one split and not under the other.
        with suppress(_NothingToValidate):
            fingerprints[split] = _under(split, opened, asked).fingerprint()
    return store.keep(asked, replace(opened, test=partial(_checked_test, opened)), fingerprints)


class _NothingToValidate(BenchError):
    """No image is left for val."""


def _under(split: SplitName, opened: Dataset, name: str) -> Dataset:
    """Check what a plugin opened, and bring it under a split.

    Raises:
        BenchError: it cannot be used.
    """
    dataset = replace(opened, test=partial(_checked_test, opened))
    if split == "paper" and dataset.val is not None:
        dataset = replace(dataset, train=dataset.train.joined(dataset.val), val=None)
    _check_split(dataset.train, dataset.spec, "training")
    _require_every_class(dataset)
    if split == "dev":
        dataset = dataset if dataset.val is not None else carve_val(dataset)
        if not dataset.val:
            raise _NothingToValidate(
                f"data set '{name}' has one training image of every class, which leaves none for val; use --split paper"
            )
        _check_split(dataset.val, dataset.spec, "validation")
    return dataset


def check_test(dataset: Dataset) -> None:
    """Open the test split, and let go of it: planning asks whether it can be used before anything runs.

    Raises:
        BenchError: a file of it is damaged, or what it holds does not fit the data set.
    """
    dataset.test()


def _checked_test(opened: Dataset) -> Split:
    test = _in_a_sentence(opened.spec.name, opened.test, Split)
    _check_split(test, opened.spec, "test")
    return test


Opened = TypeVar("Opened")


def _in_a_sentence(name: str, open_files: Callable[[], Opened], kind: type[Opened]) -> Opened:
    """Call what reads the files of a data set, and make one sentence of whatever its plugin stumbles over.

    Raises:
        BenchError: with that sentence.
    """
    try:
        opened = open_files()
        if not isinstance(opened, kind):
            raise TypeError(f"it returned {type(opened).__name__}, not a {kind.__name__}")
        return opened
    except (BenchError, ForbiddenAccess, MemoryError):
        raise
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise BenchError(f"data set '{name}' cannot be read ({what}); replace its files, or mend the code that reads them") from error


def _check_split(split: Split, spec: Spec, part: str) -> None:
    """Check a split, of whatever plugin, against what is known of its data set.

    Raises:
        BenchError: it has no image, images of another shape, or a label beyond the classes.
    """
    if not len(split):
        raise BenchError(f"data set '{spec.name}' has no {part} images; put some into its files")
    if split.images.shape[1:] != spec.shape:
        found = tuple(split.images.shape[1:])
        raise BenchError(f"the {part} images of data set '{spec.name}' are {found}, and it is to have {spec.shape}; correct its files")
    least, most = int(split.labels.min()), int(split.labels.max())
    if least < 0 or most >= spec.classes:
        raise BenchError(
            f"the {part} labels of data set '{spec.name}' run from {least} to {most}, and its {spec.classes} classes are "
            f"0 to {spec.classes - 1}; correct its files"
        )


def _require_every_class(dataset: Dataset) -> None:
    """Check that there is something to learn.

    Raises:
        BenchError: there are fewer than two classes, or one has no training image.
    """
    spec = dataset.spec
    if spec.classes < 2:
        raise BenchError(f"data set '{spec.name}' has {spec.classes} class, and telling classes apart takes two; add another one")
    if empty := [label for label, count in enumerate(dataset.class_counts()) if not count]:
        named = f"class {empty[0]} ('{spec.class_names[empty[0]]}')" if empty[0] < len(spec.class_names) else f"class {empty[0]}"
        others = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
        raise BenchError(f"data set '{spec.name}' has no training image of {named}{others}; add some, or leave the class out")


def find_dataset(name: str, root: Path) -> DatasetPlugin:
    """Return what opens a data set: the registered one, else the plain arrays with a ``classes.txt`` in ``<root>/<name>``.

    This is the only place that looks for a data set by its name. Parameters may follow the name of a registered one in
    brackets, if it takes any.

    Raises:
        BenchError: it is neither registered nor there, its arrays lack a file, or it does not take these parameters;
            says how to provide them.
    """
    request = parse_one(name, "data set")
    if request.name in DATASETS:
        return _registered(request, root)
    if request.fields or not is_folder_name(name):
        raise not_registered(DATASETS, request.name)
    files = array_layout_files(root, name)
    missing = [file.name for file in files if not os.path.exists(file)]
    if not missing:
        return plugin_of_arrays(name, root)
    if len(missing) < len(files):
        hint = " (one class name on each line)" if "classes.txt" in missing else ""
        raise BenchError(f"data set '{name}' in {root / name} lacks {', '.join(missing)}{hint}; put them beside the others")
    unknown = not_registered(DATASETS, name, also=array_datasets(root))
    raise BenchError(f"{unknown}; or put arrays called {', '.join(missing)} into {root / name}")


def _registered(request: Request, root: Path) -> DatasetPlugin:
    entry = DATASETS[request.name]
    if is_family(entry):
        family = member(entry, request.fields, root)
        kept = DecodedStore(root).find(family.label)  # what it was made of may be gone
        spec = kept.spec if kept else _in_a_sentence(family.label, lambda: family.describe(root), Spec)
        return plugin_of(family, spec)
    if request.fields:
        raise BenchError(f"data set '{request.name}' takes no parameters, found '{request.variant}'; leave the brackets out")
    return cast(DatasetPlugin, entry)


def settled_name(name: str, root: Path) -> str:
    """Return the one way in which a data set is asked for: default parameters left out, paths from the root of the file system.

    Raises:
        BenchError: it does not take these parameters.
    """
    request = parse_one(name, "data set")
    if request.name in DATASETS and is_family(entry := DATASETS[request.name]):
        return member(entry, request.fields, root).label
    return name


def array_datasets(root: Path) -> list[str]:
    """Return the names of the data sets in ``root`` that are not registered and lie there as arrays with a ``classes.txt``."""
    return [name for name in folders_of_arrays(root) if name not in DATASETS]


def carve_val(dataset: Dataset) -> Dataset:
    """Move a stratified tenth of ``train`` into ``val``; the choice depends on the name of the data set alone."""
    val = held_out(dataset.train.labels, dataset.spec.classes, dataset.spec.name)
    keep = torch.ones(len(dataset.train), dtype=torch.bool)
    keep[val] = False
    return replace(dataset, train=dataset.train.take(torch.nonzero(keep).flatten()), val=dataset.train.take(val))
