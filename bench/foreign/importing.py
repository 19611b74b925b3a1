"""The commands ``inspect`` and ``import`` without their words: what is opened, read, tried and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..budget import least_pixels
from ..data import DataOptions, NotThere, Spec
from ..distilled import DistilledSet
from ..errors import BenchError, RejectedSet
from ..files import checksum
from ..imported_set import ORIGIN
from ..loading import find_dataset, load_dataset
from ..manifest import MANIFEST, TENSORS, read_manifest
from ..prerequisite_store import PrerequisiteStore
from .keeping import Kept, check_name, keep_set
from .opening import Release, open_release
from .options import Options
from .probing import trains, try_set
from .reading import Reading, read_release
from .real_pixels import RealPixels


@dataclass(frozen=True)
class OpenedRelease:
    """A release beside its data set.

    Attributes:
        release: the files.
        reading: what they are.
        real: images of the data set; ``None`` where it is not there.
    """

    release: Release
    reading: Reading
    real: RealPixels | None


def open_beside(paths: Sequence[Path], dataset: str, options: Options, data: DataOptions, prerequisites: Path | None) -> OpenedRelease:
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
    real = real_pixels(dataset, data, prerequisites)
    return OpenedRelease(release, read_release(release, spec, options, real), real)


def own_set(path: Path, dataset: str, data: DataOptions) -> DistilledSet | None:
    """Return the set of this suite in a folder, whoever wrote it, with its origin in the notes; ``None`` if the folder is none.

    Args:
        path: the folder.
        dataset: name of its data set; empty leaves that to the set.
        data: where data sets are.

    Raises:
        BenchError: it is one, and cannot be used.
    """
    if not (path / MANIFEST).is_file() or not (path / TENSORS).is_file():
        return None
    try:
        found = DistilledSet.load(path, find_dataset(dataset or read_manifest(path)["dataset"], data.root).spec)
        files = [{"name": f"{path.name}/{name}", **checksum(path / name)} for name in (TENSORS, MANIFEST)]
    except (RejectedSet, OSError) as error:
        raise BenchError(f"the set in {path} cannot be used: {error}") from error
    return replace(found, notes={**found.notes, ORIGIN: {"files": files, "options": {}}})


def real_pixels(dataset: str, data: DataOptions, prerequisites: Path | None) -> RealPixels | None:
    """Open the images of a data set, or return ``None`` where they are not there; nothing is downloaded for this."""
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


def bring_in(distilled: DistilledSet, real: RealPixels | None, name: str, store: PrerequisiteStore) -> Brought:
    """Try a set, and keep it under a name.

    A set that is read in a wrong space or a wrong order can be judged for an hour before anybody sees it; one student that trains
    for a minute shows it at once.

    Args:
        distilled: the set.
        real: images of its data set, on which it is tried; ``None`` leaves the trial out.
        name: what to call it.
        store: prerequisites of the out folder.

    Raises:
        BenchError: the name cannot be used.
        OSError: it cannot be written.
    """
    check_name(name)
    accuracy, learns = None, True
    if real is not None:
        accuracy = try_set(distilled, real)
        learns = trains(accuracy, distilled.spec.classes)
        said = f"when it was imported, {trial_sentence(accuracy, distilled.spec)}"
        origin = {**distilled.notes[ORIGIN], "trial": said}
        distilled = replace(distilled, notes={**distilled.notes, ORIGIN: origin})
    return Brought(distilled, keep_set(distilled, name, store), accuracy, learns)


def trial_sentence(accuracy: float, spec: Spec) -> str:
    """Return what a trial showed."""
    learned = "" if trains(accuracy, spec.classes) else ", no better than guessing twice: it is probably read in a wrong way"
    return f"a trial of one student reached {100 * accuracy:.1f} % on val (chance is {100 / spec.classes:.3g} %){learned}"


def budget_text(distilled: DistilledSet) -> str:
    """Return the smallest budget that a set fits into, as it is typed."""
    spec, stored = distilled.spec, distilled.parameterization
    labels = sum(tensor.numel() for name, tensor in stored.state_dict().items() if stored.roles[name] == "label")
    pixels = least_pixels(stored.pixels * spec.channels, labels, spec.shape, spec.classes)
    ipc, rest = divmod(pixels, spec.classes * spec.height * spec.width)
    return f"{pixels}px" if rest else str(ipc)
