"""Trajectory matching against the oracle; the learned rate; students that diverge; and that it learns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from products import plan, planned, task_for
from registries import prerequisites_in
from torch.testing import assert_close

from bench import Batch, Dataset, DistilledSet, Refusal
from bench.decoders.images import Images
from bench.judge.audit import audit
from bench.methods._unroll import ExpertDistance, FlatLayout, InnerSGD, choose_engine
from bench.methods.objectives import mtt
from bench.methods.objectives.mtt import RATE, TrajectoryMatchingRun
from bench.methods.prerequisites.experts import read_snapshot
from bench.nn.convnet import library
from bench.nn.networks import build_network, initial_parameters
from bench.nn.spaces import fit_space
from bench.nn.training import StudentStreams, predict, train_students
from oracles import trajectories
from oracles.matching import embed

SMALL = {"network": "convnet-d2-w8", "experts": 2, "expert_batch": 128, "syn_steps": 4, "student_lr": 0.05, "outer_iterations": 3}
ORDER = "0-1-2-3-4-5-6-7-8-9"
ENGINES = ["plain", "generic", "eager", pytest.param("cpp", marks=pytest.mark.skipif(library.load()[0] is None, reason="no compiler"))]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the experts of these tests stand; each is trained once."""
    return tmp_path_factory.mktemp("experts")


def task_of(digits: Dataset, shelf: Path, name: str = "mtt", fields: dict[str, Any] | None = None, **options: Any):
    find = prerequisites_in(shelf, digits)
    resolution = planned(name, digits.spec, options.pop("budget", "1"), SMALL | (fields or {}), find=find)
    return resolution.method, task_for(digits, resolution, find=find, **options)


def run_of(digits: Dataset, shelf: Path, fields: dict[str, Any] | None = None, **options: Any) -> TrajectoryMatchingRun:
    method, task = task_of(digits, shelf, fields=fields, **options)
    return method.objective.begin(task, method.student, 3)


