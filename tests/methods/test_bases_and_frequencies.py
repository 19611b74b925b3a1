"""The forms ``bases`` and ``dct``: published counts, rules of size, initial values, labels, and what the audit counts."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from products import granted, plan, planned, task_for
from registries import prerequisites_in

from bench import FORMS, Batch, DistilledSet, FormPlan, Parameterization, PlanContext, Refusal, Resolution, Spec, TrainRecipe
from bench.judge.audit import audit
from bench.nn.networks import build_network
from bench.nn.spaces import fit_space
from bench.nn.training import StudentStreams, predict, train_students
from oracles import frequencies as oracle

DIGITS = Spec("digits", 10, (1, 8, 8), tuple("0123456789"), mirror=False)
MNIST = Spec("mnist", 10, (1, 28, 28), tuple("0123456789"), mirror=False)
CIFAR10 = Spec("cifar10", 10, (3, 32, 32), tuple("abcdefghij"))
CIFAR100 = Spec("cifar100", 100, (3, 32, 32), tuple(map(str, range(100))))
#: An outer loop that moves nothing.
STILL = {"outer_iterations": 1, "outer_lr": 0.0, "real_batch": 8, "window": 1, "totwindow": 1}


def filled(found: Resolution, spec: Spec) -> Parameterization:
    form = found.method.form
    stored = form.empty(spec, FormPlan(form, found.plan["images"], found.plan["geometry"]))
    generator = torch.Generator().manual_seed(0)
    stored.write(torch.randn(len(stored), *spec.shape, generator=generator), stored.slots())
    return stored


# Counting ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "spec", "ipc", "fields", "geometry", "image", "other"),
    [
        # 16 bases of 3·16·16 numbers, 115 images of every class with 16 coefficients each: 30,688 numbers of 30,720
        ("bases", CIFAR10, "1", {}, {"bases": 16, "per_class": 115, "size": [16, 16]}, 12_288, 18_400),
        ("bases", CIFAR10, "1", {"bases": 16, "downsample": 2}, {"bases": 16, "per_class": 115}, 12_288, 18_400),
        ("bases", CIFAR10, "0.3", {}, {"bases": 4, "per_class": 153, "size": [16, 16]}, 3_072, 6_120),
        ("bases", CIFAR100, "1", {}, {"bases": 160, "per_class": 11}, 122_880, 176_000),
        ("bases", MNIST, "1", {}, {"bases": 16, "per_class": 29, "size": [14, 14]}, 3_136, 4_640),
        # 10·64 places; 16 images of 3·64 numbers for each of ten classes are all 30,720 numbers alone, so there are 15
        ("dct", CIFAR10, "1", {}, {"frequencies": 64, "per_class": 15}, 28_800, 640),
        ("dct", CIFAR10, "0.1", {}, {"frequencies": 64, "per_class": 1}, 1_920, 640),
        ("dct", CIFAR100, "1", {}, {"frequencies": 64, "per_class": 15}, 288_000, 6_400),
        ("dct", DIGITS, "1", {"frequencies": 16}, {"frequencies": 16, "per_class": 3}, 480, 160),
    ],
)
def test_every_stored_number_is_counted(form, spec, ipc, fields, geometry, image, other):
    found = planned("random", spec, ipc, {"form": form, **fields})
    assert {key: found.plan["geometry"][key] for key in geometry} == geometry
    counts = audit(DistilledSet(spec, filled(found, spec), TrainRecipe()), granted(ipc, spec))
    assert (counts["image_numbers"], counts["other_numbers"], counts["label_numbers"]) == (image, other, 0)
    assert counts["pixels"] == -(-(image + other) // spec.channels)
    assert counts["bytes"] - 4 * counts["recipe_scalars"] == 4 * image + (4 if form == "bases" else 2) * other


@pytest.mark.parametrize("labels", ["fixed", "learned", "teacher"])
@pytest.mark.parametrize("spec", [DIGITS, MNIST, CIFAR10], ids=lambda spec: spec.name)
@pytest.mark.parametrize("ipc", ["0.1", "0.3", "0.5", "1", "2.5", "10"])
@pytest.mark.parametrize("form", ["bases", "dct"])
def test_not_one_more_image_of_every_class_would_fit(form, ipc, spec, labels):
    found = planned("random", spec, ipc, {"form": form, "labels": labels})
    plan_of_form, budget = FormPlan(found.method.form, found.plan["images"], found.plan["geometry"]), granted(ipc, spec)
    stored = found.method.form.empty(spec, plan_of_form)

    def cost(per_class: int) -> int:
        """Return the numbers that are charged for so many images of every class."""
        tensors = stored.state_dict()
        once = tensors["bases" if form == "bases" else "places"].numel()
        each = tensors["coefficients"].numel() // len(stored)
        images = per_class * spec.classes
        return once + images * each + budget.charged_labels(0 if labels == "fixed" else images * spec.classes)

    assert cost(stored.per_class) <= budget.pixels * spec.channels < cost(stored.per_class + 1)


# Rules of size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ipc", "bases", "size"),
    [("1", 16, [16, 16]), ("0.3", 4, [16, 16]), ("0.2", 6, [11, 11]), ("0.1", 6, [8, 8]), ("10", 160, [16, 16]), ("100", 768, [16, 16])],
)
def test_bases_get_two_fifths_of_the_numbers_and_are_smaller_where_these_are_few(ipc, bases, size):
    geometry = planned("random", CIFAR10, ipc, {"form": "bases"}).plan["geometry"]
    assert (geometry["bases"], geometry["size"]) == (bases, size)


def test_what_is_settled_stands_in_the_fields_and_asked_for_by_name_it_is_the_same_cell():
    for form, names in (("bases", ("bases", "downsample")), ("dct", ("frequencies",))):
        found = planned("random", CIFAR10, "1", {"form": form}).method
        chosen = {name: found.values()[name] for name in names}
        again = planned("random", CIFAR10, "1", {"form": form, **chosen}).method
        assert 0 not in chosen.values()
        assert (again.values(), again.identity()) == (found.values(), found.identity())


@pytest.mark.parametrize(
    ("form", "fields", "ipc", "sentence"),
    [
        ("bases", {"bases": 40, "downsample": 2}, "1", "needs 10374 px on cifar10 for bases=40"),  # 40·(3·16·16 + 10) / 3
        ("bases", {"bases": 400}, "1", "needs 103734 px on cifar10 for bases=400"),  # 400·(3·16·16 + 10) / 3; smaller ones have 363
        ("bases", {"bases": 800}, "100", "bases=800 are more than the 768 numbers that one of them has"),
        ("dct", {"frequencies": 1025}, "100", "1025 of 1024 frequencies"),
        ("dct", {"frequencies": 1000}, "1", "needs 13334 px on cifar10 for 1000 of 1024 frequencies"),
        ("bases", {}, "3px", "needs 5 px on cifar10 for bases=1"),
        ("dct", {}, "13px", "needs 14 px on cifar10 for 1 of 1024 frequencies"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_pixels_it_needs(form, fields, ipc, sentence):
    answer = plan("random", CIFAR10, ipc, {"form": form, **fields})
    assert isinstance(answer, Refusal)
    assert sentence in answer.reason


@pytest.mark.parametrize("form", ["bases", "dct"])
@pytest.mark.parametrize("pixels", [1, 30])
def test_with_the_pixels_that_a_refusal_names_there_is_a_set(form, pixels):
    answer = plan("random", CIFAR100, f"{pixels}px", {"form": form})
    assert isinstance(answer, Refusal)
    needed = answer.reason.split(" px")[0].split()[-1]
    assert isinstance(plan("random", CIFAR100, f"{needed}px", {"form": form}), Resolution)
    assert isinstance(plan("random", CIFAR100, f"{int(needed) - 1}px", {"form": form}), Refusal)


def test_fewer_frequencies_are_taken_where_these_leave_no_room_for_an_image():
    geometry = planned("random", DIGITS, "0.1", {"form": "dct"}).plan["geometry"]
    assert geometry == {"frequencies": 3, "per_class": 1, "labels": "order"}  # 10·(4 + 4) would be 80 of 64 numbers


@pytest.mark.parametrize(
    ("spec", "frequencies"), [(DIGITS, 16), (MNIST, 49), (CIFAR10, 64), (CIFAR100, 64)], ids=lambda each: str(each)[:20]
)
def test_a_sixteenth_of_all_frequencies_is_taken_and_at_least_sixteen(spec, frequencies):
    assert planned("random", spec, "1", {"form": "dct"}).plan["geometry"]["frequencies"] == frequencies


def test_images_of_more_places_than_an_int16_can_name_are_refused():
    large = Spec("large", 2, (3, 224, 224), ("a", "b"))
    answer = FORMS["dct"]().plan(PlanContext(large, granted("1", large)))
    assert isinstance(answer, Refusal)
    assert "at most 32768 px" in answer.reason


# Initial values -------------------------------------------------------------------------------------------------------------


def real_images(found: Resolution, digits) -> torch.Tensor:
    """Return the training images that a random form starts from, in the order of its classes."""
    task = task_for(digits, found)
    slots = torch.arange(10).repeat_interleave(found.plan["geometry"]["per_class"])
    chosen = FORMS["full"](init="random").selection()(None, digits.train.labels, slots, task.generator("selection"))
    return digits.train.unit_images(chosen)


def test_bases_of_real_images_are_their_best_approximation(digits):
    found = planned("random", digits.spec, "1", {"form": "bases", "downsample": 1})
    made = found.method.distill(task_for(digits, found))
    images = real_images(found, digits)
    left, scale, right = torch.linalg.svd(images.flatten(1), full_matrices=False)
    count = found.plan["geometry"]["bases"]
    expected = (left[:, :count] * scale[:count] @ right[:count]).view(images.shape)
    assert made.coordinates == "rgb"
    assert torch.allclose(made.parameterization.decode().images, expected, atol=1e-4)


@pytest.mark.parametrize("chosen_by", ["variance", "energy"])
def test_frequencies_are_those_that_vary_most_over_all_training_images_of_the_class(chosen_by, digits):
    found = planned("random", digits.spec, "1", {"form": "dct", "frequencies": 12, "chosen_by": chosen_by})
    stored = found.method.distill(task_for(digits, found)).parameterization
    for label in range(10):
        images = digits.train.unit_images(digits.train.of_class(label)).numpy()
        assert stored.places[label].tolist() == oracle.strongest(images, 12, chosen_by)
    assert len({tuple(row) for row in stored.places.tolist()}) > 1  # they differ from class to class
    full = oracle.decode(stored.coefficients.detach().numpy(), stored.places.numpy(), digits.spec.shape)
    assert np.allclose(stored.decode().images.detach().numpy(), full, atol=1e-5)


def test_frequencies_are_chosen_in_the_space_in_which_images_are_stored(digits):
    fields = {"form": "dct", "frequencies": 12, "space": "zca_kip"}
    found = planned("rat_bptt", digits.spec, "1", {**fields, **STILL})
    stored = found.method.distill(task_for(digits, found)).parameterization
    white = fit_space("zca_kip", digits.train).transform(digits.train.unit_images())
    for label in (0, 7):
        assert stored.places[label].tolist() == oracle.strongest(white[digits.train.of_class(label)].numpy(), 12)


def test_a_class_whose_images_are_all_alike_keeps_the_lowest_frequencies(digits):
    same = digits.train.images.clone()
    same[digits.train.labels == 3] = same[digits.train.of_class(3)[0]].clone()
    dataset = replace(digits, train=replace(digits.train, images=same))
    found = planned("random", digits.spec, "1", {"form": "dct", "frequencies": 6})
    stored = found.method.distill(task_for(dataset, found)).parameterization
    assert stored.places[3].tolist() == [0, 1, 2, 8, 9, 16]


@pytest.mark.parametrize("init", ["noise", "normal"])
def test_noise_is_drawn_for_the_factors(init, digits):
    """Xavier's bound is √(6 / (rows + columns)) of either matrix; ``normal`` gives images of standard deviation 1."""
    found = planned("rat_bptt", CIFAR10, "1", {"form": "bases", "init": init, "space": "standard", **STILL})
    task = SimpleNamespace(spec=CIFAR10, generator=lambda name: torch.Generator().manual_seed(3))
    form = found.method.form
    stored = form.build(task, FormPlan(form, found.plan["images"], found.plan["geometry"]), None)
    bases, coefficients = stored.bases.detach(), stored.coefficients.detach()
    if init == "noise":
        for factor, bound in ((bases, (6 / (16 + 768)) ** 0.5), (coefficients, (6 / (1150 + 16)) ** 0.5)):
            assert float(factor.abs().max()) == pytest.approx(bound, rel=0.01)
            assert float(factor.std()) == pytest.approx(bound / 3**0.5, rel=0.03)
    else:
        assert float((coefficients @ bases.flatten(1)).std()) == pytest.approx(1.0, rel=0.05)


