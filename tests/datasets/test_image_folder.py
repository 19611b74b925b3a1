"""Images of one's own: class folders, split already or by us, with parameters in brackets, in whole sweeps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import picture
from PIL import Image

import bench
import bench.brackets
import bench.guard
from bench import BenchError, DataOptions, Dataset, load_dataset
from bench.cli import main
from bench.contract.datasets import DATASET_CHECKS, DatasetTrial
from bench.loading import find_dataset, settled_name
from bench.sweep.store import Store

NAMES = ("red_bird", "sea lion", "zebra")


def write_classes(folder: Path, each: int, first: int = 0) -> Path:
    for label, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            ending = (".png", ".JPG", ".bmp")[index % 3]
            picture(first + 100 * label + index, (20 + index, 24)).save(folder / name / f"{index:03}{ending}")
        (folder / name / "notes.txt").write_text("no image")
    return folder


def write_parts(folder: Path, parts: dict[str, int]) -> Path:
    for number, (part, each) in enumerate(parts.items()):
        write_classes(folder / part, each, 1000 * (number + 1))
    return folder


def load(folder: Path, split: str = "paper", more: str = ",size=16") -> Dataset:
    return load_dataset(f"image_folder[path={folder}{more}]", split, DataOptions(folder.parent, download=False))  # type: ignore[arg-type]


def pixels_of(dataset: Dataset) -> set[bytes]:
    splits = (dataset.train, dataset.val, dataset.test())
    return {image.numpy().tobytes() for split in splits if split is not None for image in split.images}


def test_class_folders_are_split_by_us_and_nothing_is_lost(tmp_path: Path) -> None:
    dataset = load(write_classes(tmp_path / "animals", 20), "dev")
    assert dataset.spec.name == "image_folder[path=animals,size=16]"
    assert (dataset.spec.shape, dataset.spec.class_names) == ((3, 16, 16), ("red bird", "sea lion", "zebra"))
    assert dataset.val is not None
    assert [split.labels.bincount().tolist() for split in (dataset.train, dataset.val, dataset.test())] == [[11] * 3, [5] * 3, [4] * 3]
    assert len(pixels_of(dataset)) == 60
    assert dataset.notes == ("a fifth of every class was kept for test by ddbench",)


def test_the_same_folder_elsewhere_is_the_same_data_set(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "animals", 10)
    (tmp_path / "far" / "away").mkdir(parents=True)
    elsewhere = Path(shutil.copytree(folder, tmp_path / "far" / "away" / "animals"))
    assert load(folder).fingerprint() == load(elsewhere).fingerprint()
    assert load(folder).test().images.equal(load(elsewhere).test().images)


def test_another_size_of_the_same_folder_has_the_same_split(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "animals", 20)
    one, other = load(folder, "dev", ",size=16"), load(folder, "dev", ",size=24,mirror=false")
    for small, large in ((one.train, other.train), (one.val, other.val), (one.test(), other.test())):
        assert small is not None
        assert large is not None
        assert np.allclose(*(split.images.float().mean((2, 3)).numpy() for split in (small, large)), atol=1)


PARTS = [
    ({"train": 6, "val": 5, "test": 4}, (18, 15, 12), ()),
    ({"train": 12, "test": 4}, (21, 15, 12), ()),
    ({"train": 12, "val": 4}, (21, 15, 12), ("there is no test folder, so val/ is the test split",)),
    ({"training": 12, "validation": 4, "testing": 3}, (36, 12, 9), ()),
]


@pytest.mark.parametrize(("parts", "sizes", "notes"), PARTS)
def test_a_folder_that_is_split_stays_so(parts: dict[str, int], sizes: tuple[int, ...], notes: tuple[str, ...], tmp_path: Path) -> None:
    dataset = load(write_parts(tmp_path / "animals", parts), "dev")
    assert (len(dataset.train), len(dataset.val or ()), len(dataset.test())) == sizes
    assert dataset.notes == notes
    assert len(pixels_of(dataset)) == sum(sizes)


def test_an_own_validation_folder_joins_train_under_split_paper(tmp_path: Path) -> None:
    dataset = load(write_parts(tmp_path / "animals", {"train": 6, "val": 5, "test": 4}))
    assert (len(dataset.train), dataset.val) == (33, None)


def test_images_are_in_the_order_of_classes_and_names(tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "animals", {"train": 6, "test": 4})
    expected = Image.open(folder / "test" / "sea lion" / "000.png").convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    dataset = load(folder)
    assert dataset.test().labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert np.array_equal(dataset.test().images[4].numpy(), np.asarray(expected).transpose(2, 0, 1))


def test_every_parameter_is_in_the_name_unless_it_is_the_default(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "animals", 5)
    name = f"image_folder[mirror=false,channels=1,resize=crop,size=32,path={folder}]"
    plugin = find_dataset(name, tmp_path)
    assert plugin.spec.name == "image_folder[path=animals,resize=crop,channels=1,mirror=false]"
    assert (plugin.spec.shape, plugin.spec.mirror) == ((1, 32, 32), False)
    assert settled_name(name, tmp_path) == f"image_folder[path={folder},resize=crop,channels=1,mirror=false]"


def test_a_relative_path_starts_here_or_at_the_data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("here", "root"):
        write_classes(tmp_path / place / "animals", 5)
    monkeypatch.chdir(tmp_path / "here")
    assert settled_name("image_folder[path=animals]", tmp_path / "root") == f"image_folder[path={tmp_path / 'here' / 'animals'}]"
    monkeypatch.chdir(tmp_path)
    assert settled_name("image_folder[path=animals]", tmp_path / "root") == f"image_folder[path={tmp_path / 'root' / 'animals'}]"


@pytest.mark.parametrize("name", ["birds, large", "b[1]", "it's = x", 'a"b', "größe", "-x", "a  b"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    folder = write_classes(tmp_path / name, 5)
    asked = settled_name(f"image_folder[path={bench.brackets.write_value(str(folder))}]", tmp_path)
    dataset = load_dataset(asked, "paper", DataOptions(tmp_path))
    assert str(tmp_path) not in dataset.spec.name
    assert len(dataset.train) + len(dataset.test()) == 15


@pytest.mark.parametrize("check", DATASET_CHECKS, ids=lambda check: check.name)
def test_the_contract_holds(check: object, tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "animals", 20)
    check.run(DatasetTrial(f"image_folder[path={folder}]", DataOptions(tmp_path, download=False)))


def deep_png(file: Path) -> None:
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(file)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "has no folder .*animals; put the images there, or give another path"),
    "a file": (lambda f: (shutil.rmtree(f), f.write_text("")), "animals cannot be listed"),
    "one class": (
        lambda f: [shutil.rmtree(f / name) for name in NAMES[1:]],
        "has 1 class folder of training images, and telling classes apart takes two",
    ),
    "no class": (lambda f: [shutil.rmtree(f / name) for name in NAMES], "has 0 class folders of training images"),
    "an empty class": (lambda f: [file.unlink() for file in (f / "zebra").iterdir()], "zebra holds no image"),
    "a single image": (
        lambda f: [file.unlink() for file in (f / "zebra").iterdir() if file.name != "000.png"],
        "class zebra has a single image, which cannot be in train and in test",
    ),
    "more than 8 bits": (lambda f: deep_png(f / "zebra" / "000.png"), "000.png holds numbers of more than 8 bits"),
    "another format": (lambda f: (f / "zebra" / "000.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "000.png cannot be read as an image"),
    "a train folder alone": (lambda f: write_classes(f / "train", 3), "has the folder train and no folder test or val beside it"),
}


@pytest.mark.parametrize(("damage", "complaint"), FAULTS.values(), ids=FAULTS)
def test_folders_that_cannot_be_used_are_a_sentence_and_nothing_is_kept(
    damage: Callable[[Path], object], complaint: str, tmp_path: Path
) -> None:
    damage(write_classes(tmp_path / "animals", 6))
    with pytest.raises(BenchError, match=complaint) as caught:
        load(tmp_path / "animals")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "decoded").glob("[!.]*"))


@pytest.mark.parametrize(("part", "complaint"), [("test", "which the training images lack"), ("train", "cannot be|has no folder")])
def test_parts_must_have_the_same_classes(part: str, complaint: str, tmp_path: Path) -> None:
    folder = write_parts(tmp_path / "animals", {"train": 6, "test": 4})
    write_classes(tmp_path / "more", 3)
    shutil.move(tmp_path / "more" / "zebra", folder / part / "yak")
    with pytest.raises(BenchError, match=complaint):
        load(folder)


PARAMETERS = [
    ("image_folder", "data set 'image_folder' needs path; write it like image_folder[path=...]"),
    ("image_folder[size=16]", "needs path"),
    ("image_folder[path=x,sise=3]", "has no parameter 'sise'; did you mean 'size'?"),
    ("image_folder[path=x,size=0]", "data set 'image_folder': size cannot be 0: it should be greater than or equal to 4"),
    ("image_folder[path=x,resize=zoom]", "resize cannot be 'zoom': it should be 'stretch' or 'crop'"),
    ("image_folder[path=x,size=[16,32]]", "is a grid of 2; name one of them here"),
    ("digits[size=16]", "data set 'digits' takes no parameters, found 'size=16'; leave the brackets out"),
    ("nothing[size=16]", "unknown data set 'nothing'"),
    ("cub200[size=", "has a bracket too many or too few|neither a name nor"),
]


@pytest.mark.parametrize(("name", "complaint"), PARAMETERS)
def test_parameters_that_do_not_fit_are_a_sentence(name: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError) as caught:
        find_dataset(name, tmp_path)
    assert any(part in str(caught.value) for part in complaint.split("|"))


def test_a_whole_sweep_runs_and_its_records_hold_no_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_classes(tmp_path / "secret" / "animals", 12)
    out, root = tmp_path / "out", tmp_path / "data"
    what = ["--methods", "random", "--datasets", f"image_folder[path={folder},size=[8,10]]", "--budgets", "1", "--seeds", "1"]
    few = ["--students", "1", "--no-reference", "--set", "random.student_steps=2", "--data-root", str(root), "--out", str(out)]
    assert main([*what, *few]) == 0
    records = Store(out).read_all()[0].values()
    assert sorted(record.cell.dataset for record in records) == ["image_folder[path=animals,size=10]", "image_folder[path=animals,size=8]"]
    assert {record.status for record in records} == {"ok"}
    for file in [*out.glob("records/*"), *out.glob("*.md"), *out.glob("*.csv"), *out.glob("details/*"), *out.glob("sets/*/manifest.json")]:
        assert "secret" not in file.read_text(), file
    assert all(record.cell.notes[0].startswith("a fifth of every class") for record in records)
    record = min(records, key=lambda record: record.cell.dataset)
    capsys.readouterr()
    assert main(["show", record.key[:8], "--out", str(out)]) == 0
    assert f"--datasets 'image_folder[path={folder},size=10]'" in capsys.readouterr().out
    assert main(["--config", str(out / "run.yaml"), "--out", str(out)]) == 0
    assert len(Store(out).read_all()[0]) == 2
    distilled = bench.load_set(out / "sets" / record.distil_key, folder.parent)
    assert distilled.spec.class_names == ("red bird", "sea lion", "zebra")


def test_two_folders_of_one_name_do_not_share_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = write_classes(tmp_path / "a" / "animals", 6), write_classes(tmp_path / "b" / "animals", 7)
    both = f"image_folder[path={one}],image_folder[path={other}]"
    assert main(["--datasets", both, "--dry-run", "--out", str(tmp_path / "out"), "--data-root", str(tmp_path)]) == 2
    assert "would both be called 'image_folder[path=animals]'" in capsys.readouterr().err


def test_files_are_closed_to_methods(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "animals", 6)
    dataset = load(folder)
    with bench.guard.guarded(dataset.files) as violations:
        for file in (folder / "zebra" / "000.png", next((tmp_path / "decoded").glob("image*")) / "test_images.npy"):
            with pytest.raises(PermissionError):
                os.open(file, os.O_RDONLY)
    assert len(violations) == 2


def test_the_data_root_itself_is_no_folder_of_images(tmp_path: Path) -> None:
    folder = write_classes(tmp_path / "animals", 6)
    with pytest.raises(BenchError, match="is the data root .*put the images into a folder in it"):
        load_dataset(f"image_folder[path={folder}]", options=DataOptions(folder))


def test_a_link_keeps_its_own_name(tmp_path: Path) -> None:
    write_classes(tmp_path / "v3", 6)
    (tmp_path / "animals").symlink_to(tmp_path / "v3")
    assert load(tmp_path / "animals").spec.name == "image_folder[path=animals,size=16]"
