"""The artefact on disk: byte-identical round trip, and nothing is believed that a file says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench import PARAMETERIZATIONS, Batch, DistilledSet, Parameterization, RejectedSet, Spec, TrainRecipe
from bench.distilled import MANIFEST, TENSORS

SPEC = Spec("toy", 2, (1, 2, 3), ("a", "b"))


class Rows(Parameterization):
    """Stores images and labels as they are."""

    name = "rows_of_a_test"
    roles: Mapping[str, Any] = {"images": "image", "labels": "label"}
    channels = 1

    def __init__(self, count: int) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.arange(count * 6.0).view(count, 1, 2, 3))
        self.register_buffer("labels", torch.eye(2).repeat(count, 1)[:count])

    def config(self) -> dict[str, Any]:
        return {"count": len(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], spec: Spec) -> Rows:
        return cls(config["count"])

    def __len__(self) -> int:
        return len(self.images)

    def decode(self, index: Tensor | None = None) -> Batch:
        return Batch(self.images, self.labels)

    def write(self, images: Tensor, labels: Tensor) -> None:
        self.images.data.copy_(images)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PARAMETERIZATIONS, "_entries", {**PARAMETERIZATIONS._entries, "rows_of_a_test": Rows})


@pytest.fixture
def original() -> DistilledSet:
    recipe = TrainRecipe(lr=0.1 + 0.2, steps=7, momentum=1 / 3, loss="mse")
    return DistilledSet(SPEC, Rows(4), recipe, space="zca_kip", coordinates="rgb", network="convnet-d1-w4", notes={"order": [1, 0]})


def test_round_trip_is_identical_to_the_last_bit(original: DistilledSet, tmp_path: Path) -> None:
    original.save(tmp_path)
    again = DistilledSet.load(tmp_path, SPEC)
    assert again.manifest() == original.manifest()
    assert again.recipe == original.recipe
    for key, tensor in original.parameterization.state_dict().items():
        assert torch.equal(again.parameterization.state_dict()[key], tensor)
    again.save(tmp_path / "second")
    for name in (MANIFEST, TENSORS):
        assert (tmp_path / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "second", TENSORS]  # no scratch file is left


def test_saving_twice_into_one_folder_replaces(original: DistilledSet, tmp_path: Path) -> None:
    original.save(tmp_path)
    replace(original, parameterization=Rows(2)).save(tmp_path)
    assert len(DistilledSet.load(tmp_path, SPEC).parameterization) == 2


def edit_manifest(folder: Path, **changes: Any) -> None:
    raw = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**raw, **changes}))


def edit_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / TENSORS)
    change(tensors)
    save_file(tensors, folder / TENSORS)


RECIPE = asdict(TrainRecipe())
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda f: (f / MANIFEST).unlink(), "cannot be read"),
    "torn manifest": (lambda f: (f / MANIFEST).write_bytes((f / MANIFEST).read_bytes()[:50]), "cannot be used: it is no JSON: EOF"),
    "binary manifest": (lambda f: (f / MANIFEST).write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    "another schema": (lambda f: edit_manifest(f, schema=1), "not of schema 2"),
    "a list": (lambda f: (f / MANIFEST).write_text("[]"), "should be a JSON object"),
    "a surplus key": (lambda f: edit_manifest(f, teacher="resnet"), "teacher is not a field of it"),
    "another data set": (lambda f: edit_manifest(f, dataset="mnist"), "the set is for dataset 'mnist'"),
    "another shape": (lambda f: edit_manifest(f, shape=[1, 2, 4]), "the set is for shape"),
    "an unknown decoder": (lambda f: edit_manifest(f, parameterization="os.system"), "not registered"),
    "another version": (lambda f: edit_manifest(f, version=9), "written by version 9"),
    "a senseless config": (lambda f: edit_manifest(f, config={"rows": 4}), "cannot be used: KeyError"),
    "a config of another type": (lambda f: edit_manifest(f, config=None), "config is None; it should be a JSON object"),
    "a config of another size": (lambda f: edit_manifest(f, config={"count": 3}), "declared is"),
    "a ninth scalar": (lambda f: edit_manifest(f, recipe={**RECIPE, "epsilon": 0.1}), "differs in epsilon"),
    "a field less": (lambda f: edit_manifest(f, recipe={"lr": 0.1}), "it differs in"),
    "a rate that is not finite": (lambda f: edit_manifest(f, recipe={**RECIPE, "lr": float("nan")}), "recipe.lr is nan; it must be finite"),
    "a negative rate": (lambda f: edit_manifest(f, recipe={**RECIPE, "lr": -1.0}), "recipe lr is -1"),
    "half a step": (lambda f: edit_manifest(f, recipe={**RECIPE, "steps": 1.5}), "recipe steps is 1.5"),
    "an unknown optimizer": (lambda f: edit_manifest(f, recipe={**RECIPE, "optimizer": "lion"}), "recipe optimizer is 'lion'"),
    "an unknown loss": (
        lambda f: edit_manifest(f, recipe={**RECIPE, "loss": "hinge"}),
        "recipe loss is 'hinge'; it should be 'cross_entropy' or 'mse'",
    ),
    "text as a rate": (lambda f: edit_manifest(f, recipe={**RECIPE, "lr": "0.1"}), "recipe lr is '0.1'"),
    "a rate of 400 digits": (lambda f: edit_manifest(f, recipe={**RECIPE, "lr": 10**400}), "recipe lr is 1000"),
    "a list as decoder": (lambda f: edit_manifest(f, parameterization=[{}]), r"parameterization is \[\{\}\]; it should be a text"),
    "a dataset that is null": (lambda f: edit_manifest(f, dataset=None), "dataset is None; it should be a text"),
    "classes as text": (lambda f: edit_manifest(f, classes="2"), "classes is '2'; it should be a whole number"),
    "a fourth side": (lambda f: edit_manifest(f, shape=[1, 2, 3, 4]), "shape is"),
    "half a surrogate": (lambda f: edit_manifest(f, space="\ud800"), "it is no JSON"),
    "infinity in the notes": (lambda f: edit_manifest(f, notes={"a": [float("inf")]}), "notes.a.0 is inf; it must be finite"),
    "infinity in the config": (
        lambda f: (f / MANIFEST).write_text((f / MANIFEST).read_text().replace('"count": 4', '"count": 1e999')),
        "config.count is inf; it must be finite",
    ),
    "deep brackets": (lambda f: (f / MANIFEST).write_text("[" * 10**5), "it is no JSON: recursion limit exceeded"),
    "a number of many digits": (lambda f: (f / MANIFEST).write_text("9" * 10**5), "it is no JSON: number out of range"),
    "a pipe": (lambda f: ((f / MANIFEST).unlink(), os.mkfifo(f / MANIFEST)), "it is not a regular file"),
    "a pipe as tensors": (lambda f: ((f / TENSORS).unlink(), os.mkfifo(f / TENSORS)), "it is not a regular file"),
    "a device as tensors": (lambda f: ((f / TENSORS).unlink(), (f / TENSORS).symlink_to("/dev/zero")), "it is not a regular file"),
    "a folder as tensors": (lambda f: ((f / TENSORS).unlink(), (f / TENSORS).mkdir()), "cannot be read"),
    "coordinates": (lambda f: edit_manifest(f, coordinates="lab"), "coordinates"),
    "notes": (lambda f: edit_manifest(f, notes=[1]), "notes"),
    "no tensors": (lambda f: (f / TENSORS).unlink(), "cannot be read"),
    "torn tensors": (lambda f: (f / TENSORS).write_bytes((f / TENSORS).read_bytes()[:-3]), "cannot be read"),
    "empty tensors": (lambda f: (f / TENSORS).write_bytes(b""), "cannot be read"),
    "a pickle": (lambda f: torch.save({"images": torch.zeros(1)}, f / TENSORS), "cannot be read"),
    "a surplus tensor": (lambda f: edit_tensors(f, lambda t: t.update(extra=torch.zeros(1))), "differ: extra"),
    "a missing tensor": (lambda f: edit_tensors(f, lambda t: t.pop("labels")), "differ: labels"),
    "another dtype": (lambda f: edit_tensors(f, lambda t: t.update(images=t["images"].double())), "torch.float64"),
    "another shape of a tensor": (lambda f: edit_tensors(f, lambda t: t.update(labels=t["labels"][:3].clone())), r"\(3, 2\)"),
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_set_is_rejected_with_a_sentence(
    original: DistilledSet, tmp_path: Path, damage: Callable[[Path], object], complaint: str
) -> None:
    original.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(RejectedSet, match=complaint):
        DistilledSet.load(tmp_path, SPEC)


def test_a_recipe_holds_no_more_than_eight_scalars() -> None:
    assert TrainRecipe().scalars() == 5
    assert TrainRecipe().problems() == []


def test_pixels_count_everything_but_labels() -> None:
    assert Rows(4).pixels == 4 * 6


def test_a_rebuilt_config_that_is_not_json_is_rejected(original: DistilledSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original.save(tmp_path)
    monkeypatch.setattr(Rows, "config", lambda self: {"count": 4, "scale": float("nan")})
    with pytest.raises(RejectedSet, match="cannot be used: ValueError"):
        DistilledSet.load(tmp_path, SPEC)
