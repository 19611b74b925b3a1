"""Gradient and distribution matching against the oracle, on soft labels and on other forms; networks that are trained on."""

import pytest
import torch
from products import assert_resumed_runs_agree, plan, planned, task_for
from torch.testing import assert_close

from bench import Batch, Refusal, Run
from bench.data import Split
from bench.decoders.images import Images
from bench.decoders.poster import Poster
from bench.methods.objectives import dc, dm
from bench.methods.objectives._by_class import class_parts
from bench.methods.objectives._cutmix import cutmix
from bench.nn.networks import build_network, forward, initial_parameters
from bench.nn.spaces import fit_space
from bench.nn.training import StudentStreams, predict, train_students
from oracles import matching

FAST = {"student_optimizer": "adam", "student_lr": 0.01, "student_steps": 50, "student_schedule": "constant", "augmentation": "none"}
ORDER = "0-1-2-3-4-5-6-7-8-9"
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


def poster(digits):
    config = {"size": [16, 40], "patch_grid": [7, 3], "class_grid": [5, 2], "order": range(10), "labels": "learned", "label_cells": 1}
    stored = Poster.from_config(config, digits.spec)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in stored.trained().values():
            tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.1)
    return stored


def soft_images(digits):
    stored = some_images(digits, 10, "soft")
    with torch.no_grad():
        stored.labels.copy_(torch.rand(10, 10, generator=torch.Generator().manual_seed(6)))
        stored.labels[:, 4] = 0.0  # nothing stands for one class
    return stored


@pytest.mark.parametrize("made", [soft_images, poster])
@pytest.mark.parametrize(("objective", "oracle"), [("dc", matching.soft_gradient_distance), ("dm", matching.soft_mean_distance)])
def test_soft_labels_weigh_an_image_in_every_class(digits, monkeypatch, objective, oracle, made):
    run = run_of(digits, objective, {"siamese": "none"})
    weights, seen = drawn_by(run, monkeypatch)
    stored = made(digits)
    found = run.gradient(stored, 0.0)
    batch = stored.decode(None)
    assert len(seen) == int((batch.labels.sum(0) > 0).sum())
    expected = oracle(weights, {label: b.images for label, b in seen.items()}, batch.images, batch.labels)
    assert found.loss == pytest.approx(expected.item(), rel=1e-4)
    trained = stored.trained()
    assert set(found.gradients) == set(trained)
    for name, gradient in zip(trained, torch.autograd.grad(expected, list(trained.values())), strict=True):
        assert_close(found.gradients[name], gradient, rtol=5e-3, atol=2e-5 * float(gradient.abs().max()) + 1e-6)


def test_hard_labels_are_cut_into_classes_of_equal_weights(digits):
    parts = list(class_parts(some_images(digits).decode(None), 0, torch.Generator()))
    assert [part.label for part in parts] == list(range(10))
    assert [part.index.tolist() for part in parts] == [[2 * label, 2 * label + 1] for label in range(10)]
    assert all(part.weights.tolist() == [0.5, 0.5] for part in parts)
    assert parts[3].targets(10).sum(0).tolist() == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0]


def test_at_most_so_many_images_of_a_class_take_part(digits):
    draw = torch.Generator().manual_seed(0)
    chosen = [tuple(part.index.tolist()) for _ in range(20) for part in class_parts(some_images(digits, 40).decode(None), 3, draw)]
    assert all(len(set(index)) == 3 for index in chosen)
    assert {i for index in chosen for i in index} == set(range(40))
    (part, *_) = class_parts(some_images(digits, 40).decode(None), 3, draw)
    assert part.weights.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("objective", ["dc", "dm"])
def test_real_and_distilled_images_of_a_class_go_through_the_same_operation(digits, monkeypatch, objective):
    """Where the real images of a class are its distilled one, there is no distance, whatever is drawn."""
    run = run_of(digits, objective, {"siamese": "all"})
    stored, targets = some_images(digits, 10), torch.eye(10)
    real = run.gradient(stored, 0.0).loss

    def the_distilled_one(_, label, *__):
        return Batch(stored.images.detach()[label].repeat(5, 1, 1, 1), targets[[label] * 5])

    monkeypatch.setattr(type(run.real), "draw_class", the_distilled_one)
    assert max(run.gradient(stored, 0.0).loss for _ in range(4)) < 1e-3 * real


