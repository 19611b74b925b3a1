"""Judging from disk: what the scores hold, pairing of students, determinism, and the cost that is counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import bench.judge.evaluate as evaluate
from bench import Batch, Budget, Dataset, DistilledSet, RejectedSet, Split, TrainRecipe
from bench.judge import Judgement, Protocol, get_protocol, judge_folder, judge_full_data, validation_accuracy
from bench.judge.evaluate import StepCounter
from bench.judge.quantize import round_trip
from bench.keys import canonical_json
from bench.nn.networks import build_network, flops_per_image
from bench.nn.training import StudentStreams
from bench.record import mean

MakeSet = Callable[..., DistilledSet]


@pytest.fixture
def judged(make_set: MakeSet, bars: Dataset, budget: Budget, native: Protocol, tmp_path: Path) -> Judgement:
    make_set(2).save(tmp_path)
    return judge_folder(tmp_path, bars, budget, native, seed=0, cache=None)


def test_scores_hold_what_a_record_needs(judged: Judgement) -> None:
    scores = judged.scores
    assert (scores["n_test"], scores["n_val"]) == (120, 60)
    assert [row["step"] for row in scores["checkpoints"]] == [5, 10, 15, 20]
    assert scores["final"] == scores["checkpoints"][-1]
    assert all(len(row["test"]) == len(row["val"]) == 2 for row in scores["checkpoints"])
    assert all(0.0 <= value <= 1.0 for row in scores["checkpoints"] for value in row["test"] + row["val"])
    assert len(scores["final_8bit"]["test"]) == 2
    assert (scores["lr"], scores["lr_trials"]) == (None, [])
    assert canonical_json(scores)


def test_students_learn(judged: Judgement) -> None:
    assert mean(judged.scores["final"]["test"]) > 0.8


def test_test_best_is_the_best_checkpoint_on_test(judged: Judgement) -> None:
    best = max(judged.scores["checkpoints"], key=lambda row: sum(row["test"]))
    assert judged.scores["test_best"] == {"step": best["step"], "test": best["test"]}


def test_eight_bits_hardly_change_the_score(judged: Judgement) -> None:
    assert abs(mean(judged.scores["final_8bit"]["test"]) - mean(judged.scores["final"]["test"])) < 0.1


def test_cost_is_counted(judged: Judgement, bars: Dataset) -> None:
    per_image = flops_per_image(build_network("convnet-d2-w32", bars.spec), bars.spec)
    assert judged.training == {
        "network": "convnet-d2-w32",
        "presented_examples": 20 * 4,
        "student_steps": 20,
        "flops": 3 * per_image * 80,
    }


def test_judging_twice_gives_the_same_scores(make_set: MakeSet, bars: Dataset, budget: Budget, native: Protocol, tmp_path: Path) -> None:
    make_set(2, recipe=TrainRecipe(steps=12, batch_size=2, augmentation="crop_rotate")).save(tmp_path / "a")
    make_set(2, recipe=TrainRecipe(steps=12, batch_size=2, augmentation="crop_rotate")).save(tmp_path / "b")
    before = torch.random.get_rng_state()
    first = judge_folder(tmp_path / "a", bars, budget, native, seed=3, cache=None)
    second = judge_folder(tmp_path / "b", bars, budget, native, seed=3, cache=None)
    assert first.scores == second.scores
    assert first.audit == second.audit
    for file in ("manifest.json", "tensors.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_score_does_not_depend_on_the_students_beside_it(
    make_set: MakeSet, bars: Dataset, budget: Budget, native: Protocol, tmp_path: Path
) -> None:
    make_set(2).save(tmp_path)
    scores = {}
    for count in (1, 2, 3):
        scores[count] = judge_folder(tmp_path, bars, budget, replace(native, students=count), seed=0, cache=None).scores["final"]["test"]
    tolerance = 1.5 / 120  # rounding of grouped kernels may turn one test image
    assert scores[2] == pytest.approx(scores[3][:2], abs=tolerance)
    assert scores[1] == pytest.approx(scores[3][:1], abs=tolerance)


def test_students_are_fresh_for_every_distillation_seed(
    make_set: MakeSet, bars: Dataset, budget: Budget, native: Protocol, tmp_path: Path
) -> None:
    make_set(1, recipe=TrainRecipe(steps=3)).save(tmp_path)
    runs = [judge_folder(tmp_path, bars, budget, native, seed=seed, cache=None).scores["checkpoints"] for seed in range(3)]
    assert runs[0] != runs[1] or runs[1] != runs[2]


def test_val_selection_needs_a_thousand_images(
    make_set: MakeSet, toy: ModuleType, budget: Budget, native: Protocol, tmp_path: Path
) -> None:
    make_set(1).save(tmp_path)
    few = judge_folder(tmp_path, toy.bars_dataset(999), budget, native, seed=0, cache=None).scores
    enough = judge_folder(tmp_path, toy.bars_dataset(1000), budget, native, seed=0, cache=None).scores
    assert few["val_selected"] is None
    best = max(enough["checkpoints"], key=lambda row: sum(row["val"]))
    assert enough["val_selected"] == best


def test_split_without_val(make_set: MakeSet, bars: Dataset, budget: Budget, common: Protocol, tmp_path: Path) -> None:
    make_set(1).save(tmp_path)
    judged = judge_folder(tmp_path, replace(bars, val=None), budget, common, seed=0, cache=None)
    assert judged.scores["n_val"] == 0
    assert judged.scores["final"]["val"] == []
    assert judged.scores["val_selected"] is None
    assert (judged.scores["lr"], judged.scores["lr_trials"]) == (0.01, [])
    assert any("middle learning rate" in note for note in judged.notes)


def test_common_presents_the_same_to_sets_of_all_sizes(
    make_set: MakeSet, bars: Dataset, budget: Budget, common: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.nn.training as students

    seen: list[int] = []
    real = students._Sampler.draw

    def draw(sampler: students._Sampler) -> tuple[Tensor, Tensor]:
        images, labels = real(sampler)
        seen.append(images.shape[1])
        return images, labels

    monkeypatch.setattr(students._Sampler, "draw", draw)
    training = []
    for per_class in (1, 3, 10):
        make_set(per_class, recipe=TrainRecipe(steps=7, batch_size=1)).save(tmp_path / str(per_class))
        training.append(judge_folder(tmp_path / str(per_class), bars, budget, common, seed=0, cache=None).training)
    assert training[0]["presented_examples"] == 160
    assert training[0] == training[1] == training[2]
    assert set(seen) == {8}


def test_common_chooses_its_learning_rate_on_val(
    make_set: MakeSet, bars: Dataset, budget: Budget, common: Protocol, tmp_path: Path
) -> None:
    make_set(2).save(tmp_path)
    scores = judge_folder(tmp_path, bars, budget, common, seed=0, cache=None).scores
    assert [trial["lr"] for trial in scores["lr_trials"]] == [0.001, 0.01, 0.1]
    best = max(scores["lr_trials"], key=lambda trial: mean(trial["val"]))
    assert scores["lr"] == best["lr"]
    assert all(len(trial["val"]) == 2 for trial in scores["lr_trials"])


def test_common_keeps_the_loss_of_the_set(
    make_set: MakeSet, bars: Dataset, budget: Budget, common: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[TrainRecipe] = []
    real = evaluate.train_students

    def train(network: object, data: object, recipe: TrainRecipe, *rest: Any, **more: Any) -> object:
        used.append(recipe)
        return real(network, data, recipe, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "train_students", train)
    make_set(2, recipe=TrainRecipe(lr=0.5, steps=3, loss="mse")).save(tmp_path)
    judge_folder(tmp_path, bars, budget, common, 0, None)
    assert {(recipe.loss, recipe.optimizer, recipe.steps) for recipe in used} == {("mse", "sgd", 20)}


def test_progress_ends_at_its_total(
    make_set: MakeSet, bars: Dataset, budget: Budget, common: Protocol, native: Protocol, tmp_path: Path
) -> None:
    make_set(1).save(tmp_path)
    for protocol in (native, common):
        told: list[tuple[int, int]] = []
        judge_folder(tmp_path, bars, budget, protocol, 0, None, on_progress=lambda done, total, told=told: told.append((done, total)))
        assert told[-1][0] == told[-1][1]
        assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_native_uses_the_sets_network_and_common_does_not(
    make_set: MakeSet, bars: Dataset, budget: Budget, native: Protocol, common: Protocol, tmp_path: Path
) -> None:
    make_set(1, network="convnet-d1-w8").save(tmp_path)
    assert judge_folder(tmp_path, bars, budget, native, 0, None).training["network"] == "convnet-d1-w8"
    judged = judge_folder(tmp_path, bars, budget, common, 0, None)
    assert judged.training["network"] == "convnet-d2-w32"
    assert any("convnet-d1-w8" in note for note in judged.notes)


def test_rejected_before_the_test_split_is_opened(
    make_set: MakeSet, bars: Dataset, native: Protocol, tmp_path: Path, budget: Budget
) -> None:
    def opened() -> Split:
        raise AssertionError("the test split was opened")

    make_set(2).save(tmp_path)
    with pytest.raises(RejectedSet, match="256 pixel-equivalents"):
        judge_folder(tmp_path, replace(bars, test=opened), replace(budget, pixels=255), native, 0, None)


def test_coordinates_decide_who_transforms(make_set: MakeSet, bars: Dataset, budget: Budget, native: Protocol, tmp_path: Path) -> None:
    from bench.nn.spaces import Standard

    plain = make_set(2)
    inside = make_set(2, coordinates="space")
    with torch.no_grad():
        images = inside.parameterization.get_parameter("images")
        images.copy_(Standard.fit(bars.train).transform(images))
    plain.save(tmp_path / "rgb")
    inside.save(tmp_path / "space")
    one, other = (judge_folder(tmp_path / name, bars, budget, native, 0, None) for name in ("rgb", "space"))
    assert one.scores["checkpoints"] == other.scores["checkpoints"]


def test_a_set_that_breaks_in_eight_bits_is_noted(
    make_set: MakeSet, bars: Dataset, budget: Budget, native: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(distilled: object) -> object:
        other = make_set(2)
        with torch.no_grad():
            other.parameterization.get_parameter("images").fill_(torch.nan)
        return other

    make_set(2).save(tmp_path)
    monkeypatch.setattr(evaluate, "eight_bit", broken)
    judged = judge_folder(tmp_path, bars, budget, native, 0, None)
    assert judged.scores["final_8bit"] == {"test": []}
    assert any("8-bit" in note for note in judged.notes)


@pytest.mark.parametrize("dev", [True, False], ids=["dev", "paper"])
def test_every_score_is_taken_on_the_split_it_is_named_for(
    dev: bool, make_set: MakeSet, bars: Dataset, budget: Budget, common: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {40: 0.4, 60: 0.6, 120: 0.12}  # images of train, val and test -> a score that tells which it was

    def score(network: object, kept: dict[int, list[object]], split: Split | None, *rest: object) -> dict[int, list[float]]:
        return {step: [] if split is None else [names[len(split)]] for step in kept}

    for module in ("evaluate", "full_data"):
        monkeypatch.setattr(f"bench.judge.{module}.accuracies", score)
    dataset = bars if dev else replace(bars, val=None)
    make_set(2).save(tmp_path)
    scores = judge_folder(tmp_path, dataset, budget, common, 0, None).scores
    full = judge_full_data(dataset, common, 0, None).scores
    assert scores["final_8bit"] == {"test": [0.12]}
    for found in (scores, full):
        assert (found["n_test"], found["n_val"]) == (120, 60 * dev)
        assert [row["test"] for row in found["checkpoints"]] == [[0.12]] * 4
        assert [row["val"] for row in found["checkpoints"]] == [[0.6] * dev] * 4
    assert [trial["val"] for trial in scores["lr_trials"]] == [[0.6]] * 3 * dev
    if dev:
        assert validation_accuracy(make_set(2), dataset, common, 0, None) == 0.6


@pytest.mark.parametrize(("mirror", "augmentation"), [(True, "crop_flip_scale_rotate"), (False, "crop_scale")])
def test_the_common_recipe_to_the_letter(mirror: bool, augmentation: str, make_set: MakeSet, bars: Dataset) -> None:
    dataset = replace(bars, spec=replace(bars.spec, mirror=mirror))
    own = TrainRecipe("adam", lr=0.5, steps=3, batch_size=7, augmentation="rotate", loss="mse")
    trial = evaluate._open(make_set(2, recipe=own), dataset, get_protocol("common-v1"), 0, None, torch.device("cpu"), "judge")
    expected = TrainRecipe("sgd", 0.05, 1000, 32, momentum=0.9, weight_decay=5e-4, schedule="cosine", augmentation=augmentation, loss="mse")
    assert trial.recipe(0.05) == expected
    assert trial.recipe() == replace(expected, lr=0.01)


def test_the_native_recipe_is_the_sets_own(make_set: MakeSet, bars: Dataset) -> None:
    own = TrainRecipe(
        "sgd", lr=0.5, steps=3, batch_size=7, momentum=0.3, weight_decay=0.1, schedule="step", augmentation="rotate", loss="mse"
    )
    trial = evaluate._open(make_set(2, recipe=own), bars, get_protocol("native-v1"), 0, None, torch.device("cpu"), "judge")
    assert trial.recipe() == own


RATES = [
    pytest.param([[0.5, 0.5], [0.75, 0.5], [0.5, 0.625]], 0.01, id="the best mean"),
    pytest.param([[0.5, 0.5], [0.625, 0.625], [0.75, 0.5]], 0.01, id="the smaller of equals"),
    pytest.param([[0.5, 0.75], [0.625, 0.625], [0.75, 0.5]], 0.001, id="the smallest of equals"),
    pytest.param([[0.875, 0.0], [0.5, 0.5], [0.25, 0.875]], 0.1, id="not by one student"),
]


@pytest.mark.parametrize(("val", "chosen"), RATES)
def test_which_learning_rate_is_chosen(
    val: list[list[float]], chosen: float, make_set: MakeSet, bars: Dataset, common: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(val)
    used: list[tuple[float, int]] = []

    def train(
        network: object, data: object, recipe: TrainRecipe, students: list[object], *rest: object, **more: object
    ) -> dict[int, object]:
        used.append((recipe.lr, len(students)))
        return {}

    monkeypatch.setattr(evaluate, "train_students", train)
    monkeypatch.setattr(evaluate, "accuracies", lambda *_: {20: next(answers)})
    trial = evaluate._open(make_set(2), bars, replace(common, students=3), 0, None, torch.device("cpu"), "judge")
    data = trial.seen(make_set(2).parameterization.decode())
    lr, tried, _ = evaluate._choose_lr(trial, data, StepCounter(0, None))
    assert lr == chosen
    assert used == [(0.001, 2), (0.01, 2), (0.1, 2)]  # two students each, though three will judge
    assert tried == [{"lr": rate, "val": row} for rate, row in zip((0.001, 0.01, 0.1), val, strict=True)]


def test_what_is_judged_is_trained_at_the_chosen_rate_and_once_more_on_eight_bits(
    make_set: MakeSet, bars: Dataset, budget: Budget, common: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[tuple[TrainRecipe, Batch]] = []
    real = evaluate.train_students

    def train(network: object, data: Batch, recipe: TrainRecipe, *rest: Any, **more: Any) -> object:
        used.append((recipe, data))
        return real(network, data, recipe, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluate, "train_students", train)
    distilled = make_set(2, coordinates="space")
    distilled.save(tmp_path)
    lr = judge_folder(tmp_path, bars, budget, common, 0, None).scores["lr"]
    stored = distilled.parameterization.get_parameter("images")
    assert [recipe.lr for recipe, _ in used] == [0.001, 0.01, 0.1, lr, lr]
    assert all(torch.equal(data.images, stored) for _, data in used[:4])
    assert torch.equal(used[4][1].images, round_trip(stored))
    assert not torch.equal(round_trip(stored), stored)


def test_students_are_named_for_what_they_are_for(
    make_set: MakeSet, bars: Dataset, native: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[tuple[str | int, ...]] = []

    def name(parts: tuple[str | int, ...]) -> StudentStreams:
        names.append(parts)
        return StudentStreams(parts)

    for module in ("evaluate", "full_data"):
        monkeypatch.setattr(f"bench.judge.{module}.StudentStreams", name)
    for purpose in ("judge", "validate"):
        evaluate._open(make_set(1), bars, native, 7, None, torch.device("cpu"), purpose)
    judge_full_data(bars, native, 7, None)
    student = ("judge-toy", "native-v1", 7)
    assert names == [(*purpose, *student, repeat) for purpose in ((), ("validate",), ("ceiling",)) for repeat in (0, 1)]
