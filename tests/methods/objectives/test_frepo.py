"""Feature regression against the oracle, its pool of networks, steps that fail, and what it does to labels of every kind."""

import math

import pytest
import torch
from products import assert_resumed_runs_agree, distilled, granted, plan, planned, task_for
from torch.testing import assert_close

from bench import Batch, Refusal, Spec
from bench.decoders.images import Images
from bench.decoders.poster import Poster
from bench.judge import evaluate, get_protocol
from bench.methods.objectives import frepo
from bench.methods.objectives._kernel_regression import kernel_regression, label_margin
from bench.methods.objectives._pool import Pool
from bench.methods.objectives.frepo import FeatureRegressionRun, centred
from bench.nn.networks import build_network, forward, initial_parameters
from bench.nn.spaces import fit_space
from bench.nn.training import StudentStreams, predict, train_students
from oracles import regression

ORDER = "0-1-2-3-4-5-6-7-8-9"
SMALL = {"network": "widenet-d2-w4", "real_batch": 12, "pool_size": 3, "student_steps": 2, "outer_iterations": 3}


def run_of(dataset, fields=None, **options) -> FeatureRegressionRun:
    resolution = planned("frepo", dataset.spec, "1", {**SMALL, **(fields or {})})
    return resolution.method.objective.begin(task_for(dataset, resolution, **options), resolution.method.student, 3)


def some_images(spec, count=10, labels="centred"):
    stored = Images(spec, count, labels=labels)
    draw = torch.Generator().manual_seed(3)
    stored.write(torch.randn(count, *spec.shape, generator=draw), torch.arange(spec.classes).repeat_interleave(count // spec.classes))
    with torch.no_grad():
        if labels in ("centred", "soft"):
            stored.labels.add_(0.2 * torch.rand(stored.labels.shape, generator=draw))
            stored.project()
    return stored


def poster(spec):
    config = {"size": [16, 40], "patch_grid": [7, 3], "class_grid": [5, 2], "order": range(10), "labels": "learned", "label_cells": 1}
    stored, draw = Poster.from_config(config, spec), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in stored.trained().values():
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.1)
    return stored


def seen_by(run, monkeypatch):
    """Let a run tell the real images that it draws."""
    seen, draw = [], type(run.real).draw
    monkeypatch.setattr(type(run.real), "draw", lambda real, *rest: seen.append(draw(real, *rest)) or seen[-1])
    return seen


# The loss -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made", [some_images, lambda spec: some_images(spec, 20, "soft"), lambda spec: some_images(spec, 10, "order"), poster]
)
def test_loss_and_gradients_are_what_one_graph_in_double_precision_computes(digits, monkeypatch, made):
    run, stored = run_of(digits), made(digits.spec)
    seen = seen_by(run, monkeypatch)
    found = run.gradient(stored, 0.0)
    (real,) = seen
    weights, batch = run.pool.parameters(run.used), stored.decode(None)
    targets = batch.labels - batch.labels.mean(1, keepdim=True)
    expected = regression.loss(weights, batch.images, targets, real.images, real.labels.argmax(1).tolist())
    assert len(real.images) == 12
    assert found.loss == pytest.approx(expected.item(), rel=1e-4)
    trained = stored.trained()
    assert set(found.gradients) == set(trained)
    for name, gradient in zip(trained, torch.autograd.grad(expected, list(trained.values())), strict=True):
        assert_close(found.gradients[name], gradient, rtol=2e-3, atol=1e-4 * float(gradient.abs().max()))


