"""Selections: which real images a form starts from, or keeps. A coreset is a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from safetensors.torch import load_file
from torch import Tensor

from .prerequisite import Need


class Select(Protocol):
    """Picks a training image for every slot. Registered in ``SELECTIONS``."""

    def __call__(self, features: Tensor | None, labels: Tensor, slots: Tensor, generator: object) -> Tensor:
        """Return the (m,) indices of the chosen training images.

        Args:
            features: (n, d) features of all training images, or ``None`` for a selection that does not look at any.
            labels: (n,) classes of the training images.
            slots: (m,) wanted classes; equal ones are consecutive.
            generator: a ``torch.Generator``, the only source of randomness.
        """
        ...


Chosen = TypeVar("Chosen", bound=Callable[..., Tensor])


def on_features(select: Chosen) -> Chosen:
    """Mark a selection as one that looks at features: a decorator beside ``SELECTIONS.register``.

    Example:
        >>> from bench import on_features
        >>> @on_features
        ... def brightest(features, labels, slots, generator):
        ...     return (features.sum(1) - 1e9 * (labels != slots[0])).topk(len(slots)).indices
        >>> brightest.uses_features
        True
    """
    select.uses_features = True  # type: ignore[attr-defined]
    return select


def deterministic(select: Chosen) -> Chosen:
    """Mark a selection as one that draws nothing: it picks the same images for every seed, as far as its features are the same.

    Example:
        >>> import torch
        >>> from bench import deterministic
        >>> @deterministic
        ... def first_ones(features, labels, slots, generator):
        ...     return torch.stack([torch.nonzero(labels == label)[0, 0] for label in slots])
        >>> first_ones(None, torch.tensor([1, 0, 1, 0]), torch.tensor([0, 1]), generator=None)
        tensor([1, 0])
    """
    select.deterministic = True  # type: ignore[attr-defined]
    return select


def is_deterministic(select: object) -> bool:
    """Tell whether a selection promises the same images for every seed."""
    return bool(getattr(select, "deterministic", False))


def uses_features(select: object) -> bool:
    """Tell whether a selection looks at features, which must then be built before."""
    return bool(getattr(select, "uses_features", False))


def checked(chosen: Tensor, labels: Tensor, slots: Tensor) -> Tensor:
    """Return what a selection chose, if that is a training image of the wanted class for every slot.

    Raises:
        ValueError: it is not; says what was found.
    """
    if chosen.shape != slots.shape or chosen.dtype.is_floating_point:
        raise ValueError(f"a selection returns {len(slots)} indices, found {chosen.dtype} {tuple(chosen.shape)}")
    if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < len(labels):
        raise ValueError(f"a selection returns indices from 0 to {len(labels) - 1}, found {int(chosen.min())} to {int(chosen.max())}")
    if not bool((labels[chosen] == slots).all()):
        raise ValueError("a selection returns an image of the wanted class for every slot, found one of another class")
    return chosen


def feature_seed(seed: int, feature_seeds: int) -> int:
    """Return which feature network a distillation seed looks through."""
    return seed % feature_seeds


def features_need(seed: int) -> Need:
    """Return the prerequisite that holds the features of all training images."""
    return Need("features", {}, seed)


def read_features(folder: Path) -> Tensor:
    """Read the (n, d) float32 features of a built ``features`` prerequisite."""
    return load_file(folder / "features.safetensors")["features"]
