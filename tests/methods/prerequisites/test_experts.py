"""Experts: plain SGD epoch by epoch, whole and equal to the byte however often a build is interrupted, and shared by whoever can."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from products import plan, planned

from bench import BenchError, Dataset, Need, Refusal, Resolution, Spec
from bench.methods.prerequisites import experts
from bench.methods.prerequisites.experts import read_snapshot
from bench.nn.spaces import fit_space
from bench.nn.training import StudentStreams
from bench.prerequisite_store import Built, PrerequisiteStore, ensure, resolve
from oracles import trajectories

HOME = Path(__file__).parents[3]
SMALL = {"network": "convnet-d2-w8", "epochs": 3, "batch_size": 96, "lr": 0.1}
CIFAR = Spec("cifar10", 10, (3, 32, 32), tuple("abcdefghij"))


def expert(seed: int = 0, **config: Any) -> Need:
    return Need("experts", {**SMALL, **config}, seed)


def built(digits: Dataset, folder: Path, need: Need | None = None) -> Built:
    return ensure(need or expert(), digits, PrerequisiteStore(folder))


def files(built: Built) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(built.path.iterdir()) if file.name != "manifest.json"}


def test_an_epoch_is_sgd_over_all_images_in_an_order_of_its_own(digits, tmp_path):
    found = built(digits, tmp_path)
    weights = {name: value.double().requires_grad_() for name, value in read_snapshot(found.path, 0).items()}
    seen = fit_space("standard", digits.train).transform(digits.train.unit_images()).double()
    labels = torch.eye(10, dtype=torch.float64)[digits.train.labels]
    for epoch in (1, 2):
        order = torch.randperm(len(seen), generator=StudentStreams(("expert", found.key, epoch)).generator("batches"))
        for part in order.split(96):  # the last one is smaller
            with torch.enable_grad():
                moved = trajectories.trained(weights, [(seen[part], labels[part])], 0.1)
            weights = {name: value.detach().requires_grad_() for name, value in moved.items()}
        for name, value in read_snapshot(found.path, epoch).items():
            assert torch.allclose(value.double(), weights[name].detach(), rtol=1e-3, atol=1e-5), (epoch, name)


def test_a_snapshot_is_kept_before_the_first_and_after_every_epoch_and_nothing_else(digits, tmp_path):
    found, told = PrerequisiteStore(tmp_path), []
    path = ensure(expert(), digits, found, report=lambda step, total, _: told.append((step, total))).path
    assert sorted(file.name for file in path.iterdir()) == [*(f"epoch-{k:06d}.safetensors" for k in range(4)), "manifest.json"]
    steps = -(-len(digits.train) // 96)
    assert told == [(step, 3 * steps) for step in range(1, 3 * steps + 1)]


def test_images_are_augmented_where_that_is_asked_for(digits, tmp_path):
    plain, turned = (built(digits, tmp_path, expert(augmentation=name)) for name in ("none", "rotate"))
    assert not torch.allclose(read_snapshot(plain.path, 1)["head.weight"], read_snapshot(turned.path, 1)["head.weight"], atol=1e-4)
    with pytest.raises(BenchError, match="unknown augmentation 'rotation'"):
        built(digits, tmp_path, expert(augmentation="rotation"))


def test_experts_learn(digits, tmp_path):
    losses = []
    found = built(digits, tmp_path, expert(epochs=6))
    seen = fit_space("standard", digits.train).transform(digits.train.unit_images()).double()
    labels = torch.eye(10, dtype=torch.float64)[digits.train.labels]
    for epoch in (0, 3, 6):
        weights = {name: value.double() for name, value in read_snapshot(found.path, epoch).items()}
        losses.append(float(trajectories.soft_loss(weights, seen, labels)))
    assert losses[0] - 0.3 > losses[1] > losses[2] + 0.3


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_build_goes_on_and_ends_with_the_same_bytes(digits, tmp_path, monkeypatch, after):
    """Interrupted while a snapshot is written: what an atomic write leaves behind, and a torn file under the snapshot's own name."""
    whole, save, saved = files(built(digits, tmp_path / "whole")), experts._save, []

    def cut_off(parameters, file: Path) -> None:
        if len(saved) == after:
            file.write_bytes(b"half of it")
            file.with_name(f".00ff00ff.{file.name}").write_bytes(b"scratch")
            raise KeyboardInterrupt
        save(parameters, file)
        saved.append(file.name)

    monkeypatch.setattr(experts, "_save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        built(digits, tmp_path / "other")
    monkeypatch.setattr(experts, "_save", save)
    written = []
    monkeypatch.setattr(experts, "_save", lambda parameters, file: written.append(file.name) or save(parameters, file))
    assert files(built(digits, tmp_path / "other")) == whole
    assert written == list(whole)[after:], "epochs that were whole are not trained again"


BUILDER = """
import sys, time
from pathlib import Path
from bench import Need, load_dataset, registry
from bench.prerequisite_store import PrerequisiteStore, ensure
registry.discover()
digits, config = load_dataset("digits"), {"network": "convnet-d2-w8", "epochs": int(sys.argv[2]), "batch_size": 96, "lr": 0.1}
Path(sys.argv[3]).touch()
while not Path(sys.argv[4]).exists():
    time.sleep(0.01)
print(ensure(Need("experts", config), digits, PrerequisiteStore(Path(sys.argv[1]))).fresh)
"""


def builder(folder: Path, epochs: int, number: int) -> subprocess.Popen[str]:
    words = [folder / "store", epochs, folder / f"ready-{number}", folder / "go"]
    environment = {**os.environ, "PYTHONPATH": str(HOME)}
    return subprocess.Popen([sys.executable, "-P", "-c", BUILDER, *map(str, words)], stdout=subprocess.PIPE, text=True, env=environment)


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(digits, tmp_path):
    (tmp_path / "go").touch()
    process = builder(tmp_path, 2000, 0)
    wait_for(lambda: len(list(tmp_path.glob("store/.building-*/epoch-*"))) > 5)
    process.kill()
    process.communicate()
    need = expert(epochs=2000)
    place = tmp_path / "store" / f".building-{resolve(need).key(0, digits.fingerprint())}"
    done = len(list(place.glob("epoch-*")))
    assert 5 < done < 2000
    # The rest is not waited for: one more epoch than were done is the same network of the same streams.
    saved = {file.name: file.read_bytes() for file in sorted(place.glob("epoch-*"))}
    undisturbed = {}

    def stop(parameters, file: Path) -> None:
        save(parameters, file)
        undisturbed[file.name] = file.read_bytes()
        if len(undisturbed) == done:
            raise KeyboardInterrupt

    save = experts._save
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(experts, "_save", stop)
        with pytest.raises(KeyboardInterrupt):
            built(digits, tmp_path / "undisturbed", need)
    assert undisturbed == saved


def test_two_processes_build_once(digits, tmp_path):
    rivals = [builder(tmp_path, 3, number) for number in range(2)]
    wait_for(lambda: len(list(tmp_path.glob("ready-*"))) == 2)
    (tmp_path / "go").touch()
    assert sorted(process.communicate(timeout=120)[0].strip() for process in rivals) == ["False", "True"]
    assert files(built(digits, tmp_path / "store")) == files(built(digits, tmp_path / "alone"))


def needs(name: str = "mtt", budget: str = "1", seed: int = 0, **fields: Any) -> list[Need]:
    found = planned(name, CIFAR, budget, {"experts": 3, "space": "zca_kornia", **fields}, seed=seed)
    return [need for need in found.needs if need.name == "experts"]


def test_experts_are_shared_by_budgets_seeds_and_methods(digits):
    ours = needs()
    assert [need.seed for need in ours] == [0, 1, 2]
    assert needs(budget="0.3") == needs(seed=4) == needs("rat_bptt", objective="mtt") == ours
    assert needs("mtt", form="tiles") == needs("podd", objective="mtt", order="identity") == ours
    assert needs(experts=5)[:3] == ours, "more of them are those, and others"


def test_seeds_may_have_experts_of_their_own():
    assert [[need.seed for need in needs(seed=seed, expert_seeds=2)] for seed in range(3)] == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]