def test_mirrored_images_double_what_is_regressed_on(digits, monkeypatch):
    colour = Spec("toy", 10, (1, 8, 8), digits.spec.class_names, mirror=True)
    run, stored = run_of(digits), some_images(digits.spec)
    run.objective = type(run.objective)(**{**vars(run.objective), "use_flip": True})
    seen, sizes, original = seen_by(run, monkeypatch), [], kernel_regression
    monkeypatch.setattr(frepo, "kernel_regression", lambda x, *rest: sizes.append(len(x)) or original(x, *rest))
    found = run.gradient(stored, 0.0)
    images, labels = (tensor.detach().clone().requires_grad_() for tensor in (stored.images, stored.labels))
    weights, (real,) = run.pool.parameters(run.used), seen
    expected = regression.loss(weights, images, labels, real.images, real.labels.argmax(1).tolist(), flip=True)
    assert sizes == [20]
    assert found.loss == pytest.approx(expected.item(), rel=1e-4)
    for name, gradient in zip(("images", "labels"), torch.autograd.grad(expected, (images, labels)), strict=True):
        assert_close(found.gradients[name], gradient, rtol=2e-3, atol=1e-4 * float(gradient.abs().max()))
    flipped, plain = (planned("frepo", colour, "1", {**SMALL, "use_flip": flip}).flops for flip in (True, False))
    assert (flipped - plain) / plain == pytest.approx(2.9 * 10 / (12 + 2.9 * 20))


def test_mirroring_is_refused_where_a_mirror_image_may_be_another_class(digits):
    answer = plan("frepo", digits.spec, "1", {"use_flip": True})
    assert isinstance(answer, Refusal)
    assert answer.reason == "use_flip=true mirrors images, and on digits a mirror image may be another class; use use_flip=false"


def test_images_predict_themselves_without_a_ridge():
    draw = torch.Generator().manual_seed(0)
    features, labels = torch.randn(6, 30, generator=draw), torch.randn(6, 4, generator=draw)
    assert_close(kernel_regression(features, labels, features, 1e-12), labels.double(), rtol=1e-6, atol=1e-6)


def test_the_ridge_is_a_share_of_the_mean_eigenvalue():
    """Of equal orthogonal features a ridge of one halves what is predicted, whatever their length."""
    labels = torch.eye(3)
    for length in (1e-3, 1.0, 1e3):
        assert_close(kernel_regression(length * torch.eye(3), labels, length * torch.eye(3), 1.0), labels.double() / 2)


def test_the_margin_is_that_of_the_two_largest_targets_and_ends_at_one_over_the_classes():
    labels = torch.tensor([[0.3, 0.1, -0.4], [0.9, -0.5, -0.4], [0.2, 0.2, -0.4]], requires_grad=True)
    found = label_margin(labels)
    assert found.item() == pytest.approx((0.2 + 1 / 3 + 0.0) / 3)
    (gradient,) = torch.autograd.grad(found, labels)
    assert_close(gradient[:2], torch.tensor([[1 / 3, -1 / 3, 0.0], [0.0, 0.0, 0.0]]))


def test_many_images_go_through_the_network_part_by_part_with_the_same_gradient(digits, monkeypatch):
    whole = run_of(digits).gradient(some_images(digits.spec, 20), 0.0)
    monkeypatch.setattr(frepo, "_AT_ONCE", 7)
    parts = run_of(digits).gradient(some_images(digits.spec, 20), 0.0)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    for name, gradient in whole.gradients.items():
        assert_close(parts.gradients[name], gradient, rtol=1e-4, atol=1e-6)


# The pool -------------------------------------------------------------------------------------------------------------


def pool_of(digits, size=4, max_age=10) -> Pool:
    network = build_network("widenet-d2-w4", digits.spec)
    adam = frepo.InnerAdam(0.01)
    return Pool(network, size, max_age, adam, torch.Generator().manual_seed(0), torch.device("cpu"))


def a_batch(digits):
    batch = some_images(digits.spec).decode(None)
    return Batch(batch.images.detach(), batch.labels.detach())


def test_ages_start_evenly_spread_and_networks_differ(digits):
    pool = pool_of(digits)
    assert pool.ages == [0, 2, 4, 6]
    assert len({tuple(network.theta.tolist()) for network in pool.networks}) == 4


def test_a_network_past_the_largest_age_is_replaced_where_it_would_be_trained(digits):
    pool, batch, ages, seen = pool_of(digits), a_batch(digits), [], []
    for _ in range(8):
        pool.train(3, batch)
        ages.append(pool.ages[3])
        seen.append(pool.networks[3].theta.clone())
    assert ages == [7, 8, 9, 10, 11, 0, 1, 2]
    steps = [float((after - before).norm()) for before, after in zip(seen, seen[1:], strict=False)]
    assert steps[4] > 5 * max(steps[:4] + steps[5:])
    assert [network.step for network in pool.networks] == [0, 0, 0, 2]
    assert pool.ages[:3] == [0, 2, 4]


