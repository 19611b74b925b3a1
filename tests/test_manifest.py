"""The set format: sets of every version are read, and its JSON Schema is the one in the repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import DistilledSet, Images, Parameterization, RejectedSet, Spec, TrainRecipe
from bench.decoders.poster import Poster
from bench.keys import readable_json
from bench.manifest import SCHEMA, VERSIONS, json_schema, read_manifest

SETS = Path(__file__).parent / "fixtures" / "sets"
SCHEMAS = Path(__file__).parent.parent / "docs" / "schemas"
SPEC = Spec("toy", 2, (1, 4, 4), ("one", "other"))


def test_there_is_a_set_of_every_version() -> None:
    assert sorted(folder.name for folder in SETS.iterdir()) == [f"v{version}" for version in VERSIONS]
    for version in VERSIONS:
        assert json.loads((SETS / f"v{version}" / "manifest.json").read_text())["schema"] == version


@pytest.mark.parametrize("version", VERSIONS)
def test_a_set_of_every_version_is_read(version: int) -> None:
    found = DistilledSet.load(SETS / f"v{version}", SPEC)
    batch = found.parameterization.decode()
    assert torch.equal(batch.images.detach(), torch.arange(32).view(2, 1, 4, 4) / 16 - 1)
    assert batch.labels.tolist() == [[0.75, 0.25], [0.0, 2.0]]
    expected = TrainRecipe("sgd", lr=0.05, steps=20, momentum=0.9, schedule="cosine", augmentation="crop", loss="cross_entropy")
    assert found.recipe == expected
    assert (found.space, found.coordinates, found.network, found.notes) == ("standard", "rgb", "convnet-d1-w4", {"made by": "ddbench"})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_set_of_every_version_is_written_again_as_one_of_this_version(version: int, tmp_path: Path) -> None:
    DistilledSet.load(SETS / f"v{version}", SPEC).save(tmp_path)
    for name in ("manifest.json", "tensors.safetensors"):
        assert (tmp_path / name).read_bytes() == (SETS / f"v{SCHEMA}" / name).read_bytes()


@pytest.mark.parametrize("kind", [Images, Poster])
def test_the_description_is_of_the_versions_that_are_here(kind: type[Parameterization]) -> None:
    text = (SCHEMAS.parent / "results.md").read_text(encoding="utf-8")
    assert f"| `{kind.name}`, version {kind.version} |" in text


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a version to come": ({"schema": 3}, "is not of schema 2"),
    "a version before the first": ({"schema": 0}, "is not of schema 2"),
    "no recipe": ({"recipe": None}, "is not of schema 2"),
    "a field of another version": ({"recipe": {"loss": "mse"}}, "is not of schema 2"),
    "an unknown field": ({"colour": 1}, "colour is not a field of it"),
}


@pytest.mark.parametrize(("change", "complaint"), BROKEN.values(), ids=BROKEN)
def test_a_manifest_of_the_first_version_is_checked_as_any_other(change: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    shutil.copytree(SETS / "v1", tmp_path / "set")
    file = tmp_path / "set" / "manifest.json"
    raw = json.loads(file.read_text())
    file.write_text(json.dumps({**raw, **change}))
    with pytest.raises(RejectedSet, match=complaint):
        read_manifest(tmp_path / "set")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_json_schema_in_the_repository_is_current(version: int) -> None:
    """Write it again with ``python -c "from bench.manifest import ...; print(readable_json(json_schema(2)), end='')"``."""
    assert (SCHEMAS / f"set-{version}.json").read_text() == readable_json(json_schema(version))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_json_schema_names_what_a_set_has(version: int) -> None:
    schema = json_schema(version)
    raw = json.loads((SETS / f"v{version}" / "manifest.json").read_text())
    for part, found in ((schema, raw), (schema["properties"]["recipe"], raw["recipe"])):
        assert set(part["required"]) == set(part["properties"]) == set(found)
        assert part["additionalProperties"] is False
    assert schema["properties"]["schema"] == {"const": raw["schema"]}
    assert raw["recipe"]["schedule"] in schema["properties"]["recipe"]["properties"]["schedule"]["enum"]
