"""The network without norms: its sizes, its first weights, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from bench import Batch, BenchError, Dataset, Spec, TrainRecipe
from bench.nn.networks import build_network, features, flops_per_image, forward, initial_parameters
from bench.nn.training import StudentStreams, predict, train_students
from bench.seeding import stream


def spec(channels: int, size: int, classes: int) -> Spec:
    return Spec("toy", classes, (channels, size, size), tuple(map(str, range(classes))))


@pytest.mark.parametrize(
    ("name", "of", "count"),
    [
        # convolutions 3·9·128 + 128, 128·9·256 + 256, 256·9·512 + 512; the head sees 4·4·512 numbers
        ("widenet-d3-w128", spec(3, 32, 10), 3_584 + 295_168 + 1_180_160 + 10 * 8192 + 10),
        ("widenet-d3-w128", spec(1, 28, 10), 1_280 + 295_168 + 1_180_160 + 10 * 8192 + 10),
        ("widenet-d2-w4", spec(1, 8, 3), 40 + 296 + 3 * 8 * 2 * 2 + 3),
    ],
)
def test_parameter_counts(name: str, of: Spec, count: int) -> None:
    assert sum(p.numel() for p in build_network(name, of).parameters()) == count


def test_flops_by_hand() -> None:
    of = spec(1, 8, 3)
    expected = 2 * (4 * 8 * 8) * 9 + 2 * (8 * 4 * 4) * (4 * 9) + 2 * 3 * (8 * 2 * 2)
    assert flops_per_image(build_network("widenet-d2-w4", of), of) == expected


def test_the_forward_pass_is_the_one_written_out() -> None:
    of = spec(3, 28, 4)
    network = build_network("widenet-d2-w4", of)
    drawn = initial_parameters(network, stream("w"))
    images = torch.randn(5, *of.shape, generator=stream("x"))
    first = F.avg_pool2d(F.conv2d(images, drawn["convs.0.weight"], drawn["convs.0.bias"], padding=3).clamp(min=0), 2)
    second = F.avg_pool2d(F.conv2d(first, drawn["convs.1.weight"], drawn["convs.1.bias"], padding=1).clamp(min=0), 2)
    torch.testing.assert_close(features(network, drawn, images), second.flatten(1))
    torch.testing.assert_close(forward(network, drawn, images), second.flatten(1) @ drawn["head.weight"].T + drawn["head.bias"])


def test_first_weights_follow_flax() -> None:
    """Flax's default is LeCun's: a normal distribution cut at two deviations, of variance 1 / fan in, and biases of zero."""
    network = build_network("widenet-d3-w32", spec(3, 32, 10))
    before = torch.get_rng_state()
    drawn = initial_parameters(network, stream("w"))
    assert torch.equal(torch.get_rng_state(), before)
    assert set(drawn) == dict(network.named_parameters()).keys()
    for key, fan_in in {"convs.1.weight": 32 * 9, "convs.2.weight": 64 * 9, "head.weight": 128 * 16}.items():
        weight = drawn[key]
        deviation = 1 / math.sqrt(fan_in)
        assert float(weight.std()) == pytest.approx(deviation, rel=0.02)
        assert float(weight.abs().max()) == pytest.approx(2 * deviation / 0.8796, rel=0.01)
    assert not any(drawn[key].any() for key in drawn if key.endswith("bias"))
    other = initial_parameters(network, stream("other"))
    assert not torch.equal(drawn["head.weight"], other["head.weight"])


def test_too_many_poolings_are_one_sentence() -> None:
    with pytest.raises(BenchError, match="a WideNet of depth 4 needs images of at least 16x16, found 8x8"):
        build_network("widenet-d4-w8", spec(1, 8, 10))


@pytest.mark.parametrize("name", ["widenet", "widenet-d0-w8", "widenet-d7-w8", "widenet-d3-w0"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BenchError, match="e.g. widenet-d3-w128"):
        build_network(name, spec(3, 32, 10))


def test_it_learns_digits_by_squared_error(digits: Dataset) -> None:
    some = digits.train.take(torch.arange(200))
    images, labels = some.unit_images() - 0.3, F.one_hot(some.labels, 10) - 0.1
    network = build_network("widenet-d2-w8", digits.spec)
    recipe = TrainRecipe(lr=3e-3, steps=150, batch_size=50, loss="mse")
    trained = train_students(network, Batch(images, labels), recipe, [StudentStreams(("wide", 0))], [150])[150]
    assert float((predict(network, trained, images) == some.labels).float().mean()) > 0.9
