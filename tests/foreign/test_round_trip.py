"""What ``export`` writes, ``import`` reads by the options that ``export`` names: every stored number comes back with the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign.conftest import Read

from bench import DistilledSet, Parameterization, Spec, TrainRecipe
from bench.decoders.images import Images
from bench.decoders.poster import Poster
from bench.decoders.poster_layout import PosterLayout
from bench.foreign.conversion import to_distilled_set
from bench.foreign.export import export_set

SPEC = Spec("digits", 10, (1, 8, 8), tuple(map(str, range(10))))
LAYOUT = PosterLayout((16, 40), (8, 8), (6, 3), (5, 2))
TORUS = PosterLayout((16, 40), (8, 8), (7, 4), (5, 2), toroidal=True)
ORDER = (0, 8, 5, 7, 4, 1, 9, 3, 2, 6)


def filled(stored: Parameterization, labels: str) -> Parameterization:
    draws = torch.Generator().manual_seed(0)
    for name, tensor in stored.state_dict().items():
        if name == "labels" and labels == "ids":
            tensor.copy_(torch.arange(len(tensor)).flip(0) % 10)
        elif name in ("labels", "label_array"):
            rows = torch.rand(tensor.shape, generator=draws)
            tensor.copy_(
                rows - rows.mean(1, keepdim=True)
                if labels == "centred"
                else rows / rows.sum(1, keepdim=True)
                if labels == "probabilities"
                else rows
            )
        else:
            tensor.copy_(torch.rand(tensor.shape, generator=draws))
    return stored


STORED: dict[str, tuple[Parameterization, str]] = {
    **{f"images, {form}": (Images(SPEC, 20, labels=form), form) for form in ("ids", "soft", "probabilities", "centred")},  # type: ignore[arg-type]
    "smaller images": (Images(SPEC, 10, (4, 4), "ids"), "ids"),
    "poster, fixed": (Poster(SPEC, LAYOUT, ORDER), ""),
    "poster, proportional": (Poster(SPEC, LAYOUT, ORDER, "proportional"), ""),
    "poster, learned": (Poster(SPEC, LAYOUT, ORDER, "learned"), ""),
    "poster, a row for each patch": (Poster(SPEC, LAYOUT, ORDER, "probabilities"), "probabilities"),
    "toroidal poster": (Poster(SPEC, TORUS, ORDER, "proportional"), ""),
    "toroidal poster, a row for each patch": (Poster(SPEC, TORUS, ORDER, "probabilities"), "probabilities"),
}


@pytest.mark.parametrize("form", ["pt", "npz"])
@pytest.mark.parametrize("coordinates", ["space", "rgb"])
@pytest.mark.parametrize("name", STORED)
def test_a_set_comes_back(tmp_path: Path, read: Read, name: str, coordinates: Any, form: Any) -> None:
    stored = filled(*STORED[name])
    recipe = TrainRecipe(lr=0.02, steps=70, augmentation="rotate", loss="mse" if stored.label_kind == "centred" else "cross_entropy")
    made = DistilledSet(SPEC, stored, recipe, space="zca_kip", coordinates=coordinates, network="convnet-d2-w32")
    written = export_set(made, stored.decode(), form, tmp_path / "export", {})
    options = {option.replace("-", "_"): value for option, value in written.read_again.items() if option != "dataset"}
    again = to_distilled_set(read([written.files[0]], **options))
    assert (again.recipe, again.space, again.coordinates, again.network) == (made.recipe, made.space, coordinates, made.network)
    assert again.parameterization.config() == stored.config()
    for key, tensor in stored.state_dict().items():
        assert torch.equal(again.parameterization.state_dict()[key], tensor)
