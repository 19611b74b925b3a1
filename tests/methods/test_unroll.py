"""The plain engine against an independent computation, and against finite differences."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from bench import Batch, Spec
from bench.methods._unroll import ExpertDistance, FlatLayout, InnerAdam, InnerSGD, RealBatchLoss, advance, window_gradient
from bench.methods._unroll.outer import outer_gradient, outer_value
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


def test_the_distance_to_an_expert_is_squared_and_relative_to_where_it_started():
    # ‖(3, 0) - (0, 4)‖² / ‖(0, 0) - (0, 4)‖² = 25 / 16
    loss = ExpertDistance(target=torch.tensor([0.0, 4.0]), start=torch.tensor([0.0, 0.0]))
    assert float(loss(torch.tensor([3.0, 0.0]))) == pytest.approx(25 / 16)
    assert float(loss(loss.start)) == 1.0
    assert float(loss(loss.target)) == 0.0


def test_an_outer_loss_is_the_mean_over_the_students_and_its_gradient_is_that_of_the_mean():
    loss = ExpertDistance(target=torch.tensor([0.0, 4.0]), start=torch.tensor([0.0, 0.0]))
    students = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    layout = FlatLayout(("all",), (torch.Size([2]),))
    value, gradient = outer_gradient(loss, NETWORK, layout, students)
    assert float(value) == pytest.approx((25 / 16 + 4 / 16) / 2)
    assert gradient.flatten().tolist() == pytest.approx([6 / 32, -8 / 32, 0.0, -4 / 32])  # 2·(θ - θ*) / 16, halved
    assert float(outer_value(lambda parameters: parameters["all"].sum(), NETWORK, layout, students)) == pytest.approx(2.5)


def test_the_loss_of_a_real_batch_is_the_students_mean_cross_entropy_on_it():
    parameters, _, (images, labels) = problem(seed=3)
    layout = FlatLayout.of(parameters)
    found = outer_value(RealBatchLoss(images, labels), NETWORK, layout, layout.stacked([parameters, parameters]))
    expected = torch.nn.functional.cross_entropy(forward(NETWORK, parameters, images), labels.argmax(1))
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("inner", [InnerAdam(0.01), InnerAdam(0.01, "higher"), InnerSGD(0.1, momentum=0.7, weight_decay=0.2)])
def test_the_gradient_of_the_learning_rate_agrees_with_finite_differences(inner):
    parameters, batches, real = problem(seed=8, images=2, steps=3)
    found = engine_gradient(parameters, batches, real, inner)
    step = 1e-6
    above, below = (engine_gradient(parameters, batches, real, replace(inner, lr=inner.lr + sign * step)).loss for sign in (1, -1))
    assert found.lr == pytest.approx((above - below) / (2 * step), rel=1e-4)


def test_the_students_sgd_is_torchs():
    generator = stream("sgd against torch")
    parameter = torch.nn.Parameter(torch.randn(40, generator=generator))
    optimizer = torch.optim.SGD([parameter], lr=0.05, momentum=0.8, weight_decay=0.1)
    inner = InnerSGD(0.05, momentum=0.8, weight_decay=0.1)
    with_graph, in_place = (inner.start(parameter.detach().clone()) for _ in range(2))
    for _ in range(4):
        gradient = torch.randn(40, generator=generator)
        parameter.grad = gradient.clone()
        optimizer.step()
        with_graph, in_place = inner.update(with_graph, gradient), inner.update_in_place(in_place, gradient)
    assert torch.allclose(parameter.detach(), with_graph.theta, atol=1e-6)
    assert torch.allclose(parameter.detach(), in_place.theta, atol=1e-6)
    assert with_graph.step == in_place.step == 4


@pytest.mark.parametrize("inner", [InnerAdam(0.01), InnerAdam(0.01, "higher"), InnerSGD(0.1, momentum=0.7, weight_decay=0.2)])
def test_a_step_in_reverse_agrees_with_the_graph_of_the_step(inner):
    """Cotangents of the state before, of the gradient and of the rate, from those of all of the state after."""
    draw = partial(torch.randn, 1, 6, generator=stream("reverse"), dtype=torch.float64)
    state = inner.start(draw())
    for _ in range(2):
        state = inner.update(state, draw())
    *before, taken = state
    leaves = [tensor.clone().requires_grad_() for tensor in (*before, draw())]
    rate = torch.tensor(inner.lr, dtype=torch.float64, requires_grad=True)
    after = inner.update(type(state)(*leaves[:-1], taken), leaves[-1], rate)
    bar = type(state)(*(draw() for _ in before), 0)
    expected = torch.autograd.grad(after[:-1], [*leaves, rate], bar[:-1], allow_unused=True)
    through, found, of_rate = inner.reverse(after.detach(), leaves[-1].detach(), type(bar)(*(t.clone() for t in bar[:-1]), 0))
    assert torch.allclose(through, expected[-2])
    for mine, other in zip(found[:-1], expected, strict=False):
        assert torch.allclose(mine, other)
    assert float(of_rate) == pytest.approx(float(expected[-1]))


def test_a_flat_vector_comes_back_in_the_parameters_shapes_whatever_their_order():
    parameters = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([7.0])}
    layout = FlatLayout.of(parameters)
    flat = layout.ordered(dict(reversed(parameters.items())))
    assert flat.tolist() == layout.flatten(parameters).tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert all(torch.equal(value, parameters[name]) for name, value in layout.unflatten(flat).items())
    stacked = layout.stacked([parameters, parameters])
    assert layout.unflatten(stacked)["a"].shape == (2, 2, 3)
    assert torch.equal(layout.joined(layout.unflatten(stacked)), stacked)
