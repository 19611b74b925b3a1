"""Networks: published parameter counts, PyTorch's initial distribution, and one pass for many students."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import Batch, BenchError, Spec, TrainRecipe
from bench.nn import networks
from bench.nn.networks import (
    build,
    build_network,
    default_network,
    ensemble_mode,
    flops_per_image,
    forward,
    grouped_forward,
    initial_parameters,
    stack,
)
from bench.nn.training import StudentStreams, train_students
from bench.seeding import stream


def spec(channels: int, size: int, classes: int) -> Spec:
    return Spec("toy", classes, (channels, size, size), tuple(map(str, range(classes))))


def parameter_count(name: str, of: Spec) -> int:
    return sum(p.numel() for p in build_network(name, of).parameters())


@pytest.mark.parametrize(
    ("name", "of", "count"),
    [
        ("convnet-d3-w128", spec(3, 32, 10), 320_010),
        ("convnet-d3-w128", spec(3, 32, 100), 504_420),
        ("convnet-d3-w128", spec(3, 32, 200), 709_320),
        ("convnet-d3-w128", spec(1, 28, 10), 317_706),
        ("convnet-d4-w128", spec(3, 64, 200), 857_160),
        ("convnet-d3-w128", spec(3, 64, 200), 1_938_120),
        ("convnet-d5-w128", spec(3, 128, 10), 615_690),
    ],
)
def test_published_parameter_counts(name: str, of: Spec, count: int) -> None:
    assert parameter_count(name, of) == count


def test_default_networks() -> None:
    assert default_network(spec(1, 8, 10)) == "convnet-d2-w32"
    for size in (28, 32, 64):
        assert default_network(spec(3, size, 10)) == "convnet-d3-w128"


@pytest.mark.parametrize("name", ["", "resnet18", "convnet", "convnet-d0-w3", "convnet-d3-w128 ", "convnet-d3-w0"])
def test_an_unknown_network_is_one_sentence(name: str) -> None:
    with pytest.raises(BenchError, match="network"):
        build_network(name, spec(3, 32, 10))


ONE_LAYER = """
from torch import nn

from bench.nn.networks.build import network_family


@network_family(r"linear-b([01])", "linear-b<bias>")
def build(match, spec):
    return nn.Sequential(nn.Flatten(), nn.Linear(spec.channels * spec.height * spec.width, spec.classes, bias=match[1] == "1"))