def test_experts_are_as_long_as_the_recipe_needs_them_or_as_it_asks_for():
    """Of a start before epoch 5 and a target 2 epochs later, the last one is epoch 6: 7 snapshots, max_start + expert_epochs."""
    assert {need.config["epochs"] for need in needs(max_start=5, expert_epochs=2)} == {6}
    assert {need.config["epochs"] for need in needs(max_start=5, expert_epochs=2, trained_epochs=50)} == {50}


def test_a_recipe_that_needs_longer_experts_than_it_asks_for_is_refused():
    refused = plan("mtt", CIFAR, "1", {"max_start": 5, "expert_epochs": 2, "trained_epochs": 5})
    assert isinstance(refused, Refusal)
    assert refused.reason == ("objective=mtt with max_start 5 and expert_epochs 2 needs experts of 6 epochs, and trained_epochs asks for 5")
    assert isinstance(plan("mtt", CIFAR, "1", {"max_start": 5, "expert_epochs": 2, "trained_epochs": 6}), Resolution)


def test_the_space_is_built_before_and_is_part_of_what_an_expert_is(digits, monkeypatch):
    white, plain = resolve(expert(space="zca_kornia")), resolve(expert())
    assert (white.needs(0), plain.needs(0)) == ((Need("space", {"space": "zca_kornia"}),), ())
    before = white.key(0, "data"), plain.key(0, "data")
    monkeypatch.setattr("bench.nn.spaces.ZcaKornia.version", 2)
    monkeypatch.setattr("bench.nn.spaces.Standard.version", 2)
    assert not {white.key(0, "data"), plain.key(0, "data")} & set(before)


def test_a_small_whitening_is_fitted_on_the_spot(digits, tmp_path):
    white, plain = (read_snapshot(built(digits, tmp_path, expert(space=name)).path, 1) for name in ("zca_kip", "standard"))
    assert not torch.allclose(white["head.weight"], plain["head.weight"], atol=1e-3)


def test_the_room_that_is_planned_is_the_room_that_is_taken(digits, tmp_path):
    """Names and shapes in the files come on top: about half a kilobyte each."""
    found = built(digits, tmp_path)
    taken = sum(map(len, files(found).values()))
    assert 0 < taken - resolve(expert()).disk_bytes(digits.spec) < 4 * 1024
    assert resolve(Need("experts", {"network": "convnet-d3-w128", "epochs": 50})).disk_bytes(CIFAR) == 51 * 4 * 320_010


def test_the_costs_that_are_planned_are_those_of_the_epochs(digits, monkeypatch):
    monkeypatch.setattr(experts, "flops_per_image", lambda *_: 100)
    assert resolve(expert(epochs=4)).flops(digits.spec, 800) == pytest.approx(2.9 * 100 * 800 * 4)