def test_a_network_trains_by_pytorch_s_adam_on_the_squared_error(digits):
    pool, batch = pool_of(digits), a_batch(digits)
    leaves = {name: value.clone().requires_grad_() for name, value in pool.parameters(0).items()}
    optimizer = torch.optim.Adam(list(leaves.values()), lr=0.01)
    for _ in range(4):
        pool.train(0, batch)
        optimizer.zero_grad()
        error = forward(pool.architecture, leaves, batch.images) - batch.labels
        (0.5 * error.square().sum(1).mean()).backward()
        optimizer.step()
    for name, value in pool.parameters(0).items():
        assert_close(value, leaves[name].detach(), rtol=1e-4, atol=1e-6)


def test_a_network_that_is_not_finite_any_more_is_replaced(digits):
    pool, batch = pool_of(digits), a_batch(digits)
    pool.train(1, Batch(batch.images * math.inf, batch.labels))
    assert pool.ages[1] == 0
    assert pool.networks[1].theta.isfinite().all()


def test_the_network_of_a_step_is_trained_on_what_the_step_made_of_the_set(digits):
    run, stored = run_of(digits), some_images(digits.spec)
    run.gradient(stored, 0.0)
    first, before = run.used, run.pool.networks[run.used].theta.clone()
    assert [network.step for network in run.pool.networks] == [0, 0, 0]
    with torch.no_grad():
        stored.images.mul_(0.5)
    expected = run_of(digits).pool
    assert torch.equal(expected.networks[first].theta, before)
    expected.train(first, a_batch_of(stored))
    run.gradient(stored, 0.0)
    assert torch.equal(run.pool.networks[first].theta, expected.networks[first].theta)
    assert run.pool.ages[first] == expected.ages[first]


def a_batch_of(stored):
    batch = stored.decode(None)
    return Batch(batch.images.detach(), centred(batch.labels.detach()))


def test_a_step_of_a_network_takes_at_most_a_batch_of_the_set(digits, monkeypatch):
    run, stored, sizes = run_of(digits, {"network_batch": 4}), some_images(digits.spec), []
    train = Pool.train
    monkeypatch.setattr(Pool, "train", lambda pool, index, batch: sizes.append(batch.images) or train(pool, index, batch))
    for _ in range(6):
        run.gradient(stored, 0.0)
    assert [len(images) for images in sizes] == [4] * 5
    assert not torch.equal(sizes[0], sizes[1])


def test_every_network_of_the_pool_is_used(digits):
    run, stored, used = run_of(digits), some_images(digits.spec), set()
    for _ in range(20):
        run.gradient(stored, 0.0)
        used.add(run.used)
    assert used == {0, 1, 2}


# Steps that fail ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [torch.zeros(4, 6), torch.full((4, 6), math.nan), torch.full((4, 6), math.inf)])
def test_features_that_cannot_be_regressed_on_give_no_prediction(features):
    assert kernel_regression(features, torch.eye(4), torch.rand(3, 6), 1e-6) is None


@pytest.mark.parametrize("fails", [lambda *_: None, lambda *_: torch.full((12, 10), math.nan, dtype=torch.float64)])
def test_a_step_without_a_finite_regression_is_skipped_and_counted_and_the_set_goes_on(digits, monkeypatch, fails):
    calls, original, notes = [], kernel_regression, {}

    def sometimes(*arguments):
        calls.append(arguments)
        return fails() if len(calls) in (2, 3) else original(*arguments)

    monkeypatch.setattr(frepo, "kernel_regression", sometimes)
    resolution = planned("frepo", digits.spec, "1", {**SMALL, "outer_iterations": 5})
    states = []
    keep = lambda state: states.append({key: value.clone() for key, value in state().items()})  # noqa: E731
    made = distilled(digits, resolution.method, resolution, on_note=notes.update, on_checkpoint=keep)
    assert notes["skipped_steps"] == 2
    assert all(tensor.isfinite().all() for tensor in made.values())
    assert torch.equal(states[0]["stored.images"], states[2]["stored.images"])
    assert not torch.equal(states[2]["stored.images"], states[3]["stored.images"])
    assert int(states[1]["run.used"]) == -1  # its network is a fresh one, which is not trained for it