# Labels --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["bases", "dct"])
def test_a_teacher_labels_what_the_form_decodes_to_and_its_labels_stay(form, digits, tmp_path: Path):
    find = prerequisites_in(tmp_path, digits)
    moving = {"outer_iterations": 2, "outer_lr": 0.1, "real_batch": 8, "window": 1, "totwindow": 1}
    fields = {"form": form, "init": "real", "labels": "teacher", **({"frequencies": 20} if form == "dct" else {}), **moving}
    found = planned("rat_bptt", digits.spec, "1", fields, find=find)
    form_plan = FormPlan(found.method.form, found.plan["images"], found.plan["geometry"])
    task = task_for(digits, found, find=find)
    space = fit_space("standard", digits.train)
    before = found.method.form.build(task, form_plan, space)
    found.method.form.label(before, task, form_plan, space)
    after = found.method.distill(task).parameterization
    assert torch.equal(before.decode().labels, after.decode().labels)
    assert not torch.equal(before.decode().images, after.decode().images)
    labels = after.decode().labels.detach()
    assert torch.allclose(labels.sum(1), torch.ones(len(labels)), atol=1e-4)
    assert float((labels.argmax(1) == after.slots()).float().mean()) > 0.5
    assert 0.0 < float(labels.max(1).values.min()) < 0.999