"""


def test_a_new_family_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "linear.py").write_text(ONE_LAYER)
    monkeypatch.setattr(networks, "__path__", [*networks.__path__, str(tmp_path)])
    monkeypatch.setattr(build, "FAMILIES", dict(build.FAMILIES))
    try:
        networks.import_families()
    finally:
        sys.modules.pop("bench.nn.networks.linear", None)
    of = spec(1, 8, 10)
    assert parameter_count("linear-b0", of) == 640
    assert flops_per_image(build_network("linear-b1", of), of) == 2 * 640
    assert parameter_count("convnet-d1-w4", of) == 4 * 9 + 4 + 2 * 4 + 10 * 64 + 10
    with pytest.raises(BenchError, match="e.g. convnet-d3-w128 or .* or linear-b<bias>"):
        build_network("linear-b2", of)
    data = Batch(torch.randn(4, *of.shape, generator=stream("x")), torch.eye(10)[:4])
    students = [StudentStreams(("linear", k)) for k in range(2)]
    trained = train_students(build_network("linear-b1", of), data, TrainRecipe(steps=2), students, [2])[2]
    assert [student["1.bias"].shape for student in trained] == [(10,), (10,)]


def test_too_many_poolings_are_one_sentence() -> None:
    with pytest.raises(BenchError, match="needs images of at least 16x16, found 8x8"):
        build_network("convnet-d4-w8", spec(1, 8, 10))


def test_building_and_drawing_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    initial_parameters(build_network("convnet-d2-w8", spec(1, 8, 10)), stream("x"))
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_parameters_depend_on_their_stream_alone() -> None:
    network = build_network("convnet-d2-w8", spec(1, 8, 10))
    one, same, other = (initial_parameters(network, stream(name)) for name in ("a", "a", "b"))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    assert set(one) == dict(network.named_parameters()).keys()


def test_initial_parameters_follow_pytorch() -> None:
    """PyTorch draws weights and biases of Conv2d and Linear uniformly within 1/sqrt(fan in); norms are one and zero."""
    network = build_network("convnet-d2-w64", spec(3, 32, 10))
    drawn = initial_parameters(network, stream("init"))
    torch.manual_seed(0)  # only for PyTorch's own layers, which have no other source
    theirs = {"convs.1": nn.Conv2d(64, 64, 3, padding=1), "head": nn.Linear(64 * 64, 10)}
    for prefix, layer in theirs.items():
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for key in ("weight", "bias"):
            mine, reference = drawn[f"{prefix}.{key}"], getattr(layer, key).detach()
            assert mine.shape == reference.shape
            assert mine.abs().max() <= bound
            assert reference.abs().max() <= bound * (1 + 1e-6)
        ours, official = drawn[f"{prefix}.weight"], layer.weight.detach()
        assert ours.std() == pytest.approx(float(official.std()), rel=0.02)
        assert ours.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert ours.abs().max() > 0.99 * bound
        assert abs(ours.mean()) < 0.02 * bound
    assert (drawn["norms.0.weight"] == 1).all()
    assert (drawn["norms.0.bias"] == 0).all()


def test_only_known_layers_are_initialised() -> None:
    with pytest.raises(BenchError, match="BatchNorm2d"):
        initial_parameters(nn.BatchNorm2d(3), stream("x"))


@pytest.mark.parametrize("of", [spec(1, 8, 10), spec(3, 12, 4), spec(1, 28, 10)], ids=["8", "12", "28"])
def test_grouped_students_are_the_students_one_by_one(of: Spec) -> None:
    network = build_network("convnet-d2-w8", of)
    students = [initial_parameters(network, stream("student", k)) for k in range(3)]
    for student in students:
        for key in student:  # the norms' neutral values would hide a mix-up
            student[key] = student[key] + 0.1 * torch.randn(student[key].shape, generator=stream(key))
    students = [{key: value.double() for key, value in student.items()} for student in students]
    images = torch.randn(3, 5, *of.shape, generator=stream("images"), dtype=torch.float64)
    together = grouped_forward(network, stack(students), images)
    assert together.shape == (3, 5, of.classes)
    for k, student in enumerate(students):
        torch.testing.assert_close(together[k], forward(network, student, images[k]), rtol=1e-10, atol=1e-10)


def test_grouping_is_for_convnets() -> None:
    with pytest.raises(TypeError, match="Linear"):
        grouped_forward(nn.Linear(2, 2), {}, torch.zeros(1, 1, 2))


def test_the_mode_depends_on_shapes_alone() -> None:
    assert ensemble_mode(build_network("convnet-d2-w64", spec(1, 8, 10))) == "grouped"
    assert ensemble_mode(build_network("convnet-d2-w65", spec(1, 8, 10))) == "sequential"
    assert ensemble_mode(nn.Linear(2, 2)) == "sequential"


def test_every_instance_is_normalised_by_itself() -> None:
    of = spec(3, 8, 4)
    network = build_network("convnet-d2-w8", of)
    parameters = initial_parameters(network, stream("p"))
    images = torch.randn(6, *of.shape, generator=stream("i"))
    together = forward(network, parameters, images)
    alone = torch.cat([forward(network, parameters, image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_flops_by_hand() -> None:
    of = spec(1, 8, 10)
    network = build_network("convnet-d2-w32", of)
    first = 2 * (32 * 8 * 8) * (1 * 9)
    second = 2 * (32 * 4 * 4) * (32 * 9)
    head = 2 * 10 * (32 * 2 * 2)
    assert flops_per_image(network, of) == first + second + head
    gray = spec(1, 28, 10)  # padding 3 makes the first map 32x32
    assert flops_per_image(build_network("convnet-d1-w4", gray), gray) == 2 * (4 * 32 * 32) * 9 + 2 * 10 * (4 * 16 * 16)
