"""Gradient and distribution matching against the oracle, on soft labels and on other forms; networks that are trained on."""

import pytest
import torch
from products import planned, task_for
from torch.testing import assert_close

from bench import Run
from bench.decoders.images import Images
from bench.nn.networks import initial_parameters
from oracles import matching

SMALL = {"network": "convnet-d2-w8", "class_batch": 16, "student_steps": 2, "outer_iterations": 3}


def run_of(digits, objective, fields=None, **options) -> Run:
    resolution = planned("rat_bptt", digits.spec, "1", {"objective": objective, **SMALL, **(fields or {})})
    method = resolution.method
    return method.objective.begin(task_for(digits, resolution, **options), method.student, 3)


def some_images(digits, count=20, labels="order"):
    stored = Images(digits.spec, count, labels=labels)
    drawn = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    stored.write(drawn, torch.arange(10).repeat_interleave(count // 10))
    return stored


def drawn_by(run, monkeypatch):
    """Let a run tell the network and the real images of every class that it draws."""
    seen = {}
    architecture, draw_class = run.architecture, type(run.real).draw_class

    def noted(real, label, count, generator):
        seen[label] = draw_class(real, label, count, generator)
        return seen[label]

    monkeypatch.setattr(type(run.real), "draw_class", noted)
    stream = torch.Generator()
    stream.set_state(run.streams["network"].get_state())
    weights = {name: value.requires_grad_() for name, value in initial_parameters(architecture, stream).items()}
    return weights, seen


def by_class(images, count):
    return dict(enumerate(images.split(count)))


@pytest.mark.parametrize("engine", ["auto", "generic", "eager"])
@pytest.mark.parametrize(("kind", "layers"), [("cosine", "weights"), ("squared", "convolutions"), ("absolute", "convolutions")])
def test_gradient_matching_is_what_one_graph_computes(digits, monkeypatch, kind, layers, engine):
    run = run_of(digits, "dc", {"distance": kind, "layers": layers, "engine": engine})
    weights, seen = drawn_by(run, monkeypatch)
    stored = some_images(digits)
    found = run.gradient(stored, 0.0)
    mine = stored.images.detach().clone().requires_grad_()
    expected = matching.gradient_distance(weights, {label: b.images for label, b in seen.items()}, by_class(mine, 2), kind)
    assert len(seen) == 10
    assert all(len(batch.images) == 16 for batch in seen.values())
    assert found.loss == pytest.approx(expected.item(), rel=1e-4)
    assert_close(found.gradients["images"], torch.autograd.grad(expected, mine)[0], rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("engine", ["auto", "generic"])
def test_distribution_matching_is_what_one_graph_computes(digits, monkeypatch, engine):
    run = run_of(digits, "dm", {"siamese": "none", "engine": engine})
    weights, seen = drawn_by(run, monkeypatch)
    stored = some_images(digits)
    found = run.gradient(stored, 0.0)
    mine = stored.images.detach().clone().requires_grad_()
    expected = matching.mean_distance(weights, {label: b.images for label, b in seen.items()}, by_class(mine, 2))
    assert found.loss == pytest.approx(expected.item(), rel=1e-4)
    assert_close(found.gradients["images"], torch.autograd.grad(expected, mine)[0], rtol=1e-3, atol=1e-6)
