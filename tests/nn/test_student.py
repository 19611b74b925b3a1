"""The student as a contestant sets it: what ``auto`` and ``all`` stand for, and the recipe that is written into the set."""

from __future__ import annotations

import pytest
from products import planned

from bench import DATASETS, Spec, Student, TrainRecipe
from bench.dataset_family import is_family

#: Whether a left-right flip keeps the class. Students of recorded runs depend on it, so none of these ever changes.
MIRROR = {"digits": False, "mnist": False, "fashion_mnist": True, "cifar10": True, "cifar100": True, "kmnist": False, "svhn": False}


def spec(mirror: bool, channels: int = 1) -> Spec:
    return Spec("toy", 10, (channels, 32, 32), tuple("0123456789"), mirror=mirror)


@pytest.mark.parametrize("name", MIRROR)
def test_which_data_sets_may_be_mirrored(name: str) -> None:
    assert DATASETS[name].spec.mirror is MIRROR[name]  # type: ignore[attr-defined]


def test_every_data_set_of_the_suite_says_whether_it_may_be_mirrored() -> None:
    """Those with parameters say it in the description that their own tests check, or ask the user."""
    ours = {name for name in DATASETS if DATASETS[name].__module__.startswith("bench.datasets.")}
    assert {name for name in ours if not is_family(DATASETS[name])} == set(MIRROR)
    assert {name for name in ours if is_family(DATASETS[name])} == {"cub200", "tiny_imagenet", "image_folder"}


def test_mirroring_is_allowed_unless_a_data_set_says_otherwise() -> None:
    assert Spec("toy", 2, (1, 8, 8), ("a", "b")).mirror is True


STRATEGIES = [
    # mirror, channels, what auto is, what all is
    (True, 1, "flip_rotate", "crop_cutout_flip_scale_rotate"),
    (False, 1, "rotate", "crop_cutout_scale_rotate"),
    (True, 3, "flip_rotate", "color_crop_cutout_flip_scale_rotate"),
    (False, 3, "rotate", "color_crop_cutout_scale_rotate"),
]


@pytest.mark.parametrize(("mirror", "channels", "auto", "everything"), STRATEGIES)
def test_a_flip_is_part_of_a_strategy_only_where_it_keeps_the_class(mirror: bool, channels: int, auto: str, everything: str) -> None:
    where = spec(mirror, channels)
    assert Student(augmentation="auto").settle(where).augmentation == auto
    assert Student(augmentation="all").settle(where).augmentation == everything
    assert Student(augmentation="crop_flip").settle(where).augmentation == "crop_flip"  # what is asked for by name is kept
    assert Student(augmentation="none").settle(where).augmentation == "none"


@pytest.mark.parametrize(("mirror", "channels", "auto", "everything"), STRATEGIES)
def test_contestants_leave_flips_out_where_a_flip_changes_the_class(mirror: bool, channels: int, auto: str, everything: str) -> None:
    where = spec(mirror, channels)
    assert planned("rat_bptt", where, "1").method.values()["augmentation"] == auto
    assert planned("podd", where, "1", {"form": "full"}).method.values()["augmentation"] == auto
    assert planned("random", where, "1").method.values()["augmentation"] == everything


@pytest.mark.parametrize(("wanted", "images", "batch", "written"), [(0, 10, 10, 0), (4, 10, 4, 4), (10, 10, 10, 0), (11, 10, 10, 0)])
def test_a_batch_is_never_larger_than_the_set(wanted: int, images: int, batch: int, written: int) -> None:
    student = Student(student_batch=wanted, student_steps=7)
    assert student.batch(images) == batch
    assert student.recipe(images).batch_size == written
    assert student.presented_examples(images) == 7 * batch


def test_the_sets_own_recipe_to_the_letter() -> None:
    student = Student(
        augmentation="crop", student_optimizer="sgd", student_lr=0.5, student_momentum=0.8, student_schedule="step", student_steps=7,
        student_batch=3, student_loss="mse",
    )  # fmt: skip
    assert student.recipe(10) == TrainRecipe("sgd", 0.5, 7, 3, momentum=0.8, schedule="step", augmentation="crop", loss="mse")
    assert Student(augmentation="none").recipe(10) == TrainRecipe("adam", 1e-3, 1000, 0, momentum=0.0, augmentation="none")
