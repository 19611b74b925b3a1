"""The commands ``inspect`` and ``import`` without their words: what is opened, read, tried and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..budget import BudgetRequest
from ..data import DataOptions, NotThere, Spec
from ..distilled import DistilledSet
from ..imported_set import ORIGIN
from ..loading import find_dataset, load_dataset
from ..prerequisite_store import PrerequisiteStore
from .conversion import to_distilled_set
from .keeping import Kept, check_name, keep_set
from .opening import Release, open_release
from .options import Options
from .probing import trains, try_set
from .reading import Reading, read_release
from .real_pixels import RealPixels


@dataclass(frozen=True)
class Opened:
    """A release beside its data set.

    Attributes:
        release: the files.
        reading: what they are.
        real: images of the data set; ``None`` where it is not there.
    """

    release: Release
    reading: Reading
    real: RealPixels | None


def open_beside(paths: Sequence[Path], dataset: str, options: Options, data: DataOptions, prerequisites: Path | None) -> Opened:
    """Read files as a set of a data set, and compare them with its images where these are there.

    Args:
        paths: the files of one set.
        dataset: name of the data set.
        options: what is known of the set.
        data: where data sets are; nothing is downloaded for this.
        prerequisites: folder where a large pixel space is kept.

    Raises:
        BenchError: a name is unknown, or the files cannot be a set of this data set.
    """
    spec = find_dataset(dataset, data.root).spec
    release = open_release(paths)
    read_release(release, spec, options)  # what is wrong with the files is said before a space is fitted
    real = _real(dataset, data, prerequisites)
    return Opened(release, read_release(release, spec, options, real), real)


def _real(dataset: str, data: DataOptions, prerequisites: Path | None) -> RealPixels | None:
    try:
        return RealPixels(load_dataset(dataset, "paper", replace(data, download=False)), prerequisites)
    except NotThere:
        return None


@dataclass(frozen=True)
class Brought:
    """An imported set.

    Attributes:
        distilled: the set.
        kept: where it lies.
        accuracy: of the trial, or ``None`` without one.
        learns: whether the trial learned something; true without one.
    """

    distilled: DistilledSet
    kept: Kept
    accuracy: float | None
    learns: bool


def bring_in(opened: Opened, name: str, store: PrerequisiteStore, trial: bool = True) -> Brought:
    """Make a set of what was read, try it, and keep it under a name.

    A set that is read in a wrong space or a wrong order can be judged for an hour before anybody sees it; one student that trains
    for a minute shows it at once.

    Raises:
        BenchError: something about the set is not known, or the name cannot be used.
        OSError: it cannot be written.
    """
    check_name(name)
    distilled = to_distilled_set(opened.reading)
    accuracy, learns = None, True
    if trial and opened.real is not None:
        accuracy = try_set(distilled, opened.real)
        learns = trains(accuracy, distilled.spec.classes)
        said = trial_sentence(accuracy, distilled.spec)
        origin = {**distilled.notes[ORIGIN], "trial": said}
        distilled = replace(distilled, notes={**distilled.notes, ORIGIN: origin})
    return Brought(distilled, keep_set(distilled, name, store), accuracy, learns)


def trial_sentence(accuracy: float, spec: Spec) -> str:
    """Return what a trial showed."""
    learned = "" if trains(accuracy, spec.classes) else ", no better than guessing twice: it is probably read in a wrong way"
    return (
        f"a trial of one student reached {100 * accuracy:.1f} % on val when it was imported (chance is {100 / spec.classes:.3g} %){learned}"
    )


def budget_text(distilled: DistilledSet) -> str:
    """Return the smallest budget that the pixels of a set fit into, as it is typed."""
    spec, pixels = distilled.spec, distilled.parameterization.pixels
    ipc, rest = divmod(pixels, spec.classes * spec.height * spec.width)
    return f"{ipc}" if not rest else BudgetRequest.parse(f"{pixels}px").resolve(spec.classes, spec.height, spec.width).requested
