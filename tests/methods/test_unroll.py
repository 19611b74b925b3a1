"""The plain engine against an independent computation, and against finite differences."""

import pytest
import torch

from bench import Batch, Spec
from bench.methods._unroll import FlatLayout, InnerAdam, advance, window_gradient
from bench.nn.networks import build_network, forward, initial_parameters
from bench.nn.training import soft_cross_entropy
from bench.seeding import stream
from oracles import unrolled_training as oracle

SPEC = Spec("tiny", 3, (1, 8, 8), ("a", "b", "c"), mirror=False)
NETWORK = build_network("convnet-d2-w3", SPEC)


def problem(seed: int, images: int = 4, steps: int = 3):
    """Draw float64 parameters, inner batches with labels that do not sum to one, and a real batch."""
    generator = stream("test unroll", seed)
    parameters = {key: value.double() for key, value in initial_parameters(NETWORK, generator).items()}
    batches = [
        Batch(
            torch.randn(images, *SPEC.shape, generator=generator, dtype=torch.float64),
            torch.rand(images, SPEC.classes, generator=generator, dtype=torch.float64).requires_grad_(),
        )
        for _ in range(steps)
    ]
    real = (
        torch.randn(5, *SPEC.shape, generator=generator, dtype=torch.float64),
        torch.nn.functional.one_hot(torch.randint(SPEC.classes, (5,), generator=generator), SPEC.classes).double(),
    )
    return parameters, batches, real


def engine_gradient(parameters, batches, real, inner, prefix=0):
    layout = FlatLayout.of(parameters)
    state = inner.start(layout.stacked([parameters]))
    for batch in batches[:prefix]:
        state = advance(NETWORK, layout, state, batch, inner)
    return window_gradient(
        NETWORK, layout, state, batches[prefix:], inner, lambda theta: soft_cross_entropy(forward(NETWORK, theta, real[0]), real[1])
    )


@pytest.mark.parametrize("convention", ["torch", "higher"])
@pytest.mark.parametrize(("steps", "prefix"), [(1, 0), (2, 0), (7, 0), (4, 2)])
def test_window_gradient_agrees_with_the_oracle(convention, steps, prefix):
    parameters, batches, real = problem(seed=steps, steps=steps)
    found = engine_gradient(parameters, batches, real, InnerAdam(0.01, convention), prefix)

    images = [b.images.clone().requires_grad_() for b in batches]
    labels = [b.labels.detach().clone().requires_grad_() for b in batches]
    expected = oracle.outer_loss(parameters, list(zip(images, labels, strict=True)), real, 0.01, convention, graph_from=prefix)
    gradients = torch.autograd.grad(expected, images[prefix:] + labels[prefix:])

    assert found.loss == pytest.approx(float(expected.detach()), rel=1e-10)
    for mine, other in zip(found.images + found.labels, gradients, strict=True):
        assert float((mine - other).norm() / other.norm()) < 1e-8


def test_gradient_of_the_initial_parameters_agrees_with_the_oracle():
    parameters, batches, real = problem(seed=11, steps=2)
    found = engine_gradient(parameters, batches, real, InnerAdam(0.01))
    leaves = {key: p.clone().requires_grad_() for key, p in parameters.items()}
    expected = oracle.outer_loss(leaves, [(b.images, b.labels.detach()) for b in batches], real, 0.01, "torch")
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(expected, list(leaves.values()))])
    assert float((found.theta - gradient).norm() / gradient.norm()) < 1e-8


def test_image_gradient_agrees_with_finite_differences():
    parameters, batches, real = problem(seed=5, images=2, steps=2)
    found = engine_gradient(parameters, batches, real, InnerAdam(0.01))
    step = 1e-6
    for position in [(0, 0, 3, 4), (1, 0, 0, 7), (1, 0, 5, 2)]:
        values = []
        for sign in (1, -1):
            moved = [Batch(b.images.clone(), b.labels.detach()) for b in batches]
            moved[0].images[position] += sign * step
            values.append(float(oracle.outer_loss(parameters, [(b.images, b.labels) for b in moved], real, 0.01, "torch").detach()))
        assert float(found.images[0][position]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=2e-4, abs=1e-9)


def test_labels_that_need_no_gradient_get_none():
    parameters, batches, real = problem(seed=2, steps=2)
    fixed = [Batch(b.images, b.labels.detach()) for b in batches]
    assert engine_gradient(parameters, fixed, real, InnerAdam(0.01)).labels == [None, None]


@pytest.mark.parametrize("convention", ["torch", "higher"])
def test_in_place_step_equals_the_differentiable_step(convention):
    inner = InnerAdam(0.01, convention)
    generator = stream("adam")
    theta = torch.randn(50, generator=generator)
    one, other = inner.start(theta.clone()), inner.start(theta.clone())
    for _ in range(5):
        gradient = torch.randn(50, generator=generator)
        one, other = inner.update(one, gradient), inner.update_in_place(other, gradient)
    assert torch.allclose(one.theta, other.theta, atol=1e-7)
    assert one.step == other.step == 5


def test_the_torch_convention_is_torchs_adam():
    generator = stream("adam against torch")
    parameter = torch.nn.Parameter(torch.randn(40, generator=generator))
    optimizer = torch.optim.Adam([parameter], lr=0.02)
    inner = InnerAdam(0.02)
    state = inner.start(parameter.detach().clone())
    for _ in range(5):
        gradient = torch.randn(40, generator=generator)
        parameter.grad = gradient.clone()
        optimizer.step()
        state = inner.update(state, gradient)
    assert torch.allclose(parameter.detach(), state.theta, atol=1e-6)


def test_higher_convention_has_a_larger_effective_epsilon_at_the_first_step():
    gradient = torch.tensor([1e-8], dtype=torch.float64)
    steps = {
        c: -float(InnerAdam(1.0, c).update(InnerAdam(1.0, c).start(torch.zeros(1, dtype=torch.float64)), gradient).theta)
        for c in ("torch", "higher")
    }
    assert steps["torch"] == pytest.approx(1e-8 / (1e-8 + 1e-8), rel=1e-6)
    assert steps["higher"] == pytest.approx(1e-8 / (1e-8 + 1e-8 / 0.001**0.5), rel=1e-6)


def test_parameters_without_gradient_do_not_make_the_meta_gradient_infinite():
    inner = InnerAdam(0.1)
    gradient = torch.zeros(3, requires_grad=True)
    state = inner.update(inner.start(torch.ones(3)), gradient)
    (found,) = torch.autograd.grad(state.theta.sum(), gradient)
    assert bool(found.isfinite().all())
