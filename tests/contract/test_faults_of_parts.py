"""Faults of parts and data sets, each named by the check that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from registries import restored_registries

from bench import DATASETS, PREREQUISITES, DataOptions, Dataset, Spec, Split, about
from bench.contract.checks import BrokenContract, Check
from bench.contract.datasets import DATASET_CHECKS, DECLARATION_CHECKS, DatasetTrial
from bench.contract.parts import CLASS_CHECKS, PREREQUISITE_CHECKS, SELECTION_CHECKS, PartTrial
from bench.registry import load_plugin_file


@pytest.fixture(autouse=True)
def forget(plugins: None) -> Iterator[None]:
    with restored_registries():
        yield


def broken(checks: list[Check[Any]], subject: Any) -> dict[str, str]:
    """Return the names of the checks that do not hold, and their sentences."""
    found = {}
    for check in checks:
        try:
            check.run(subject)
        except BrokenContract as error:
            found[check.name] = str(error)
    assert not any("\n" in sentence for sentence in found.values())
    return found


# Selections ---------------------------------------------------------------------------------------------------------


def first_ones(features: Any, labels: Any, slots: Any, generator: Any) -> Any:
    members = {int(c): torch.nonzero(labels == c).flatten().tolist() for c in slots}
    return torch.tensor([members[int(c)].pop(0) for c in slots])


def of_any_class(features: Any, labels: Any, slots: Any, generator: Any) -> Any:
    return torch.randperm(len(labels), generator=generator)[: len(slots)]


def by_chance(features: Any, labels: Any, slots: Any, generator: Any) -> Any:
    return torch.stack([torch.nonzero(labels == c).flatten()[torch.randint(50, ())] for c in slots])


def over_slots(features: Any, labels: Any, slots: Any, generator: Any) -> Any:
    chosen = torch.stack([torch.nonzero(labels == c).flatten()[torch.randint(50, (), generator=generator)] for c in slots])
    slots.fill_(0)
    return chosen


SELECTIONS = {
    "draws nothing and does not say so": (first_ones, "its generator, and no other, decides", "put @deterministic on it"),
    "another class": (of_any_class, "it picks a training image of the wanted class for every slot", "found one of another class"),
    "a global generator": (by_chance, "it changes nothing that it is given", "the global generator of torch"),
    "changes what it is given": (over_slots, "it changes nothing that it is given", "work on copies"),
}


@pytest.mark.parametrize("case", SELECTIONS)
def test_selections(case: str, digits: Dataset, tmp_path: Path) -> None:
    select, check, words = SELECTIONS[case]
    assert words in broken(SELECTION_CHECKS, PartTrial("mine", select, digits, tmp_path))[check]


# Prerequisites ------------------------------------------------------------------------------------------------------

PREREQUISITE = '''
"""A prerequisite."""

import time
from dataclasses import dataclass

import torch

from bench import PREREQUISITES, Prerequisite, Workshop


@PREREQUISITES.register("mine")
@dataclass(frozen=True)
class Mine(Prerequisite):
    """Some numbers; ``count``: how many of them."""

    name = "mine"
    count: int = 3

    def build(self, workshop: Workshop) -> None:
        number = torch.rand((), generator=workshop.generator("number"))
        (workshop.folder / "number.txt").write_text(f"{number}")
'''
BUILDERS = {
    "": ("", "", ""),
    '{number}")': ('{time.time_ns()}")', "it builds the same files twice", "write neither times nor paths"),
    ', generator=workshop.generator("number")': ("", "it builds the same files twice", "the global generator of torch"),
    "        number =": ("        workshop.train.images[0] = 255\n        number =", "it builds the same files twice", "in place"),
    "        number = torch": (
        '        open(DATA, "rb")\n        number = torch',
        "it builds the same files twice",
        "which is closed to it",
    ),
    "; ``count``: how many of them": ("", "its fields are frozen and described", "field count of Mine is not described"),
}


@pytest.mark.parametrize("change", BUILDERS)
def test_prerequisites(change: str, digits: Dataset, tmp_path: Path) -> None:
    by, check, words = BUILDERS[change]
    text = PREREQUISITE.replace(change, by, 1) if change else PREREQUISITE
    (tmp_path / "mine.py").write_text(text.replace("DATA", repr(str(digits.files[0]))))
    load_plugin_file(str(tmp_path / "mine.py"))
    copied = replace(digits, train=Split(digits.train.images.clone(), digits.train.labels))
    found = broken(PREREQUISITE_CHECKS, PartTrial("mine", PREREQUISITES["mine"], copied, tmp_path))
    assert list(found) == ([check] if check else [])
    assert words in found.get(check, "")


# Decoders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "by", "words"),
    [
        ('"bases": "image"', '"bases": "picture"', "has an unknown role"),
        ("import torch\n", f"import torch\nTABLE = {[0.5] * 200}\n", "the audit rejects the decoder"),
    ],
)
def test_decoders(change: str, by: str, words: str, tmp_path: Path) -> None:
    template = (Path(__file__).parents[2] / "bench" / "cli" / "templates" / "form.txt").read_text()
    text = template.replace("@NAME@", "linear_bases").replace("@CLASS@", "LinearBases").replace("@TITLE@", "Linear bases")
    assert change in text
    (tmp_path / "mine.py").write_text(text.replace(change, by, 1))
    load_plugin_file(str(tmp_path / "mine.py"))
    (sentence,) = (
        s for registry, checks in CLASS_CHECKS if "linear_bases" in registry for s in broken(checks, registry["linear_bases"]).values()
    )
    assert words in sentence


# Data sets ----------------------------------------------------------------------------------------------------------

SPEC = Spec("mine", 2, (1, 4, 4), ("one", "other"))


def mine(folder: Path, change: Callable[[Dataset], Dataset] = lambda dataset: dataset, spec: Spec = SPEC) -> DatasetTrial:
    """Register a good data set of forty images with something changed."""
    (folder / "images.bin").write_bytes(b"images")

    def split(first: int, count: int) -> Split:
        numbers = torch.arange(first, first + count)
        images = (numbers.view(-1, 1, 1, 1) + torch.arange(16).view(1, 1, 4, 4) * 10 + 40).to(torch.uint8)
        return Split(images, numbers % 2)

    def test() -> Split:
        (folder / "images.bin").read_bytes()
        return split(40, 10)

    def load(options: DataOptions) -> Dataset:
        """Forty images."""
        del options
        return change(Dataset(spec, split(0, 40), test, files=(folder / "images.bin",)))

    DATASETS.register("mine")(about(spec, reference="made up here")(load))
    return DatasetTrial("mine", DataOptions(folder, download=False))


def drawing(dataset: Dataset) -> Dataset:
    torch.rand(1)
    return dataset


COPIES = {
    "": (lambda dataset: dataset, "", ""),
    "no files": (lambda d: replace(d, files=()), "the guard closes every door to it", "names no files"),
    "a file that is not read": (
        lambda d: replace(d, files=(d.files[0].with_name("other"),)),
        "the guard closes every door to it",
        "name every file it reads",
    ),
    "test images among train": (lambda d: replace(d, test=lambda: d.train), "its splits share no image", "keep test images out of train"),
    "a class is missing": (
        lambda d: replace(d, test=lambda: d.test().take(d.test().of_class(1))),
        "its splits fit the spec",
        "it needs every class from 0 to 1",
    ),
    "dark images": (
        lambda d: replace(d, train=Split(d.train.images // 10, d.train.labels)),
        "its splits fit the spec",
        "pixels use the range 0 to 255",
    ),
    "a global generator": (drawing, "the global generators are left alone", "the global generator of torch"),
}


@pytest.mark.parametrize("case", COPIES)
def test_data_sets(case: str, tmp_path: Path) -> None:
    change, check, words = COPIES[case]
    found = broken(DATASET_CHECKS, mine(tmp_path, change))
    assert words in found.get(check, "")
    assert bool(found) == bool(case)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"name": "yours"}, "use one name"), ({"class_names": ("one", "one")}, "different class names"), ({"shape": (1, 0, 4)}, "at least 1")],
)
def test_declarations(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    (sentence,) = broken(DECLARATION_CHECKS, mine(tmp_path, spec=replace(SPEC, **changes))).values()
    assert words in sentence
