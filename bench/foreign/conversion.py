"""From a reading to a set of this suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..decoders.images import Images, LabelForm
from ..decoders.poster import Poster
from ..decoders.poster_layout import PosterLayout
from ..distilled import DistilledSet
from ..errors import BenchError
from ..imported_set import ORIGIN
from ..nn.augment import parse_strategy
from ..nn.networks import check_network_name
from ..parameterization import Parameterization
from ..train_recipe import TrainRecipe
from .labels import as_rows
from .pixel_space import pixel_space
from .reading import Reading


def to_distilled_set(reading: Reading) -> DistilledSet:
    """Make a set of this suite of what was read; its notes say where it comes from and how it was understood.

    Raises:
        BenchError: something about it is not known, its network or its augmentation does not exist, or the parts of a poster do not fit
            together.
    """
    reading.require_settled()
    if reading.options.network:
        check_network_name(reading.options.network)
    space = pixel_space(reading.options.space, reading.spec.channels)
    images = space.kept(reading.images)
    stored = _poster(reading, images) if reading.layout == "poster" else _images(reading, images)
    return DistilledSet(
        spec=reading.spec,
        parameterization=stored,
        recipe=recipe_of(reading, centred=stored.label_kind == "centred"),
        space=space.seen,
        coordinates=space.coordinates,
        network=reading.options.network,
        notes={ORIGIN: origin_of(reading)},
    )


def recipe_of(reading: Reading, centred: bool) -> TrainRecipe:
    """Return how students train on it by its own recipe: as was said, at its learned rate, and with the loss of its labels.

    Raises:
        BenchError: there is no such augmentation.
    """
    given = dict(reading.options.recipe)
    recipe = TrainRecipe() if reading.rate is None else TrainRecipe(optimizer="sgd", momentum=0.9, lr=reading.rate)
    recipe = replace(recipe, **given)
    parse_strategy(recipe.augmentation)
    return replace(recipe, loss="mse") if centred and "loss" not in given else recipe


def origin_of(reading: Reading) -> dict[str, Any]:
    """Return files with their checksums, what was said of them, and how they were understood, as plain JSON."""
    return {
        "files": [{"name": name, **known} for name, known in reading.release.checksums.items()],
        "options": reading.options.given(),
        "evidence": [f"{topic}: {sentence}" for topic, sentence in reading.evidence],
        "left out": list(reading.left_out),
    }


#: Kind of labels that are rows -> how they are stored; logits are probabilities by then.
_ROW_FORMS: Mapping[str, LabelForm] = {
    "one_hot": "probabilities",
    "probabilities": "probabilities",
    "logits": "probabilities",
    "weights": "soft",
    "centred": "centred",
}


def _images(reading: Reading, images: Tensor) -> Images:
    kind, labels = reading.options.labels, reading.labels
    tiles = reading.options.tiles or 1
    if tiles > 1:
        images = _cut(images, tiles)
        labels = None if labels is None else np.repeat(labels, tiles * tiles, axis=0)
    form: LabelForm = "order" if labels is None else "ids" if labels.ndim == 1 else _ROW_FORMS[kind]
    stored = Images(reading.spec, len(images), (images.shape[2], images.shape[3]), form)
    stored.images.data.copy_(images)
    if labels is not None and form == "ids":
        stored.get_buffer("labels").copy_(torch.from_numpy(labels.astype(np.int64)))
    elif labels is not None:
        stored.get_parameter("labels").data.copy_(torch.from_numpy(as_rows(labels, kind)))
    return stored


def _cut(images: Tensor, tiles: int) -> Tensor:
    """Cut (n, c, h, w) images into (n·tiles², c, h/tiles, w/tiles) tiles, those of an image together, row after row.

    IDC upsamples every tile bilinearly to a full image, which is what smaller images are for this suite.
    """
    cut = images.unflatten(2, (tiles, -1)).unflatten(4, (tiles, -1))  # (n, c, rows, h', columns, w')
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).contiguous()


def _poster(reading: Reading, images: Tensor) -> Parameterization:
    options, spec = reading.options, reading.spec
    assert options.patches is not None and options.class_grid is not None  # noqa: PT018 - settled
    size, toroidal = (images.shape[2], images.shape[3]), options.crops == "toroidal"
    layout = PosterLayout(size, spec.shape[1:], options.patches, options.class_grid, toroidal)
    order = range(spec.classes) if isinstance(options.order, str) else options.order
    grid = None
    if reading.label_array is not None:
        rows, columns = reading.label_array.shape[1:]
        grid = None if (columns, rows) == options.class_grid else (columns, rows)
    stored = Poster(spec, layout, tuple(order), options.labels, label_grid=grid)  # type: ignore[arg-type]
    stored.poster.data.copy_(images[0])
    if options.labels == "probabilities":
        stored.write_labels(_patch_labels(reading, len(stored)))
    elif stored.label_array is not None and reading.label_array is not None:
        stored.label_array.data.copy_(torch.from_numpy(reading.label_array.astype(np.float32)).clamp_min(0.0))
    return stored


def _patch_labels(reading: Reading, patches: int) -> Tensor:
    """Return the (n, C) labels of a poster's patches.

    Raises:
        BenchError: there are none, not one row for each patch and one number for each class, or they are no probabilities.
    """
    rows, classes = reading.labels, reading.spec.classes
    if rows is None or rows.shape != (patches, classes):
        found = "none" if rows is None else "x".join(map(str, rows.shape))
        raise BenchError(
            f"{patches} patches of {classes} classes have {patches}x{classes} labels, found {found}; check --patches and --crops"
        )
    return torch.from_numpy(as_rows(rows, "probabilities"))