def test_a_class_draws_one_operation_for_all_its_images(digits, monkeypatch):
    seen = []
    original = dm.features

    def features(network, parameters, images):
        seen.append(images.detach())
        return original(network, parameters, images)

    monkeypatch.setattr(dm, "features", features)
    stored = some_images(digits)
    with torch.no_grad():
        stored.images.copy_(stored.images[:1].clone())
    run_of(digits, "dm", {"siamese": "rotate"}).gradient(stored, 0.0)
    assert all(torch.equal(images[0], images[1]) for images in seen)
    assert not torch.equal(seen[0][0], seen[1][0])  # each class its own angle


@pytest.mark.parametrize("objective", ["dc", "dm"])
def test_a_class_without_training_images_is_left_alone(digits, objective):
    kept = torch.nonzero(digits.train.labels != 7).flatten()
    resolution = planned("rat_bptt", digits.spec, "1", {"objective": objective, **SMALL})
    task = task_for(digits, resolution)
    task = type(task)(**{**vars(task), "train": Split(digits.train.images[kept], digits.train.labels[kept])})
    found = resolution.method.objective.begin(task, resolution.method.student, 3).gradient(some_images(digits, 10), 0.0)
    lengths = found.gradients["images"].flatten(1).norm(dim=1)
    assert lengths[7] == 0
    assert (lengths[torch.arange(10) != 7] > 0).all()


def trained_by_torch(run, stored, steps, *, momentum=0.0, decay=0.0):
    """Train the network of a run's first step on the whole distilled set with PyTorch's own SGD."""
    engine = run.engine
    flat = engine.gradients.unpack(run.network.theta)[0]
    leaves = {name: value.clone().requires_grad_() for name, value in engine.layout.unflatten(flat).items()}
    optimizer = torch.optim.SGD(list(leaves.values()), lr=0.05, momentum=momentum, weight_decay=decay)
    batch = stored.decode(None)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(forward(run.architecture, leaves, batch.images.detach()), batch.labels.detach()).backward()
        optimizer.step()
    return torch.cat([value.detach().flatten() for value in leaves.values()])


def test_a_network_is_trained_on_distilled_images_between_its_updates_and_then_replaced(digits):
    fields = {"network_updates": 3, "network_steps": 4, "network_lr": 0.05, "network_momentum": 0.5, "network_weight_decay": 0.01}
    run, stored = run_of(digits, "dc", fields), some_images(digits)
    run.gradient(stored, 0.0)
    expected = trained_by_torch(run, stored, 4, momentum=0.5, decay=0.01)
    run.gradient(stored, 0.0)
    second = run.engine.gradients.unpack(run.network.theta)[0]
    assert_close(second, expected, rtol=1e-3, atol=1e-5)
    run.gradient(stored, 0.0)
    third = run.engine.gradients.unpack(run.network.theta)[0].clone()
    assert not torch.allclose(third, second)
    run.gradient(stored, 0.0)  # a fresh one
    fresh = run.engine.gradients.unpack(run.network.theta)[0]
    assert (fresh - third).norm() > 10 * (third - second).norm()
    assert run.updates == 1


def test_a_network_is_trained_on_augmented_real_images_where_that_is_asked_for(digits, monkeypatch):
    fields = {"network_updates": 2, "network_steps": 3, "network_data": "real", "network_batch": 12, "network_augmentation": "crop"}
    run, drawn = run_of(digits, "dc", fields), []
    original = type(run.real).draw
    monkeypatch.setattr(type(run.real), "draw", lambda real, count, stream: drawn.append(count) or original(real, count, stream))
    for _ in range(3):
        run.gradient(some_images(digits, 10), 0.0)
    assert drawn == [12, 12, 12]
    batch = run._network_batch(some_images(digits, 10))
    plain = run.real.take(torch.arange(len(run.real))).images
    assert not any((plain == image).flatten(1).all(1).any() for image in batch.images[:4])


def test_cutmix_mixes_labels_by_the_pixels_that_stay():
    """Every image has one grey value, its class; what a mixed image shows is what its label says."""
    values = torch.arange(8.0)
    batch = Batch(values.view(8, 1, 1, 1).expand(8, 2, 12, 12).clone(), torch.eye(8))
    draw, shares = torch.Generator().manual_seed(0), []
    for _ in range(50):
        mixed = cutmix(batch, 1.0, draw)
        assert_close(mixed.images.mean((1, 2, 3)), mixed.labels @ values)
        assert_close(mixed.labels.sum(1), torch.ones(8))
        shares.append(float(mixed.labels.max(1).values.min()))
        found = mixed.images[0, 0]
        rows, columns = (found != 0).any(1).nonzero().flatten(), (found != 0).any(0).nonzero().flatten()
        if len(rows):  # the other image is a box
            assert (found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] != 0).all()
    assert min(shares) < 0.7
    assert max(shares) == 1.0


