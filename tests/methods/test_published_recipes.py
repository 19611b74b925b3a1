"""The published settings: hyper-parameters of classes and recipes, the posters of 0.9 images per class, and their pixels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import torch
from products import granted, planned

from bench import DistilledSet, FormPlan, Resolution, Spec, TrainRecipe
from bench.judge.audit import audit
from bench.seeding import stream

POSTERS = [
    ("cifar10", 10, 32, 153, 60, 9_180, (5, 2), 96),
    ("cifar100", 100, 32, 303, 303, 91_809, (10, 10), 400),
    pytest.param("cub200", 200, 32, 610, 302, 184_220, (20, 10), 1800, marks=pytest.mark.slow),
    pytest.param("tiny_imagenet", 200, 64, 1211, 608, 736_288, (20, 10), 800, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "classes", "side", "width", "height", "pixels", "class_grid", "patches"), POSTERS)
def test_published_posters_are_fixed_by_recipes_and_audit_as_published(name, classes, side, width, height, pixels, class_grid, patches):
    spec = Spec(name, classes, (3, side, side), tuple(map(str, range(classes))))
    found = planned("podd", spec, "0.9", {"order": "identity"}, recipes=True)
    geometry, form = found.plan["geometry"], found.method.form
    assert tuple(geometry["size"]) == (height, width)
    assert tuple(geometry["class_grid"]) == class_grid
    assert found.plan["images"] == patches
    budget = granted("0.9", spec)
    poster = form.empty(spec, FormPlan(form, patches, geometry))
    with torch.no_grad():
        poster.poster.copy_(torch.randn(poster.poster.shape, generator=stream("published poster", name)))
    counts = audit(DistilledSet(spec, poster, TrainRecipe()), budget)
    assert counts["pixels"] == pixels <= budget.pixels
    assert counts["images"] == patches
    assert counts["label_numbers"] == (0 if form.labels == "fixed" else classes * classes)


@dataclass(frozen=True)
class Published:
    """Hyper-parameters as their authors give them.

    Attributes:
        method: whose they are.
        dataset: for which data set.
        ipc: at which images per class.
        source: where they stand.
        window: differentiated steps, and most steps in all.
        start: how the window's start is chosen.
        rates: learning rates of the student and of images and labels (``label_lr_scale`` is 1 in every command).
        shown: distilled images, or patches, of an inner step.
        real: training images, and how many of them an outer step sees.
        epochs: how often training goes over the real images.
        labels: ``fixed`` or ``learned``.
        poster: poster and patch grid, of PoDD alone.
        own: where it differs from all others.
    """

    method: str
    dataset: str
    ipc: str
    source: str
    window: tuple[int, int]
    start: str
    rates: tuple[float, float]
    shown: int
    real: tuple[int, int]
    epochs: int
    labels: str
    poster: tuple[str, str] | None = None
    own: Mapping[str, object] = field(default_factory=dict)

    @property
    def outer_steps(self) -> int:
        """One for each batch of real images, the last incomplete one included."""
        return self.epochs * math.ceil(self.real[0] / self.real[1])


PODD, RAT = "README of PoDD's code, command at 0.9 images per class", "README of RaT-BPTT's code"
PUBLISHED = [
    Published("podd", "cifar10", "0.9", PODD, (60, 200), "random", (1e-3, 1e-3), 96, (50_000, 5000), 10_000, "fixed", ("153x60", "16x6")),
    Published(
        "podd", "cifar100", "0.9", PODD, (100, 300), "random", (1e-3, 1e-3), 50, (50_000, 2000), 10_000, "learned", ("303x303", "20x20")
    ),
    Published(
        "podd", "cub200", "0.9", PODD, (60, 200), "random", (1e-3, 1e-3), 200, (5_994, 3000), 10_000, "learned", ("610x302", "60x30")
    ),
    Published(
        "podd",
        "tiny_imagenet",
        "0.9",
        PODD,
        (100, 300),
        "random",
        (5e-4, 5e-4),
        30,
        (100_000, 500),
        10_000,
        "learned",
        ("1211x608", "40x20"),
    ),
    Published("rat_bptt", "cifar10", "10", RAT, (60, 200), "random", (1e-3, 1e-3), 100, (50_000, 5000), 60_000, "fixed"),
    Published("rat_bptt", "cifar100", "10", RAT, (100, 300), "random", (1e-3, 1e-3), 100, (50_000, 5000), 60_000, "learned"),
    Published(
        "rat_bptt",
        "tiny_imagenet",
        "10",
        RAT,
        (100, 300),
        "random",
        (1e-3, 3e-4),
        50,
        (100_000, 1000),
        60_000,
        "learned",
        own={"network": "convnet-d4-w128"},
    ),
    Published("rat_bptt", "cifar100", "1", f"{RAT}, stabilised", (90, 130), "fixed", (1e-3, 3e-4), 100, (50_000, 5000), 60_000, "learned"),
]

#: What all of these commands have in common.
EVERYWHERE = {
    "minwindow": 0,
    "outer_optimizer": "adam",
    "outer_schedule": "constant",
    "average": 0.0,
    "networks_per_step": 1,
    "student_optimizer": "adam",
    "student_schedule": "constant",
    "augmentation": "flip_rotate",
    "space": "zca_kip",
    "network": "convnet-d3-w128",
    "init": "noise",
    "precision": "float32",
}

#: Where the suite differs from the authors' code on purpose; see the docstrings of ``podd.py`` and ``rat_bptt.py``.
DIFFERS = {"clip": "corrected", "epsilon": "torch", "student_steps": 1000}

CLASSES = {"cifar10": 10, "cifar100": 100, "cub200": 200, "tiny_imagenet": 200}


def resolved(method: str, dataset: str, ipc: str, recipes: bool = True) -> Resolution:
    classes, side = CLASSES[dataset], 64 if dataset == "tiny_imagenet" else 32
    order = {"order": "identity"} if method == "podd" else {}
    return planned(method, Spec(dataset, classes, (3, side, side), tuple(map(str, range(classes)))), ipc, order, recipes=recipes)


def as_published(row: Published, found: Resolution) -> dict[str, tuple[object, object]]:
    """Return published value and ours, by name, of everything that a command fixes for every budget."""
    fields = found.method.values()
    expected = {
        "window": row.window[0],
        "totwindow": row.window[1],
        "curriculum": row.start,
        "student_lr": row.rates[0],
        "outer_lr": row.rates[1],
        "real_batch": row.real[1],
        "outer_iterations": row.outer_steps,
        "labels": row.labels,
        **EVERYWHERE,
        **DIFFERS,
        **row.own,
    }
    if row.labels == "learned":
        expected["label_lr"] = row.rates[1]
    return {name: (value, fields[name]) for name, value in expected.items()}


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row.method}-{row.dataset}-{row.ipc}")
def test_recipes_resolve_to_the_published_hyper_parameters(row):
    found = resolved(row.method, row.dataset, row.ipc)
    assert {name: ours for name, (_, ours) in as_published(row, found).items()} == {
        name: theirs for name, (theirs, _) in as_published(row, found).items()
    }
    assert found.method.student.batch(found.plan["images"]) == row.shown
    assert found.outer_steps == row.outer_steps
    if row.poster is not None:
        assert (found.method.form.poster, found.method.form.patches) == row.poster
        assert found.method.form.label_cells == 1


def test_defaults_are_those_of_podd_s_command_for_cifar10():
    """A data set without a rule is distilled with them; rates of labels are those of the images, as in every command."""
    found = resolved("podd", "cifar10", "0.9", recipes=False)
    pairs = as_published(PUBLISHED[0], found)
    assert {name: ours for name, (_, ours) in pairs.items()} == {name: theirs for name, (theirs, _) in pairs.items()}
    assert found.method.outer.label_lr == found.method.outer.outer_lr
    assert found.method.student.student_batch == 0
    assert (found.method.form.label_cells, found.method.form.poster) == (1, "auto")
    assert found.plan["geometry"]["patch_grid"] == [16, 6]  # the density of the published grid, on a poster of the size rule


def test_rtp_is_the_command_of_its_authors():
    """``... ConvNet ... 1 SGD 150 SGD 0.9 CIFAR10 10 32 16 2 ...``: steps, momentum, images of a class in a batch, bases, downsampling."""
    found = resolved("rtp", "cifar10", "1")
    fields, geometry = found.method.values(), found.plan["geometry"]
    assert (geometry["bases"], geometry["per_class"], geometry["size"]) == (16, 115, [16, 16])
    expected = {
        "window": 150,
        "totwindow": 150,
        "curriculum": "fixed",
        "student_optimizer": "sgd",
        "student_lr": 0.01,
        "student_momentum": 0.9,
        "student_weight_decay": 0.0,
        "student_schedule": "constant",
        "student_batch": 32 * 10,
        "real_batch": 64 * 10,
        "outer_optimizer": "sgd",
        "outer_lr": 0.1,
        "outer_momentum": 0.5,
        "clip": 2.0,
        "init": "noise",
        "space": "zca_kip",
        "network": "convnet-d3-w128",
    }
    assert {name: fields[name] for name in expected} == expected
    assert found.outer_steps == 500_000
    assert found.presented_examples == pytest.approx(300 * 1150, rel=0.001)  # 300 epochs of all images


def test_fred_is_the_script_and_the_table_of_its_authors():
    """64 frequencies, 50 steps, 2 epochs, starts below 5, rates 0.01 and 1e-7; a coefficient of theirs is 64 times one of ours."""
    found = resolved("fred", "cifar10", "1")
    fields, geometry = found.method.values(), found.plan["geometry"]
    assert (geometry["frequencies"], geometry["per_class"]) == (64, 15)
    expected = {
        "chosen_by": "variance",
        "init": "random",
        "syn_steps": 50,
        "syn_batch": 0,
        "expert_epochs": 2,
        "max_start": 5,
        "student_lr": 0.01,
        "lr_lr": 1e-7,
        "outer_optimizer": "sgd",
        "outer_momentum": 0.5,
        "space": "standard",
        "augmentation": "color_crop_cutout_flip_scale_rotate",
        "student_steps": 1000,
        "student_batch": 256,
    }
    assert {name: fields[name] for name in expected} == expected
    assert fields["outer_lr"] == pytest.approx(1e8 / 64**2, rel=1e-4)
    assert found.outer_steps == 15_000


def test_between_the_published_budgets_a_poster_keeps_the_density_of_the_published_grid():
    found = resolved("podd", "cifar10", "0.3")
    assert (found.plan["geometry"]["size"], found.method.form.patches) == ([35, 87], "auto")
    assert (found.method.values()["window"], found.method.values()["totwindow"]) == (60, 200)
