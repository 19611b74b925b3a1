"""Which engine differentiates a cell's unroll: a fixed rule on its own shapes and work, never on timing or caches."""

from __future__ import annotations

import os
from typing import Literal, get_args

import torch
from torch import nn

from bench import BenchError
from bench.nn.convnet import inductor, library
from bench.nn.convnet.eager import EagerConvNet
from bench.nn.convnet.inductor import InductorConvNet
from bench.nn.convnet.native import NativeConvNet
from bench.nn.networks import ConvNet, ensemble_mode
from bench.nn.precision import Precision, compute_type, lacks

from .compiled import CompiledGradients
from .eager import EagerGradients
from .generic import AutogradGradients
from .graphs import GraphEngine
from .inner import FlatLayout
from .plain import PlainEngine
from .sweep import TAPE_BUDGET, TAPE_BUDGET_CUDA, OneByOne, SweepEngine

EngineName = Literal["auto", "plain", "generic", "eager", "compile", "cpp"]
Engine = PlainEngine | SweepEngine | GraphEngine

_EAGER_WIDTH = 64  # above it PyTorch's own double backward is as fast as the passes written in its operations
_WORTH_COMPILING = 4e13  # operations of a cell on the CPU, from which on even the slowest case gains what compiling took


def choose_engine(
    network: nn.Module,
    shape: tuple[int, int, int],
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    engine: EngineName = "auto",
    tape_budget: int | None = None,
    precision: Precision = "float32",
    work: float = 0.0,
) -> Engine:
    """Return the engine for a network on images of ``shape``.

    ``auto`` takes, in this order: ``cpp`` for a ConvNet on the CPU, if it can be built here; ``compile`` for a ConvNet on
    the CPU whose cell is work for some ten minutes, if there is a compiler; ``eager`` for a ConvNet of at most 64
    channels on the CPU and any ConvNet on a GPU; ``generic`` for everything else. On a GPU the steps of a ConvNet are
    recorded as CUDA graphs, unless ``DDBENCH_CUDA_GRAPHS=0``.

    Args:
        network: the student; its parameters' names and shapes define the flat layout.
        shape: channels, height and width of an image.
        device: where it is trained; none is the CPU.
        dtype: of parameters and images.
        engine: a name asks for one engine.
        tape_budget: bytes of activations that a window may keep; none is 16 MB on a CPU and 4 GB on a GPU.
        precision: how inputs of convolutions and matrix products are rounded. ``tf32`` is a setting of the process, which
            the caller brings about (``bench.nn.precision.rounding``).
        work: floating-point operations of the whole cell; 0 is unknown.

    Raises:
        BenchError: the engine asked for does not exist, or cannot do this network or precision.
    """
    device = device or torch.device("cpu")
    name = _automatic(network, device, dtype, precision, work) if engine == "auto" else engine
    if sentence := _refusal(name, network, device, dtype, precision):
        raise BenchError(sentence)
    layout = FlatLayout(tuple(n for n, _ in network.named_parameters()), tuple(p.shape for _, p in network.named_parameters()))
    if name == "plain":
        return PlainEngine(network, layout)
    cast = compute_type(precision)
    by_autograd = AutogradGradients.of(network, layout, cast)
    if not isinstance(network, ConvNet) or name == "generic":
        return SweepEngine(network, layout, by_autograd, name)
    if tape_budget is None:
        tape_budget = TAPE_BUDGET if device.type == "cpu" else TAPE_BUDGET_CUDA
    if name == "cpp":
        return SweepEngine(network, layout, OneByOne(CompiledGradients(NativeConvNet(network, shape, dtype))), name, tape_budget)
    net = InductorConvNet(network, cast) if name == "compile" else EagerConvNet(network, cast)
    written_out = EagerGradients(net, layout, shape[1:], by_autograd)
    grouped = device.type != "cpu" or ensemble_mode(network) == "grouped"
    sweep = SweepEngine(network, layout, written_out if grouped else OneByOne(written_out), name, tape_budget)
    recorded = device.type == "cuda" and os.environ.get("DDBENCH_CUDA_GRAPHS", "1") != "0"
    return GraphEngine(sweep, device) if recorded else sweep


def choose_sweep(
    network: nn.Module, shape: tuple[int, int, int], device: torch.device | None = None, engine: EngineName = "auto", work: float = 0.0
) -> SweepEngine:
    """Return the engine for what differentiates single gradients and no window: nothing is recorded, and ``plain`` is ``generic``.

    Raises:
        BenchError: see ``choose_engine``.
    """
    found = choose_engine(network, shape, device, engine="generic" if engine == "plain" else engine, work=work)
    if isinstance(found, GraphEngine):
        return found.sweep
    assert isinstance(found, SweepEngine)  # the plain one was not asked for
    return found


def engine_facts(engine: Engine, asked: EngineName, device: torch.device, precision: Precision) -> dict[str, str | float]:
    """Return what a record should say about an engine: name, seconds of compiling, why ``auto`` did without the kernels."""
    facts: dict[str, str | float] = {"engine": engine.name}
    if isinstance(engine, GraphEngine):
        facts["cuda_graphs"], engine = "recorded", engine.sweep
    gradients = getattr(engine, "gradients", None)
    if isinstance(gradients, OneByOne):
        gradients = gradients.one
    if isinstance(gradients, EagerGradients) and isinstance(gradients.net, InductorConvNet):
        facts["compile_seconds"] = round(gradients.net.compile_seconds, 1)
    if asked == "auto" and engine.name != "cpp" and device.type == "cpu" and isinstance(engine.network, ConvNet):
        facts["engine_note"] = _no_kernels(device, torch.float32, precision)
    return facts


def _automatic(network: nn.Module, device: torch.device, dtype: torch.dtype, precision: Precision, work: float) -> EngineName:
    if not isinstance(network, ConvNet):
        return "generic"
    if not _no_kernels(device, dtype, precision):
        return "cpp"
    if device.type == "cpu" and work >= _WORTH_COMPILING and not inductor.why_not(device):
        return "compile"
    return "eager" if network.width <= _EAGER_WIDTH or device.type != "cpu" else "generic"


def _refusal(name: str, network: nn.Module, device: torch.device, dtype: torch.dtype, precision: Precision) -> str:
    """Return a sentence if an engine does not exist or cannot do this, else an empty string."""
    if name not in get_args(EngineName):
        return f"engine '{name}' does not exist; there are {', '.join(get_args(EngineName))}"
    if sentence := lacks(device, precision):
        return sentence
    if precision == "bf16" and name in ("plain", "cpp"):
        return f"engine {name} cannot round to bf16; use engine auto, eager or generic"
    if name not in ("plain", "generic") and not isinstance(network, ConvNet):
        return f"engine {name} only does a ConvNet, found a {type(network).__name__}; use engine generic"
    reason = ""
    if name == "compile":
        reason = inductor.why_not(device)
    elif name == "cpp":
        reason = _no_kernels(device, dtype, precision)
    return f"engine {name} cannot be used: {reason}" if reason else ""


def _no_kernels(device: torch.device, dtype: torch.dtype, precision: Precision) -> str:
    if device.type != "cpu" or dtype not in (torch.float32, torch.float64) or precision != "float32":
        rounded = "" if precision == "float32" else f" rounded to {precision}"
        return f"the compiled kernels compute in float32 or float64 on the CPU, asked for {dtype}{rounded} on {device.type}"
    return library.load()[1]
