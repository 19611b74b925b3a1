"""Features: of all training images, in order, of a network that was trained on them, another one for every seed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from bench import Batch, BenchError, Dataset, Need, RealImages, Split
from bench.methods.prerequisites.features import read_teacher
from bench.nn.networks import build_network
from bench.nn.networks import features as features_of
from bench.nn.spaces import fit_space
from bench.nn.training import train_students
from bench.prerequisite_store import PrerequisiteStore, ensure, resolve
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


def test_the_network_that_is_kept_is_the_one_whose_features_are(digits, tmp_path):
    built = ensure(features_need(0), digits, PrerequisiteStore(tmp_path)).path
    teacher = read_teacher(built)
    assert (teacher.network, teacher.space) == ("convnet-d2-w32", "standard")
    network = build_network(teacher.network, digits.spec)
    seen = fit_space(teacher.space, digits.train).transform(digits.train.unit_images())
    assert torch.allclose(features_of(network, teacher.parameters, seen), read_features(built), atol=1e-4)
    probabilities = teacher.probabilities(seen, digits.spec)
    assert probabilities.shape == (len(digits.train), 10)
    assert torch.allclose(probabilities.sum(1), torch.ones(len(digits.train)))
    assert float((probabilities.argmax(1) == digits.train.labels).float().mean()) > 0.95


def test_features_from_before_networks_were_kept_are_built_again_the_same(digits, tmp_path):
    """Their folder is as an earlier version left it: whole by its own manifest, without a network."""
    need, store = Need("features", FEW), PrerequisiteStore(tmp_path)
    built = ensure(need, digits, store)
    manifest = json.loads((built.path / "manifest.json").read_text())
    features_file = (built.path / "features.safetensors").read_bytes()
    del manifest["files"]["network.safetensors"]
    for name in ("network.safetensors", "manifest.json"):
        (built.path / name).unlink()
    (built.path / "manifest.json").write_text(json.dumps(manifest))
    again = ensure(need, digits, store)
    assert (again.fresh, again.key) == (True, built.key)
    assert (again.path / "features.safetensors").read_bytes() == features_file
    assert read_teacher(again.path).network == "convnet-d2-w32"
    assert "network.safetensors is not among its files" in store.warnings[0]


def test_the_key_of_features_is_the_one_from_before_networks_were_kept():
    """Coresets and class orders of users are keyed by it."""
    assert resolve(features_need(3)).key(3, "data") == "2843cb71de8475461d340f1c"
