"""The compiled derivatives are those of ``EagerConvNet``, whatever shapes a process meets, and never silently eager."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from bench import Batch, Spec
from bench.nn.convnet import inductor
from bench.nn.convnet.eager import EagerConvNet
from bench.nn.convnet.inductor import InductorConvNet
from bench.nn.networks import ConvNet, build_network, stack
from bench.seeding import stream

CPU = torch.device("cpu")


def network_of(shape: tuple[int, int, int], name: str) -> ConvNet:
    network = build_network(name, Spec("compiled", 3, shape, ("0", "1", "2")))
    assert isinstance(network, ConvNet)
    return network


def drawn(network: ConvNet, students: int, *key: object) -> dict[str, Tensor]:
    generator = stream("test compiled", *key)
    return stack(
        [
            {name: torch.randn(p.shape, generator=generator, dtype=torch.float64) for name, p in network.named_parameters()}
            for _ in range(students)
        ]
    )


def batch_of(count: int, shape: tuple[int, int, int]) -> Batch:
    generator = stream("test compiled batch", count)
    images, labels = (torch.rand(count, *rest, generator=generator, dtype=torch.float64) for rest in (shape, (3,)))
    return Batch(images, labels)


def agree(net: EagerConvNet, network: ConvNet, batch: Batch, students: int) -> None:
    """Compare gradient, losses and products with the eager ones, the compiled tape being read by the compiled product alone."""
    theta, direction, eager = drawn(network, students, "theta"), drawn(network, students, "direction"), EagerConvNet(network)
    (mine, tape, losses), (other, eager_tape, eager_losses) = net.gradient(theta, batch), eager.gradient(theta, batch)
    torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(losses, eager_losses, rtol=1e-9, atol=1e-10)
    products = zip(net.product(theta, direction, batch, tape), eager.product(theta, direction, batch, eager_tape), strict=True)
    for one, expected in products:
        torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-10)


CASES = [
    # As in tests/methods/test_engines.py, so that in one process one compilation serves both.
    pytest.param((1, 8, 8), "convnet-d1-w3", 1, id="one student"),
    pytest.param((2, 6, 5), "convnet-d2-w3", 2, id="two students", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("shape", "name", "students"), CASES)
def test_compiled_derivatives_agree_with_the_eager_ones(shape: tuple[int, int, int], name: str, students: int) -> None:
    if inductor.why_not(CPU):
        pytest.skip(inductor.why_not(CPU))
    network = network_of(shape, name)
    agree(InductorConvNet(network), network, batch_of(4, shape), students)
    again = InductorConvNet(network_of(shape, name))
    agree(again, network, batch_of(4, shape), students)
    assert again.compile_seconds == 0.0
    assert sum(key[1] == again._sizes for key in inductor._COMPILED) >= 2


def test_a_process_may_meet_more_shapes_than_pytorch_s_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    real, graphs = torch.compile, []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph.forward

    # Traced and guarded as ever, but run by PyTorch's operations: what is looked at is the count of compilations.
    monkeypatch.setattr(
        torch, "compile", lambda f, dynamic, fullgraph, options: real(f, dynamic=dynamic, fullgraph=fullgraph, backend=counting)
    )
    monkeypatch.setattr(inductor, "_COMPILED", {})
    shape = (1, 4, 4)
    network = network_of(shape, "convnet-d1-w2")
    net = InductorConvNet(network)
    for count in range(1, 11):
        agree(net, network, batch_of(count, shape), 1)
    assert len(inductor._COMPILED) == len(graphs) == 20
    theta, direction, batch = drawn(network, 1, "theta"), drawn(network, 1, "direction"), batch_of(4, shape)
    _, tape, _ = net.gradient(theta, batch)
    net.product(theta, direction, batch, tree_map(lambda t: t.transpose(-1, -2).contiguous().transpose(-1, -2), tape))
    assert len(inductor._COMPILED) == len(graphs) == 21  # a layout is a part of the shape, and its time is counted
    assert net.compile_seconds > 0.0


def test_what_cannot_be_one_graph_is_an_error() -> None:
    made = inductor._compile(_with_a_break)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        made(torch.ones(2))


def _with_a_break(x: Tensor) -> Tensor:
    torch._dynamo.graph_break()
    return x + 1


def test_the_compiler_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, bench.nn.convnet.inductor; sys.exit(any(m.startswith(('torch._dynamo', 'torch._inductor')) for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_machine_without_a_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder, exc

    def nothing() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", nothing)
    assert "C++ compiler" in inductor._no_compiler()
    assert "mps" in inductor.why_not(torch.device("mps"))
