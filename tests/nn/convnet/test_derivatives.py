"""First and second derivatives of the ConvNet's parts, written out and compiled, against autograd over random shapes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bench import Batch, Spec
from bench.nn.convnet import library
from bench.nn.convnet.eager import BlockTangent, EagerConvNet
from bench.nn.convnet.native import NativeConvNet
from bench.nn.convnet.packing import Packing
from bench.nn.networks import ConvNet, build_network, features, forward, stack
from bench.nn.training import soft_cross_entropy
from bench.seeding import stream

SIZES = st.integers(2, 9)
CASES = st.tuples(st.integers(1, 4), st.integers(1, 3), SIZES, SIZES, st.integers(1, 5), st.integers(0, 10_000))
BRIEF = settings(max_examples=40, deadline=None, derandomize=True)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=stream("derivatives", seed, *shape), dtype=torch.float64)


def network_of(channels: int, height: int, width: int, classes: int, depth: int, channels_inside: int) -> ConvNet:
    spec = Spec("random", classes, (channels, height, width), tuple(map(str, range(classes))))
    network = build_network(f"convnet-d{depth}-w{channels_inside}", spec)
    assert isinstance(network, ConvNet)
    return network


def parameters_of(network: ConvNet, seed: int) -> dict[str, Tensor]:
    return {name: drawn(seed + k, *p.shape) for k, (name, p) in enumerate(network.named_parameters())}


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@BRIEF
@given(CASES)
def test_block_of_norm_relu_and_pooling(case: tuple[int, ...]) -> None:
    """One block's tangent and its gradient's tangent are autograd's derivatives of the block."""
    count, channels, height, width, inside, seed = case
    network = network_of(channels, height, width, 3, 1, inside)
    derivatives, theta, direction = EagerConvNet(network), parameters_of(network, seed), parameters_of(network, seed + 50)
    x, x_dot = drawn(seed + 1, count, channels, height, width), drawn(seed + 2, count, channels, height, width)
    pooled = drawn(seed + 3, count, inside, height // 2, width // 2)
    pooled_dot = drawn(seed + 4, count, inside, height // 2, width // 2)
    keys = ("convs.0.weight", "norms.0.weight", "norms.0.bias")

    def block(*inputs: Tensor) -> Tensor:
        z = F.conv2d(inputs[0], inputs[1], padding=1)
        return F.avg_pool2d(F.relu(F.group_norm(z, inside, inputs[2], inputs[3])), 2)

    inputs, dots = (x, *(theta[k] for k in keys)), (x_dot, *(direction[k] for k in keys))
    one, along = stack([theta]), stack([direction])
    value, tape = derivatives._block_forward(one, 0, x)
    expected, expected_dot = torch.autograd.functional.jvp(block, inputs, dots)
    close(value, expected)
    dot, tangent = derivatives._block_tangent(one, along, 0, tape, x_dot)
    close(dot, expected_dot)

    def gradients(*arguments: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(block(*arguments[:-1]), arguments[:-1], arguments[-1], create_graph=True)

    found: dict[str, Tensor] = {}
    tape = tape._replace(active_bar=derivatives._unpool(tape, pooled))
    assert isinstance(tangent, BlockTangent)
    image_dot = derivatives._block_second((one, along), 0, tape, tangent, pooled_dot, found)
    leaves = tuple(t.clone().requires_grad_() for t in (*inputs, pooled))
    first, second = torch.autograd.functional.jvp(gradients, leaves, (*dots, pooled_dot), strict=False)
    for mine, other in zip((image_dot, *(found[k][0] for k in keys)), second, strict=True):
        close(mine, other)
    found = {}
    derivatives._block_backward(one, 0, tape, found)
    for key, other in zip(keys, first[1:], strict=True):
        close(found[key][0], other)


@BRIEF
@given(st.tuples(st.integers(1, 5), st.integers(2, 7), st.integers(1, 3), st.integers(0, 10_000)))
def test_linear_head_with_labels_of_any_mass(case: tuple[int, ...]) -> None:
    """Head and loss alone: with its gain at zero the block passes on a constant, so only the head's derivatives are left."""
    count, classes, inside, seed = case
    network = network_of(1, 4, 4, classes, 1, inside)
    theta, direction = parameters_of(network, seed), {k: torch.zeros_like(v) for k, v in parameters_of(network, seed).items()}
    direction |= {k: drawn(seed + 9, *theta[k].shape) for k in ("head.weight", "head.bias")}
    batch = Batch(drawn(seed + 1, count, 1, 4, 4), drawn(seed + 2, count, classes))
    compare(network, [theta], [direction], batch, EagerConvNet(network))


def autograd(network: ConvNet, theta: dict[str, Tensor], direction: dict[str, Tensor], batch: Batch) -> tuple[dict[str, Tensor], ...]:
    """Return gradient and Hessian-vector product by name; the latter also for ``images`` and ``labels``."""
    leaves = {key: value.clone().requires_grad_() for key, value in theta.items()}
    x, y = batch.images.clone().requires_grad_(), batch.labels.clone().requires_grad_()
    loss = soft_cross_entropy(forward(network, leaves, x), y)
    first = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), create_graph=True), strict=True))
    inner = sum((first[key] * direction[key]).sum() for key in leaves)
    second = torch.autograd.grad(inner, [*leaves.values(), x, y])  # type: ignore[arg-type]
    return {key: g.detach() for key, g in first.items()}, dict(zip([*leaves, "images", "labels"], second, strict=True))


