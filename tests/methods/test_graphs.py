"""Captured steps against the plain unroll: on the CPU they are called instead of played, with the same static memory."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from bench import Batch, Spec
from bench.methods._unroll import ExpertDistance, FlatLayout, InnerAdam, InnerSGD, RealBatchLoss, WindowGradient, choose_engine
from bench.methods._unroll.eager import EagerGradients
from bench.methods._unroll.graphs import Capture, CapturedSteps, GraphEngine, rehearse
from bench.methods._unroll.sweep import SweepEngine
from bench.nn.convnet.eager import EagerConvNet
from bench.nn.networks import ConvNet, build_network, initial_parameters
from bench.seeding import stream

SPEC = Spec("tiny", 3, (2, 8, 8), ("a", "b", "c"), mirror=False)
NETWORK = build_network("convnet-d2-w4", SPEC)
CPU = torch.device("cpu")


def drawn(seed: int, steps: int, images: int = 4) -> list[Batch]:
    generator = stream("test graphs", seed)
    return [
        Batch(
            torch.randn(images, *SPEC.shape, generator=generator, dtype=torch.float64),
            (torch.rand(images, 3, generator=generator, dtype=torch.float64) * 1.7).requires_grad_(),
        )
        for _ in range(steps)
    ]


def students(*seeds: int) -> list[dict[str, torch.Tensor]]:
    return [
        {key: value.double() for key, value in initial_parameters(NETWORK, stream("test graphs student", seed)).items()} for seed in seeds
    ]


def real() -> RealBatchLoss:
    (batch,) = drawn(99, 1, 21)
    return RealBatchLoss(batch.images, batch.labels.detach())


def captured(engine: str = "eager", budget: int = 1 << 30, device: torch.device = CPU) -> GraphEngine:
    sweep = choose_engine(NETWORK, SPEC.shape, dtype=torch.float64, engine=engine, tape_budget=budget)  # type: ignore[arg-type]
    assert isinstance(sweep, SweepEngine)
    return GraphEngine(sweep, device)


def unrolled(engine, who, inner, before, window, outer=None) -> WindowGradient:
    state = engine.start(who, inner)
    for batch in before:
        state = engine.advance(state, batch, inner)
    return engine.window_gradient(state, window, inner, outer or real())


def agree(found: WindowGradient, expected: WindowGradient) -> None:
    assert found.loss == pytest.approx(expected.loss, rel=1e-10)
    assert found.lr == pytest.approx(expected.lr, rel=1e-8)
    torch.testing.assert_close(found.theta, expected.theta, rtol=1e-8, atol=1e-14)
    for mine, other in zip([*found.images, *found.labels], [*expected.images, *expected.labels], strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-14)


PLAIN = choose_engine(NETWORK, SPEC.shape, dtype=torch.float64, engine="plain")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("engine", "budget"), [("eager", 1 << 30), ("eager", 0), ("generic", 0)])
@pytest.mark.parametrize(
    "inner",
    [InnerAdam(0.01), InnerAdam(0.01, "higher"), InnerSGD(0.05), InnerSGD(0.05, momentum=0.9, weight_decay=0.02)],
    ids=["adam", "adam, higher", "sgd", "sgd, momentum and decay"],
)
def test_captured_steps_agree_with_the_plain_unroll(inner, engine, budget, count):
    """Several unrolls by one engine, with windows that grow and shrink, and one without steps before it."""
    made, who = captured(engine, budget), students(*range(count))
    for seed, (before, window) in enumerate([(2, 1), (0, 3), (3, 2), (1, 7)]):
        batches = drawn(seed, before + window)
        expected = unrolled(PLAIN, who, inner, batches[:before], batches[before:])
        agree(unrolled(made, who, inner, batches[:before], batches[before:]), expected)


@pytest.mark.parametrize("budget", [1 << 30, 60_000, 0], ids=["saved", "some saved", "recomputed"])
@pytest.mark.parametrize("inner", [InnerAdam(0.01), InnerSGD(0.05, momentum=0.9, weight_decay=0.02)], ids=["adam", "sgd"])
def test_warming_up_leaves_no_trace(inner, budget, monkeypatch):
    """Before a capture a step really runs a few times, in the middle of an unroll."""

    class Rehearsed(Capture):
        def __call__(self, function, restored):
            rehearse(function, restored)
            return function

    monkeypatch.setattr("bench.methods._unroll.graphs.Capture", Rehearsed)
    made, who = captured(budget=budget), students(1, 2)
    for seed, (before, window) in enumerate([(2, 2), (1, 4), (0, 1)]):
        batches = drawn(seed, before + window)
        expected = unrolled(PLAIN, who, inner, batches[:before], batches[before:])
        agree(unrolled(made, who, inner, batches[:before], batches[before:]), expected)


def test_a_learning_rate_that_changes_is_read_anew_without_capturing_anew():
    made, who, batches = captured(), students(1), drawn(1, 5)
    start = FlatLayout.of(who[0]).flatten(who[0])
    outer = ExpertDistance(start + 0.1 * torch.randn(start.shape, generator=stream("expert"), dtype=start.dtype), start)
    for rate in (0.1, 0.05, 0.2):
        inner = InnerSGD(rate, momentum=0.5)
        agree(unrolled(made, who, inner, [], batches, outer), unrolled(PLAIN, who, inner, [], batches, outer))
    assert len(made.captured) == 1


def test_windows_whose_batches_differ_in_shape_are_swept_without_capturing():
    made, who, inner = captured(), students(1), InnerAdam(0.01)
    window = drawn(1, 2) + drawn(2, 1, images=6)
    agree(unrolled(made, who, inner, drawn(3, 2), window), unrolled(PLAIN, who, inner, drawn(3, 2), window))


def test_labels_that_need_no_gradient_get_none():
    window = [Batch(b.images, b.labels.detach()) for b in drawn(1, 2)]
    assert unrolled(captured(), students(1), InnerAdam(0.01), [], window).labels == [None, None]


def test_results_stay_when_the_next_unroll_runs():
    made, inner = captured(), InnerAdam(0.01)
    first = unrolled(made, students(1), inner, [], drawn(1, 3))
    kept = [t.clone() for t in (*first.images, *first.labels, first.theta)]
    unrolled(made, students(2), inner, [], drawn(2, 3))
    for mine, before in zip((*first.images, *first.labels, first.theta), kept, strict=True):
        assert torch.equal(mine, before)


@pytest.mark.parametrize("use", ["advance", "window", "other shapes"])
def test_a_state_whose_memory_was_used_again_is_refused(use):
    made, inner, batches = captured(), InnerAdam(0.01), drawn(1, 2)
    old = made.advance(made.start(students(1), inner), batches[0], inner)
    made.advance(made.start(students(2), inner), batches[0], inner)
    window = batches + (drawn(3, 1, images=5) if use == "other shapes" else [])
    again = partial(made.advance, old, batches[1], inner) if use == "advance" else partial(made.window_gradient, old, window, inner, real())
    with pytest.raises(RuntimeError, match="use each state once"):
        again()


@pytest.mark.parametrize("keep", [True, False], ids=["saved", "recomputed"])
@pytest.mark.parametrize("inner", [InnerAdam(0.01), InnerSGD(0.05, momentum=0.9, weight_decay=0.02)], ids=["adam", "sgd"])
def test_captured_steps_never_leave_the_device_or_ask_it_for_a_number(inner, keep, monkeypatch):
    """What a capture would refuse, found without a GPU: tensors that only claim to be on one.

    The steps run on tensors without contents on the device ``cuda``. A tensor of the host among them raises, and so does
    reading a number back.
    """
    assert isinstance(NETWORK, ConvNet)

    class WrittenOut(EagerGradients):
        """Without autograd, whose engine looks for a real device."""

        def gradient(self, theta, batch, keep=False):
            found, tape, losses = self.net.gradient(self.layout.unflatten(theta), batch)
            return self.layout.joined(found), tape if keep else None, losses.mean()

    taken = []

    class Spy:
        """Stands for ``Capture``, which would need the device."""

        def __init__(self, device):
            assert device.type == "cuda"

        def __call__(self, function, restored):
            taken.append(function)
            return function

    monkeypatch.setattr("bench.methods._unroll.graphs.Capture", Spy)
    with FakeTensorMode(allow_non_fake_inputs=False):
        theta = torch.zeros(2, sum(p.numel() for p in NETWORK.parameters()), device="cuda")
        batch = Batch(torch.zeros(4, *SPEC.shape, device="cuda"), torch.zeros(4, 3, device="cuda"))
        layout = FlatLayout(tuple(n for n, _ in NETWORK.named_parameters()), tuple(p.shape for _, p in NETWORK.named_parameters()))
        sweep = SweepEngine(NETWORK, layout, WrittenOut(EagerConvNet(NETWORK), layout, (8, 8), None), "eager", (1 << 30) if keep else 0)
        made = CapturedSteps(sweep, torch.device("cuda"), inner.start(theta), batch, inner)
        made.advance(batch)
        made.make_room(5)
        made.play("window, kept" if keep else "window")
        made.play("back, kept" if keep else "back")
        assert len(taken) == 3
        assert made.state.theta.device.type == "cuda"


def test_only_the_earliest_steps_keep_their_activations_when_not_all_fit():
    sweep = choose_engine(NETWORK, SPEC.shape, dtype=torch.float64, engine="eager")
    budget = 3 * sweep.gradients.tape_bytes(4)
    made, who, inner, batches = captured(budget=budget), students(1), InnerAdam(0.01), drawn(1, 8)
    for window, kept, kinds in [(2, 2, {"before", "window, kept", "back, kept"}), (5, 3, {"before", "window", "back"})]:
        steps = batches[: window + 1]
        agree(unrolled(made, who, inner, steps[:1], steps[1:]), unrolled(PLAIN, who, inner, steps[:1], steps[1:]))
        (memory,) = made.captured.values()
        assert (memory.room.steps, memory.room.kept) == (window, kept)
        assert kinds <= memory.plays.keys()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("engine", "budget"), [("eager", 1 << 30), ("eager", 0), ("generic", 0)])
def test_played_graphs_agree_with_the_plain_unroll_on_the_cpu(engine, budget):
    device, inner, who = torch.device("cuda"), InnerAdam(0.01), students(1, 2)
    sweep = choose_engine(NETWORK, SPEC.shape, torch.device("cuda"), torch.float64, engine, budget)
    made = GraphEngine(sweep.sweep if isinstance(sweep, GraphEngine) else sweep, device)
    there = [{key: p.to(device) for key, p in student.items()} for student in who]
    outer = RealBatchLoss(real().images.to(device), real().labels.to(device))
    for seed, (before, window) in enumerate([(2, 3), (1, 3), (0, 5)]):
        batches = drawn(seed, before + window)
        moved = [Batch(b.images.to(device), b.labels.detach().to(device).requires_grad_()) for b in batches]
        found = unrolled(made, there, inner, moved[:before], moved[before:], outer)
        expected = unrolled(PLAIN, who, inner, batches[:before], batches[before:])
        home = WindowGradient(found.loss, [g.cpu() for g in found.images], [g.cpu() for g in found.labels], found.theta.cpu(), found.lr)
        agree(home, expected)


def test_nothing_is_captured_on_the_cpu_by_itself():
    assert isinstance(choose_engine(NETWORK, SPEC.shape, engine="eager"), SweepEngine)
