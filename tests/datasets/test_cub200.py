"""CUB-200-2011 in its official layout, in parts, resized by both rules, damaged, and as real files."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import write_cub200
from PIL import Image
from torchvision.transforms import v2

from bench import BenchError, DataOptions, Dataset, load_dataset
from bench.contract.datasets import DATASET_CHECKS, DECLARATION_CHECKS, DatasetTrial
from bench.loading import find_dataset


def load(root: Path, name: str = "cub200", split: str = "paper") -> Dataset:
    return load_dataset(name, split, DataOptions(root, download=False))  # type: ignore[arg-type]


def test_classes_and_parts_are_those_of_the_lists(tmp_path: Path) -> None:
    write_cub200(tmp_path)
    dataset = load(tmp_path)
    assert dataset.spec.class_names == ("Black footed Albatross", "Laysan Albatross", "Rusty Blackbird")
    assert (dataset.spec.name, dataset.spec.shape) == ("cub200", (3, 32, 32))
    assert dataset.class_counts() == (5, 5, 5)
    assert dataset.test().labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert dataset.notes == ("a part of CUB-200-2011: 3 of 200 classes, 15 of 5,994 training images, 9 of 5,794 test images",)
    assert not dataset.official


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("cub200", v2.Resize((32, 32), antialias=True)),
        ("cub200[size=48]", v2.Resize((48, 48), antialias=True)),
    ],
)
def test_the_whole_frame_is_squeezed_as_torchvision_does_it(name: str, rule: Callable[[Image.Image], Image.Image], tmp_path: Path) -> None:
    folder = write_cub200(tmp_path)
    file = folder / "images" / "002.Laysan_Albatross" / "Laysan_Albatross_0000.jpg"
    expected = np.asarray(rule(Image.open(file).convert("RGB"))).transpose(2, 0, 1)
    assert np.array_equal(load(tmp_path, name).test().images[3].numpy(), expected)


def test_cropping_keeps_the_middle(tmp_path: Path) -> None:
    folder = write_cub200(tmp_path)
    file = folder / "images" / "001.Black_footed_Albatross" / "Black_footed_Albatross_0000.jpg"
    halves = np.zeros((40, 120, 3), np.uint8)
    halves[:, 40:80] = 255
    Image.fromarray(halves).save(file, quality=100)
    seen = {rule: load(tmp_path, f"cub200[resize={rule}]").test().images[0].float() for rule in ("stretch", "crop")}
    assert seen["crop"].mean() > 240
    assert 60 < seen["stretch"].mean() < 110
    assert load(tmp_path, "cub200[resize=crop]").spec.name == "cub200[resize=crop]"


def test_gray_photographs_become_three_equal_channels_and_none_is_dropped(tmp_path: Path) -> None:
    write_cub200(tmp_path)
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.test())) == (15, 9)
    test = dataset.test().images
    assert (test == test[:, :1]).all(3).all(2).all(1).tolist() == [False, True, False] * 3


def test_the_archive_is_unpacked_where_it_lies(tmp_path: Path) -> None:
    folder = write_cub200(tmp_path / "made")
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "CUB_200_2011.tgz", "w:gz") as packed:
        packed.add(folder, folder.name)
        packed.addfile(tarfile.TarInfo("attributes.txt"), io.BytesIO())
    assert load(tmp_path / "data").fingerprint() == load(tmp_path / "made").fingerprint()
    assert not (tmp_path / "data" / "attributes.txt").exists()


@pytest.mark.parametrize("check", [*DECLARATION_CHECKS, *DATASET_CHECKS], ids=lambda check: check.name)
def test_the_contract_holds(check: object, tmp_path: Path) -> None:
    write_cub200(tmp_path)
    check.run(DatasetTrial("cub200[size=24,resize=crop]", DataOptions(tmp_path, download=False)))  # type: ignore[attr-defined]


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a class folder is missing": (
        lambda f: shutil.rmtree(f / "images" / "002.Laysan_Albatross"),
        "images lacks the folder 002.Laysan_Albatross, which images.txt names; put the official folder back",
    ),
    "a photograph is damaged": (
        lambda f: next((f / "images" / "011.Rusty_Blackbird").iterdir()).write_bytes(b"\xff\xd8\xff\xe0"),
        "cannot be read as an image, it holds a JPEG picture",
    ),
    "a list is missing": (
        lambda f: (f / "train_test_split.txt").unlink(),
        "train_test_split.txt cannot be read .*put the official file there",
    ),
    "a list is shorter": (
        lambda f: (f / "image_class_labels.txt").write_text("1 1\n"),
        "image 2 of .*images.txt has the class '' and the part '0' in the lists beside it",
    ),
    "a number comes twice": (lambda f: (f / "classes.txt").write_text("1 a\n1 b\n"), "classes.txt has the line '1 b'"),
    "a path leads out": (
        lambda f: (f / "images.txt").write_text("1 ../../x.jpg\n"),
        "images.txt has the path '../../x.jpg', which leads out of the folder",
    ),
    "a list is empty": (lambda f: (f / "classes.txt").write_text(""), "classes.txt names no class"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_a_sentence_and_nothing_is_kept(damage: Callable[[Path], object], complaint: str, tmp_path: Path) -> None:
    damage(write_cub200(tmp_path))
    with pytest.raises(BenchError, match=complaint) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "decoded").glob("[!.]*"))


def test_arrays_stand_in_and_their_names_become_words(tmp_path: Path) -> None:
    (tmp_path / "cub200").mkdir()
    for part in ("train", "test"):
        np.save(tmp_path / "cub200" / f"{part}_images.npy", np.full((400, 32, 32, 3), 200, np.uint8))
        np.save(tmp_path / "cub200" / f"{part}_labels.npy", np.arange(400) % 200)
    assert load(tmp_path).spec.class_names[:2] == ("Black footed Albatross", "Laysan Albatross")
    (tmp_path / "cub200" / "classes.txt").write_text("".join(f"{number:03}.Bird_{number}\n" for number in range(1, 201)))
    dataset = load(tmp_path)
    assert dataset.spec.class_names[:2] == ("Bird 1", "Bird 2")
    assert not dataset.official
    with pytest.raises(BenchError, match="48"):
        load(tmp_path, "cub200[size=48]")


@pytest.mark.parametrize("line", ["9" * 5000 + " x", "one x", "1", "1 a b"], ids=["a long number", "no number", "no name", "two names"])
def test_a_damaged_list_of_classes_is_a_sentence_before_anything_is_opened(line: str, tmp_path: Path) -> None:
    (write_cub200(tmp_path) / "classes.txt").write_text(line)
    with pytest.raises(BenchError, match="classes.txt has the line") as caught:
        find_dataset("cub200", tmp_path)
    assert "\n" not in str(caught.value)


def test_an_empty_machine_is_told_in_one_sentence_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        load_dataset("cub200", options=DataOptions(tmp_path, download=True))  # a run does not download a gigabyte by itself
    assert str(caught.value) == (
        f"data set 'cub200' is not in {tmp_path}: give the command prepare cub200 --data-root {tmp_path}, which downloads 1.1 GB once, "
        "or put its official folder CUB_200_2011 or archive CUB_200_2011.tgz there, or its arrays (train_images.npy, train_labels.npy, "
        f"test_images.npy, test_labels.npy, classes.txt) into {tmp_path / 'cub200'}, or point --data-root at them"
    )
    assert not list(tmp_path.iterdir())


def test_the_real_part(data_root: Path, tmp_path: Path) -> None:
    if not (data_root / "CUB_200_2011").is_dir():
        pytest.skip("DDBENCH_TEST_DATA names no folder with real data: it has no CUB_200_2011")
    shutil.copytree(data_root / "CUB_200_2011", tmp_path / "CUB_200_2011")
    dataset = load(tmp_path)
    assert (len(dataset.train) + len(dataset.test()), dataset.spec.classes) == (1178, 20)
    assert dataset.spec.class_names[:2] == ("Black footed Albatross", "Rusty Blackbird")
