"""The protocols that papers published with: the recipe each makes of a set, against a small statement of its own, and tiny runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import bench.nn.training as students
from bench import DATASETS, BudgetRequest, Dataset, DistilledSet, Images, Spec, TrainRecipe
from bench.judge import Protocol, get_protocol, judge_folder
from bench.judge.published import PublishedRecipe
from bench.nn.augment import parse_strategy
from bench.nn.training import learning_rate

COLOUR = Spec("photos", 10, (3, 32, 32), tuple("abcdefghij"))
MNIST = Spec("mnist", 10, (1, 28, 28), tuple("0123456789"), mirror=False, exceptions=("DC",))
KANJI = Spec("kmnist", 10, (1, 28, 28), tuple("abcdefghij"), mirror=False)
FASHION = Spec("fashion_mnist", 10, (1, 28, 28), tuple("abcdefghij"))
OWN = TrainRecipe("adam", lr=0.0123, steps=77, batch_size=5, augmentation="cutout")

DSA_MIRROR, DSA_UPRIGHT = "color_crop_cutout_flip_scale_rotate", "color_crop_cutout_scale_rotate"
FREPO_MIRROR, FREPO_UPRIGHT = "flip_tint_zoom_rotate_translate_hole", "tint_zoom_rotate_translate_hole"


def sgd(lr: float, steps: int, augmentation: str) -> TrainRecipe:
    return TrainRecipe("sgd", lr, steps, 256, momentum=0.9, weight_decay=0.0005, schedule="step", augmentation=augmentation)


def frepo(steps: int, augmentation: str) -> TrainRecipe:
    return TrainRecipe("adam", 0.0003, steps, 500, schedule="warmup_cosine", augmentation=augmentation, loss="mse")


STATEMENTS = {
    ("dc-v1", COLOUR, 10): sgd(0.01, 300, "none"),
    ("dc-v1", COLOUR, 256): sgd(0.01, 300, "none"),
    ("dc-v1", COLOUR, 257): sgd(0.01, 600, "none"),
    ("dc-v1", COLOUR, 500): sgd(0.01, 600, "none"),
    ("dc-v1", FASHION, 10): sgd(0.01, 300, "none"),
    ("dc-v1", KANJI, 10): sgd(0.01, 300, "none"),
    ("dc-v1", MNIST, 10): sgd(0.01, 1000, "each_pad_resize_turn"),
    ("dc-v1", MNIST, 500): sgd(0.01, 2000, "each_pad_resize_turn"),
    ("dsa-v1", COLOUR, 100): sgd(0.01, 1000, DSA_MIRROR),
    ("dsa-v1", FASHION, 10): sgd(0.01, 1000, DSA_MIRROR),
    ("dsa-v1", MNIST, 600): sgd(0.01, 3000, DSA_UPRIGHT),
    ("mtt-v1", COLOUR, 10): sgd(0.0123, 1000, DSA_MIRROR),
    ("mtt-v1", MNIST, 10): sgd(0.0123, 1000, DSA_UPRIGHT),
    ("rat-v1", COLOUR, 1): TrainRecipe("adam", 0.001, 600, augmentation="flip_rotate"),
    ("rat-v1", COLOUR, 5000): TrainRecipe("adam", 0.001, 600, augmentation="flip_rotate"),
    ("rat-v1", MNIST, 100): TrainRecipe("adam", 0.001, 600, augmentation="rotate"),
    ("frepo-v1", COLOUR, 1): frepo(1000, FREPO_MIRROR),
    ("frepo-v1", COLOUR, 10): frepo(1000, FREPO_MIRROR),
    ("frepo-v1", COLOUR, 96): frepo(2000, FREPO_MIRROR),
    ("frepo-v1", COLOUR, 200): frepo(20000, FREPO_MIRROR),
    ("frepo-v1", COLOUR, 400): frepo(5000, FREPO_MIRROR),
    ("frepo-v1", COLOUR, 1000): frepo(10000, FREPO_MIRROR),
    ("frepo-v1", COLOUR, 9999): frepo(40000, FREPO_MIRROR),
    ("frepo-v1", MNIST, 100): frepo(2000, FREPO_UPRIGHT),
}
NAMES = sorted({name for name, _, _ in STATEMENTS})


def recipe_of(name: str) -> PublishedRecipe:
    found = get_protocol(name).published
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("asked", "expected"), STATEMENTS.items(), ids=[f"{name} {spec.name} {images}" for name, spec, images in STATEMENTS]
)
def test_the_recipe_of_a_set_to_the_letter(asked: tuple[str, Spec, int], expected: TrainRecipe) -> None:
    name, spec, images = asked
    assert recipe_of(name).train_recipe(OWN, spec, images) == expected
    assert expected.problems() == []


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_follows_the_labels(name: str) -> None:
    centred = recipe_of(name).train_recipe(replace(OWN, loss="mse"), COLOUR, 10)
    assert centred.loss == "mse"
    plain = recipe_of(name).train_recipe(OWN, COLOUR, 10)
    assert plain.loss == ("mse" if name == "frepo-v1" else "cross_entropy")


@pytest.mark.parametrize("name", NAMES)
def test_the_operations_exist_and_keep_a_digit_a_digit(name: str) -> None:
    published = recipe_of(name)
    for strategy in (published.augmentation_mirror, published.augmentation_upright, published.exceptional_augmentation):
        parse_strategy(strategy)
    assert "flip" not in parse_strategy(published.augmentation_upright)


def test_dc_makes_an_exception_of_mnist_alone() -> None:
    assert [name for name in DATASETS if "DC" in getattr(DATASETS[name], "spec", COLOUR).exceptions] == ["mnist"]


@pytest.mark.parametrize("name", NAMES)
def test_networks(name: str) -> None:
    assert get_protocol(name).network == ("widenet-d3-w128" if name == "frepo-v1" else "")


@pytest.mark.parametrize(("images", "batches"), [(10, 1), (256, 1), (257, 2), (700, 3)])
def test_the_rate_falls_with_the_first_step_of_epoch_151_of_300(images: int, batches: int) -> None:
    recipe = recipe_of("dc-v1").train_recipe(OWN, COLOUR, images)
    rates = [learning_rate(recipe, step, batches) for step in range(recipe.steps)]
    assert rates == pytest.approx([0.01] * (151 * batches) + [0.001] * (149 * batches))


def test_the_rate_of_frepo() -> None:
    """A line from zero over 500 steps, then a cosine to a hundredth over the rest, as optax joins them."""
    recipe = recipe_of("frepo-v1").train_recipe(OWN, COLOUR, 10)
    for step, share in {0: 0.0, 250: 0.5, 499: 0.998, 500: 1.0, 750: 0.505, 999: 0.01}.items():
        assert learning_rate(recipe, step, 1) == pytest.approx(3e-4 * share, abs=3e-9)


SHORT: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("dc-v1", "dsa-v1", "mtt-v1"), {"epochs": 4}),
    **dict.fromkeys(("rat-v1", "frepo-v1"), {"steps": ((1, 3),)}),
}
#: Steps and presented images of a student on ten images in batches of 8, or of all for rat-v1: 8 and 2 in every epoch.
EXPECTED = {**dict.fromkeys(("dc-v1", "dsa-v1", "mtt-v1"), (8, 40)), "rat-v1": (3, 30), "frepo-v1": (3, 18)}


@pytest.fixture
def short(request: pytest.FixtureRequest) -> Protocol:
    """A protocol of two students of three steps or four epochs, in batches of at most 8, on the smallest network of its family."""
    protocol = get_protocol(request.param, 2)
    recipe = replace(recipe_of(request.param), **SHORT[request.param])
    recipe = replace(recipe, batch_size=min(recipe.batch_size, 8))
    return replace(protocol, published=recipe, network="widenet-d1-w4" if protocol.network else "convnet-d1-w4")


@pytest.fixture
def ten(digits: Dataset, tmp_path: Path) -> Path:
    """A set of the first image of every digit, on disk."""
    chosen = torch.cat([digits.train.of_class(label)[:1] for label in range(10)])
    images = Images(digits.spec, 10)
    images.write(digits.train.unit_images(chosen), torch.arange(10))
    DistilledSet(digits.spec, images, OWN, coordinates="rgb").save(tmp_path / "ten")
    return tmp_path / "ten"


@pytest.mark.parametrize("short", NAMES, indirect=True)
def test_a_tiny_set_of_digits_is_judged(short: Protocol, ten: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    real = students._Sampler.draw

    def draw(sampler: students._Sampler) -> tuple[Tensor, Tensor]:
        images, labels = real(sampler)
        shown.append(images.shape[0] * images.shape[1])
        return images, labels

    monkeypatch.setattr(students._Sampler, "draw", draw)
    told: list[tuple[int, int]] = []
    budget = BudgetRequest.parse("1").resolve(10, 8, 8)
    judged = judge_folder(ten, digits, budget, short, 0, None, on_progress=lambda *done: told.append(done))
    steps, presented = EXPECTED[short.name]
    assert judged.training["student_steps"] == judged.scores["final"]["step"] == steps
    assert judged.training["presented_examples"] == presented
    assert sum(shown) == 2 * 2 * presented  # two students, once more on the set after its 8-bit round trip
    assert len(judged.scores["final"]["test"]) == 2
    assert judged.training["network"] == short.network
    assert told[-1] == (2 * 2 * steps, 2 * 2 * steps)
