"""The written-out derivatives of K ConvNets, compiled by ``torch.compile``: the same equations, fewer passes over memory.

Each shape is compiled once per process, into one graph with fixed sizes; a call that cannot be compiled is an error,
never a silent return to PyTorch's operations. Compiling takes seconds per shape, and needs a C++ compiler on a CPU and
Triton on a GPU. Nothing of the compiler is imported before the first call.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor

from ...data import Batch
from ..networks import ConvNet, Parameters
from .eager import EagerConvNet, NetTape

# Switches of inductor. Which of them exist depends on the version of PyTorch. A kernel chosen by a clock may add in another
# order the next time, and the same seed must give the same bytes; so all that chooses by timing is off.
_SWITCHES: dict[str, Any] = {
    "deterministic": True,
    "max_autotune": False,
    "max_autotune_pointwise": False,
    "max_autotune_gemm": False,
    "coordinate_descent_tuning": False,
    "benchmark_fusion": False,
    "benchmark_epilogue_fusion": False,
    "benchmark_combo_kernel": False,
    "shape_padding": False,  # asks a stopwatch whether to pad matrices
    "triton.autotune_pointwise": False,
    "triton.multi_kernel": 0,
    "triton.cudagraphs": False,
    "layout_optimization": False,  # the layout is chosen here
}


class _ChannelsLast(EagerConvNet):
    """The same derivatives with all convolutions in channels_last; what lies between them follows."""

    def _convolved(self, x: Tensor) -> Tensor:
        return super()._convolved(x).contiguous(memory_format=torch.channels_last)


class InductorConvNet(EagerConvNet):
    """``EagerConvNet`` with ``gradient`` and ``product`` compiled for each shape they meet.

    What was compiled stays in the process and serves every network of the same sizes.
    """

    def __init__(self, network: ConvNet, cast: torch.dtype | None = None) -> None:
        """Take over the sizes of ``network``; nothing is compiled yet."""
        super().__init__(network, cast)
        self._written_out = _ChannelsLast(network, cast)
        self._sizes = (self.depth, self.width, tuple(self.paddings), cast)
        self._seconds = 0.0

    @property
    def compile_seconds(self) -> float:
        """Wall seconds of those calls through this object that compiled something, their one run included."""
        return self._seconds

    @torch.no_grad()
    def gradient(self, parameters: Parameters, batch: Batch) -> tuple[Parameters, NetTape, Tensor]:
        """See ``EagerConvNet.gradient``."""
        return self._call(_gradient, parameters, batch.images.detach().contiguous(), batch.labels.detach().contiguous())  # type: ignore[no-any-return]

    @torch.no_grad()
    def product(self, parameters: Parameters, direction: Parameters, batch: Batch, tape: NetTape) -> tuple[Parameters, Tensor, Tensor]:
        """See ``EagerConvNet.product``; ``tape`` is one of this class's ``gradient``."""
        images, labels = batch.images.detach().contiguous(), batch.labels.detach().contiguous()
        return self._call(_product, parameters, images, labels, direction, tape)  # type: ignore[no-any-return]

    def _call(self, function: Callable[..., Any], parameters: Parameters, images: Tensor, labels: Tensor, *more: Any) -> Any:
        tensors = (*parameters.values(), images, labels, *pytree.tree_leaves(more))
        layouts = tuple((t.shape, t.stride(), t.dtype, t.device, t.requires_grad) for t in tensors)
        # Inductor writes the number of threads into its loops, so that it is a part of the shape.
        key = (function, self._sizes, layouts, torch.get_num_threads())
        compiled = _COMPILED.get(key)
        if compiled is not None:
            return compiled(self._written_out, parameters, images, labels, *more)
        start = time.perf_counter()
        made = _compile(function)
        found = made(self._written_out, parameters, images, labels, *more)
        _COMPILED[key] = made  # only now: a call that failed must fail again
        self._seconds += time.perf_counter() - start
        return found


def _gradient(net: EagerConvNet, parameters: Parameters, images: Tensor, labels: Tensor) -> tuple[Parameters, NetTape, Tensor]:
    return net.gradient(parameters, Batch(images, labels))


def _product(
    net: EagerConvNet, parameters: Parameters, images: Tensor, labels: Tensor, direction: Parameters, tape: NetTape
) -> tuple[Parameters, Tensor, Tensor]:
    out, image, label = net.product(parameters, direction, Batch(images, labels), tape)
    return out, image.contiguous(), label


_COMPILED: dict[Any, Callable[..., Any]] = {}


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` compiled for the one shape it is going to be called with.

    PyTorch counts recompilations per code object and gives up at eight. A copy of the code for every shape keeps the
    count at one, whatever the process goes through, and the search for the right version short. Should a copy all the
    same be called too often with something new, ``fullgraph`` turns giving up into an error.
    """
    assert isinstance(function, types.FunctionType)
    copy = types.FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
    return torch.compile(copy, dynamic=False, fullgraph=True, options=_options())  # type: ignore[no-any-return]


@functools.cache
def _options() -> dict[str, Any]:
    """Return the switches that this PyTorch knows, and keep it from starting processes of its own."""
    import torch._inductor as inductor
    from torch._inductor import config

    # Not an option of one compilation: the pool starts when the compiler is imported.
    config.compile_threads = 1
    with contextlib.suppress(ImportError):
        from tqdm import tqdm  # type: ignore[import-untyped]

        # The compiler's progress bar would make a semaphore between processes, which a worker leaves behind when it ends.
        tqdm.set_lock(threading.RLock())
    known = set(inductor.list_options())
    return {name: value for name, value in _SWITCHES.items() if name in known}


@functools.cache
def why_not(device: torch.device) -> str:
    """Return in one sentence why ``torch.compile`` cannot work here on ``device``, or an empty string."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "torch.compile needs Triton on a GPU, which is not installed"
        if torch.cuda.is_available() and torch.cuda.get_device_capability(device) < (7, 0):
            return "Triton needs a GPU of compute capability 7.0 or higher"
        if not (os.environ.get("CC") or shutil.which("clang") or shutil.which("gcc")):
            return "Triton needs a C compiler, and there is none (set CC)"
        return ""
    if device.type != "cpu":
        return f"the compiled engine is for CPU and CUDA, asked for {device.type}"
    return _no_compiler()


def _no_compiler() -> str:
    """Return why inductor would find no C++ compiler or no header of Python, or an empty string."""
    from torch._inductor import exc
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except (exc.InvalidCxxCompiler, RuntimeError, OSError, subprocess.SubprocessError):
        return "torch.compile needs a C++ compiler, and there is none (set CXX)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return f"torch.compile needs the headers of Python, and there is no Python.h in {sysconfig.get_path('include')}"
    return ""
