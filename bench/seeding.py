"""Random streams. Every draw of the suite comes from a generator derived from what it is for, never from a global one."""

from __future__ import annotations

import hashlib

import torch

from .keys import canonical_json


def stream_seed(*parts: str | int) -> int:
    """Derive a 63-bit seed from the names of a stream, e.g. ``stream_seed("student", "digits", 0, "batches")``.

    Python's ``hash`` is salted per process, so the seed comes from SHA-256 of the canonical JSON of ``parts``.
    """
    raw = hashlib.sha256(canonical_json(list(parts)).encode()).digest()
    return int.from_bytes(raw[:8], "big") >> 1


def stream(*parts: str | int) -> torch.Generator:
    """Return a fresh CPU generator for the stream named by ``parts``.

    Draws are made on the CPU also where the arithmetic runs on a GPU, so that a seed means the same everywhere.

    Example:
        >>> import torch
        >>> from bench.seeding import stream
        >>> torch.equal(torch.rand(3, generator=stream("my test", 0)), torch.rand(3, generator=stream("my test", 0)))
        True
    """
    return torch.Generator().manual_seed(stream_seed(*parts))
