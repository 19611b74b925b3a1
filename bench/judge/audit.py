"""Counts the reloaded set and refuses what breaks a rule. docs/protocols.md says every rule in plain words.

The rules in the order they are applied: what is declared, nothing beside it (``hiding``), how much of it, what it
decodes to, and whether the decoder answers to its numbers as a decoder does (``probes``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..budget import Budget
from ..data import Batch
from ..distilled import DistilledSet
from ..errors import BenchError, RejectedSet
from ..nn.augment import parse_strategy
from ..nn.networks import build_network
from ..nn.spaces import SPACES
from ..train_recipe import TrainRecipe
from .decoding import decode_closed, rebuilt
from .geometry import surplus_numbers
from .hiding import check_nothing_hidden, check_program
from .places import check_places
from .probes import probe

_MAX_RECIPE_SCALARS = 8
_ROLES = ("image", "label", "other")


@dataclass(frozen=True)
class Examination:
    """What the audit found.

    Attributes:
        counts: the numbers for the record.
        batch: all images and labels, decoded under the guard.
    """

    counts: dict[str, Any]
    batch: Batch


def audit(distilled: DistilledSet, budget: Budget) -> dict[str, Any]:
    """Count a set that was loaded from disk: ``pixels``, ``effective_ipc``, numbers of each role, bytes, images.

    Labels beyond ``budget.free_labels`` are charged like the other numbers.

    Raises:
        RejectedSet: a rule is broken; one sentence says which one and by how much.
    """
    return examine(distilled, budget).counts


def examine(distilled: DistilledSet, budget: Budget) -> Examination:
    """Audit as ``audit`` does, and keep the images that were decoded on the way.

    Raises:
        RejectedSet: a rule is broken.
    """
    _check_recipe(distilled)
    tensors = _declared(distilled)
    check_nothing_hidden(distilled.parameterization)
    _check_values(tensors, distilled)
    counts = _count(tensors, distilled, budget)
    first = rebuilt(distilled)
    check_nothing_hidden(first.parameterization)
    batch = decode_closed(first.parameterization)
    check_program(type(first.parameterization))  # once more, as decoding may have imported a neighbour; an instance may keep a cache
    _check_batch(batch, first)
    _check_same_tensors(tensors, first.parameterization.state_dict())
    _check_same(batch, decode_closed(first.parameterization), "decoding the set twice gives different images")
    _check_same(batch, decode_closed(rebuilt(distilled).parameterization), "the set decodes differently after it is rebuilt")
    counts["images"] = len(batch.images)
    probe(first, batch)
    return Examination(counts, batch)


def _check_recipe(distilled: DistilledSet) -> None:
    recipe = distilled.recipe
    if type(recipe) is not TrainRecipe:
        raise RejectedSet(f"the recipe is a {type(recipe).__name__}; it must be a TrainRecipe with its own fields and no others")
    if recipe.scalars() > _MAX_RECIPE_SCALARS:
        raise RejectedSet(f"the recipe carries {recipe.scalars()} numbers; at most {_MAX_RECIPE_SCALARS} are allowed")
    if problems := recipe.problems():
        raise RejectedSet(problems[0])
    if distilled.space not in SPACES:
        raise RejectedSet(f"the pixel space '{distilled.space}' does not exist; it must be one of {', '.join(SPACES)}")
    try:
        parse_strategy(recipe.augmentation)
        if distilled.network:
            build_network(distilled.network, distilled.spec)
    except BenchError as error:
        raise RejectedSet(str(error)) from error


def _declared(distilled: DistilledSet) -> dict[str, Tensor]:
    """Return the stored tensors, each of which has a role that its class declares."""
    parameterization = distilled.parameterization
    tensors = {key: tensor.detach() for key, tensor in parameterization.state_dict().items()}
    roles = type(parameterization).roles
    if dict(parameterization.roles) != dict(roles):
        raise RejectedSet("the roles of the tensors differ from those its class declares")
    for key in tensors:
        if roles.get(key) not in _ROLES:
            raise RejectedSet(f"tensor '{key}' has no declared role; every stored tensor is an image, a label or an other one")
    owned = {key for key, _ in parameterization.named_parameters(remove_duplicate=False)}
    owned |= {key for key, _ in parameterization.named_buffers(remove_duplicate=False)}
    if unstored := sorted(owned - set(tensors)):
        raise RejectedSet(f"tensor '{unstored[0]}' is on the module but not in its state; every tensor is stored and counted")
    return tensors


def _check_values(tensors: Mapping[str, Tensor], distilled: DistilledSet) -> None:
    roles, spec = type(distilled.parameterization).roles, distilled.spec
    check_places({key: tensor for key, tensor in tensors.items() if tensor.dtype == torch.int16 and roles[key] == "other"}, spec)
    for key, tensor in tensors.items():
        if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
            raise RejectedSet(f"tensor '{key}' is {tensor.dtype} {tensor.layout}; store plain dense real numbers")
        if tensor.is_floating_point():
            if not torch.isfinite(tensor).all():
                raise RejectedSet(f"tensor '{key}' holds numbers that are not finite")
        elif roles[key] == "label":
            if tensor.numel() and not (tensor.min() >= 0 and tensor.max() < spec.classes):
                raise RejectedSet(f"tensor '{key}' holds class numbers outside 0 to {spec.classes - 1}")
        elif tensor.dtype not in (torch.uint8, torch.bool) and (tensor.dtype, roles[key]) != (torch.int16, "other"):
            raise RejectedSet(f"tensor '{key}' is {tensor.dtype}; whole numbers that are neither labels nor places are stored as uint8")


def _count(tensors: Mapping[str, Tensor], distilled: DistilledSet, budget: Budget) -> dict[str, Any]:
    spec, roles = distilled.spec, type(distilled.parameterization).roles
    numbers = {role: sum(t.numel() for key, t in tensors.items() if roles[key] == role) for role in _ROLES}
    numbers["other"] += surplus_numbers(distilled.parameterization.config(), spec.classes)
    charged = budget.charged_labels(numbers["label"])
    pixels = _pixels(numbers["image"] + numbers["other"] + charged, spec.channels)
    if pixels > budget.pixels:
        labels = f", {charged} of its {numbers['label']} label numbers included ({budget.free_labels} are free)" if charged else ""
        raise RejectedSet(f"the set stores {pixels} pixel-equivalents{labels}; the budget of {budget.requested} allows {budget.pixels}")
    scalars = distilled.recipe.scalars()
    return {
        "pixels": pixels,
        "px_with_labels": _pixels(sum(numbers.values()), spec.channels),
        "effective_ipc": budget.effective_ipc(pixels),
        "image_numbers": numbers["image"],
        "label_numbers": numbers["label"],
        "charged_labels": charged,
        "other_numbers": numbers["other"],
        "recipe_scalars": scalars,
        "bytes": sum(t.numel() * t.element_size() for t in tensors.values()) + 4 * scalars,
    }


def _pixels(numbers: int, channels: int) -> int:
    """Return the pixels that hold so many numbers; one that is only partly filled counts whole."""
    return -(-numbers // channels)


def _check_batch(batch: Batch, distilled: DistilledSet) -> None:
    spec, count = distilled.spec, len(distilled.parameterization)
    if count < 1 or batch.images.shape != (count, *spec.shape) or batch.labels.shape != (count, spec.classes):
        raise RejectedSet(
            f"the set says it holds {count} images and decodes to images {tuple(batch.images.shape)} and labels "
            f"{tuple(batch.labels.shape)}; needed are ({count}, {', '.join(map(str, spec.shape))}) and ({count}, {spec.classes})"
        )
    if distilled.parameterization.channels != spec.channels:
        raise RejectedSet(f"the decoder says it has {distilled.parameterization.channels} channels; {spec.name} has {spec.channels}")
    if not torch.isfinite(batch.images).all() or not torch.isfinite(batch.labels).all():
        raise RejectedSet("the set decodes to numbers that are not finite")
    kind, sums = distilled.parameterization.label_kind, batch.labels.sum(1)
    if kind not in ("probabilities", "weights", "centred"):
        raise RejectedSet(f"labels of kind {kind!r} do not exist; they are probabilities, weights or centred")
    if kind != "centred" and float(batch.labels.min()) < -1e-6:
        raise RejectedSet(f"labels declared as {kind} go down to {float(batch.labels.min()):.3g}; they must not be negative")
    wanted = 1.0 if kind == "probabilities" else 0.0
    scale = 1.0 if kind == "probabilities" else max(1.0, float(batch.labels.abs().max()))
    if kind != "weights" and float((sums - wanted).abs().max()) > 1e-3 * scale:
        raise RejectedSet(f"labels declared as {kind} must sum to {wanted:g}; one row is off by {float((sums - wanted).abs().max()):.3g}")
    if kind == "centred" and distilled.recipe.loss == "cross_entropy":
        raise RejectedSet("the labels are centred and the recipe's loss is cross_entropy, which has no lower bound for them; use loss mse")


def _check_same(one: Batch, other: Batch, found: str) -> None:
    if not torch.equal(one.images, other.images) or not torch.equal(one.labels, other.labels):
        raise RejectedSet(f"{found}; a decoder gives the same images every time")


def _check_same_tensors(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    if set(before) != set(after) or not all(torch.equal(before[key], after[key]) for key in before):
        raise RejectedSet("decoding changes the stored tensors; a decoder only reads them")