@pytest.mark.parametrize("form", ["bases", "dct"])
def test_a_teacher_has_nothing_to_say_about_noise(form):
    answer = plan("rat_bptt", DIGITS, "1", {"form": form, "init": "noise", "labels": "teacher"})
    assert isinstance(answer, Refusal)
    assert "labels real images" in answer.reason


@pytest.mark.parametrize("init", ["noise", "real"])
@pytest.mark.parametrize("form", ["bases", "dct"])
def test_learned_labels_begin_at_the_classes_and_move(form, init, digits):
    fields = {"form": form, "init": init, "labels": "learned", **STILL, "label_lr": 0.1}
    found = planned("rat_bptt", digits.spec, "1", fields)
    labels = found.method.distill(task_for(digits, found)).parameterization.decode().labels.detach()
    assert labels.argmax(1).tolist() == [c for c in range(10) for _ in range(len(labels) // 10)]
    assert float(labels.min()) >= 0.0
    assert not torch.equal(labels, labels.round())


# Learning -------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fields", "more"),
    [
        ("rtp", {"outer_iterations": 60}, 0.1),
        ("rat_bptt", {"form": "bases", "outer_iterations": 60}, 0.05),
        ("rat_bptt", {"form": "dct", "outer_iterations": 60}, 0.0),
        ("dm", {"form": "bases", "outer_iterations": 40}, 0.0),
        ("dm", {"form": "dct", "outer_iterations": 40}, 0.03),
    ],
)
def test_what_is_learned_is_ahead_of_what_it_starts_from(name, fields, more, digits):
    """By students trained alike, on validation images."""

    def accuracy(**changes: float) -> float:
        found = planned(name, digits.spec, "1", {**fields, **changes}, recipes=True)
        made = found.method.distill(task_for(digits, found))
        space, data = fit_space(made.space, digits.train), made.parameterization.decode()
        network = build_network("convnet-d2-w32", digits.spec)
        batch, steps = Batch(data.images.detach(), data.labels.detach()), made.recipe.steps
        students = train_students(network, batch, made.recipe, [StudentStreams(("forms", k)) for k in range(3)], [steps])[steps]
        return float((predict(network, students, space.transform(digits.val.unit_images())) == digits.val.labels).float().mean())

    assert accuracy() > accuracy(outer_iterations=1, outer_lr=0.0) + more
