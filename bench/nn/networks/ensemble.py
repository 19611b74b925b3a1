"""Many students in one pass, for the families that can."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from .parameters import Parameters, forward


class Groupable(nn.Module, ABC):
    """A network of which K students can run as one grouped network. Families that cannot are plain modules."""

    @property
    @abstractmethod
    def grouping_pays(self) -> bool:
        """Whether one pass for all is faster than one after another; a rule on shapes alone."""

    @abstractmethod
    def grouped(self, stacked: Parameters, images: Tensor) -> Tensor:
        """See ``grouped_forward``."""


def ensemble_mode(network: nn.Module) -> Literal["grouped", "sequential"]:
    """Say how K students are trained together: as one grouped network where it pays, else one after another.

    The rule looks at shapes alone, so it cannot change from run to run (DESIGN 9).
    """
    return "grouped" if isinstance(network, Groupable) and network.grouping_pays else "sequential"


def grouped_forward(network: nn.Module, stacked: Parameters, images: Tensor) -> Tensor:
    """Run K students in one pass: stacked parameters (K, ...), images (K, n, c, h, w) -> (K, n, classes) logits.

    Each student sees its own images.

    Raises:
        TypeError: the network's family has no such pass.
    """
    if not isinstance(network, Groupable):
        raise TypeError(f"a {type(network).__name__} cannot be grouped")
    return network.grouped(stacked, images)


def shared_forward(network: nn.Module, stacked: Parameters, images: Tensor) -> Tensor:
    """Run K students on the same images: stacked parameters (K, ...), images (n, c, h, w) -> (K, n, classes) logits.

    They are one grouped network where ``ensemble_mode`` says so, else they run one after another.

    Example:
        >>> import torch
        >>> from bench import Spec
        >>> from bench.nn.networks import build_network, initial_parameters, shared_forward, stack
        >>> network = build_network("convnet-d2-w32", Spec("toy", 2, (1, 8, 8), ("one", "other")))
        >>> pool = stack([initial_parameters(network, torch.Generator().manual_seed(seed)) for seed in range(3)])
        >>> shared_forward(network, pool, torch.rand(5, 1, 8, 8)).shape
        torch.Size([3, 5, 2])
    """
    students = len(next(iter(stacked.values())))
    if students > 1 and ensemble_mode(network) == "grouped":
        return grouped_forward(network, stacked, images.expand(students, *images.shape))
    apart = zip(*(value.unbind() for value in stacked.values()), strict=True)
    return torch.stack([forward(network, dict(zip(stacked, student, strict=True)), images) for student in apart])
