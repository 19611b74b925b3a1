"""What is exported: read back by torch, numpy and PIL alone, the numbers are those of the set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench import Batch, BenchError, DistilledSet, Images, Spec, TrainRecipe
from bench.decoders.poster import Poster
from bench.decoders.poster_layout import PosterLayout
from bench.foreign.conversion import to_distilled_set
from bench.foreign.export import Exported, Format, Pixels, export_set
from bench.foreign.opening import open_release
from bench.foreign.options import parse_options
from bench.foreign.reading import read_release
from bench.seeding import stream

SPEC = Spec("toy", 4, (3, 8, 8), ("ant", "bee", "cat", "dog"))
GRAY = Spec("gray", 12, (1, 8, 8), tuple("abcdefghijkl"))
HALVED = Pixels(lambda images: images / 2 + 0.5, lambda images: 2 * images - 1, keeps_scale=True)
FLAT = replace(HALVED, keeps_scale=False)


def images(
    spec: Spec = SPEC, per_class: int = 2, labels: Any = "order", size: tuple[int, int] | None = None, **choices: Any
) -> DistilledSet:
    stored = Images(spec, per_class * spec.classes, size, labels)
    drawn = torch.randn(len(stored), spec.channels, *(size or spec.shape[1:]), generator=stream("export"))
    stored.load_state_dict({**stored.state_dict(), "images": drawn})
    if labels == "soft":
        stored.write_labels(torch.rand(len(stored), spec.classes, generator=stream("labels")))
    elif labels == "ids":
        stored.get_buffer("labels").copy_(torch.arange(len(stored)) % spec.classes)
    return DistilledSet(spec, stored, TrainRecipe(lr=0.25), **choices)


def poster(labels: Any) -> DistilledSet:
    stored = Poster(SPEC, PosterLayout((10, 21), (8, 8), (4, 2), (2, 2)), (2, 0, 3, 1), labels)
    drawn = {name: torch.rand(value.shape, generator=stream(name)) for name, value in stored.state_dict().items()}
    if labels == "probabilities":
        drawn["label_array"] /= drawn["label_array"].sum(1, keepdim=True)
    stored.load_state_dict(drawn)
    return DistilledSet(SPEC, stored, TrainRecipe(), space="zca_kip", network="convnet-d1-w4")


def export(distilled: DistilledSet, form: Format, folder: Path, pixels: Pixels | None = None) -> Exported:
    with torch.no_grad():
        return export_set(distilled, distilled.parameterization.decode(), form, folder, {"cell": "0a1b"}, pixels)


def read(form: Format, folder: Path) -> dict[str, Tensor]:
    if form == "pt":
        found: dict[str, Tensor] = torch.load(folder / "set.pt", weights_only=True)
        return found
    with np.load(folder / "set.npz", allow_pickle=False) as held:
        return {name: torch.from_numpy(held[name]) for name in held.files}


def equal_bytes(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.detach().numpy().tobytes()


@pytest.mark.parametrize("form", ["pt", "npz"])
@pytest.mark.parametrize("labels", ["order", "ids", "soft"])
@pytest.mark.parametrize("size", [None, (5, 6)], ids=["whole", "small"])
def test_stored_images_go_out_as_they_are(form: Format, labels: str, size: tuple[int, int] | None, tmp_path: Path) -> None:
    distilled = images(labels=labels, size=size)
    stored = distilled.parameterization.state_dict()
    export(distilled, form, tmp_path / "new")
    found = read(form, tmp_path / "new")
    assert list(found) == ["images", "labels"]
    assert equal_bytes(found["images"], stored["images"])
    assert equal_bytes(found["labels"], stored.get("labels", torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])))


@pytest.mark.parametrize("form", ["pt", "npz"])
@pytest.mark.parametrize("labels", ["fixed", "learned"])
def test_a_poster_goes_out_as_one_image(form: Format, labels: str, tmp_path: Path) -> None:
    distilled = poster(labels)
    written = export(distilled, form, tmp_path / "new")
    found, stored = read(form, tmp_path / "new"), distilled.parameterization.state_dict()
    assert equal_bytes(found.pop("poster")[0], stored.pop("poster"))
    assert found.keys() == stored.keys()
    assert all(equal_bytes(found[name], stored[name]) for name in found)
    layout = {"patches": "4x2", "class-grid": "2x2", "order": "2-0-3-1", "labels": labels}
    assert written.read_again.items() >= layout.items()


def imported(written: Exported, spec: Spec) -> DistilledSet:
    """Read the first file that was written by the options that were written beside it."""
    options = {name.replace("-", "_"): value for name, value in written.read_again.items()}
    assert options.pop("dataset") == spec.name
    return to_distilled_set(read_release(open_release([written.files[0]]), spec, parse_options(options)))


ROUND_TRIPS: dict[str, DistilledSet] = {
    "by order": images(),
    "by class number": images(labels="ids", network="convnet-d1-w4"),
    "soft labels": images(labels="soft"),
    "small": images(size=(5, 6)),
    "gray": images(GRAY),
    "plain pixels": images(coordinates="rgb", space="zca_kip"),
    "poster": poster("fixed"),
    "poster by area": poster("proportional"),
    "poster of learned labels": poster("learned"),
}


@pytest.mark.parametrize("form", ["pt", "npz"])
@pytest.mark.parametrize("distilled", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
def test_what_goes_out_comes_back_with_equal_bytes(distilled: DistilledSet, form: Format, tmp_path: Path) -> None:
    back = imported(export(distilled, form, tmp_path), distilled.spec)
    before, after = (each.parameterization.state_dict() for each in (distilled, back))
    image = "poster" if "poster" in before else "images"
    assert equal_bytes(before[image], after[image])
    batch, again = distilled.parameterization.decode(), back.parameterization.decode()
    assert equal_bytes(batch.images.detach(), again.images)
    assert equal_bytes(batch.labels.detach(), again.labels)
    for name in ("space", "coordinates", "network", "recipe"):
        assert getattr(back, name) == getattr(distilled, name)


def test_pictures_come_back_with_equal_bytes(tmp_path: Path) -> None:
    """What a picture stores are 256 levels; exported once more, they are the same files."""
    distilled = images(coordinates="rgb")
    with torch.no_grad():
        distilled.parameterization.get_parameter("images").copy_(torch.rand(8, *SPEC.shape, generator=stream("rgb")))
    export(distilled, "images", tmp_path / "first")
    back = to_distilled_set(read_release(open_release([tmp_path / "first"]), SPEC, parse_options({"tiles": "1"})))
    export(back, "images", tmp_path / "second")
    pictures = [file.relative_to(tmp_path / "first") for file in (tmp_path / "first").rglob("*.png")]
    assert len(pictures) == 8
    for file in pictures:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_what_ddranking_takes_comes_back_with_equal_bytes(tmp_path: Path) -> None:
    distilled = images()
    written = export(distilled, "ddranking", tmp_path)
    options = parse_options({"space": "standard", "labels": "ids", "tiles": "1"})
    back = to_distilled_set(read_release(open_release(list(written.files[:2])), SPEC, options))
    assert equal_bytes(back.parameterization.state_dict()["images"], distilled.parameterization.state_dict()["images"])
    assert equal_bytes(back.parameterization.decode().labels, distilled.parameterization.decode().labels)


def test_labels_that_belong_to_patches_go_out_beside_the_poster_and_come_back(tmp_path: Path) -> None:
    distilled = poster("probabilities")
    written = export(distilled, "pt", tmp_path)
    assert equal_bytes(read("pt", tmp_path)["labels"], distilled.parameterization.decode().labels)
    assert equal_bytes(imported(written, distilled.spec).parameterization.decode().labels, distilled.parameterization.decode().labels)
    fewer = {**{name.replace("-", "_"): value for name, value in written.read_again.items() if name != "dataset"}, "patches": "2x2"}
    release = read_release(open_release([written.files[0]]), distilled.spec, parse_options(fewer))
    with pytest.raises(BenchError, match="4 patches of .* check --patches and --crops"):
        to_distilled_set(release)


@pytest.mark.parametrize(("spoil", "complaint"), [(torch.nan, "not finite"), (5.0, "the labels cannot be probabilities")])
def test_labels_of_patches_are_looked_at_as_those_of_images_are(spoil: float, complaint: str, tmp_path: Path) -> None:
    distilled = poster("probabilities")
    with torch.no_grad():
        distilled.parameterization.get_parameter("label_array")[0, 0] = spoil
    written = export(distilled, "pt", tmp_path)
    with pytest.raises(BenchError, match=complaint):
        imported(written, distilled.spec)


def test_rows_beside_a_poster_are_asked_about(tmp_path: Path) -> None:
    distilled = poster("probabilities")
    written = export(distilled, "pt", tmp_path)
    said = {name.replace("-", "_"): value for name, value in written.read_again.items() if name not in ("dataset", "labels")}
    reading = read_release(open_release([written.files[0]]), distilled.spec, parse_options(said))
    assert [question.plausible for question in reading.questions] == [("probabilities", "fixed", "proportional")]


class Doubled(Images):
    """Images that are decoded in a way of their own."""

    def decode(self, index: Tensor | None = None) -> Batch:
        batch = super().decode(index)
        return Batch(2 * batch.images, batch.labels)


def test_a_decoder_that_extends_another_goes_out_decoded(tmp_path: Path) -> None:
    stored = Doubled(SPEC, 4)
    stored.images.data.fill_(0.25)
    export(DistilledSet(SPEC, stored, TrainRecipe()), "pt", tmp_path / "out")
    assert read("pt", tmp_path / "out")["images"].unique().tolist() == [0.5]


def test_about_says_what_the_numbers_are_and_where_they_come_from(tmp_path: Path) -> None:
    distilled = images(labels="ids", network="convnet-d1-w4", coordinates="rgb")
    written = export(distilled, "pt", tmp_path / "new")
    assert written.files == (tmp_path / "new" / "set.pt", tmp_path / "new" / "about.json")
    about = json.loads((tmp_path / "new" / "about.json").read_text())
    content = (tmp_path / "new" / "set.pt").read_bytes()
    assert about["files"] == {"set.pt": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    assert about["provenance"] == {"cell": "0a1b"}
    assert (about["schema"], about["format"], about["dataset"], about["class_names"]) == (1, "pt", "toy", list(SPEC.class_names))
    assert (about["space"], about["coordinates"], about["label_kind"]) == ("standard", "rgb", "probabilities")
    assert about["recipe"]["lr"] == 0.25
    assert about["import"] == dict(written.read_again)
    assert written.read_again["space"] == "rgb:standard"
    assert written.read_again["recipe"].startswith("optimizer=adam,lr=0.25,steps=300")


@pytest.mark.parametrize("form", ["pt", "npz", "ddranking"])
def test_the_same_set_gives_the_same_bytes(form: Format, tmp_path: Path) -> None:
    for name in ("one", "other"):
        export(images(), form, tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == sorted(file.name for file in (tmp_path / "other").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_ddranking_takes_bare_tensors_class_after_class(tmp_path: Path) -> None:
    distilled = images(labels="ids")
    export(distilled, "ddranking", tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"images.pt", "labels.pt", "about.json"}
    found, labels = (torch.load(tmp_path / name, weights_only=True) for name in ("images.pt", "labels.pt"))
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert labels.dtype == torch.int64
    assert equal_bytes(found, distilled.parameterization.state_dict()["images"][[0, 4, 1, 5, 2, 6, 3, 7]])


def test_ddranking_gets_normalised_images_and_soft_labels(tmp_path: Path) -> None:
    distilled = images(coordinates="rgb")
    export(distilled, "ddranking", tmp_path / "plain", HALVED)
    plain = torch.load(tmp_path / "plain" / "images.pt", weights_only=True)
    torch.testing.assert_close(plain, 2 * distilled.parameterization.state_dict()["images"] - 1)
    stored = Images(SPEC, 4, labels="soft")
    rows = torch.tensor([[0.1, 0.7, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7], [0.1, 0.1, 0.7, 0.1]])
    stored.write_labels(rows)
    export(DistilledSet(SPEC, stored, TrainRecipe()), "ddranking", tmp_path / "soft")
    soft = torch.load(tmp_path / "soft" / "soft_labels.pt", weights_only=True)
    assert torch.equal(soft, rows[[1, 0, 3, 2]])


def test_ddranking_refuses_classes_of_different_sizes_and_leaves_nothing(tmp_path: Path) -> None:
    stored = Images(SPEC, 3, labels="ids")
    with pytest.raises(BenchError, match="the same number of images of every class, and this set has from 0 to 3; export it as pt or npz"):
        export(DistilledSet(SPEC, stored, TrainRecipe()), "ddranking", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("spec", [SPEC, GRAY], ids=["colour", "gray"])
def test_pictures_lie_in_a_folder_of_their_class(spec: Spec, tmp_path: Path) -> None:
    distilled = images(spec, labels="order", coordinates="rgb")
    with torch.no_grad():
        distilled.parameterization.get_parameter("images").copy_(torch.rand(2 * spec.classes, *spec.shape, generator=stream("rgb")))
    export(distilled, "images", tmp_path / "new")
    folders = sorted(file.name for file in (tmp_path / "new").iterdir() if file.is_dir())
    assert folders == ([str(k) for k in range(4)] if spec is SPEC else [f"{k:02d}" for k in range(12)])
    stored = (distilled.parameterization.get_parameter("images").detach() * 255).round().to(torch.uint8)
    for number, image in enumerate(stored):
        with Image.open(tmp_path / "new" / folders[number // 2] / f"0000{number % 2}.png") as picture:
            values = torch.from_numpy(np.array(picture)).view(spec.height, spec.width, spec.channels)
        assert torch.equal(values.permute(2, 0, 1), image)
    assert "cut" not in json.loads((tmp_path / "new" / "about.json").read_text())["holds"]


def test_pictures_come_out_of_their_space_and_say_what_was_lost(tmp_path: Path) -> None:
    distilled = images(labels="soft")
    export(distilled, "images", tmp_path / "kept", HALVED)
    export(distilled, "images", tmp_path / "stretched", FLAT)
    kept, stretched = (json.loads((tmp_path / name / "about.json").read_text())["holds"] for name in ("kept", "stretched"))
    assert "taken out of the space standard" in kept
    assert "% of the pixels lay outside and were cut" in kept
    assert "keeps no brightness and contrast, so all are stretched alike: to look at, not to train on" in stretched
    labels = distilled.parameterization.decode().labels.detach()
    rows = torch.from_numpy(np.load(tmp_path / "kept" / "labels.npy", allow_pickle=False))
    assert torch.equal(rows, labels[labels.argmax(1).argsort(stable=True)])


def test_pictures_of_other_channels_are_refused(tmp_path: Path) -> None:
    spec = Spec("two", 2, (2, 8, 8), ("a", "b"))
    with pytest.raises(BenchError, match="pictures have 1 or 3 channels, and two has 2"):
        export(images(spec, coordinates="rgb"), "images", tmp_path / "new")


def test_a_folder_below_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BenchError, match="cannot be a folder"):
        export(images(), "pt", tmp_path / "file" / "out")


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    for place in (tmp_path, tmp_path / "mine"):
        with pytest.raises(BenchError, match="is there already and not an empty folder; name another one with --to, or remove it"):
            export(images(), "pt", place)
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "kept"
