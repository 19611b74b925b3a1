"""Random streams: named, independent of one another and of the process."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.seeding import stream, stream_seed

part = st.text(max_size=6) | st.integers(0, 10**6)


@given(st.lists(part, min_size=1, max_size=4))
def test_equal_names_give_equal_streams(parts: list[str | int]) -> None:
    assert torch.equal(torch.rand(8, generator=stream(*parts)), torch.rand(8, generator=stream(*parts)))
    assert 0 <= stream_seed(*parts) < 2**63


@given(st.lists(part, min_size=1, max_size=4), st.lists(part, min_size=1, max_size=4))
def test_other_names_give_other_streams(one: list[str | int], other: list[str | int]) -> None:
    assert (stream_seed(*one) == stream_seed(*other)) == (one == other)


def test_names_do_not_run_into_one_another() -> None:
    assert (
        len(
            {
                stream_seed("ab", "c"),
                stream_seed("a", "bc"),
                stream_seed("abc"),
                stream_seed("a", 1),
                stream_seed("a1"),
                stream_seed("a", "1"),
            }
        )
        == 6
    )


def test_a_fresh_process_draws_the_same() -> None:
    code = "from bench.seeding import stream_seed; print(stream_seed('student', 'digits', 0, 'batches'))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) == stream_seed("student", "digits", 0, "batches")


def test_the_global_generators_stay_as_they_are() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002 - it is what is tested
    torch.rand(100, generator=stream("x"))
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