def test_cutmix_happens_as_often_as_it_is_asked_for():
    batch = Batch(torch.rand(4, 1, 8, 8), torch.eye(4))
    draw = torch.Generator().manual_seed(0)
    assert all(cutmix(batch, 0.0, draw) is batch for _ in range(20))
    happened = sum(cutmix(batch, 0.5, draw) is not batch for _ in range(400))
    assert 160 < happened < 240


@pytest.mark.parametrize(("objective", "module"), [("dc", dc), ("dm", dm)])
def test_the_costs_that_are_planned_are_those_of_the_real_images(digits, objective, module, monkeypatch):
    monkeypatch.setattr(module, "flops_per_image", lambda *_: 100)
    resolution = planned("rat_bptt", digits.spec, "1", {"objective": objective, **SMALL})
    passes = 2.9 * 160 + 8.8 * 10 if objective == "dc" else 160 + 2.9 * 10
    assert resolution.flops == pytest.approx(3 * 100 * passes)


def test_training_the_network_is_part_of_the_costs_but_for_its_first_update(digits, monkeypatch):
    monkeypatch.setattr(dc, "flops_per_image", lambda *_: 100)
    fields = {"objective": "dc", **SMALL, "network_updates": 4, "network_steps": 5, "network_batch": 8}
    expected = 2.9 * (160 + 5 * 8 * 0.75) + 8.8 * 10
    assert planned("rat_bptt", digits.spec, "1", fields).flops == pytest.approx(3 * 100 * expected)


PRODUCTS = [
    ("dc", {"network_updates": 3, "network_steps": 2}),
    ("dsa", {}),
    ("dm", {"labels": "learned", "label_lr": 0.1}),
    ("idc", {"network_updates": 3, "network_steps": 1, "network_batch": 8}),
]


@pytest.mark.parametrize(("name", "fields"), PRODUCTS)
def test_a_resumed_run_gives_the_same_bytes(digits, name, fields):
    assert_resumed_runs_agree(digits, planned(name, digits.spec, "1", {**SMALL, "outer_iterations": 5, **fields}), steps=5)


@pytest.mark.parametrize("name", ["dc", "dsa", "dm", "idc"])
@pytest.mark.parametrize("fields", [{}, pytest.param({"form": "poster", "order": ORDER, "labels": "learned"}, marks=pytest.mark.slow)])
def test_every_matching_product_gets_ahead_of_its_own_start(digits, name, fields):
    """A few dozen steps from noise against none, on validation images."""

    def accuracy(moving):
        settings = {"network": "convnet-d2-w16", "outer_iterations": 30, "class_batch": 40, "init": "noise", **FAST, **fields, **moving}
        resolution = planned(name, digits.spec, "1", settings)
        made = resolution.method.distill(task_for(digits, resolution))
        space, network = fit_space(made.space, digits.train), build_network("convnet-d2-w16", digits.spec)
        decoded, steps = made.parameterization.decode(), made.recipe.steps
        streams = [StudentStreams(("matching test", repeat)) for repeat in range(3)]
        students = train_students(network, Batch(decoded.images.detach(), decoded.labels.detach()), made.recipe, streams, [steps])[steps]
        return float((predict(network, students, space.transform(digits.val.unit_images())) == digits.val.labels).float().mean())

    start = accuracy({"outer_iterations": 1, "outer_lr": 0.0, "label_lr": 0.0})
    assert accuracy({"outer_optimizer": "adam", "outer_lr": 0.1}) > start + 0.1


@pytest.mark.parametrize("name", ["dc", "dsa", "dm"])
def test_a_form_without_an_image_of_some_class_is_refused(digits, name):
    answer = plan(name, digits.spec, "0.5", {"form": "subset"})
    assert isinstance(answer, Refusal)
    assert "form=subset has none of 5 of 10 classes" in answer.reason
    assert not isinstance(plan(name, digits.spec, "1", {"form": "subset"}), Refusal)