def test_a_network_of_dead_units_is_replaced(digits):
    run, stored = run_of(digits, {"pool_size": 1}), some_images(digits.spec)
    run.pool.networks[0].theta.zero_()
    found = run.gradient(stored, 0.0)
    assert math.isnan(found.loss)
    assert all(gradient.isnan().all() for gradient in found.gradients.values())
    assert math.isfinite(run.gradient(stored, 0.0).loss)


# Labels and networks of the product -----------------------------------------------------------------------------------


def test_centred_labels_are_refused_where_they_cannot_be_trained_on(digits):
    for name in ("rat_bptt", "dc", "dm"):
        answer = plan(name, digits.spec, "1", {"labels": "centred", "student_loss": "mse"})
        assert isinstance(answer, Refusal)
        assert answer.reason.endswith("takes no labels below zero, which centred ones are; use labels=learned")
    for name in ("frepo", "random"):
        answer = plan(name, digits.spec, "1", {"labels": "centred", "student_loss": "cross_entropy"})
        assert isinstance(answer, Refusal)
        assert answer.reason == "centred labels have no lowest cross-entropy; use student_loss=mse or other labels"
    assert not isinstance(plan("random", digits.spec, "1", {"labels": "centred", "student_loss": "mse"}), Refusal)


def test_a_form_without_centred_labels_keeps_its_own(digits):
    labels = {
        form: planned("frepo", digits.spec, "0.9", {"form": form, **more}).method.form.labels
        for form, more in {"lowres": {}, "subset": {}, "tiles": {}, "poster": {"order": ORDER}, "mosaic": {}}.items()
    }
    assert labels == {"lowres": "centred", "subset": "centred", "tiles": "centred", "poster": "fixed", "mosaic": "proportional"}
    assert planned("frepo", digits.spec, "0.5", {"form": "subset", "labels": "fixed"}).method.form.labels == "learned"


def test_centred_labels_come_with_the_objective_and_go_with_it(digits):
    for name, objective, labels, loss in (("rat_bptt", "frepo", "centred", "mse"), ("frepo", "dm", "fixed", "cross_entropy")):
        method = planned(name, digits.spec, "1", {"objective": objective}).method
        assert (method.form.labels, method.student.student_loss) == (labels, loss)


OPEN = [
    ((1, 8, 8), False, "widenet-d2-w32", "standard", "tint_zoom_rotate_translate_hole"),
    ((1, 28, 28), True, "widenet-d3-w128", "standard", "flip_tint_zoom_rotate_translate_hole"),
    ((3, 32, 32), True, "widenet-d3-w128", "zca_frepo", "flip_tint_zoom_rotate_translate_hole"),
    ((3, 64, 64), True, "widenet-d4-w128", "zca_frepo", "flip_tint_zoom_rotate_translate_hole"),
]


@pytest.mark.parametrize(("shape", "mirror", "network", "space", "augmentation"), OPEN)
def test_what_is_left_open_is_as_the_authors_have_it(shape, mirror, network, space, augmentation):
    spec = Spec("toy", 2, shape, ("one", "other"), mirror=mirror)
    resolution = planned("frepo", spec, "1")
    student = resolution.method.student
    assert (student.network, student.space, student.augmentation) == (network, space, augmentation)
    assert resolution.network == network
    asked = {"network": "convnet-d2-w8", "space": "standard", "augmentation": "none"}
    student = planned("frepo", spec, "1", asked).method.student
    assert {name: getattr(student, name) for name in asked} == asked
    assert planned("rat_bptt", spec, "1").method.student.network == "convnet-d2-w32" if shape[1] == 8 else "convnet-d3-w128"


