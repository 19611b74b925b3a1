"""From a name to a data set that can be used: found, opened, checked, and split."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import dataset_of, positions, write_layout
from hypothesis import given
from hypothesis import strategies as st
from registries import restored_registries

from bench import DATASETS, BenchError, DataOptions, Dataset, Spec, Split, about, load_dataset
from bench.guard import ForbiddenAccess, guarded
from bench.loading import array_datasets, carve_val, check_test, find_dataset
from bench.registry import UNAVAILABLE


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200))
def test_val_is_a_stratified_tenth(labels: list[int]) -> None:
    whole = dataset_of(labels, classes=5)
    carved = carve_val(whole)
    assert carved.val is not None
    assert sorted(positions(carved.train) + positions(carved.val)) == list(range(len(labels)))
    for part in (carved.train, carved.val):
        assert [labels[i] for i in positions(part)] == part.labels.tolist()
        assert positions(part) == sorted(positions(part))
    for label in range(5):
        count, held_out = labels.count(label), len(carved.val.of_class(label))
        assert held_out == min(max(5, count // 10), count // 2)


def test_everybody_carves_the_same_val() -> None:
    labels = [i % 3 for i in range(90)]
    one, other = carve_val(dataset_of(labels, 3)), carve_val(dataset_of(labels, 3))
    assert one.val is not None
    assert other.val is not None
    assert torch.equal(one.val.images, other.val.images)
    elsewhere = carve_val(dataset_of(labels, 3, name="another"))
    assert elsewhere.val is not None
    assert not torch.equal(one.val.images, elsewhere.val.images)
    larger = carve_val(dataset_of(labels, 3, name="toy[size=64]"))
    assert larger.val is not None
    assert torch.equal(one.val.images, larger.val.images)


def test_split_paper_is_all_of_train(digits: Dataset) -> None:
    paper = load_dataset("digits", "paper")
    assert paper.val is None
    assert digits.val is not None
    assert torch.equal(paper.train.images, torch.cat([digits.train.images, digits.val.images]))
    assert torch.equal(paper.train.labels, torch.cat([digits.train.labels, digits.val.labels]))
    assert torch.equal(paper.test().images, digits.test().images)
    assert paper.fingerprint() != digits.fingerprint()


# Finding -------------------------------------------------------------------------------------------------------------


def test_an_unknown_data_set_names_the_closest() -> None:
    with pytest.raises(BenchError, match="unknown data set 'digts'; did you mean 'digits'"):
        load_dataset("digts", options=DataOptions(Path(), download=False))


def test_a_name_that_is_not_there_says_how_to_provide_arrays(tmp_path: Path) -> None:
    write_layout(tmp_path)
    with pytest.raises(BenchError, match="unknown data set 'tou'; did you mean 'toy'") as caught:
        load_dataset("tou", options=DataOptions(tmp_path))
    for expected in ("digits", "train_images.npy, train_labels.npy, test_images.npy, test_labels.npy, classes.txt", str(tmp_path / "tou")):
        assert expected in str(caught.value)


def test_a_plugin_that_does_not_import_is_named_by_the_data_set_that_lacks_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(UNAVAILABLE, "somewhere.shapes", "ImportError: no module named 'gone'")
    with pytest.raises(BenchError, match="data set 'shapes' is not available: its plugin somewhere.shapes does not import"):
        find_dataset("shapes", tmp_path)


def test_arrays_with_class_names_are_a_data_set_without_a_plugin(tmp_path: Path) -> None:
    folder = write_layout(tmp_path)
    plugin = find_dataset("toy", tmp_path)
    assert plugin.spec == Spec("toy", 3, (3, 4, 5), ("cat", "sea lion", "dog"), mirror=True)
    assert str(folder) in plugin.reference
    assert plugin.__doc__
    dataset = load_dataset("toy", "paper", DataOptions(tmp_path))
    assert not dataset.official
    assert (len(dataset.train), len(dataset.test())) == (6, 6)
    assert np.array_equal(dataset.train.images.numpy(), np.load(folder / "train_images.npy").transpose(0, 3, 1, 2))
    assert set(dataset.files) == {*folder.iterdir(), tmp_path / "decoded"}
    assert array_datasets(tmp_path) == ["toy"]


def test_gray_arrays_without_a_plugin_have_one_channel(tmp_path: Path) -> None:
    write_layout(tmp_path, shape=(6, 4, 5))
    assert find_dataset("toy", tmp_path).spec.shape == (1, 4, 5)


def test_finding_and_reading_arrays_opens_no_test_file(tmp_path: Path) -> None:
    folder = write_layout(tmp_path)
    with guarded([folder / "test_images.npy", folder / "test_labels.npy"]) as violations:
        dataset = load_dataset("toy", options=DataOptions(tmp_path))
        with pytest.raises(ForbiddenAccess):
            dataset.test()
    assert len(violations) == 1


def test_a_registered_data_set_goes_before_arrays_of_its_name(tmp_path: Path) -> None:
    write_layout(tmp_path).rename(tmp_path / "digits")
    assert find_dataset("digits", tmp_path) is DATASETS["digits"]
    assert array_datasets(tmp_path) == []


INCOMPLETE = ["train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy", "classes.txt"]


@pytest.mark.parametrize("missing", INCOMPLETE)
def test_arrays_that_lack_a_file_are_named_with_it(missing: str, tmp_path: Path) -> None:
    (write_layout(tmp_path) / missing).unlink()
    with pytest.raises(BenchError, match=f"data set 'toy' in .* lacks {missing}"):
        find_dataset("toy", tmp_path)
    assert array_datasets(tmp_path) == []


CHANNELS_FIRST = np.zeros((6, 3, 8, 8), np.uint8)
UNTELLING: dict[str, tuple[Callable[[Path], object], str]] = {
    "channels first": (
        lambda f: np.save(f / "train_images.npy", CHANNELS_FIRST),
        r"store images.transpose\(0, 2, 3, 1\)",
    ),
    "flat images": (lambda f: np.save(f / "train_images.npy", np.zeros((6, 60), np.uint8)), r"holds an array of \(6, 60\)"),
    "images without a pixel": (lambda f: np.save(f / "train_images.npy", np.zeros((6, 0, 5), np.uint8)), "holds an array of"),
    "no classes": (lambda f: (f / "classes.txt").write_text("\n"), "names 0 classes, and telling classes apart takes two"),
    "one class": (lambda f: (f / "classes.txt").write_text("cat\n"), "names 1 classes"),
}


@pytest.mark.parametrize(("damage", "complaint"), UNTELLING.values(), ids=UNTELLING)
def test_arrays_that_tell_no_shape_or_classes_are_a_sentence(damage: Callable[[Path], object], complaint: str, tmp_path: Path) -> None:
    damage(write_layout(tmp_path))
    with pytest.raises(BenchError, match=complaint):
        load_dataset("toy", options=DataOptions(tmp_path))


@pytest.mark.parametrize("name", ["../outside/toy", "..", ".", "", "sub/toy", "sub\\toy", "toy\0", "/toy", "~", ".toy", "toy\n", "t" * 999])
def test_no_name_leads_out_of_the_data_root(name: str, tmp_path: Path) -> None:
    for place in ("outside", "root/sub", "root"):
        write_layout(tmp_path / place)
    with pytest.raises(BenchError, match="unknown data set"):
        load_dataset(name, options=DataOptions(tmp_path / "root"))


def test_a_data_root_that_cannot_be_listed_has_no_arrays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert array_datasets(tmp_path / "file") == array_datasets(tmp_path / "not there") == []


# Checking ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def register() -> Iterator[Callable[..., str]]:
    """Register a data set that is made by a function, as a plugin does."""
    with restored_registries():

        def add(make: Callable[[], Dataset], classes: int = 3) -> str:
            @DATASETS.register("made")
            @about(Spec("made", classes, (1, 1, 2), tuple(map(str, range(classes)))), reference="made up here")
            def made(options: DataOptions) -> Dataset:
                """Made up."""
                return make()

            return "made"

        yield add


def split_of(labels: list[int]) -> Split:
    return dataset_of(labels, 3).train


EVERY = [0, 1, 2] * 4
REFUSED: dict[str, tuple[Dataset, str]] = {
    "no training image": (dataset_of([], 3), "data set 'toy' has no training images"),
    "a class without one": (dataset_of([0, 0, 2, 2], 3), r"has no training image of class 1 \('1'\); add some"),
    "a single class": (dataset_of([1, 1, 1, 1], 3), r"has no training image of class 0 \('0'\) and 1 more"),
    "one class in all": (dataset_of([0, 0, 0, 0], 1), "has 1 class, and telling classes apart takes two"),
    "a label beyond the classes": (
        dataset_of([*EVERY, 3], 3),
        "training labels of .* run from 0 to 3, and its 3 classes are 0 to 2",
    ),
    "a negative label": (dataset_of([*EVERY, -1], 3), "run from -1 to 2"),
    "images of another shape": (
        replace(dataset_of(EVERY, 3), spec=Spec("toy", 3, (1, 2, 1), ("0", "1", "2"))),
        r"training images of data set 'toy' are \(1, 1, 2\), and it is to have \(1, 2, 1\)",
    ),
    "nothing left for val": (
        dataset_of([0, 1, 2], 3),
        "one training image of every class, which leaves none for val; use --split",
    ),
    "an empty val": (replace(dataset_of(EVERY, 3), val=split_of([])), "leaves none for val"),
    "a val label beyond the classes": (
        replace(dataset_of(EVERY, 3), val=split_of([0, 5])),
        "validation labels of .* run from 0 to 5",
    ),
    "no data set": (None, "data set 'made' cannot be read .TypeError: it returned NoneType, not a Dataset"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize(("dataset", "complaint"), REFUSED.values(), ids=REFUSED)
def test_a_data_set_that_cannot_be_used_is_a_sentence(dataset: Dataset, complaint: str, register: Callable[..., str]) -> None:
    with pytest.raises(BenchError, match=complaint) as caught:
        load_dataset(register(lambda: dataset))
    assert "\n" not in str(caught.value)


def test_one_image_of_every_class_is_enough_for_split_paper(register: Callable[..., str]) -> None:
    assert load_dataset(register(lambda: dataset_of([0, 1, 2], 3)), "paper").class_counts() == (1, 1, 1)


def test_a_class_that_lies_in_val_alone_counts_for_split_paper_only(register: Callable[..., str]) -> None:
    name = register(lambda: replace(dataset_of([0, 1, 0, 1], 3), val=split_of([2, 2])))
    assert load_dataset(name, "paper").class_counts() == (2, 2, 2)
    with pytest.raises(BenchError, match="has no training image of class 2"):
        load_dataset(name, "dev")


UNUSABLE_TESTS: dict[str, tuple[Callable[[], object], str]] = {
    "no image": (lambda: split_of([]), "has no test images"),
    "a label beyond the classes": (lambda: split_of([0, 1, 3]), "test labels of data set 'toy' run from 0 to 3"),
    "another shape": (lambda: Split(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), torch.tensor([0])), "test images of data set 'toy' are"),
    "nothing": (lambda: None, "it returned NoneType, not a Split"),
}


@pytest.mark.parametrize(("test", "complaint"), UNUSABLE_TESTS.values(), ids=UNUSABLE_TESTS)
def test_a_test_split_that_cannot_be_used_is_a_sentence(test: Callable[[], Split], complaint: str, register: Callable[..., str]) -> None:
    dataset = load_dataset(register(lambda: replace(dataset_of(EVERY, 3), test=test)))
    with pytest.raises(BenchError, match=complaint):
        check_test(dataset)


def test_whatever_a_plugin_stumbles_over_is_a_sentence(register: Callable[..., str]) -> None:
    def broken() -> Dataset:
        raise KeyError("no such\n  table")

    with pytest.raises(BenchError, match=r"data set 'made' cannot be read \(KeyError: .*no such.*table.*\); replace its files") as caught:
        load_dataset(register(broken))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [MemoryError(), ForbiddenAccess("closed"), BenchError("put it there")], ids=lambda e: type(e).__name__)
def test_errors_that_say_more_are_left_alone(error: Exception, register: Callable[..., str]) -> None:
    def broken() -> Dataset:
        raise error

    with pytest.raises(type(error)) as caught:
        load_dataset(register(broken))
    assert caught.value is error


def test_damaged_digits_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*arguments: object, **options: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(np, "loadtxt", unreadable)
    with pytest.raises(BenchError, match="data set 'digits' cannot be read .OSError"):
        load_dataset("digits")
