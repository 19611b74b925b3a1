"""A manifest may ask a shipped decoder for anything; what cannot be is refused before room is made for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import DistilledSet, Parameterization, RejectedSet, Spec, TrainRecipe
from bench.decoders.images import Images
from bench.decoders.poster import Poster
from bench.decoders.poster_layout import PosterLayout
from bench.manifest import MANIFEST

SPEC = Spec("digits", 10, (1, 8, 8), tuple("0123456789"), mirror=False)


def poster(labels: Any = "learned") -> Poster:
    return Poster(SPEC, PosterLayout((12, 16), (8, 8), (9, 5), (5, 2)), list(range(10)), labels)


def load(folder: Path, stored: Parameterization, **changes: Any) -> DistilledSet:
    """Save a set, change its config, and load it."""
    DistilledSet(SPEC, stored, TrainRecipe()).save(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["config"].update(changes)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return DistilledSet.load(folder, SPEC)


ODD = (0, -1, -(10**9), 10**6, 10**9, 2**63, 10**400, 1e300, 2.5, True, "8", "\x00", None, [], {}, [[8]], [8, 8, 8], "learned" * 10**4)
IMAGES: dict[str, Any] = {"count": 20, "size": [4, 8], "labels": "soft"}
POSTER: dict[str, Any] = poster().config()


def variants(config: dict[str, Any]) -> list[Any]:
    """Every field, and every item of a list, replaced by odd values."""
    found = []
    for name, value in config.items():
        found += [pytest.param({name: odd}, id=f"{name}={str(odd)[:12]!r}-{type(odd).__name__}") for odd in ODD if odd != value]
        if isinstance(value, list):
            for place in (0, 1):
                changed = [[*value[:place], odd, *value[place + 1 :]] for odd in ODD]
                found += [
                    pytest.param({name: c}, id=f"{name}.{place}={str(c[place])[:12]!r}-{type(c[place]).__name__}")
                    for c in changed
                    if c != value
                ]
    return found


@pytest.mark.parametrize("changes", variants(IMAGES))
def test_odd_configs_of_images_are_rejected(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(RejectedSet):
        load(tmp_path, Images(SPEC, count=20, size=(4, 8), labels="soft"), **changes)


@pytest.mark.parametrize("changes", variants(POSTER))
def test_odd_configs_of_posters_are_rejected(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(RejectedSet):
        load(tmp_path, poster(), **changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patch_grid": [10, 5]}, "grids of 10x5 and 5x2 do not fit a poster with room for 9x5 patches"),
        ({"patch_grid": [10**9, 10**9]}, "do not fit a poster with room for 9x5 patches"),
        ({"class_grid": [0, 2]}, "do not fit a poster"),
        ({"class_grid": [-5, -2]}, "do not fit a poster"),
        ({"class_grid": [11, 1]}, "a class grid of 11x1 with 1 cells a side does not give each of 10 classes one"),
        ({"label_cells": 0}, "with 0 cells a side"),
        ({"size": [10**6, 10**6]}, "tensor 'poster' is (1, 12, 16), declared is (1, 1000000, 1000000)"),
        ({"size": [4, 48]}, "tensor 'poster' is (1, 12, 16), declared is (1, 4, 48)"),
    ],
)
def test_the_geometry_of_a_poster_that_cannot_be_is_told(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RejectedSet) as told:
        load(tmp_path, poster("fixed"), **changes)
    assert words in str(told.value)


@pytest.mark.parametrize(
    "stored", [poster("fixed"), poster("learned"), *(Images(SPEC, 20, (4, 8), form) for form in ("order", "ids", "soft"))]
)
def test_the_shapes_of_a_config_are_those_of_the_rebuilt_tensors(stored: Parameterization) -> None:
    assert type(stored).shapes(stored.config(), SPEC) == {key: tuple(tensor.shape) for key, tensor in stored.state_dict().items()}


def test_no_room_is_made_for_what_the_file_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Images(SPEC, count=20, labels="ids")
    monkeypatch.setattr(torch, "zeros", lambda *shape, **_: pytest.fail(f"made room for {shape}"))
    with pytest.raises(RejectedSet, match=r"tensor '(images|labels)' is \(20,.*declared is \(1000000000"):
        load(tmp_path, stored, count=10**9)
