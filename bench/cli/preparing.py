"""``prepare DATASETS``: everything that runs need of a data set, made beforehand and without distilling anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data import DataOptions, Dataset, SplitName
from ..decoded import Decoded
from ..errors import BenchError, reason_of, unknown_name
from ..loading import find_dataset, load_dataset, prepare_dataset, settled_name
from ..nn.spaces import SPACES, default_space, needs_of_space
from ..prerequisite_store import PrerequisiteStore, ensure
from ..sweep.running.numerics import settled
from ..sweep.store import Store


def prepare(names: Sequence[str], options: DataOptions, out: Path, split: SplitName, spaces: Sequence[str] | None) -> None:
    """Download data sets, keep them decoded, and fit their pixel spaces; what is there already is left alone.

    Args:
        names: data sets as they are asked for.
        options: where they are, and who hears how far it is.
        out: folder of the results, in which the pixel spaces are kept.
        split: the split whose training images the spaces are fitted on.
        spaces: names of pixel spaces; ``None`` for that of each data set.

    Raises:
        BenchError: a name is unknown, a data set cannot be had or used, or there is no room.
    """
    for space in spaces or ():
        if space not in SPACES:
            raise unknown_name("pixel space", space, SPACES)
    for name in names:  # a slip in the last name is told before the first one is downloaded
        find_dataset(name, options.root)
    for name in names:
        asked = settled_name(name, options.root)
        for sentence in _description(prepare_dataset(asked, options), options.root):
            options.tell(sentence)
        dataset = load_dataset(asked, split, options)
        for space in (default_space(dataset.spec),) if spaces is None else spaces:
            options.tell(_fit(space, dataset, split, out))


def _description(kept: Decoded, root: Path) -> list[str]:
    dataset = kept.open()
    spec, train, test = dataset.spec, len(dataset.train) + len(dataset.val or ()), len(dataset.test())
    what = f"{spec.classes} classes, {train:,} training and {test:,} test images of {spec.channels}x{spec.height}x{spec.width}"
    origin = "official files" if dataset.official else "an unofficial copy, or a part"
    where = kept.folder.relative_to(root) if kept.folder.is_relative_to(root) else kept.folder
    return [f"{spec.name}: {what} ({origin}), decoded in {where}", *(f"  {note}" for note in dataset.notes)]


def _fit(space: str, dataset: Dataset, split: SplitName, out: Path) -> str:
    """Fit a pixel space where a cell would look for it, with the arithmetic of a cell, and say so."""
    needs = needs_of_space(space, dataset.spec)
    if not needs:
        return f"  pixel space {space}: nothing to prepare, it is fitted in a moment"
    folder = Store(out).prerequisites
    try:
        with settled():
            (built,) = (ensure(need, dataset, PrerequisiteStore(folder)) for need in needs)
    except OSError as error:
        raise BenchError(
            f"pixel space {space} of '{dataset.spec.name}' cannot be kept in {folder} ({reason_of(error)}); make room there, or choose "
            "another folder with --out"
        ) from error
    how = f"fitted on split {split} in {built.seconds:.0f} s" if built.fresh else f"fitted on split {split} before"
    return f"  pixel space {space}: {how}, in {built.path}"
