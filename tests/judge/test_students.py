"""What the judge relies on in the training of students: sampling, pairing, and one result however they are grouped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import bench.nn.training as students
from bench import Batch, Spec, TrainRecipe
from bench.nn.networks import build_network
from bench.nn.training import StudentStreams, train_students
from bench.seeding import stream

SPEC = Spec("pairing", 3, (1, 8, 8), ("a", "b", "c"))
STREAMS = [StudentStreams(("pairing", repeat)) for repeat in range(3)]


def _is_dead(key: str) -> bool:
    """Tell biases that the norm behind them takes out again; Adam makes whole steps of the rounding of their zero gradient."""
    return key.startswith("convs.") and key.endswith("bias")


def data(count: int) -> Batch:
    generator = stream("pairing", "data")
    labels = torch.eye(3)[torch.arange(count) % 3]
    return Batch(torch.randn(count, 1, 8, 8, generator=generator), labels)


class Watched:
    """A source of examples that notes what was taken."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.taken, self.shape, self.device = batch, [], (1, 8, 8), torch.device("cpu")

    def __len__(self) -> int:
        return len(self.batch.images)

    def take(self, index: torch.Tensor) -> Batch:
        self.taken.append(index.tolist())
        return Batch(self.batch.images[index], self.batch.labels[index])


def taken_by(count: int, recipe: TrainRecipe, sampling: students.Sampling, repeats: int = 1) -> list[list[int]]:
    source = Watched(data(count))
    train_students(build_network("convnet-d1-w4", SPEC), source, recipe, STREAMS[:repeats], [recipe.steps], sampling=sampling)
    return source.taken


@pytest.mark.parametrize(("count", "size"), [(12, 4), (5, 4), (3, 8), (1, 4), (7, 7)])
def test_cycle_walks_through_permutations(count: int, size: int) -> None:
    batches = taken_by(count, TrainRecipe(steps=21, batch_size=size), "cycle")
    assert [len(batch) for batch in batches] == [size] * 21
    walk = [index for batch in batches for index in batch]
    for start in range(0, len(walk) - count + 1, count):
        assert sorted(walk[start : start + count]) == list(range(count))


def test_subset_draws_without_replacement_and_takes_all_of_a_small_set() -> None:
    batches = taken_by(12, TrainRecipe(steps=9, batch_size=5), "subset")
    assert all(len(batch) == len(set(batch)) == 5 for batch in batches)
    assert taken_by(3, TrainRecipe(steps=9, batch_size=5), "subset") == [[0, 1, 2]]


def test_batches_of_a_student_do_not_depend_on_the_others() -> None:
    recipe = TrainRecipe(steps=6, batch_size=5)
    alone, together = taken_by(12, recipe, "cycle", 1), taken_by(12, recipe, "cycle", 3)
    assert [batch[:5] for batch in together] == alone


@pytest.mark.parametrize("sampling", ["subset", "cycle"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_grouped_and_sequential_students_agree(sampling: students.Sampling, optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network("convnet-d2-w8", SPEC)
    recipe = TrainRecipe(optimizer=optimizer, lr=1e-2, steps=5, batch_size=6, augmentation="crop_rotate")  # type: ignore[arg-type]
    grouped = train_students(network, data(10), recipe, STREAMS, [2, 5], sampling=sampling)
    monkeypatch.setattr(students, "ensemble_mode", lambda network: "sequential")
    sequential = train_students(network, data(10), recipe, STREAMS, [2, 5], sampling=sampling)
    for step in (2, 5):
        for one, other in zip(grouped[step], sequential[step], strict=True):
            assert all(torch.allclose(one[key], other[key], atol=1e-4) for key in one if not _is_dead(key))
    assert not torch.allclose(grouped[5][0]["head.weight"], grouped[5][1]["head.weight"])


def test_a_student_does_not_depend_on_those_beside_it() -> None:
    network = build_network("convnet-d2-w8", SPEC)
    recipe = TrainRecipe(steps=5, batch_size=4)
    two, three = (train_students(network, data(10), recipe, STREAMS[:count], [5])[5] for count in (2, 3))
    for one, other in zip(two, three[:2], strict=True):
        assert all(torch.allclose(one[key], other[key], atol=1e-4) for key in one if not _is_dead(key))


@pytest.mark.parametrize("mode", ["grouped", "sequential"])
def test_every_student_step_is_told(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(students, "ensemble_mode", lambda network: mode)
    told: list[int] = []
    tell: Callable[[int], None] = told.append
    train_students(build_network("convnet-d1-w4", SPEC), data(4), TrainRecipe(steps=4), STREAMS, [4], on_steps=tell)
    assert sum(told) == 4 * 3


def test_every_purpose_has_a_stream_of_its_own() -> None:
    """These seeds never move: students stay paired with those of earlier records."""
    student = StudentStreams(("digits", "native-v1", 0, 1))
    assert student.generator("init").initial_seed() == 1632410075329270805
    assert student.generator("batches").initial_seed() == 563449518470594003
    assert student.generator("augmentation").initial_seed() == 6067783877018825297