def some_images(digits: Dataset, count: int = 10, labels: str = "soft") -> Images:
    stored = Images(digits.spec, count, labels=labels)
    stored.write(torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(3)), torch.arange(10).repeat_interleave(count // 10))
    if labels == "soft":
        stored.write_labels(torch.rand(count, 10, generator=torch.Generator().manual_seed(4)))
    return stored


def doubles(parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.double() for name, value in parameters.items()}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_unroll_s_gradients_are_those_of_the_oracle_in_double(digits, engine):
    draw = torch.Generator().manual_seed(0)
    network = build_network("convnet-d2-w8", digits.spec).double()
    layout, start = FlatLayout.of(dict(network.named_parameters())), doubles(initial_parameters(network, draw))
    target = {name: value + 0.1 * torch.randn(value.shape, generator=draw, dtype=torch.float64) for name, value in start.items()}
    pairs = [(torch.randn(5, 1, 8, 8, generator=draw).double(), torch.rand(5, 10, generator=draw).double()) for _ in range(4)]
    chosen, inner = choose_engine(network, (1, 8, 8), dtype=torch.float64, engine=engine), InnerSGD(0.05)
    outer = ExpertDistance(layout.ordered(target), layout.ordered(start))
    batches = [Batch(x, y.clone().requires_grad_()) for x, y in pairs]
    found = chosen.window_gradient(chosen.start([start], inner), batches, inner, outer)
    leaves = [(x.clone().requires_grad_(), y.clone().requires_grad_()) for x, y in pairs]
    rate = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    expected = trajectories.distance({name: value.requires_grad_() for name, value in start.items()}, target, leaves, rate)
    expected.backward()
    assert found.loss == pytest.approx(float(expected.detach()), rel=1e-10)
    assert found.lr == pytest.approx(float(rate.grad), rel=1e-9)
    for image, label, (x, y) in zip(found.images, found.labels, leaves, strict=True):
        assert_close(image, x.grad, rtol=1e-7, atol=1e-10)
        assert_close(label, y.grad, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("augmentation", ["none", "crop_cutout_scale_rotate"])
@pytest.mark.parametrize("batch", [0, 4])
def test_an_outer_step_s_gradients_are_those_of_the_oracle(digits, shelf, batch, augmentation):
    """Through decoding, batches and augmentation; a second run draws what the first one draws, and the rest is the oracle's."""
    run, twin = (run_of(digits, shelf, {"syn_batch": batch, "augmentation": augmentation}) for _ in range(2))
    stored = some_images(digits)
    start, target = map(doubles, twin.draw_expert())
    pairs = [(batch.images.double(), batch.labels.double()) for batch in twin.inner_batches(stored)]
    assert len(pairs) == 4
    rate = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    expected = trajectories.distance({name: value.requires_grad_() for name, value in start.items()}, target, pairs, rate)
    images, labels, slope = torch.autograd.grad(expected, [stored.images, stored.get_parameter("labels"), rate])
    found = run.gradient(stored, 0.0)
    assert found.loss == pytest.approx(float(expected.detach()), rel=1e-4)
    assert float(found.gradients[RATE]) == pytest.approx(float(slope), rel=1e-3)
    for name, wanted in (("images", images), ("labels", labels)):
        assert float((found.gradients[name] - wanted).norm() / wanted.norm()) < 1e-3
    assert found.diverged is False


def test_starts_are_uniform_before_the_last_one_and_targets_some_epochs_later(digits, shelf, monkeypatch):
    run, read = run_of(digits, shelf, {"max_start": 3, "expert_epochs": 4}), []
    monkeypatch.setattr(mtt, "read_snapshot", lambda folder, epoch, device: read.append((run.experts.index(folder), epoch)))
    for _ in range(120):
        run.draw_expert()
    starts, targets = read[::2], read[1::2]
    assert targets == [(expert, epoch + 4) for expert, epoch in starts]
    counts = [starts.count((expert, epoch)) for expert in range(2) for epoch in range(3)]
    assert sum(counts) == 120
    assert min(counts) > 8


def test_a_step_takes_the_next_part_of_a_permutation(digits, shelf):
    run = run_of(digits, shelf, {"syn_batch": 4})
    index = run._index(10, 4, 7)
    assert index.shape == (7, 4)
    for walk in (index[0:2], index[2:4], index[4:6]):
        assert len(set(walk.flatten().tolist())) == 8
    assert len({tuple(step.tolist()) for step in index}) == 7
    assert run._index(10, 10, 3).sort(1).values.tolist() == [list(range(10))] * 3


def made(digits: Dataset, shelf: Path, name: str = "mtt", fields: dict[str, Any] | None = None, **options: Any) -> DistilledSet:
    method, task = task_of(digits, shelf, name, fields, **options)
    return method.distill(task)


def test_the_learned_rate_is_that_of_the_set_s_recipe_and_one_of_its_numbers(digits, shelf):
    still, moved = (made(digits, shelf, fields={"lr_lr": rate}) for rate in (0.0, 1e-3))
    assert still.recipe.lr == 0.05
    assert moved.recipe.lr != 0.05
    assert moved.recipe.momentum == 0.9
    budget = task_of(digits, shelf)[1].budget
    for found in (still, moved):
        counts = audit(found, budget)
        assert counts["recipe_scalars"] == found.recipe.scalars()
        assert counts["bytes"] == 4 * (640 + counts["recipe_scalars"])


@pytest.mark.parametrize("rate", [1e3, 1e9])
def test_the_learned_rate_stays_above_zero(digits, shelf, rate):
    """Whichever way its gradient points, a step of this size would lead below zero or far beyond."""
    run = run_of(digits, shelf)
    for sign in (-1.0, 1.0):
        run.rate.copy_(torch.tensor(0.05) + sign * rate)
        run.project()
        assert float(run.rate) == pytest.approx(5e-4 if sign < 0 else 0.05 + rate)
    assert made(digits, shelf, fields={"lr_lr": rate, "outer_lr": 0.0, "outer_iterations": 8}).recipe.lr >= 5e-4


def test_a_step_whose_student_diverges_leaves_set_and_rate_as_they_were_and_is_noted(digits, shelf):
    noted: dict[str, Any] = {}
    fields = {"student_lr": 1e6, "lr_lr": 1.0, "outer_lr": 1.0}
    method, task = task_of(digits, shelf, fields=fields, on_note=noted.update)
    found, start = method.distill(task), made(digits, shelf, fields={"outer_lr": 0.0, "lr_lr": 0.0})
    assert torch.equal(found.parameterization.images, start.parameterization.images)
    assert found.recipe.lr == 1e6
    assert noted["skipped_steps"] == 3


@pytest.mark.parametrize("explode", [3e38, math.nan])
def test_images_that_exploded_are_left_for_the_last_ones_that_did_not(digits, shelf, explode):
    """The second step leads to images with which every student diverges; the run goes on with what it had before."""
    noted: dict[str, Any] = {}
    fields = {"outer_iterations": 6, "outer_lr": 1.0, "augmentation": "none"}
    method, task = task_of(digits, shelf, fields=fields, on_note=noted.update)
    gradient, steps = TrajectoryMatchingRun.gradient, []

    def leaping(run, stored, progress):
        found = gradient(run, stored, progress)
        steps.append(found.diverged)
        if len(steps) == 2:
            found.gradients["images"].fill_(explode)
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TrajectoryMatchingRun, "gradient", leaping)
        found = method.distill(task)
    # A gradient that is no number is not even followed; the others were, before anybody could know.
    assert steps == [False, False, explode == 3e38, False, False, False]
    assert noted["skipped_steps"] == 1
    assert float(found.parameterization.images.detach().abs().max()) < 10
    assert 0.01 < found.recipe.lr < 0.2


@pytest.mark.parametrize("times", [50.0, 200.0, math.inf])
def test_a_gradient_that_is_far_longer_than_all_before_is_not_followed(digits, shelf, times, monkeypatch):
    run, stored = run_of(digits, shelf), some_images(digits)
    assert run.gradient(stored, 0.0).diverged is False
    carried_back, before = mtt.carried_back, run.norm

    def longer(*given):
        return {name: g * times * before / float(g.norm()) for name, g in carried_back(*given).items() if name == "images"}

    monkeypatch.setattr(mtt, "carried_back", longer)
    assert run.gradient(stored, 0.0).diverged is (times > 100)
    assert run.norm == pytest.approx(before * (1.0 if times > 100 else 0.9 + 0.1 * times))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"student_optimizer": "adam"}, "learns the rate of SGD"),
        ({"student_loss": "mse"}, "learns the rate of SGD"),
        ({"student_lr": 0.0}, "and a rate"),
        ({"trained_epochs": 2}, "needs experts of 3 epochs"),
    ],
)
def test_what_cannot_work_is_refused(digits, fields, words):
    answer = plan("mtt", digits.spec, "1", fields)
    assert isinstance(answer, Refusal)
    assert words in answer.reason


