"""Trying a reading: students that train for about a minute on the set tell a right reading from a wrong one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..data import Batch, Split
from ..distilled import DistilledSet
from ..errors import BenchError
from ..loading import carve_val
from ..nn.networks import build_network, default_network
from ..nn.training import StudentStreams, predict, train_students
from ..train_recipe import TrainRecipe
from .conversion import to_distilled_set
from .options import Options, typed
from .reading import Reading, plausible_options, read_release
from .real_pixels import RealPixels

#: Images one student is shown: about a minute of one core for a ConvNet-3 on 32x32.
_PRESENTED = 9600
_LEAST_STEPS, _MOST_STEPS = 60, 400
_VAL_IMAGES = 2000
_LARGEST_BATCH = 128
_MOST_TRIED = 12


@dataclass(frozen=True)
class Trial:
    """How one reading did.

    Attributes:
        options: the reading.
        differs: the options in which the readings that are tried differ, as they are typed.
        accuracy: of one student on validation images.
        trains: whether that is as good as two guesses at least.
    """

    options: Options
    differs: str
    accuracy: float
    trains: bool


def tried(reading: Reading, real: RealPixels) -> Iterator[Trial]:
    """Train one student on every plausible reading of a set, the likelier first, and yield how each did.

    Args:
        reading: what is known.
        real: the data set, a tenth of whose training images judges.

    Raises:
        BenchError: something is open that cannot be tried, or too many readings are plausible.
    """
    readings = list(plausible_options(reading))
    if len(readings) > _MOST_TRIED:
        asked = "; ".join(question.sentence() for question in reading.questions)
        raise BenchError(f"{len(readings)} readings are plausible, more than the {_MOST_TRIED} that are tried: {asked}")
    val = _val_of(real)
    for options in readings:
        differs = " ".join(f"{q.flag} {typed(q.option, getattr(options, q.option))}" for q in reading.questions)
        accuracy = try_set(to_distilled_set(read_release(reading.release, reading.spec, options)), real, val)
        yield Trial(options, differs or "the options as they were given", accuracy, trains(accuracy, reading.spec.classes))


def try_set(distilled: DistilledSet, real: RealPixels, val: Split | None = None) -> float:
    """Return the accuracy, on some validation images, of one student that trains briefly on a set.

    Its recipe is one for all, Adam without augmentation: it need only tell learning from guessing.
    """
    val = val or _val_of(real)
    space, spec = real.space(distilled.space), distilled.spec
    network = build_network(distilled.network or default_network(spec), spec)
    with torch.no_grad():
        batch = distilled.parameterization.decode()
        images = space.transform(batch.images) if distilled.coordinates == "rgb" else batch.images
    size = min(len(images), _LARGEST_BATCH)
    steps = max(_LEAST_STEPS, min(_MOST_STEPS, _PRESENTED // size))
    recipe = TrainRecipe(optimizer="adam", lr=1e-3, steps=steps, batch_size=size, loss=distilled.recipe.loss)
    students = train_students(network, Batch(images, batch.labels), recipe, [StudentStreams(("trial", spec.name))], [steps])
    predicted = predict(network, students[steps], space.transform(val.unit_images()))[0]
    return float((predicted == val.labels).float().mean())


def trains(accuracy: float, classes: int) -> bool:
    """Tell whether an accuracy is one of learning."""
    # One of two guesses is right as often: any set of images that teaches anything exceeds it.
    return accuracy >= 1.0 - (1.0 - 1.0 / classes) ** 2


def _val_of(real: RealPixels) -> Split:
    """Return validation images of split ``dev``, evenly spread. Released sets have seen them: this finds a reading and ranks nothing."""
    dataset = real.dataset if real.dataset.val is not None else carve_val(real.dataset)
    assert dataset.val is not None  # carved
    count = len(dataset.val)
    return dataset.val.take(torch.arange(0, count, max(1, count // _VAL_IMAGES))[:_VAL_IMAGES])
