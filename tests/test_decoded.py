"""What is kept decoded: the same data set, mapped into memory, as long as its sources did not change."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from data_files import write_cub200, write_layout, write_mnist

from bench import BenchError, DataOptions, Dataset, Split, load_dataset
from bench import decoded as keeping
from bench.data import SplitName
from bench.decoded import DecodedStore
from bench.guard import ForbiddenAccess, guarded
from bench.loading import find_dataset, prepare_dataset


def options(root: Path) -> DataOptions:
    return DataOptions(root, download=False)


def opened(root: Path, name: str = "cub200", split: str = "dev") -> Dataset:
    return load_dataset(name, split, options(root))  # type: ignore[arg-type]


def kept(root: Path, name: str = "cub200") -> Path:
    return root / "decoded" / name


@pytest.mark.parametrize("split", get_args(SplitName))
@pytest.mark.parametrize("name", ["mnist", "toy", "digits"])
def test_a_prepared_data_set_is_the_same_as_an_unprepared_one(name: str, split: str, tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write_layout(tmp_path, (24, 4, 5, 3))
    before = opened(tmp_path, name, split)
    found = prepare_dataset(name, options(tmp_path))
    after = opened(tmp_path, name, split)
    assert found.folder == kept(tmp_path, name)
    assert (after.spec, after.official, after.notes) == (before.spec, before.official, before.notes)
    assert after.fingerprint() == before.fingerprint() == after.hash_content()
    for one, other in ((before.train, after.train), (before.val, after.val), (before.test(), after.test())):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)


def test_the_files_are_read_once_and_the_fingerprint_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cub200(tmp_path)
    known = opened(tmp_path).fingerprint()
    monkeypatch.setattr("bench.image_files.read_images", pytest.fail)
    monkeypatch.setattr(Dataset, "hash_content", pytest.fail)
    monkeypatch.setattr("bench.decoded.checksum", pytest.fail)
    for split in get_args(SplitName):
        assert len(opened(tmp_path, split=split).fingerprint()) == 16
    assert opened(tmp_path).fingerprint() == known


def test_train_and_val_are_parts_of_one_mapped_file_and_joined_without_a_copy(tmp_path: Path) -> None:
    write_cub200(tmp_path)
    dev, paper = opened(tmp_path), opened(tmp_path, split="paper")
    assert dev.val is not None
    for images in (dev.train.images, dev.val.images):
        assert images.untyped_storage().data_ptr() == dev.train.images.untyped_storage().data_ptr()
    assert torch.equal(paper.train.images, torch.cat([dev.train.images, dev.val.images]))
    joined = dev.train.joined(dev.val)
    assert joined.images.data_ptr() == dev.train.images.data_ptr()


def test_what_does_not_lie_side_by_side_is_copied() -> None:
    images = torch.arange(12, dtype=torch.uint8).view(6, 1, 1, 2)
    labels = torch.arange(6)
    for one, other in ((slice(0, 2), slice(3, 6)), (slice(3, 6), slice(0, 3)), (slice(0, 6, 2), slice(3, 6))):
        joined = Split(images[one], labels[one]).joined(Split(images[other], labels[other]))
        assert torch.equal(joined.images, torch.cat([images[one], images[other]]))
        assert torch.equal(joined.labels, torch.cat([labels[one], labels[other]]))


def test_changes_in_memory_never_reach_the_file(tmp_path: Path) -> None:
    write_cub200(tmp_path)
    opened(tmp_path).train.images.zero_()
    assert opened(tmp_path).train.images.any()


def test_the_sources_may_be_deleted_and_the_set_stays_what_it_was(tmp_path: Path) -> None:
    folder = write_cub200(tmp_path)
    before = opened(tmp_path, "cub200[size=16]")
    shutil.rmtree(folder)
    after = opened(tmp_path, "cub200[size=16]")
    assert after.fingerprint() == before.fingerprint()
    assert find_dataset("cub200[size=16]", tmp_path).spec == before.spec
    with pytest.raises(BenchError, match="is not in"):
        opened(tmp_path, "cub200[size=20]")


def add_a_photograph(folder: Path) -> None:
    home = folder / "images" / "001.Black_footed_Albatross"
    shutil.copy(next(home.iterdir()), home / "new.jpg")


CHANGES = {
    "a list": lambda folder: (folder / "train_test_split.txt").write_text(
        (folder / "train_test_split.txt").read_text().replace("\n4 1\n", "\n4 0\n"),
    ),
    "a new list": lambda folder: (folder / "readme.txt").write_text("x"),
    "a name in a folder": add_a_photograph,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_sources_are_read_again(change, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = write_cub200(tmp_path)
    opened(tmp_path)
    written = (kept(tmp_path) / "manifest.json").stat().st_ino
    change(folder)
    after = opened(tmp_path)
    assert (kept(tmp_path) / "manifest.json").stat().st_ino != written
    assert after.fingerprint() == after.hash_content()
    assert {path.name for path in (tmp_path / "decoded").iterdir()} == {"cub200", ".cub200.lock"}


def test_official_files_that_come_later_replace_arrays(tmp_path: Path) -> None:
    (tmp_path / "cub200").mkdir()
    for part in ("train", "test"):
        np.save(tmp_path / "cub200" / f"{part}_images.npy", np.full((400, 32, 32, 3), 200, np.uint8))
        np.save(tmp_path / "cub200" / f"{part}_labels.npy", np.arange(400) % 200)
    assert opened(tmp_path).spec.classes == 200
    write_cub200(tmp_path)
    assert opened(tmp_path).spec.classes == 3


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 255
    file.write_bytes(content)


DAMAGE = {
    "a pixel": lambda folder: flip(folder / "train_images.npy"),
    "a shorter array": lambda folder: os.truncate(folder / "test_images.npy", 200),
    "a missing array": lambda folder: (folder / "test_labels.npy").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "another manifest": lambda folder: (folder / "manifest.json").write_text("{}"),
    "half a manifest": lambda folder: (folder / "manifest.json").write_text((folder / "manifest.json").read_text()[:100]),
    "a file instead": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_decoded_again(damage, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    write_cub200(tmp_path)
    before = opened(tmp_path).fingerprint()
    damage(kept(tmp_path))
    after = opened(tmp_path)
    assert after.fingerprint() == after.hash_content() == before
    assert len(after.test()) == 9


def test_a_copied_data_root_is_looked_at_once_more_and_then_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cub200(tmp_path / "one")
    before = opened(tmp_path / "one").fingerprint()
    shutil.rmtree(tmp_path / "one" / "CUB_200_2011")
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copyfile)  # times are those of now
    assert opened(tmp_path / "two").fingerprint() == before
    monkeypatch.setattr(keeping, "checksum", pytest.fail)
    assert opened(tmp_path / "two").fingerprint() == before


def test_a_full_disk_is_a_sentence_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cub200(tmp_path)

    def full(file: Path, array: np.ndarray) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(BenchError, match=r"cannot be kept decoded in .*cub200 \(No space left on device\); make room there") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "decoded").iterdir()] == [".cub200.lock"]


def test_all_of_it_is_closed_to_methods(tmp_path: Path) -> None:
    folder = write_cub200(tmp_path)
    dataset = opened(tmp_path)
    assert {tmp_path / "decoded", folder} <= set(dataset.files)
    with guarded(dataset.files), pytest.raises(ForbiddenAccess):
        dataset.test()
    with guarded([kept(tmp_path) / "test_images.npy", kept(tmp_path) / "test_labels.npy"]) as violations:
        opened(tmp_path)
    assert not violations


def test_other_copies_of_the_same_test_images_are_closed_to_methods(tmp_path: Path) -> None:
    """Of another size, and of arrays that changed since they were decoded."""
    write_cub200(tmp_path)
    folder = write_layout(tmp_path)
    opened(tmp_path, "cub200[size=16]")
    prepare_dataset("toy", options(tmp_path))
    np.save(folder / "test_labels.npy", np.arange(6)[::-1] % 3)
    for name, other in (("cub200", "cub200[size=16]"), ("toy", "toy")):
        dataset, images = opened(tmp_path, name), DecodedStore(tmp_path).folder(other) / "test_images.npy"
        with guarded(dataset.files), pytest.raises(ForbiddenAccess):
            np.load(images)


def test_a_file_in_the_place_of_a_folder_that_is_not_needed_is_no_reason_not_to_keep_a_set(tmp_path: Path) -> None:
    write_cub200(tmp_path)
    (tmp_path / "cub200").write_text("where arrays would be")
    assert opened(tmp_path).fingerprint() == opened(tmp_path).hash_content()


def test_a_set_without_val_is_kept_for_split_paper(tmp_path: Path) -> None:
    folder = write_layout(tmp_path, (3, 4, 5, 3))
    prepare_dataset("toy", options(tmp_path))
    shutil.rmtree(folder)
    (tmp_path / "toy").mkdir()
    manifest = json.loads((kept(tmp_path, "toy") / "manifest.json").read_text())
    assert list(manifest["fingerprints"]) == ["paper"]


def test_names_of_folders_never_leave_the_root(tmp_path: Path) -> None:
    store = DecodedStore(tmp_path)
    names = ["cub200", "cub200[size=64]", "image_folder[path=/a/b]", "image_folder[path=../../x]", "x" * 500, ".hidden"]
    folders = [store.folder(name) for name in names]
    assert len(set(folders)) == len(names)
    for folder in folders:
        assert folder.parent == tmp_path / "decoded"
        assert not folder.name.startswith(".")
        assert len(folder.name) <= 100


def test_the_fingerprint_of_changed_images_can_be_computed(tmp_path: Path) -> None:
    write_cub200(tmp_path)
    dataset = opened(tmp_path)
    dataset.train.images[0] = 0
    assert dataset.hash_content() != dataset.fingerprint()
    assert replace(dataset, hashed="").fingerprint() == dataset.hash_content()