@pytest.mark.parametrize("batch", [0, 4])
def test_everything_a_step_touches_is_on_the_task_s_device(digits, shelf, batch):
    run = run_of(digits, shelf, {"syn_batch": batch, "augmentation": "all"}, device=torch.device("meta"))
    for _ in range(6):
        batches = run.inner_batches(some_images(digits).to("meta"))
        assert {tensor.device.type for b in batches for tensor in (b.images, b.labels)} == {"meta"}


PRODUCTS = [
    ("mtt", {"lr_lr": 1e-3, "syn_batch": 4}),
    ("mtt", {"form": "tiles", "labels": "learned", "label_lr": 0.1}),
    ("mtt", {"labels": "teacher"}),
    ("podd", {"objective": "mtt", "order": ORDER, "labels": "learned", "init": "real"}),
    ("rat_bptt", {"objective": "mtt", "average": 0.5, "outer_schedule": "cosine"}),
]


@pytest.mark.parametrize(("name", "fields"), PRODUCTS)
def test_a_resumed_run_gives_the_same_bytes_and_the_same_rate(digits, shelf, name, fields):
    states: list[dict[str, torch.Tensor]] = []
    fields = {"outer_lr": 0.1, "outer_iterations": 5, **fields}
    whole = made(digits, shelf, name, fields, on_checkpoint=lambda state: states.append({k: t.clone() for k, t in state().items()}))
    tensors = whole.parameterization.state_dict()
    assert len(states) == 5
    for state in states[:4]:
        resumed = made(digits, shelf, name, fields, resume_from=state)
        assert all(torch.equal(tensors[key], value) for key, value in resumed.parameterization.state_dict().items())
        assert resumed.recipe == whole.recipe


@pytest.mark.parametrize(("name", "fields"), PRODUCTS)
def test_what_is_offered_on_the_way_has_the_labels_and_the_rate_of_its_step_and_changes_nothing(digits, shelf, name, fields):
    fields = {"outer_lr": 30.0, "outer_iterations": 3, **fields}
    offered = []

    def look(step, total, make, schedule):
        found = make()
        offered.append(({key: value.clone() for key, value in found.parameterization.state_dict().items()}, found.recipe))

    whole, watched = made(digits, shelf, name, fields), made(digits, shelf, name, fields, on_offer=look)
    for tensors, recipe in ((watched.parameterization.state_dict(), watched.recipe), offered[-1]):
        assert recipe == whole.recipe
        assert all(torch.equal(tensors[key], value) for key, value in whole.parameterization.state_dict().items())
    assert len(offered) == 3
    if fields.get("labels") == "teacher":
        assert not torch.equal(offered[0][0]["labels"], offered[1][0]["labels"])


