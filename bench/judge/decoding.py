"""What it means for the judge to decode: from config and tensors alone, without files, network or randomness."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Batch, Spec
from ..distilled import MANIFEST, TENSORS, DistilledSet
from ..errors import RejectedSet
from ..guard import ForbiddenAccess, guarded
from ..parameterization import Parameterization


def load_closed(folder: Path, spec: Spec) -> DistilledSet:
    """Load a set while every file but its own two, and the network, are out of reach.

    Raises:
        RejectedSet: as ``DistilledSet.load``, or the decoder reached for something that is closed.
    """
    # A decoder made of layers draws their initial values, which are overwritten: that is no business of the caller.
    with _closed("reading", (folder / MANIFEST, folder / TENSORS)), torch.random.fork_rng(devices=[]):
        return DistilledSet.load(folder, spec)


def rebuilt(distilled: DistilledSet, tensors: Mapping[str, Tensor] | None = None) -> DistilledSet:
    """Build the set's parameterization again from its config, and fill it with ``tensors`` (its own without any).

    The new object knows what ``config()`` and the tensors say and nothing else, so that whatever an author put beside
    them on the old one is gone.

    Raises:
        RejectedSet: building reached for something that is closed.
    """
    old = distilled.parameterization
    stored = {key: tensor.detach().clone() for key, tensor in (tensors or old.state_dict()).items()}
    with _closed("rebuilding"), torch.random.fork_rng(devices=[]):
        new = type(old).from_config(old.config(), distilled.spec)
        new.load_state_dict(stored, strict=True)
    return replace(distilled, parameterization=new)


def decode_closed(parameterization: Parameterization) -> Batch:
    """Decode all images and labels, detached, as float32.

    Raises:
        RejectedSet: decoding opened a file, used the network, started a program or drew from a global generator.
    """
    before = _global_generators()
    with _closed("decoding"), torch.no_grad():
        batch = parameterization.decode()
        batch = Batch(batch.images.detach().float().clone(), batch.labels.detach().float().clone())
    if _global_generators() != before:
        raise RejectedSet("decoding drew random numbers; a decoder gives the same images every time")
    return batch


@contextmanager
def _closed(doing: str, open_files: Iterable[Path] = ()) -> Iterator[None]:
    """Run the decoder's code inside the guard; an attempt counts even if the code caught the exception."""
    rule = "a decoder may use its own tensors and config only"
    with guarded(only_program_text=True, no_network=True, open_files=open_files) as violations:
        try:
            yield
        except ForbiddenAccess as error:
            raise RejectedSet(f"{doing} the set {violations[0]}; {rule}") from error
    if violations:
        raise RejectedSet(f"{doing} the set {violations[0]}; {rule}")


def _global_generators() -> tuple[bytes, bytes, object]:
    """Return the states of the global generators of torch, numpy and Python, as comparable values."""
    numpy_state: Any = np.random.get_state()  # noqa: NPY002 - looked at, never drawn from
    return torch.random.get_rng_state().numpy().tobytes(), numpy_state[1].tobytes() + repr(numpy_state[2:]).encode(), random.getstate()
