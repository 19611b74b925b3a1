"""What every data set keeps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from ..brackets import without_paths
from ..data import DataOptions, Dataset, Spec
from ..dataset_family import is_family, required
from ..decoded import DecodedStore
from ..guard import ForbiddenAccess, guarded
from ..loading import find_dataset, load_dataset, settled_name
from ..registry import DATASETS
from .checks import BrokenContract, Check, Inapplicable, generators_left_alone, kept, require

#: The official sets themselves hold a few duplicates.
_SHARED = 0.001


@dataclass(frozen=True)
class DatasetTrial:
    """A registered data set, and where its files are.

    Attributes:
        name: registered name.
        options: where its files are.
    """

    name: str
    options: DataOptions

    @property
    def plugin(self) -> Any:
        """What is registered, or the arrays that need no plugin."""
        return find_dataset(self.name, self.options.root)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set under split ``dev``."""
        return load_dataset(self.name, options=self.options)


#: Checks for which no file is opened.
DECLARATION_CHECKS: list[Check[DatasetTrial]] = []
DATASET_CHECKS: list[Check[DatasetTrial]] = []


@kept(DECLARATION_CHECKS, "it says what it is without opening a file")
def _says_what_it_is(trial: DatasetTrial) -> None:
    if trial.name in DATASETS and is_family(entry := DATASETS[trial.name]) and (needed := required(entry)):
        raise Inapplicable(f"it needs {', '.join(needed)}, so nothing can be said of it without")
    spec, reference = getattr(trial.plugin, "spec", None), getattr(trial.plugin, "reference", None)
    if not isinstance(spec, Spec):
        raise BrokenContract("it has no spec; put @about(SPEC, reference=...) below its registration")
    name = without_paths(settled_name(trial.name, trial.options.root))
    require(spec.name == name, f"its spec is called '{spec.name}' and it is registered as '{name}'; use one name")
    require(isinstance(reference, str) and bool(reference.strip()), "it has no reference; say in @about where the data come from")
    require(bool((trial.plugin.__doc__ or "").strip()), "its function has no docstring; say in a sentence what it shows")
    names = spec.class_names
    different = len(names) == spec.classes == len(set(names))
    require(different, f"its spec has {spec.classes} classes and {len(set(names))} different class names; give every class one")
    require(all(spec.shape), f"its images have the shape {spec.shape}; every size must be at least 1")


@kept(DATASET_CHECKS, "its splits fit the spec")
def _splits_fit(trial: DatasetTrial) -> None:
    dataset, spec = trial.dataset, trial.dataset.spec
    for name, split in (("train", dataset.train), ("val", dataset.val), ("test", dataset.test())):
        if split is None:
            raise BrokenContract(f"split dev has no {name} images; give at least two training images of every class")
        shape = tuple(split.images.shape[1:])
        require(shape == spec.shape, f"{name} images have the shape {shape}, and the spec says {spec.shape}; correct one of them")
        found = split.labels.unique().tolist()
        require(found == list(range(spec.classes)), f"{name} has the labels {found}; it needs every class from 0 to {spec.classes - 1}")
        most = int(split.images.amax())
        require(most > 127, f"the brightest pixel of {name} is {most}; pixels use the range 0 to 255")


@kept(DATASET_CHECKS, "opening it twice gives the same")
def _opens_twice(trial: DatasetTrial) -> None:
    again = load_dataset(trial.name, options=trial.options)
    same = again.fingerprint() == trial.dataset.fingerprint() and again.files == trial.dataset.files
    require(same, "opened twice it gives other images or files; keep the order of the files, and draw nothing")


@kept(DATASET_CHECKS, "its splits share no image")
def _splits_share_nothing(trial: DatasetTrial) -> None:
    dataset = trial.dataset
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test()}
    images = {name: {image.numpy().tobytes() for image in split.images} for name, split in splits.items() if split is not None}
    allowed = _SHARED * len(splits["test"] or ())
    for one, other in combinations(images, 2):
        shared = len(images[one] & images[other])
        require(shared <= allowed, f"{one} and {other} share {shared} images; keep test images out of train")


@kept(DATASET_CHECKS, "the guard closes every door to it")
def _guard_closes_it(trial: DatasetTrial) -> None:
    decoded = DecodedStore(trial.options.root).home  # the suite's own, which is closed for every data set
    named = [file for file in trial.dataset.files if file != decoded]
    require(bool(named), "it names no files, so nothing can be closed to methods; return Dataset(..., files=...)")
    with guarded(trial.dataset.files) as violations:
        try:
            trial.dataset.test()
        except ForbiddenAccess:
            pass
        else:
            raise BrokenContract("test() opens with all its files closed; name every file it reads in files=, and read it when called")
    require(bool(violations), "test() opens no file of its files=; name every file it reads there")


@kept(DATASET_CHECKS, "the global generators are left alone")
def _generators_are_left_alone(trial: DatasetTrial) -> None:
    with generators_left_alone("it"):
        load_dataset(trial.name, options=trial.options)
        trial.dataset.test()


@kept(DATASET_CHECKS, "split paper joins train and val")
def _paper_joins(trial: DatasetTrial) -> None:
    paper = load_dataset(trial.name, "paper", trial.options)
    require(paper.val is None, "split paper has val images; set val on the Dataset that is returned and nowhere else")
    joined = len(trial.dataset.train) + len(trial.dataset.val or ())
    require(len(paper.train) == joined, f"split paper has {len(paper.train)} training images; train and val have {joined} together")