def test_products_of_the_same_parts_are_one_cell(digits):
    """Whichever name they go by, where the fields agree in which the names differ."""
    same = {"space": "standard", "init": "real"}
    one = planned("mtt", digits.spec, "1", {"form": "tiles"}).method
    other = planned("rat_bptt", digits.spec, "1", {"objective": "mtt", "form": "tiles", **same}).method
    assert (one.identity(), one.values()) == (other.identity(), other.values())


@pytest.mark.parametrize("fields", [{}, {"form": "tiles", "tiles": 2}, {"form": "poster", "order": ORDER}])
def test_the_experts_teach_what_the_finished_images_are(digits, shelf, fields, tmp_path):
    """Their mean softmax, in double by the oracle's network, of every decoded image; nobody else is asked."""
    asked = {"labels": "teacher", "outer_lr": 30.0, "trained_epochs": 5, "expert_lr": 0.1, **fields}
    method, task = task_of(digits, shelf, fields=asked)
    assert {need.name for need in planned("mtt", digits.spec, "1", SMALL | asked).needs} == {"experts"}
    found = method.distill(task)
    batch, said = found.parameterization.decode(), []
    for need in method.objective.needs(digits.spec, method.student, 0):
        weights = doubles(read_snapshot(task.find(need), 5))
        logits = embed(weights, batch.images.detach().double()) @ weights["head.weight"].T + weights["head.bias"]
        said.append(logits.exp() / logits.exp().sum(1, keepdim=True))
    assert len(said) == 2
    assert_close(batch.labels, torch.stack(said).mean(0).float(), rtol=1e-4, atol=1e-5)
    assert found.parameterization.label_kind == "probabilities"
    assert 0.1 < float(batch.labels.max(1).values.mean()) < 0.99
    found.save(tmp_path)
    counts = audit(DistilledSet.load(tmp_path, digits.spec), task.budget)
    assert counts["label_numbers"] == 10 * len(batch.labels)


def test_without_a_teacher_labels_are_hard(digits, shelf):
    assert torch.equal(made(digits, shelf).parameterization.decode().labels, torch.eye(10))


def test_costs_are_those_of_the_differentiated_steps(digits, monkeypatch):
    monkeypatch.setattr(mtt, "flops_per_image", lambda *_: 100)
    for batch, shown in ((0, 10), (4, 4), (50, 10)):
        found = planned("mtt", digits.spec, "1", {**SMALL, "syn_batch": batch})
        assert found.flops == pytest.approx(3 * 8.8 * 100 * shown * 4)


@pytest.mark.parametrize("fields", [{}, {"form": "tiles"}, pytest.param({"form": "poster", "order": ORDER}, marks=pytest.mark.slow)])
def test_it_gets_ahead_of_its_own_start(digits, shelf, fields):
    """A few dozen steps from noise against none, on validation images."""

    def accuracy(moving):
        settings = {
            "network": "convnet-d2-w16", "init": "normal", "augmentation": "none", "student_steps": 50, "student_lr": 0.05,
            "expert_lr": 0.1, "expert_batch": 64, "syn_steps": 10, "outer_iterations": 30, "outer_lr": 30.0, "lr_lr": 1e-4,
            **fields, **moving,
        }  # fmt: skip
        found = made(digits, shelf, fields=settings)
        space, network = fit_space(found.space, digits.train), build_network("convnet-d2-w16", digits.spec)
        decoded, steps = found.parameterization.decode(), found.recipe.steps
        streams = [StudentStreams(("trajectory test", repeat)) for repeat in range(3)]
        data = Batch(decoded.images.detach(), decoded.labels.detach())
        students = train_students(network, data, found.recipe, streams, [steps])[steps]
        return float((predict(network, students, space.transform(digits.val.unit_images())) == digits.val.labels).float().mean())

    assert accuracy({}) > accuracy({"outer_iterations": 1, "outer_lr": 0.0, "lr_lr": 0.0}) + 0.1


def test_snapshots_that_are_drawn_are_those_on_disk(digits, shelf):
    run = run_of(digits, shelf, {"max_start": 1, "expert_epochs": 2, "experts": 1})
    start, target = run.draw_expert()
    for epoch, drawn in ((0, start), (2, target)):
        kept = read_snapshot(run.experts[0], epoch)
        assert all(torch.equal(kept[name], value) for name, value in drawn.items())
