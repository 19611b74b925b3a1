"""Means and deviations by which people normalise pixels: constants in their code, which are not always those of the images.

The deviations that everybody uses for CIFAR-10, (.2023, .1994, .2010), are the mean of the deviations of single images;
those of all pixels are (.2470, .2435, .2616). A set that was made with such constants is brought back to plain pixels by
them, so that the judge may use whatever space it likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """Pixels of the scale from 0 to 1, less ``mean``, over ``std``.

    Attributes:
        mean: of every channel.
        std: of every channel.
        used: in whose code the constants stand.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    used: str


#: What `--space` calls them. A constant stands in several repositories; some of them are named.
NORMALISATIONS: dict[str, Normalisation] = {
    "normalised:cifar10": Normalisation(
        (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), "DC, DSA, DM, MTT and IDC for CIFAR-10, MTT and IDC for CIFAR-100"
    ),
    "normalised:cifar100": Normalisation((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762), "DC, DSA and DM for CIFAR-100"),
    "normalised:svhn": Normalisation((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), "DC, DSA, DM and IDC for SVHN"),
    "normalised:imagenet": Normalisation(
        (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "DC, MTT, RaT-BPTT and PoDD for Tiny-ImageNet and ImageNet"
    ),
    "normalised:mnist": Normalisation((0.1307,), (0.3081,), "DC, DSA, DM and IDC for MNIST"),
    "normalised:fashion_mnist": Normalisation((0.2861,), (0.3530,), "DC, DSA, DM and IDC for Fashion-MNIST"),
}

_NEAR = 0.018  # the constants of CIFAR-10 are used for CIFAR-100, too


def likely_normalisations(mean: Sequence[float]) -> list[str]:
    """Return the names of those whose mean lies near that of a data set's own pixels, the nearest one first."""
    fitting = {name: each.mean for name, each in NORMALISATIONS.items() if len(each.mean) == len(mean)}
    distance = {name: max(abs(a - b) for a, b in zip(other, mean, strict=True)) for name, other in fitting.items()}
    return sorted((name for name in distance if distance[name] <= _NEAR), key=distance.__getitem__)