@pytest.mark.parametrize(
    ("name", "network"), [("native-v1", "widenet-d2-w4"), ("common-v1", "convnet-d2-w32"), ("frepo-v1", "widenet-d3-w128")]
)
def test_every_protocol_trains_students_by_the_squared_error_on_its_own_network(digits, tmp_path, monkeypatch, name, network):
    resolution = planned("frepo", digits.spec, "1", SMALL)
    resolution.method.distill(task_for(digits, resolution)).save(tmp_path)
    used = []

    def no_time(built, data, recipe, streams, checkpoints, **_):
        used.append(recipe)
        return {step: [initial_parameters(built, stream.generator("init")) for stream in streams] for step in checkpoints}

    monkeypatch.setattr(evaluate, "train_students", no_time)
    judged = evaluate.judge_folder(tmp_path, digits, granted("1", digits.spec), get_protocol(name, students=1), 0, None)
    assert {recipe.loss for recipe in used} == {"mse"}
    assert judged.training["network"] == network
    assert judged.audit["label_numbers"] == 100


# Runs -----------------------------------------------------------------------------------------------------------------

FORMS = [
    {},
    {"network_batch": 4, "max_age": 1, "pool_size": 2},
    {"form": "poster", "order": ORDER, "labels": "learned"},
    {"form": "mosaic"},
    {"labels": "learned"},
    {"labels": "fixed"},
    {"network": "convnet-d2-w4"},
]


@pytest.mark.parametrize("fields", FORMS, ids=str)
def test_a_resumed_run_gives_the_same_bytes(digits, fields):
    assert_resumed_runs_agree(digits, planned("frepo", digits.spec, "1", {**SMALL, "outer_iterations": 6, **fields}), steps=6)


def test_centred_labels_start_as_the_authors_and_keep_their_sum(digits):
    spec = Spec("toy", 40, (1, 8, 8), tuple(map(str, range(40))))
    form = planned("frepo", spec, "1", SMALL)
    stored = form.method.form.empty(spec, type("Plan", (), {"images": 40, "geometry": form.plan["geometry"]}))
    form.method.form.fill(stored, torch.zeros(40, 1, 8, 8), torch.arange(40))
    assert_close(stored.labels.detach(), (torch.eye(40) - 1 / 40) / 2)
    resolution = planned("frepo", digits.spec, "1", {**SMALL, "outer_iterations": 20, "label_lr": 0.05})
    labels = distilled(digits, resolution.method, resolution)["labels"]
    assert (labels - (torch.eye(10) - 0.1)).abs().max() > 0.2
    assert labels.min() < 0
    assert_close(labels.sum(1), torch.zeros(10), rtol=0, atol=1e-5)


def accuracy(digits, fields, budget="1"):
    resolution = planned("frepo", digits.spec, budget, fields)
    made = resolution.method.distill(task_for(digits, resolution, budget))
    space, network = fit_space(made.space, digits.train), build_network(made.network, digits.spec)
    decoded, steps = made.parameterization.decode(), made.recipe.steps
    streams = [StudentStreams(("regression test", repeat)) for repeat in range(3)]
    students = train_students(network, Batch(decoded.images.detach(), decoded.labels.detach()), made.recipe, streams, [steps])[steps]
    return float((predict(network, students, space.transform(digits.val.unit_images())) == digits.val.labels).float().mean())


FAST = {"network": "widenet-d2-w16", "real_batch": 128, "pool_size": 4, "network_lr": 3e-3, "augmentation": "none"}
STUDENT = {"student_lr": 0.01, "student_steps": 100, "student_schedule": "constant", "ridge": 0.05}


@pytest.mark.parametrize("fields", [{}, pytest.param({"form": "poster", "order": ORDER, "labels": "learned"}, marks=pytest.mark.slow)])
def test_the_product_gets_ahead_of_its_own_start(digits, fields):
    """Some steps from real images against none, on validation images."""
    settings = {**FAST, **STUDENT, **fields}
    start = accuracy(digits, {**settings, "outer_iterations": 1, "outer_lr": 0.0, "label_lr": 0.0})
    assert accuracy(digits, {**settings, "outer_iterations": 150, "outer_lr": 0.01, "label_lr": 0.003}) > start + 0.1
