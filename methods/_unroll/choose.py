"""Which engine differentiates a cell's unroll: a fixed rule on its own shapes, never on timing or caches."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import nn

from bench import BenchError
from bench.nn import convnet_inductor, native
from bench.nn.convnet_eager import EagerConvNet
from bench.nn.convnet_inductor import InductorConvNet
from bench.nn.convnet_native import NativeConvNet
from bench.nn.networks import ConvNet, ensemble_mode

from .compiled import CompiledGradients
from .eager import EagerGradients
from .generic import AutogradGradients
from .inner import FlatLayout
from .plain import PlainEngine
from .sweep import TAPE_BUDGET, OneByOne, SweepEngine

EngineName = Literal["auto", "plain", "generic", "eager", "compile", "cpp"]
Engine = PlainEngine | SweepEngine

_EAGER_WIDTH = 64  # above it PyTorch's own double backward is as fast as the passes written in its operations


def choose_engine(
    network: nn.Module,
    shape: tuple[int, int, int],
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    engine: EngineName = "auto",
    tape_budget: int = TAPE_BUDGET,
) -> Engine:
    """Return the engine for a network on images of ``shape``.

    ``auto`` takes, in this order: ``cpp`` for a ConvNet on the CPU, if it can be built here; ``eager`` for a ConvNet
    of at most 64 channels on the CPU and any ConvNet on a GPU; ``generic`` for everything else. ``compile`` is ``eager``
    through ``torch.compile``; it pays seconds for every shape, so it is there only when asked for.

    Args:
        network: the student; its parameters' names and shapes define the flat layout.
        shape: channels, height and width of an image.
        device: where it is trained; none is the CPU.
        dtype: of parameters and images.
        engine: a name asks for one engine.
        tape_budget: bytes of activations that a window may keep.

    Raises:
        BenchError: the engine asked for does not exist, or cannot do this network.
    """
    device = device or torch.device("cpu")
    if engine not in get_args(EngineName):
        raise BenchError(f"engine '{engine}' does not exist; there are {', '.join(get_args(EngineName))}")
    layout = FlatLayout(tuple(n for n, _ in network.named_parameters()), tuple(p.shape for _, p in network.named_parameters()))
    name = _automatic(network, device, dtype) if engine == "auto" else engine
    if name == "plain":
        return PlainEngine(network, layout)
    if name == "generic":
        return SweepEngine(network, layout, AutogradGradients.of(network, layout), name)
    if not isinstance(network, ConvNet):
        raise BenchError(f"engine {name} only does a ConvNet, found a {type(network).__name__}; use engine generic")
    if name in ("eager", "compile"):
        reason = convnet_inductor.why_not(device) if name == "compile" else ""
        if reason:
            raise BenchError(f"engine compile cannot be used: {reason}")
        net = InductorConvNet(network) if name == "compile" else EagerConvNet(network)
        written_out = EagerGradients(net, layout, shape[1:], AutogradGradients.of(network, layout))
        grouped = device.type != "cpu" or ensemble_mode(network) == "grouped"
        return SweepEngine(network, layout, written_out if grouped else OneByOne(written_out), name, tape_budget)
    reason = _no_compiled(device, dtype)
    if reason:
        raise BenchError(f"engine cpp cannot be used: {reason}")
    return SweepEngine(network, layout, OneByOne(CompiledGradients(NativeConvNet(network, shape, dtype))), name, tape_budget)


def engine_note() -> str:
    """Return why ``auto`` does without the compiled engine on this machine, or an empty string."""
    return native.load()[1]


def _automatic(network: nn.Module, device: torch.device, dtype: torch.dtype) -> EngineName:
    if not isinstance(network, ConvNet):
        return "generic"
    if not _no_compiled(device, dtype):
        return "cpp"
    return "eager" if network.width <= _EAGER_WIDTH or device.type != "cpu" else "generic"


def _no_compiled(device: torch.device, dtype: torch.dtype) -> str:
    if device.type != "cpu" or dtype not in (torch.float32, torch.float64):
        return f"it computes in float32 or float64 on the CPU, asked for {dtype} on {device.type}"
    return native.load()[1]
