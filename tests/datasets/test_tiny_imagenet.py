"""Tiny-ImageNet in its official and its rearranged layout, in parts, damaged, and as real files."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import write_tiny_imagenet
from PIL import Image

from bench import BenchError, DataOptions, Dataset, load_dataset
from bench.contract.datasets import DATASET_CHECKS, DECLARATION_CHECKS, DatasetTrial
from bench.guard import guarded


def load(root: Path, name: str = "tiny_imagenet", split: str = "paper") -> Dataset:
    return load_dataset(name, split, DataOptions(root, download=False))  # type: ignore[arg-type]


def rearrange(folder: Path) -> None:
    """Sort the validation images into folders of classes, as the scripts of most repositories do."""
    for line in (folder / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        (folder / "val" / wnid / "images").mkdir(parents=True, exist_ok=True)
        (folder / "val" / "images" / name).rename(folder / "val" / wnid / "images" / name)
    (folder / "val" / "images").rmdir()


def flatten(folder: Path) -> None:
    """Put images right into the folder of their class, as torchvision's ImageFolder wants them."""
    for part in ("train", "val"):
        for home in sorted((folder / part).glob("n*")):
            for file in (home / "images").iterdir():
                file.rename(home / file.name)
            (home / "images").rmdir()
    (folder / "val" / "val_annotations.txt").unlink()


def test_classes_are_in_the_order_of_their_ids_and_named_by_words(tmp_path: Path) -> None:
    write_tiny_imagenet(tmp_path)
    dataset = load(tmp_path)
    assert dataset.spec.class_names == ("goldfish", "black stork", "crane, machine", "crane")
    assert dataset.spec.shape == (3, 64, 64)
    assert dataset.spec.mirror
    assert dataset.class_counts() == (8, 8, 8, 8)
    assert dataset.test().labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert not any("words.txt" in note for note in dataset.notes)


def test_classes_without_a_word_are_told(tmp_path: Path) -> None:
    (write_tiny_imagenet(tmp_path) / "words.txt").write_text("n01\tgoldfish\n")
    dataset = load(tmp_path)
    assert dataset.spec.class_names == ("goldfish", "n02", "n03", "n10")
    assert dataset.notes[-1] == "3 classes have no word in words.txt, or share it, and show their ids"


def test_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    folder = write_tiny_imagenet(tmp_path)
    images = load(tmp_path).train.images
    for name in ("n01_3.JPEG", "n01_0.JPEG"):
        expected = np.asarray(Image.open(folder / "train" / "n01" / "images" / name).convert("RGB")).transpose(2, 0, 1)
        assert (images.numpy() == expected).all((1, 2, 3)).sum() == 1


def test_gray_images_become_three_equal_channels_and_none_is_dropped(tmp_path: Path) -> None:
    write_tiny_imagenet(tmp_path)
    dataset = load(tmp_path)
    for split, gray, count in ((dataset.train, 4, 32), (dataset.test(), 1, 12)):
        assert len(split) == count
        assert int((split.images == split.images[:, :1]).all(3).all(2).all(1).sum()) == gray


def rearrange_inside(folder: Path) -> None:
    """Sort the validation images within ``val/images``."""
    rearrange(folder)
    (folder / "val" / "images").mkdir()
    for home in (folder / "val").glob("n*"):
        (home / "images").rename(folder / "val" / "images" / home.name)
        home.rmdir()


