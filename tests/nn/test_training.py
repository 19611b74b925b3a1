"""Students: the same steps as a plain torch loop, their own streams only, kept at the steps asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench import Batch, Dataset, Spec, TrainRecipe
from bench.nn.augment import draw
from bench.nn.convnet import library
from bench.nn.networks import Parameters, build_network, forward, initial_parameters
from bench.nn.spaces import Standard
from bench.nn.training import StudentStreams, learning_rate, predict, soft_cross_entropy, squared_error, train_students
from bench.seeding import stream

SPEC = Spec("toy", 3, (1, 8, 8), ("a", "b", "c"))
STUDENTS = [StudentStreams(("toy", k)) for k in range(3)]


@pytest.fixture(params=["compiled", "pytorch"], autouse=True)
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with the compiled kernels, where the machine can build them, and without."""
    if request.param == "pytorch":
        monkeypatch.setattr("bench.nn.training.compiled_net", lambda *_: None)
    elif library.load()[0] is None:
        pytest.skip(library.load()[1])


def data(count: int = 12) -> Batch:
    labels = torch.rand(count, 3, generator=stream("labels"))
    return Batch(torch.randn(count, *SPEC.shape, generator=stream("images")), labels / labels.sum(1, keepdim=True))


def plain_loop(name: str, batch: Batch, recipe: TrainRecipe, student: StudentStreams) -> Parameters:
    """Train one student as one would write it down for oneself."""
    network = build_network(name, SPEC)
    parameters = {key: value.requires_grad_() for key, value in initial_parameters(network, student.generator("init")).items()}
    if recipe.optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam(parameters.values(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.SGD(parameters.values(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    batches, augmentation = student.generator("batches"), student.generator("augmentation")
    for step in range(recipe.steps):
        factor = {"constant": 1.0, "step": 0.1 if step >= recipe.steps / 2 else 1.0}.get(recipe.schedule)
        optimizer.param_groups[0]["lr"] = recipe.lr * (factor or (1 + math.cos(math.pi * step / recipe.steps)) / 2)
        images, labels = batch.images, batch.labels
        if 0 < recipe.batch_size < len(images):
            pick = torch.randperm(len(images), generator=batches)[: recipe.batch_size]
            images, labels = images[pick], labels[pick]
        images = draw(recipe.augmentation, len(images), SPEC.shape, augmentation)(images)
        logits = forward(network, parameters, images)
        loss = F.cross_entropy(logits, labels) if recipe.loss == "cross_entropy" else ((logits - labels) ** 2).sum() / (2 * len(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {key: value.detach() for key, value in parameters.items()}


RECIPES = {
    "adam": TrainRecipe("adam", lr=1e-3, steps=6),
    "adam with decay": TrainRecipe("adam", lr=1e-3, steps=4, weight_decay=0.1),
    "sgd": TrainRecipe("sgd", lr=0.05, steps=6),
    "sgd with everything": TrainRecipe("sgd", lr=0.05, steps=7, batch_size=5, momentum=0.9, weight_decay=0.01, schedule="cosine"),
    "a late tenth": TrainRecipe("sgd", lr=0.05, steps=5, batch_size=4, schedule="step"),
    "squared error": TrainRecipe("sgd", lr=0.05, steps=6, batch_size=5, momentum=0.9, loss="mse"),
    "augmented": TrainRecipe("adam", lr=1e-3, steps=4, batch_size=6, augmentation="flip_rotate_cutout_color"),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("name", ["convnet-d2-w8", "convnet-d1-w65"], ids=["grouped", "sequential"])
def test_students_train_as_in_a_plain_loop(recipe: TrainRecipe, name: str) -> None:
    trained = train_students(build_network(name, SPEC), data(), recipe, STUDENTS, [recipe.steps])[recipe.steps]
    for parameters, student in zip(trained, STUDENTS, strict=True):
        expected = plain_loop(name, data(), recipe, student)
        torch.testing.assert_close(flat(parameters), flat(expected), rtol=1e-3, atol=2e-4)


def flat(parameters: Parameters) -> Tensor:
    """Join all parameters that matter.

    The norm takes away the bias of the convolution before it, so that bias has no gradient but rounding noise, which
    Adam blows up to full steps.
    """
    return torch.cat(
        [value.flatten() for key, value in sorted(parameters.items()) if not (key.startswith("convs") and key.endswith("bias"))]
    )


def test_a_student_does_not_depend_on_the_others() -> None:
    recipe = RECIPES["augmented"]
    network = build_network("convnet-d2-w8", SPEC)
    together = train_students(network, data(), recipe, STUDENTS, [4])[4]
    alone = train_students(network, data(), recipe, STUDENTS[1:2], [4])[4]
    pair = train_students(network, data(), recipe, [STUDENTS[2], STUDENTS[1]], [4])[4]
    torch.testing.assert_close(flat(together[1]), flat(alone[0]), rtol=1e-3, atol=2e-4)
    torch.testing.assert_close(flat(together[1]), flat(pair[1]), rtol=1e-3, atol=2e-4)
    assert not torch.allclose(flat(together[0]), flat(together[1]), atol=1e-2)


def test_checkpoints_are_the_state_after_so_many_steps() -> None:
    network = build_network("convnet-d2-w8", SPEC)
    recipe = TrainRecipe("sgd", lr=0.05, steps=6, batch_size=5)
    kept = train_students(network, data(), recipe, STUDENTS, [2, 6])
    assert list(kept) == [2, 6]
    short = train_students(network, data(), replace(recipe, steps=2), STUDENTS, [2])
    assert torch.equal(flat(kept[2][0]), flat(short[2][0]))
    assert not torch.equal(flat(kept[2][0]), flat(kept[6][0]))


def test_repeating_gives_the_same_bits() -> None:
    network = build_network("convnet-d2-w8", SPEC)
    one, other = (train_students(network, data(), RECIPES["augmented"], STUDENTS, [4])[4] for _ in range(2))
    assert all(torch.equal(flat(a), flat(b)) for a, b in zip(one, other, strict=True))


def test_training_leaves_data_and_global_generator_alone() -> None:
    batch, before = data(), torch.get_rng_state()
    train_students(build_network("convnet-d2-w8", SPEC), batch, RECIPES["augmented"], STUDENTS, [4])
    assert torch.equal(batch.images, data().images)
    assert torch.equal(torch.get_rng_state(), before)


def test_soft_cross_entropy_is_torchs_for_distributions() -> None:
    logits = torch.randn(5, 3, generator=stream("logits"))
    labels = data(5).labels
    torch.testing.assert_close(soft_cross_entropy(logits, labels), F.cross_entropy(logits, labels))
    stacked = soft_cross_entropy(torch.stack([logits, 2 * logits]), torch.stack([labels, labels]))
    torch.testing.assert_close(stacked, F.cross_entropy(logits, labels) + F.cross_entropy(2 * logits, labels))


def test_the_size_of_a_label_is_the_weight_of_its_sample() -> None:
    logits, labels = torch.randn(2, 3, generator=stream("logits")), torch.eye(3)[:2]
    weighted = soft_cross_entropy(logits, labels * torch.tensor([[2.0], [0.0]]))
    torch.testing.assert_close(weighted, F.cross_entropy(logits[:1], labels[:1]))


def test_squared_error_and_its_gradient_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0], [0.0, 0.5, 3.0]], requires_grad=True)
    labels = torch.tensor([[0.5, -0.25, -0.25], [-1.0, 0.0, 1.0]])
    loss = squared_error(logits, labels)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 * ((0.25 + 5.0625 + 0.5625) + (1.0 + 0.25 + 4.0)) / 2)
    torch.testing.assert_close(logits.grad, torch.tensor([[0.5, 2.25, -0.75], [1.0, 0.5, 2.0]]) / 2)
    stacked = squared_error(torch.stack([logits, labels]), torch.stack([labels, labels]))
    torch.testing.assert_close(stacked, loss)  # the second student is right already


@pytest.mark.parametrize("name", ["convnet-d2-w8", "convnet-d1-w65"], ids=["grouped", "sequential"])
def test_one_step_by_squared_error_by_hand(name: str) -> None:
    """The head is linear, so its step is the residual times its input, whatever lies below it."""
    network, batch, recipe = build_network(name, SPEC), data(), TrainRecipe("sgd", lr=0.1, steps=1, loss="mse")
    centred = Batch(batch.images, batch.labels - 1 / 3)
    trained = train_students(network, centred, recipe, STUDENTS, [1])[1]
    for student, after in zip(STUDENTS, trained, strict=True):
        before = initial_parameters(network, student.generator("init"))
        residual = forward(network, before, centred.images) - centred.labels
        without_head = {**before, "head.weight": torch.zeros_like(before["head.weight"]), "head.bias": torch.zeros(3)}
        features = []
        for unit in range(before["head.weight"].shape[1]):  # a head that passes one number on reads it off
            probe = without_head["head.weight"].clone()
            probe[0, unit] = 1.0
            features.append(forward(network, {**without_head, "head.weight": probe}, centred.images)[:, 0])
        step = residual.T @ torch.stack(features, 1) / len(residual)
        torch.testing.assert_close(after["head.bias"], before["head.bias"] - 0.1 * residual.mean(0), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(after["head.weight"], before["head.weight"] - 0.1 * step, rtol=1e-4, atol=1e-6)


def test_centred_labels_are_learnt_by_squared_error(digits: Dataset) -> None:
    some = digits.train.take(torch.arange(400))
    space = Standard.fit(digits.train)
    images, labels = space.transform(some.unit_images()), F.one_hot(some.labels, 10) - 0.1
    recipe = TrainRecipe(lr=1e-2, steps=200, batch_size=50, loss="mse")
    network = build_network("convnet-d2-w8", digits.spec)
    trained = train_students(network, Batch(images, labels), recipe, STUDENTS[:2], [200])[200]
    assert digits.val is not None
    right = predict(network, trained, space.transform(digits.val.unit_images())) == digits.val.labels
    assert right.float().mean(1).min() > 0.8


def test_schedules() -> None:
    recipe = TrainRecipe(lr=0.8, steps=4)
    assert [learning_rate(recipe, step) for step in range(4)] == [0.8] * 4
    assert [learning_rate(replace(recipe, schedule="step"), step) for step in range(4)] == pytest.approx([0.8, 0.8, 0.08, 0.08])
    assert learning_rate(replace(recipe, schedule="cosine"), 0) == pytest.approx(0.8)
    assert learning_rate(replace(recipe, schedule="cosine"), 2) == pytest.approx(0.4)


def test_the_warm_up_is_a_line_and_what_follows_a_cosine_to_a_hundredth() -> None:
    recipe = TrainRecipe(lr=0.8, steps=2500, schedule="warmup_cosine")
    assert [learning_rate(recipe, step) for step in (0, 125, 500, 1500)] == pytest.approx([0.0, 0.2, 0.8, 0.8 * 0.505])
    assert learning_rate(recipe, 2499) == pytest.approx(0.008, rel=1e-3)
    assert learning_rate(replace(recipe, steps=100), 99) == pytest.approx(0.8 * 99 / 500)  # it ends within the warm-up


@pytest.mark.parametrize(("epochs", "first"), [(1, None), (2, None), (3, 2), (4, 3), (10, 6), (300, 151)])
def test_in_epochs_the_rate_falls_after_half_of_them_and_one(epochs: int, first: int | None) -> None:
    recipe = TrainRecipe(lr=0.8, steps=3 * epochs, schedule="step")
    low = [step for step in range(recipe.steps) if learning_rate(recipe, step, steps_of_an_epoch=3) == pytest.approx(0.08)]
    assert low == list(range(recipe.steps if first is None else 3 * first, recipe.steps))


@pytest.mark.parametrize("name", ["convnet-d2-w8", "convnet-d1-w65"], ids=["grouped", "sequential"])
def test_epochs_show_every_image_once_and_are_followed_as_in_a_plain_loop(name: str) -> None:
    """Ten images in batches of four: 4, 4 and 2 of a permutation, then of the next one; the last of four epochs at a tenth of the rate."""
    recipe = TrainRecipe("sgd", lr=0.05, steps=12, batch_size=4, momentum=0.9, schedule="step", augmentation="crop")
    network, batch = build_network(name, SPEC), data(10)
    trained = train_students(network, batch, recipe, STUDENTS, [12], sampling="epochs")[12]
    for found, student in zip(trained, STUDENTS, strict=True):
        parameters = {key: value.requires_grad_() for key, value in initial_parameters(network, student.generator("init")).items()}
        optimizer = torch.optim.SGD(parameters.values(), lr=0.05, momentum=0.9)
        batches, augmentation = student.generator("batches"), student.generator("augmentation")
        for epoch in range(4):
            optimizer.param_groups[0]["lr"] = 0.005 if epoch >= 3 else 0.05
            for pick in torch.randperm(10, generator=batches).split(4):
                images = draw("crop", len(pick), SPEC.shape, augmentation)(batch.images[pick])
                optimizer.zero_grad()
                F.cross_entropy(forward(network, parameters, images), batch.labels[pick]).backward()
                optimizer.step()
        expected = {key: value.detach() for key, value in parameters.items()}
        torch.testing.assert_close(flat(found), flat(expected), rtol=1e-3, atol=2e-4)


def test_an_epoch_of_a_small_set_is_one_step_on_all_of_it() -> None:
    network, recipe = build_network("convnet-d2-w8", SPEC), TrainRecipe("sgd", lr=0.05, steps=3, batch_size=256)
    epochs = train_students(network, data(), recipe, STUDENTS, [3], sampling="epochs")[3]
    subset = train_students(network, data(), recipe, STUDENTS, [3])[3]
    assert all(torch.equal(flat(one), flat(other)) for one, other in zip(epochs, subset, strict=True))


@pytest.mark.parametrize("name", ["convnet-d2-w8", "convnet-d1-w65"], ids=["grouped", "sequential"])
def test_predictions_are_the_largest_logits_in_any_batching(name: str) -> None:
    network = build_network(name, SPEC)
    students = [initial_parameters(network, s.generator("init")) for s in STUDENTS]
    images = data(11).images
    expected = torch.stack([forward(network, student, images).argmax(1) for student in students])
    assert torch.equal(predict(network, students, images), expected)
    assert torch.equal(predict(network, students, images, batch_size=4), expected)
    assert torch.equal(predict(network, students[:1], images, batch_size=3), expected[:1])
