"""Decoding is closed: one draw from a global generator is enough to be refused, and the caller's draws are as before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from bench import Batch, DistilledSet, RejectedSet
from bench.judge.decoding import decode_closed, load_closed, rebuilt

MakeSet = Callable[..., DistilledSet]

DRAWS: dict[str, Callable[[], object]] = {
    "Python": random.random,
    "numpy": np.random.rand,
    "the half that numpy kept of a pair of normal numbers": np.random.normal,
    "torch": lambda: torch.rand(1),
    "a choice of Python": lambda: random.choice([1, 2]),
    "a seed of Python": lambda: random.seed(3),
    "a seed of numpy": lambda: np.random.seed(3),  # noqa: NPY002
    "a seed of torch": lambda: torch.manual_seed(3),
}


@pytest.fixture(autouse=True)
def _generators_amid_their_numbers() -> Iterator[None]:
    """Put every global generator where a draw changes as little of its state as it can, and restore it afterwards."""
    before = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    random.seed(0)
    random.random()
    np.random.seed(0)  # noqa: NPY002
    np.random.normal()  # noqa: NPY002
    torch.manual_seed(0)
    torch.rand(1)
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])  # noqa: NPY002
    torch.random.set_rng_state(before[2])


@pytest.mark.parametrize("name", DRAWS)
def test_a_decoder_that_draws_is_refused(name: str, make_set: MakeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make_set(1).parameterization
    images, labels = plain.decode().images, plain.decode().labels

    def decode(self: object, index: object = None) -> Batch:
        DRAWS[name]()
        return Batch(images, labels)

    monkeypatch.setattr(type(plain), "decode", decode)
    with pytest.raises(RejectedSet, match="decoding drew random numbers"):
        decode_closed(plain)


def test_reading_and_decoding_leave_the_generators_of_the_caller_alone(make_set: MakeSet, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("set")
    distilled = make_set(1)
    distilled.save(folder)
    expected = random.getstate(), repr(np.random.get_state()), torch.random.get_rng_state().tolist()  # noqa: NPY002
    batch = decode_closed(rebuilt(load_closed(folder, distilled.spec)).parameterization)
    assert (random.getstate(), repr(np.random.get_state()), torch.random.get_rng_state().tolist()) == expected  # noqa: NPY002
    assert torch.equal(batch.images, distilled.parameterization.get_parameter("images"))
    assert not batch.images.requires_grad


def test_a_rebuilt_set_holds_the_given_tensors_or_its_own(make_set: MakeSet) -> None:
    distilled = make_set(1)
    own = {key: tensor.clone() for key, tensor in distilled.parameterization.state_dict().items()}
    other = {key: torch.zeros_like(tensor) for key, tensor in own.items()}
    assert all(torch.equal(tensor, own[key]) for key, tensor in rebuilt(distilled).parameterization.state_dict().items())
    assert all(torch.equal(tensor, other[key]) for key, tensor in rebuilt(distilled, other).parameterization.state_dict().items())
    rebuilt(distilled).parameterization.get_parameter("images").detach().fill_(7.0)
    assert torch.equal(distilled.parameterization.get_parameter("images"), own["images"])  # a copy, not the same memory