LAYOUTS: dict[str, Callable[[Path], object]] = {
    "val/<wnid>/images": rearrange,
    "val/<wnid>": lambda folder: (rearrange(folder), flatten(folder)),
    "val/images/<wnid>": rearrange_inside,
    "val/images is left, empty": lambda folder: (rearrange(folder), (folder / "val" / "images").mkdir()),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_rearranged_layout_is_the_same_data_set(layout: Callable[[Path], object], tmp_path: Path) -> None:
    layout(write_tiny_imagenet(tmp_path / "rearranged"))
    write_tiny_imagenet(tmp_path / "official")
    for split in ("dev", "paper"):
        ours, theirs = load(tmp_path / "official", split=split), load(tmp_path / "rearranged", split=split)
        assert ours.fingerprint() == theirs.fingerprint()
        assert ours.spec == theirs.spec
        assert ours.test().images.equal(theirs.test().images)
        assert ours.test().labels.equal(theirs.test().labels)


def test_rearranging_what_is_kept_decoded_changes_nothing(tmp_path: Path) -> None:
    folder = write_tiny_imagenet(tmp_path)
    before = load(tmp_path).fingerprint()
    rearrange(folder)
    assert load(tmp_path).fingerprint() == before


def test_a_part_is_noted_and_is_no_official_set(tmp_path: Path) -> None:
    write_tiny_imagenet(tmp_path)
    dataset = load(tmp_path)
    assert dataset.notes == ("a part of Tiny-ImageNet: 4 of 200 classes, 32 of 100,000 training images, 12 of 10,000 test images",)
    assert not dataset.official


def test_all_of_it_is_official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, count in (("_CLASSES", 4), ("_TRAIN", 32), ("_TEST", 12)):
        monkeypatch.setattr(f"bench.datasets.tiny_imagenet.{name}", count)
    write_tiny_imagenet(tmp_path)
    assert load(tmp_path).official
    assert load(tmp_path).official  # as it is kept decoded
    assert load(tmp_path).notes == ()


def test_another_size_is_another_data_set(tmp_path: Path) -> None:
    write_tiny_imagenet(tmp_path)
    small = load(tmp_path, "tiny_imagenet[size=32]")
    assert (small.spec.name, small.spec.shape) == ("tiny_imagenet[size=32]", (3, 32, 32))
    assert small.fingerprint() != load(tmp_path).fingerprint()
    assert load(tmp_path, "tiny_imagenet[size=64]").spec.name == "tiny_imagenet"


def test_the_archive_is_unpacked_where_it_lies(tmp_path: Path) -> None:
    folder = write_tiny_imagenet(tmp_path / "made")
    (tmp_path / "data").mkdir()
    with zipfile.ZipFile(tmp_path / "data" / "tiny-imagenet-200.zip", "w") as packed:
        for file in folder.rglob("*"):
            packed.write(file, file.relative_to(folder.parent))
    assert load(tmp_path / "data").fingerprint() == load(tmp_path / "made").fingerprint()


def test_reading_train_opens_no_test_image(tmp_path: Path) -> None:
    folder = write_tiny_imagenet(tmp_path)
    with guarded([folder / "val" / "images"]) as violations:
        from bench import DATASETS

        dataset = DATASETS["tiny_imagenet"]().open(DataOptions(tmp_path, download=False))
        with pytest.raises(PermissionError):
            dataset.test()
    assert violations


@pytest.mark.parametrize("check", [*DECLARATION_CHECKS, *DATASET_CHECKS], ids=lambda check: check.name)
@pytest.mark.parametrize("name", ["tiny_imagenet", "tiny_imagenet[size=16]"])
def test_the_contract_holds(name: str, check: object, tmp_path: Path) -> None:
    write_tiny_imagenet(tmp_path)
    check.run(DatasetTrial(name, DataOptions(tmp_path, download=False)))  # type: ignore[attr-defined]


def truncated(folder: Path) -> None:
    file = folder / "train" / "n01" / "images" / "n01_3.JPEG"
    content = file.read_bytes()
    file.write_bytes(content[: int(0.8 * len(content))])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a class folder is missing": (
        lambda f: shutil.rmtree(f / "train" / "n10"),
        r"train/n10 of class n10 cannot be listed \(No such file or directory\); put it back, or take it out of wnids.txt",
    ),
    "a JPEG is truncated": (
        truncated,
        r"n01_3.JPEG cannot be read as an image, it holds a JPEG picture \(image file is truncated.*\); replace it",
    ),
    "a JPEG is a web page": (
        lambda f: (f / "val" / "images" / "val_4.JPEG").write_text("<html>"),
        "val_4.JPEG cannot be read as an image, it holds a web page or other XML text",
    ),
    "a listed image is missing": (lambda f: (f / "val" / "images" / "val_4.JPEG").unlink(), "val_4.JPEG cannot be read .*No such file"),
    "an unknown class is annotated": (
        lambda f: (f / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn77\t0\t0\t1\t1\n"),
        "val_annotations.txt has the line 'val_0.JPEG n77 0 0 1 1', and a line is a file name and a class of wnids.txt",
    ),
    "an annotation leads out": (
        lambda f: (f / "val" / "val_annotations.txt").write_text("../../x.JPEG\tn01\n"),
        "val_annotations.txt has the line '../../x.JPEG n01'",
    ),
    "a list is no text": (lambda f: (f / "wnids.txt").write_bytes(b"\xff\xfe"), "wnids.txt is no text"),
    "nothing is left": (lambda f: [shutil.rmtree(f / "train"), (f / "wnids.txt").unlink()], "train cannot be listed"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_a_sentence_and_nothing_is_kept(damage: Callable[[Path], object], complaint: str, tmp_path: Path) -> None:
    damage(write_tiny_imagenet(tmp_path))
    with pytest.raises(BenchError, match=complaint) as caught:
        load(tmp_path).test()
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "decoded").glob("[!.]*"))


def test_arrays_need_their_class_names(tmp_path: Path) -> None:
    (tmp_path / "tiny_imagenet").mkdir()
    for part in ("train", "test"):
        np.save(tmp_path / "tiny_imagenet" / f"{part}_images.npy", np.full((400, 64, 64, 3), 200, np.uint8))
        np.save(tmp_path / "tiny_imagenet" / f"{part}_labels.npy", np.arange(400) % 200)
    with pytest.raises(BenchError, match="lacks classes.txt; write one class name on each line"):
        load(tmp_path)
    (tmp_path / "tiny_imagenet" / "classes.txt").write_text("".join(f"thing {number}\n" for number in range(200)))
    dataset = load(tmp_path)
    assert not dataset.official
    assert dataset.spec.class_names[7] == "thing 7"


def test_without_files_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is not in") as caught:
        load(tmp_path)
    for part in ("give the command prepare tiny_imagenet", "tiny-imagenet-200.zip", "train_images.npy", "--data-root"):
        assert part in str(caught.value)
    assert not list(tmp_path.iterdir())


def mode_of(file: Path) -> str:
    with Image.open(file) as image:
        return image.mode


def test_the_real_part(data_root: Path, tmp_path: Path) -> None:
    if not (data_root / "tiny-imagenet-200").is_dir():
        pytest.skip("DDBENCH_TEST_DATA names no folder with real data: it has no tiny-imagenet-200")
    shutil.copytree(data_root / "tiny-imagenet-200", tmp_path / "tiny-imagenet-200")
    dataset = load(tmp_path)
    whole = np.concatenate([dataset.train.images.numpy(), dataset.test().images.numpy()])
    assert dataset.spec.class_names[:3] == ("goldfish", "black stork", "walking stick")
    assert (len(dataset.train), len(whole)) == (2000, 2500)
    gray = sum(mode_of(file) == "L" for file in (tmp_path / "tiny-imagenet-200").rglob("*.JPEG"))
    assert gray == 39
    assert (whole == whole[:, :1]).all((1, 2, 3)).sum() >= gray  # some colour JPEGs show gray pictures
