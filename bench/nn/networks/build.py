"""Networks by name. A family of networks is one file of this folder, which registers the names it answers to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from ...data import Spec
from ...errors import BenchError

Builder = Callable[[re.Match[str], Spec], nn.Module]


class Family(NamedTuple):
    """How networks of one family are called and built.

    Attributes:
        names: what people read in an error, e.g. ``convnet-d<depth>-w<width>, e.g. convnet-d3-w128``.
        builder: builds the network of a name's match for a data set.
    """

    names: str
    builder: Builder


#: Pattern that a whole name has to match -> the family. Filled by the files of this folder.
FAMILIES: dict[re.Pattern[str], Family] = {}


def network_family(pattern: str, names: str) -> Callable[[Builder], Builder]:
    """Return a decorator that registers the builder of a family.

    Args:
        pattern: regular expression of its names, in ASCII; the builder gets the match.
        names: the pattern in words, see ``Family``.
    """

    def register(builder: Builder) -> Builder:
        FAMILIES[re.compile(pattern, re.ASCII)] = Family(names, builder)
        return builder

    return register


def default_network(spec: Spec) -> str:
    """Return the network of a data set: ConvNet-2 w32 below 16 pixels, ConvNet-3 w128 above (DESIGN 9).

    Example:
        >>> from bench import Spec
        >>> from bench.nn.networks import default_network
        >>> default_network(Spec("toy", 2, (1, 8, 8), ("one", "other")))
        'convnet-d2-w32'
    """
    if min(spec.height, spec.width) < 16:
        return "convnet-d2-w32"
    return "convnet-d3-w128"


def build_network(name: str, spec: Spec) -> nn.Module:
    """Build a network by name (``convnet-d3-w128``) for a data set, without drawing any random number.

    Raises:
        BenchError: the name is not one the suite knows, or the images of the data set are too small for it.

    Example:
        >>> import torch
        >>> from bench import Spec
        >>> from bench.nn.networks import build_network, forward, initial_parameters
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> network = build_network("convnet-d2-w32", spec)
        >>> parameters = initial_parameters(network, torch.Generator().manual_seed(0))
        >>> forward(network, parameters, torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 2])
    """
    family, match = check_network_name(name)
    with torch.device("meta"):
        return family.builder(match, spec)


def check_network_name(name: str) -> tuple[Family, re.Match[str]]:
    """Return the family that answers to a name, and the match of its pattern.

    Raises:
        BenchError: none does.
    """
    for pattern, family in FAMILIES.items():
        if (match := pattern.fullmatch(name)) is not None:
            return family, match
    known = " or ".join(family.names for family in FAMILIES.values())
    raise BenchError(f"unknown network '{name}'; networks are called {known}")
