"""``labels=teacher``: the stored labels are the feature network's probabilities of the images as a student sees them."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from products import granted, plan, planned, task_for
from registries import prerequisites_in

import bench
from bench import FORMS as STORED_FORMS
from bench import Dataset, DistilledSet, Need, PlanContext, Refusal, RejectedSet, Spec, Split
from bench.decoders.images import Images
from bench.decoders.poster import Poster
from bench.decoders.poster_layout import PosterLayout
from bench.judge.audit import audit
from bench.selection import features_need
from oracles import teacher as oracle

FORMS = ("full", "lowres", "subset", "tiles", "mosaic", "poster")
MORE: dict[str, dict[str, Any]] = {"poster": {"order": "identity"}, "tiles": {"tiles": 2}}
CIFAR10 = Spec("cifar10", 10, (3, 32, 32), tuple("abcdefghij"))
#: An outer loop that moves nothing, and one that moves what it may.
STILL = {"init": "real", "outer_iterations": 1, "outer_lr": 0.0, "real_batch": 8, "window": 1, "totwindow": 1}
MOVED = {**STILL, "outer_lr": 0.1, "outer_iterations": 2}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the teachers of these tests stand; each is trained once."""
    return tmp_path_factory.mktemp("teachers")


def made(dataset: Dataset, shelf: Path, name: str, budget: str, seed: int = 0, **fields: Any) -> DistilledSet:
    find = prerequisites_in(shelf, dataset)
    asked = {"labels": "teacher", **MORE.get(fields.get("form", ""), {}), **fields}
    found = planned(name, dataset.spec, budget, asked, seed=seed, find=find)

    def announced(need: Need) -> Path:
        assert need in found.needs, "a task opens what the plan announced, and nothing else"
        return find(need)

    return found.method.distill(task_for(dataset, found, budget, seed=seed, find=announced))


def by_hand(images: torch.Tensor, dataset: Dataset, shelf: Path, seed: int = 0) -> torch.Tensor:
    return oracle.labels(prerequisites_in(shelf, dataset)(features_need(seed)), images, dataset.train.images).float()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["random", "herding"])
def test_labels_are_the_teacher_s_of_what_the_form_decodes_to(name, form, digits, shelf):
    found = made(digits, shelf, name, "1" if form == "full" else "0.5", form=form)
    batch = found.parameterization.decode()
    assert found.coordinates == "rgb"
    assert found.parameterization.label_kind == "probabilities"
    assert torch.allclose(batch.labels, by_hand(batch.images.detach(), digits, shelf), atol=1e-5)
    assert 0.0 < float(batch.labels.max(1).values.min()) < 0.999  # they are soft


@pytest.mark.parametrize("form", FORMS)
def test_images_in_the_student_s_space_are_labelled_as_the_plain_ones_they_are(form, digits, shelf):
    """``standard`` can be undone, so what is stored is undone here and labelled by hand."""
    found = made(digits, shelf, "rat_bptt", "1" if form == "full" else "0.5", form=form, **STILL)
    batch = found.parameterization.decode()
    assert found.coordinates == "space"
    real = digits.train.images.double() / 255
    images = batch.images.detach().double() * real.std(correction=0) + real.mean()
    assert torch.allclose(batch.labels, by_hand(images, digits, shelf), atol=1e-5)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "subset"])  # which draws its classes only where nothing moves
def test_images_in_a_whitened_space_are_labelled_before_they_lose_their_contrast(form, digits, shelf):
    budget = "1" if form == "full" else "0.5"
    plain = made(digits, shelf, "random", budget, form=form)
    white = made(digits, shelf, "rat_bptt", budget, form=form, space="zca_kip", **STILL)
    assert (plain.coordinates, white.coordinates) == ("rgb", "space")
    assert torch.equal(white.parameterization.decode().labels, plain.parameterization.decode().labels)


@pytest.mark.parametrize("form", FORMS)
def test_an_objective_moves_the_images_and_leaves_the_teacher_s_labels(form, digits, shelf):
    still, moved = (made(digits, shelf, "rat_bptt", "1", form=form, **fields).parameterization for fields in (STILL, MOVED))
    assert list(moved.trained()) == [name for name, role in moved.roles.items() if role == "image"]
    assert torch.equal(still.decode().labels, moved.decode().labels)
    assert not torch.equal(still.decode().images, moved.decode().images)


def test_learned_labels_still_move(digits, shelf):
    still, moved = (made(digits, shelf, "rat_bptt", "1", labels="learned", **fields).parameterization for fields in (STILL, MOVED))
    assert not torch.equal(still.decode().labels, moved.decode().labels)


def test_a_seed_has_the_teacher_through_whose_features_its_coreset_looks(digits, shelf):
    for seed, network in ((0, 0), (3, 1)):
        found = made(digits, shelf, "herding", "1", seed=seed, feature_seeds=2)
        batch = found.parameterization.decode()
        assert torch.allclose(batch.labels, by_hand(batch.images.detach(), digits, shelf, network), atol=1e-5)