def compare(
    network: ConvNet, thetas: list[dict[str, Tensor]], directions: list[dict[str, Tensor]], batch: Batch, derivatives: EagerConvNet
) -> None:
    """Students at once against autograd for one after another."""
    apart = [autograd(network, theta, direction, batch) for theta, direction in zip(thetas, directions, strict=True)]
    gradient, tape, losses = derivatives.gradient(stack(thetas), batch)
    product, images, labels = derivatives.product(stack(thetas), stack(directions), batch, tape)
    for k, (theta, (first, second)) in enumerate(zip(thetas, apart, strict=True)):
        close(losses[k], soft_cross_entropy(forward(network, theta, batch.images), batch.labels))
        for key in theta:
            close(gradient[key][k], first[key])
            close(product[key][k], second[key])
    close(images, torch.stack([second["images"] for _, second in apart]).sum(0))
    close(labels, torch.stack([second["labels"] for _, second in apart]).sum(0))


NETWORKS = st.tuples(
    st.integers(1, 5), st.integers(1, 4), st.integers(1, 2), st.integers(1, 18), st.integers(2, 19), st.integers(0, 10_000)
)


@BRIEF
@given(NETWORKS, SIZES, SIZES, st.integers(1, 3))
def test_whole_networks_written_out(case: tuple[int, ...], height: int, width: int, students: int) -> None:
    network, _, _, batch = whole(case, height, width)
    thetas, directions = ([parameters_of(network, case[-1] + base + 100 * k) for k in range(students)] for base in (0, 50))
    compare(network, thetas, directions, batch, EagerConvNet(network))


@BRIEF
@given(NETWORKS, SIZES, SIZES, st.sampled_from([1, 1 << 12, 1 << 20]))
def test_whole_networks_compiled(case: tuple[int, ...], height: int, width: int, micro: int) -> None:
    """Sizes that fill no vector, tiles with rests and any cut into micro-batches."""
    if library.load()[0] is None:
        pytest.skip(library.load()[1])
    network, theta, direction, batch = whole(case, height, width)
    shape = (batch.images.shape[1], height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.nn.convnet.native._MICRO_BATCH_BYTES", micro)
        net = NativeConvNet(network, shape, torch.float64)
    first, second = autograd(network, theta, direction, batch)
    flat, along = (net.pack(torch.cat([p.flatten() for p in vector.values()])) for vector in (theta, direction))
    gradient, tape, loss = net.gradient(flat, batch, keep=True)
    assert loss == pytest.approx(float(soft_cross_entropy(forward(network, theta, batch.images), batch.labels)))
    close(net.unpack(gradient), torch.cat([first[key].flatten() for key in theta]))
    close(net.logits(flat, batch.images), forward(network, theta, batch.images))
    close(net.features(flat, batch.images), features(network, theta, batch.images))
    for kept in (tape, None):
        product, images, labels = net.product(flat, along, batch, kept)
        close(net.unpack(product), torch.cat([second[key].flatten() for key in theta]))
        close(images, second["images"])
        close(labels, second["labels"])
        assert int(product.count_nonzero()) <= net.unpack(product).numel()  # padding stays zero


def whole(case: tuple[int, ...], height: int, width: int) -> tuple[ConvNet, dict[str, Tensor], dict[str, Tensor], Batch]:
    count, channels, depth, inside, classes, seed = case
    depth = depth if min(height, width) >= 4 else 1
    network = network_of(channels, height, width, classes, depth, inside)
    batch = Batch(drawn(seed + 1, count, channels, height, width), drawn(seed + 2, count, classes))
    return network, parameters_of(network, seed), parameters_of(network, seed + 50), batch


def test_packing_is_a_permutation_with_zeros_between() -> None:
    network = network_of(3, 28, 28, 10, 3, 20)
    packing = Packing.of(network, (3, 28, 28), 16)
    theta = torch.arange(1.0, 1 + sum(p.numel() for p in network.parameters()))
    packed = packing.pack(theta)
    assert torch.equal(packing.unpack(packed), theta)
    assert torch.equal(packed.sort().values[-len(theta) :], theta)
    assert int(packed.count_nonzero()) == len(theta)


@pytest.mark.parametrize("images", [torch.zeros(2, 1, 8, 8, dtype=torch.float64), torch.zeros(2, 1, 9, 8), torch.zeros(2, 3, 8, 8)])
def test_kernels_refuse_what_they_would_misread(images: Tensor) -> None:
    if library.load()[0] is None:
        pytest.skip(library.load()[1])
    network = network_of(1, 8, 8, 3, 1, 4)
    net = NativeConvNet(network, (1, 8, 8), torch.float32)
    theta = torch.zeros(net.packing.size)
    with pytest.raises(ValueError, match="takes torch.float32 images"):
        net.logits(theta, images)
    with pytest.raises(ValueError, match="takes torch.float32 images"):
        net.gradient(theta, Batch(images, torch.zeros(2, 3)))
    with pytest.raises(ValueError, match="need labels"):
        net.gradient(theta, Batch(torch.zeros(2, 1, 8, 8), torch.zeros(2, 4)))
