"""How a process of the suite computes: with one thread, and in exact float32."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Compute with one thread and exact float32 inside, and as before afterwards.

    One thread gives the same bits on every machine, and small networks get slower with more.
    """
    # What is read when torch is first imported, which may be the next line.
    with environment(_ONE_THREAD):
        import torch

        from ...nn.precision import exact_float32, rounding

    cudnn = torch.backends.cudnn
    threads, benchmark, deterministic = torch.get_num_threads(), cudnn.benchmark, cudnn.deterministic
    with rounding("float32"):
        torch.set_num_threads(1)
        exact_float32()
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            cudnn.benchmark, cudnn.deterministic = benchmark, deterministic


@contextlib.contextmanager
def one_thread_environment(more: Mapping[str, str]) -> Iterator[None]:
    """Set what a new process reads when it imports torch: one thread, and ``more``."""
    with environment({**_ONE_THREAD, **more}):
        yield


@contextlib.contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside, and put them back afterwards."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
