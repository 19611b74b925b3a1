"""The 8-bit round trip: bounded errors, at most 256 levels, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import DistilledSet
from bench.judge import eight_bit
from bench.judge.quantize import round_trip
from bench.seeding import stream


@given(seed=st.integers(0, 10_000), scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), count=st.integers(2, 500))
def test_no_number_moves_by_more_than_half_a_level(seed: int, scale: float, shift: float, count: int) -> None:
    tensor = torch.randn(count, generator=stream("quantize", seed), dtype=torch.float64) * scale + shift
    coarse = round_trip(tensor)
    bound = (tensor.max() - tensor.min()) / 510
    assert (coarse - tensor).abs().max() <= bound * (1 + 1e-9) + 1e-12 * tensor.abs().max()
    assert len(coarse.unique()) <= 256
    assert torch.allclose(round_trip(coarse), coarse, rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_kind_of_number_stays(dtype: torch.dtype) -> None:
    tensor = torch.randn(50, generator=stream("quantize", "kinds")).to(dtype)
    assert round_trip(tensor).dtype == dtype
    assert not torch.equal(round_trip(tensor), tensor) or dtype == torch.bfloat16


@pytest.mark.parametrize("tensor", [torch.full((3,), 0.3), torch.arange(5), torch.tensor([True, False]), torch.zeros(0), torch.tensor(2.5)])
def test_what_is_left_alone(tensor: torch.Tensor) -> None:
    assert torch.equal(round_trip(tensor), tensor)


def test_a_set_is_rounded_tensor_by_tensor(make_set: Callable[..., DistilledSet]) -> None:
    distilled = make_set(3)
    before = distilled.parameterization.get_parameter("images").detach().clone()
    coarse = eight_bit(distilled)
    assert torch.equal(coarse.parameterization.get_parameter("images"), round_trip(before))
    assert torch.equal(coarse.parameterization.get_buffer("ids"), distilled.parameterization.get_buffer("ids"))
    assert torch.equal(distilled.parameterization.get_parameter("images"), before)


def test_the_levels_are_those_of_a_byte_from_the_smallest_to_the_largest_number() -> None:
    every_byte = torch.arange(256.0) - 100
    assert torch.equal(round_trip(every_byte), every_byte)
    between = torch.tensor([-100.0, -99.6, -99.4, 0.3, 154.6, 155.0])
    assert round_trip(between).tolist() == [-100.0, -100.0, -99.0, 0.0, 155.0, 155.0]
    assert round_trip(torch.tensor([[0.0, 126.0], [384.0, 510.0]])).tolist() == [[0.0, 126.0], [384.0, 510.0]]
    far = 1e9 + torch.arange(256, dtype=torch.float64) / 4
    assert torch.equal(round_trip(far), far)  # computed in double precision, so that a large offset costs nothing
