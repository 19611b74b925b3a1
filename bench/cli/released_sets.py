"""The flags and the words of ``inspect`` and ``import``: what files of somebody else are, and what became of them.

Free of torch until a file is opened.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BenchError
from ..paths import read_path
from ..sweep.store import Store
from .flags import import_plugins

if TYPE_CHECKING:
    from ..data import DataOptions
    from ..distilled import DistilledSet
    from ..foreign.contents import Contents
    from ..foreign.importing import OpenedRelease
    from ..foreign.options import Options
    from ..foreign.reading import Reading
    from ..foreign.real_pixels import RealPixels

#: Flag -> what it says, for everything that only people know of a released set.
_KNOWN = {
    "space": "pixel space of the stored numbers: standard, zca_kip, ..., rgb, rgb:zca_kip, normalised:cifar10, ...",
    "labels": "what the labels are: order, ids, one_hot, probabilities, weights, logits, centred; of a poster fixed, proportional, learned",
    "order": "class of every image where they go by order, of every folder, or of every area of a poster: 0-8-5-..., or identity",
    "tiles": "tiles along one side of a stored image (IDC: 2); 1 says that they are whole images",
    "patches": "patches of a poster, columns x rows, e.g. 16x6",
    "class_grid": "class areas of a poster, columns x rows, e.g. 5x2",
    "crops": "patches of a poster: bounded, or toroidal where they go on at the opposite edge",
    "flat": "order of the numbers where an image is one row: chw or hwc",
    "images": "name of the array that holds the images, where several could",
    "label_array": "name of the array that holds the labels, where several could",
    "recipe": "how students train on it under native-v1, e.g. optimizer=adam,lr=1e-3,steps=600,augmentation=flip_rotate",
    "network": "student network it was made for, e.g. convnet-d3-w128",
}


def add_release_flags(parser: argparse.ArgumentParser, required: bool) -> None:
    """Add the files, their data set, and what is known of them.

    Args:
        parser: of one of the two commands.
        required: whether the data set must be named.
    """
    parser.add_argument(
        "files", metavar="FILES", nargs="+", help="the files of one set: .pt, .npz, .npy, .h5, .msgpack, or a folder of pictures"
    )
    parser.add_argument("--dataset", metavar="NAME", required=required, default="", help="the data set it was distilled from")
    for name, text in _KNOWN.items():
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="X", default="", help=text)


def inspected(parsed: argparse.Namespace, out: Path) -> Iterator[str]:
    """Yield what the files are, with the evidence for it.

    Raises:
        BenchError: they cannot be read safely, or not as a set of the data set that was named.
    """
    from ..foreign.opening import open_release

    paths = [read_path(file, "FILES") for file in parsed.files]
    if (own := _own(parsed, paths)) is not None:
        yield _own_line(own, paths[0])
        if parsed.probe:
            yield _own_trial(own, parsed, out)
        return
    if not parsed.dataset:
        if parsed.probe:
            raise BenchError("--probe trains on the set, so it has to know the data set; name it with --dataset")
        for contents in open_release(paths).contents:
            yield from _listed(contents)
        yield "name the data set with --dataset to learn what they are"
        return
    opened = _opened(parsed, paths, out)
    yield from _told(opened)
    if parsed.probe:
        yield from _probed(opened)
    elif opened.reading.questions:
        yield "--probe trains on every plausible reading, about a minute each"


def imported(parsed: argparse.Namespace, out: Path, program: str) -> Iterator[str]:
    """Make a set of the files, keep it, and yield what was done and how it is judged.

    Raises:
        BenchError: they cannot be read, or something about them is not known.
        OSError: the set cannot be written.
    """
    from ..foreign.conversion import to_distilled_set
    from ..foreign.importing import bring_in, budget_text, real_pixels, trial_sentence
    from ..foreign.keeping import check_name
    from ..prerequisite_store import PrerequisiteStore

    check_name(parsed.name)
    store, paths = PrerequisiteStore(Store(out).prerequisites), [read_path(file, "FILES") for file in parsed.files]
    distilled = _own(parsed, paths)
    if distilled is not None:
        real = real_pixels(parsed.dataset, _data(parsed), store.folder)
        yield _own_line(distilled, paths[0])
    else:
        opened = _opened(parsed, paths, out)
        opened.reading.require_settled()
        distilled, real = to_distilled_set(opened.reading), opened.real
        yield from _told(opened)
    brought = bring_in(distilled, None if parsed.no_probe else real, parsed.name, store)
    if brought.accuracy is not None:
        yield ("" if brought.learns else "warning: ") + trial_sentence(brought.accuracy, distilled.spec)
    if brought.kept.replaced:
        yield f"the name '{parsed.name}' was that of another set ({brought.kept.replaced}), which is replaced"
    yield f"wrote {brought.kept.folder}"
    words = ["--methods", f"imported[name={parsed.name}]", "--datasets", distilled.spec.name, "--budgets", budget_text(distilled)]
    words += ["--split", "paper", "--out", str(out), *(["--data-root", parsed.data_root] if parsed.data_root else [])]
    yield f"judge it: {program} {shlex.join(words)}"


def _own(parsed: argparse.Namespace, paths: list[Path]) -> DistilledSet | None:
    """Return the set of this suite that a single folder holds, of which everything is known."""
    from ..foreign.importing import own_set

    import_plugins(parsed)
    found = own_set(paths[0], parsed.dataset, _data(parsed)) if len(paths) == 1 else None
    if found is not None and (said := [f"--{name.replace('_', '-')}" for name in _KNOWN if getattr(parsed, name)]):
        raise BenchError(f"{paths[0]} is a set of this suite, which says everything itself; leave out {' and '.join(said)}")
    return found


def _own_trial(distilled: DistilledSet, parsed: argparse.Namespace, out: Path) -> str:
    from ..foreign.importing import real_pixels, trial_sentence
    from ..foreign.probing import try_set

    name = distilled.spec.name
    real = _there(real_pixels(name, _data(parsed), Store(out).prerequisites), name)
    return trial_sentence(try_set(distilled, real), distilled.spec)


def _there(real: RealPixels | None, dataset: str) -> RealPixels:
    if real is None:
        raise BenchError(f"--probe needs the images of {dataset}, which are not there; get them with --data-root")
    return real


def _own_line(distilled: DistilledSet, path: Path) -> str:
    stored, seen = distilled.parameterization, distilled.space if distilled.coordinates == "space" else f"rgb:{distilled.space}"
    holds = f"{stored.name}, {stored.pixels:,} pixels, space {seen}, labels {stored.label_kind}"
    return f"{path.name}: a set of this suite for {distilled.spec.name}: {holds}"


def _data(parsed: argparse.Namespace) -> DataOptions:
    from ..data import DataOptions, default_data_root

    return DataOptions(Path(parsed.data_root) if parsed.data_root else default_data_root(), download=False)


def _opened(parsed: argparse.Namespace, paths: list[Path], out: Path) -> OpenedRelease:
    from ..foreign.importing import open_beside

    return open_beside(paths, parsed.dataset, _options(parsed), _data(parsed), Store(out).prerequisites)


def _options(parsed: argparse.Namespace) -> Options:
    from ..foreign.options import parse_options

    return parse_options({name: getattr(parsed, name) for name in _KNOWN})


def _listed(contents: Contents) -> Iterator[str]:
    """Yield what a file holds, of which nothing else is known."""
    yield f"{contents.path.name}: {contents.kind}"
    for array in contents.arrays:
        span = f" from {array.values.min():.4g} to {array.values.max():.4g}" if array.values.size else ""
        yield f"  {array.about}{span}"
    yield from (f"  {remark}" for remark in contents.remarks)


def _told(opened: OpenedRelease) -> Iterator[str]:
    """Yield everything that is known of a set, and what is not."""
    reading = opened.reading
    for contents in opened.release.contents:
        yield f"{contents.path.name}: {contents.kind}"
    yield f"  {'stores':<8} {reading.pixels():,} pixels, {reading.ipc():.4g} images per class of {reading.spec.name}"
    yield from (f"  {topic:<8} {sentence}" for topic, sentence in reading.evidence)
    yield from (f"  {'left out':<8} {sentence}" for sentence in reading.left_out)
    yield from (f"  {'open':<8} {question.sentence()}" for question in reading.questions)
    yield from _verdict(reading)
    if opened.real is None:
        yield f"warning: the images of {reading.spec.name} are not there, so nothing is compared with them, and nothing is tried"


def _verdict(reading: Reading) -> Iterator[str]:
    yield from (f"warning: {sentence}" for sentence in reading.warnings)
    if not reading.questions:
        known = ", ".join(f"{name} {value}" for name, value in reading.options.given().items())
        yield f"  {'read as':<8} {known}"


def _probed(opened: OpenedRelease) -> Iterator[str]:
    """Yield how every plausible reading trains, and which one does."""
    from ..foreign.probing import tried

    chance = 100 / opened.reading.spec.classes
    found = []
    for trial in tried(opened.reading, _there(opened.real, opened.reading.spec.name)):
        found.append(trial)
        yield f"  {'trial':<8} {trial.differs}: {100 * trial.accuracy:.1f} % on val (chance is {chance:.3g} %)"
    best = max(found, key=lambda trial: trial.accuracy)
    if best.trains:
        yield f"it trains with {best.differs}"
    else:
        yield "none of these readings trains: an option is wrong (--space, --order, --labels), or the set has diverged"
