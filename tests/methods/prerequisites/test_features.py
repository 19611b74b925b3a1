"""Features: of all training images, in order, of a network that was trained on them, another one for every seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench import Batch, BenchError, Dataset, Need, RealImages, Split
from bench.nn.training import train_students
from bench.prerequisite_store import PrerequisiteStore, ensure
from bench.selection import features_need, read_features

FEW = {"steps": 5}


def features(need: Need, dataset: Dataset, folder) -> torch.Tensor:
    return read_features(ensure(need, dataset, PrerequisiteStore(folder)).path)


def test_they_tell_the_classes_of_all_images_apart(digits, tmp_path):
    steps = []
    built = ensure(features_need(0), digits, PrerequisiteStore(tmp_path), report=lambda step, total, _: steps.append((step, total)))
    found = read_features(built.path)
    assert found.shape == (len(digits.train), 32 * 2 * 2)
    assert found.dtype == torch.float32
    assert steps[-1] == (200, 200)
    means = torch.stack([found[digits.train.of_class(c)].mean(0) for c in range(10)])
    nearest = torch.cdist(found, means).argmin(1)
    assert (nearest == digits.train.labels).float().mean() > 0.95


def test_a_seed_means_the_same_network_everywhere_and_another_seed_another_one(digits, tmp_path):
    before = torch.get_rng_state()
    here, there = (features(Need("features", FEW), digits, tmp_path / name) for name in ("here", "there"))
    other = features(Need("features", FEW, 1), digits, tmp_path / "here")
    assert torch.equal(here, there)
    assert not torch.allclose(here, other, atol=1e-2)
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_trained_on_some_images_has_features_of_all(digits, tmp_path, monkeypatch):
    seen = []

    def noted(network, data, *rest, **more):
        seen.append(data.images)
        return train_students(network, data, *rest, **more)

    monkeypatch.setattr("bench.methods.prerequisites.features.train_students", noted)
    found = features(Need("features", {**FEW, "images": 20}), digits, tmp_path)
    assert len(found) == len(digits.train)
    evenly = torch.linspace(0, len(digits.train) - 1, 20).long()
    assert torch.equal(seen[0], digits.train.images[evenly])


def test_no_float_copy_of_the_training_images_is_made(digits, tmp_path, monkeypatch):
    sizes = []
    plain = RealImages.take

    def counted(self: RealImages, index: torch.Tensor) -> Batch:
        batch = plain(self, index)
        sizes.append(len(batch.images))
        return batch

    monkeypatch.setattr(RealImages, "take", counted)
    monkeypatch.setattr(Split, "unit_images", lambda *_: pytest.fail("a float copy of the training images"))
    features(Need("features", FEW), digits, tmp_path)
    assert 0 < max(sizes) <= 512 < len(digits.train)


def test_larger_images_get_a_deeper_network(digits, tmp_path):
    large = Split(digits.train.images[:40].repeat(1, 1, 4, 4), digits.train.labels[:40])
    dataset = replace(digits, spec=replace(digits.spec, shape=(1, 32, 32)), train=large)
    assert features(Need("features", FEW), dataset, tmp_path).shape == (40, 32 * 4 * 4)


def test_an_unknown_network_is_refused(digits, tmp_path):
    with pytest.raises(BenchError, match="unknown network 'convnet'"):
        ensure(Need("features", {"network": "convnet"}), digits, PrerequisiteStore(tmp_path))