def test_a_deeper_teacher_labels_larger_images_in_colour(digits, tmp_path):
    images = torch.randint(256, (60, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    train = Split(images, torch.arange(60) % 3)
    dataset = replace(digits, spec=Spec("colours", 3, (3, 32, 32), tuple("abc")), train=train, val=None)
    found = made(dataset, tmp_path, "random", "0.5", form="lowres").parameterization.decode()
    assert torch.allclose(found.labels, by_hand(found.images.detach(), dataset, tmp_path), atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["random", "herding", "rat_bptt"])
def test_the_teacher_is_announced_once_by_whoever_asks_for_its_labels(name, form, digits):
    fields = {"form": form, "init": "herding" if name == "herding" else "random", **({"order": "identity"} if form == "poster" else {})}
    features = {"herding": 1}.get(name, 0)
    for labels, wanted in (("fixed", features), ("teacher", 1)):
        needs = planned(name, digits.spec, "1", {**fields, "labels": labels}).needs
        assert [need.name for need in needs] == ["features"] * wanted


@pytest.mark.parametrize("form", FORMS)
def test_noise_has_no_teacher(form):
    fields = {"form": form, "labels": "teacher", "init": "noise", **({"order": "features"} if form == "poster" else {})}
    refused = plan("rat_bptt", CIFAR10, "0.5" if form == "subset" else "1", fields)
    assert isinstance(refused, Refusal)
    assert refused.reason == "labels=teacher labels real images, and init=noise starts from none; choose init=real or other labels"


# Counting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", ["0.3", "0.5", "1", "2.5"])
@pytest.mark.parametrize("form", FORMS)
def test_the_audit_counts_a_row_for_every_image_and_charges_those_that_are_not_free(form, budget, digits, shelf, tmp_path):
    made(digits, shelf, "random", budget, form="lowres" if form == "full" else form).save(tmp_path)
    found = DistilledSet.load(tmp_path, digits.spec)
    images, room = len(found.parameterization), granted(budget, digits.spec)
    counted = audit(found, room)
    charged = max(0, 10 * images - room.free_labels)
    assert (counted["label_numbers"], counted["charged_labels"]) == (10 * images, charged)
    assert counted["pixels"] == counted["image_numbers"] + charged <= room.pixels
    if form in ("lowres", "full", "subset"):
        assert charged == 0


@pytest.mark.parametrize("form", ["full", "mosaic"])
def test_rows_that_are_no_probabilities_are_rejected(form, digits, shelf, tmp_path):
    found = made(digits, shelf, "random", "1", form=form)
    key = "labels" if form == "full" else "label_array"
    with torch.no_grad():
        found.parameterization.state_dict()[key][3, 4] += 0.1
    found.save(tmp_path)
    with pytest.raises(RejectedSet, match="labels declared as probabilities must sum to 1"):
        audit(DistilledSet.load(tmp_path, digits.spec), granted("1", digits.spec))


def test_tiles_with_a_row_each_are_smaller():
    fixed, taught, learned = (
        planned("random", CIFAR10, "1", {"form": "tiles", "labels": labels}) for labels in ("fixed", "teacher", "learned")
    )
    assert (fixed.plan["images"], fixed.plan["geometry"]["size"]) == (40, [16, 16])
    # 40·10 label numbers, 100 of them free: 100 px of 10,240 pay for the rest.
    assert (taught.plan["images"], taught.plan["geometry"]) == (40, {"size": [15, 16], "labels": "probabilities"})
    assert learned.plan["geometry"]["size"] == [15, 16]


def test_tiles_say_what_their_labels_leave():
    refused = plan("random", Spec("digits", 10, (1, 8, 8), tuple("0123456789")), "0.5", {"form": "tiles", "labels": "teacher"})
    assert isinstance(refused, Refusal)
    assert refused.reason == "4 tiles per class need 40 px on digits, the budget 0.5 leaves 20 for them"


@pytest.mark.parametrize("crops", ["bounded", "toroidal"])
@pytest.mark.parametrize("spec", [CIFAR10, Spec("digits", 10, (1, 8, 8), tuple("0123456789"))], ids=lambda spec: spec.name)
@pytest.mark.parametrize("budget", ["0.3", "0.5", "0.9", "1", "2.5", "10"])
@pytest.mark.parametrize("form", ["mosaic", "poster"])
def test_a_poster_with_a_row_for_every_patch_is_about_the_largest_that_fits(form, budget, spec, crops):
    room = granted(budget, spec)
    kind = STORED_FORMS[form](labels="teacher", init="random", crops=crops, **({"order": "identity"} if form == "poster" else {}))
    context = PlanContext(spec, room)
    layout = kind.layout(context)
    if isinstance(layout, Refusal):
        assert crops == "toroidal"
        return

    def cost(layout: PosterLayout) -> int:
        return prod(layout.size) + -(-max(0, spec.classes * len(layout.patches()) - room.free_labels) // spec.channels)

    assert cost(layout) <= room.pixels
    larger = [kind._laid_out(prod(layout.size) + more, spec) for more in range(1, 3 * layout.size[0])]
    assert all(cost(found) > room.pixels for found in larger[2 * layout.size[0] :])
    assert kind.plan(context).images == len(layout.patches())


def test_a_poster_of_a_fixed_size_has_to_fit_beside_its_labels():
    fields = {"form": "mosaic", "labels": "teacher", "poster": "16x16", "patches": "3x3"}
    digits = Spec("digits", 10, (1, 8, 8), tuple("0123456789"))
    assert planned("random", digits, "256px", fields).plan["images"] == 9  # 90 label numbers, 100 are free
    refused = plan("random", digits, "256px", {**fields, "patches": "4x3"})
    assert isinstance(refused, Refusal)
    assert refused.reason == "poster=16x16 has 256 px, the budget 256px leaves 236 for it"


def test_a_poster_whose_patches_have_more_labels_than_it_has_pixels_says_so():
    digits = Spec("digits", 10, (1, 8, 8), tuple("0123456789"))
    fields = {"form": "mosaic", "labels": "teacher", "crops": "toroidal"}
    refused = plan("random", digits, "0.3", fields)  # even one patch is cut 4x6 times, and 140 of 240 label numbers are charged
    assert isinstance(refused, Refusal)
    assert refused.reason == (
        "a mosaic needs one patch of 64 px on digits, the budget 0.3 leaves 52 for it; ask for fewer patches, as each stores labels"
    )
    assert planned("random", digits, "0.3", {**fields, "patches": "4x1"}).plan["images"] == 4


# Decoders ------------------------------------------------------------------------------------------------------------


def test_rows_of_probabilities_come_back_as_they_were_written(tmp_path):
    spec = Spec("three", 3, (1, 4, 4), tuple("abc"))
    rows = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    images = Images(spec, 6, labels="probabilities")
    poster = Poster(spec, PosterLayout((4, 12), (4, 4), (6, 1), (3, 1)), [2, 0, 1], "probabilities")
    for stored in (images, poster):
        stored.write_labels(rows)
        again = type(stored).from_config(stored.config(), spec)
        again.load_state_dict(stored.state_dict())
        assert torch.equal(again.decode().labels, rows)
        assert torch.equal(again.decode(torch.tensor([4, 1])).labels, rows[[4, 1]])
        assert "probabilities" in (again.label_kind, stored.config()["labels"])
        assert {key: tuple(t.shape) for key, t in again.state_dict().items()} == type(stored).shapes(stored.config(), spec)


def test_rows_start_from_what_is_written_into_the_form():
    spec = Spec("three", 3, (1, 4, 4), tuple("abc"))
    images = Images(spec, 3, labels="probabilities")
    images.write(torch.zeros(3, 1, 4, 4), torch.tensor([2, 0, 1]))
    assert torch.equal(images.decode().labels, torch.eye(3))
    layout = PosterLayout((4, 12), (4, 4), (5, 1), (3, 1))
    by_area, rows = (Poster(spec, layout, [2, 0, 1], labels) for labels in ("proportional", "probabilities"))
    assert torch.allclose(rows.decode().labels, by_area.decode().labels)


@pytest.mark.parametrize("labels", ["order", "ids"])
def test_images_without_rows_take_no_labels(labels):
    stored = Images(Spec("two", 2, (1, 4, 4), ("a", "b")), 2, labels=labels)
    with pytest.raises(NotImplementedError, match="'images' stores no row of labels"):
        stored.write_labels(torch.eye(2))


@pytest.mark.parametrize("labels", ["fixed", "proportional", "learned"])
def test_posters_without_rows_take_no_labels(labels):
    stored = Poster(Spec("two", 2, (1, 4, 4), ("a", "b")), PosterLayout((4, 8), (4, 4), (2, 1), (2, 1)), [0, 1], labels)
    with pytest.raises(NotImplementedError, match="'poster' stores no row of labels"):
        stored.write_labels(torch.eye(2))


# From the plan to the record -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sweep_builds_the_teacher_once_and_its_records_count_the_labels(tmp_path):
    asked = ["random[form=mosaic,labels=teacher,student_steps=2]", "herding[labels=teacher,student_steps=2]"]
    wanted = bench.settings(methods=asked, budgets=["1"], seeds=[0], students=1, no_reference=True, jobs=1)
    found = list(bench.run_sweep(wanted, out=tmp_path / "out").records.values())
    assert [record.status for record in found] == ["ok", "ok"]
    assert len({needed["key"] for record in found for needed in record.cell.prerequisites}) == 1
    for record in found:
        assert record.audit["label_numbers"] == 10 * record.audit["images"]
