"""Coresets: each against a slow computation from its definition, and what they do where a class has too few images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from products import planned, task_for
from registries import prerequisites_in

from bench import SELECTIONS, Dataset, Parameterization
from bench.methods.selections.herding import follow_the_mean
from bench.methods.selections.k_center import farthest_first
from bench.methods.selections.k_means import nearest_to_centres
from bench.seeding import stream
from bench.selection import checked, uses_features
from oracles import coresets as oracle

CORESETS = ("herding", "k_center", "k_means")


def cloud(count: int, width: int, *names: str | int) -> torch.Tensor:
    return torch.randn(count, width, generator=stream("test of coresets", *names))


@pytest.mark.parametrize("seed", range(5))
def test_herding_follows_the_mean(seed: int) -> None:
    features = cloud(20, 6, seed)
    assert follow_the_mean(features, 12).tolist() == oracle.herding(features.double().numpy(), 12)


@pytest.mark.parametrize("seed", range(5))
def test_k_center_takes_the_farthest_first(seed: int) -> None:
    features = cloud(20, 6, seed)
    assert farthest_first(features, 12).tolist() == oracle.k_center(features.double().numpy(), 12)


@pytest.mark.parametrize("seed", range(5))
def test_k_means_finds_the_tightest_clusters_of_a_few_points(seed: int) -> None:
    features = cloud(7, 2, seed)
    chosen = set(nearest_to_centres(features, 3, stream("start", seed)).tolist())
    assert [len(chosen & nearest) for nearest in oracle.k_means(features.double().numpy(), 3)] == [1, 1, 1]


def test_k_means_takes_the_image_at_each_centre_and_the_largest_cluster_first() -> None:
    offsets = torch.tensor([[0.0, 0.0], [0.1, 0.0], [-0.1, 0.0], [0.0, 0.1], [0.0, -0.1]])
    places = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    features = torch.cat([places[0] + offsets[:3], places[1] + offsets, places[2] + offsets[:1]])
    assert nearest_to_centres(features, 3, stream("start")).tolist() == [3, 0, 8]


def test_copies_of_an_image_are_chosen_last() -> None:
    features = torch.tensor([[0.0], [0.0], [0.0], [4.0], [-3.0]])
    assert farthest_first(features, 3).tolist() == [0, 3, 4]
    assert sorted(farthest_first(features, 5).tolist()) == [0, 1, 2, 3, 4]
    assert sorted(follow_the_mean(features, 5).tolist()) == [0, 1, 2, 3, 4]
    assert sorted(nearest_to_centres(torch.zeros(3, 2) + torch.arange(3.0)[:, None] * 1e-3, 3, stream("start")).tolist()) == [0, 1, 2]


@pytest.mark.parametrize("name", [*CORESETS, "random"])
def test_every_image_comes_once_before_any_comes_again(name: str) -> None:
    labels = torch.tensor([1, 0, 1, 0, 1, 1, 2])
    slots = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    chosen = SELECTIONS[name](cloud(7, 3), labels, slots, stream("choice"))
    assert torch.equal(checked(chosen, labels, slots), chosen)
    assert sorted(chosen[:2].tolist()) == [1, 3]
    assert chosen[2] == chosen[0]
    assert sorted(chosen[3:7].tolist()) == [0, 2, 4, 5]
    assert chosen[7:].tolist() == [6, 6, 6]


@pytest.mark.parametrize("name", [*CORESETS, "random"])
def test_a_class_without_images_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="class 1 has no training image"):
        SELECTIONS[name](cloud(2, 3), torch.tensor([0, 2]), torch.tensor([0, 1]), stream("choice"))


def made(name: str, form: str, budget: str, seed: int, digits: Dataset, folder: Path) -> Parameterization:
    find = prerequisites_in(folder, digits)
    resolution = planned(name, digits.spec, budget, {"form": form}, seed=seed, find=find)
    return resolution.method.distill(task_for(digits, resolution, budget, seed=seed, find=find)).parameterization


@pytest.mark.parametrize("name", CORESETS)
def test_every_seed_looks_through_another_network(name: str, digits: Dataset, tmp_path: Path) -> None:
    assert uses_features(SELECTIONS[name])
    first, second, sixth = (made(name, "full", "2", seed, digits, tmp_path).decode().images for seed in (0, 1, 5))
    assert not torch.equal(first, second)
    if name != "k_means":  # which starts at random
        assert torch.equal(first, sixth)  # five networks take turns


@pytest.mark.parametrize("form", ["full", "lowres", "subset", "tiles", "mosaic"])
@pytest.mark.parametrize("name", CORESETS)
def test_it_fills_every_form(name: str, form: str, digits: Dataset, tmp_path: Path) -> None:
    budget = "1" if form == "full" else "0.5"
    assert 0 < made(name, form, budget, 0, digits, tmp_path).pixels <= 64 * 10 * float(budget)
