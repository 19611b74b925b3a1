"""The flags and the words of ``export``: a cell's set as files that other people's code reads. Free of torch until a cell is found."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BenchError, did_you_mean
from ..record import Record, mean
from ..sweep.store import Store
from .earlier_runs import data_root_of, earlier_runs
from .flags import import_plugins, path_of

if TYPE_CHECKING:
    from ..distilled import DistilledSet
    from ..foreign.export import Pixels

FORMATS = {
    "pt": "torch.save of a dict of plain tensors",
    "npz": "numpy.savez of plain arrays",
    "images": "a folder of PNG files for each class",
    "ddranking": "images.pt and labels.pt, as DD-Ranking takes them",
}


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """Add the cell, the format and the folder."""
    parser.add_argument("cell", metavar="CELL", help="the first digits of a cell's key, as --dry-run shows them")
    said = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    parser.add_argument("--format", metavar="F", required=True, type=_format, help=said)
    parser.add_argument(
        "--to",
        metavar="DIR",
        type=path_of("--to"),
        default=None,
        help="a new folder (default: exports/ in the out folder)",
    )


def _format(text: str) -> str:
    if text not in FORMATS:
        raise BenchError(f"unknown format '{text}'{did_you_mean(text, FORMATS)} (known: {', '.join(FORMATS)})")
    return text


def exported(parsed: argparse.Namespace, out: Path, program: str) -> Iterator[str]:
    """Write the set of a cell and yield what was written, and how it is read again.

    Raises:
        BenchError: the cell has no set, or the format cannot hold it.
        OSError: it cannot be written.
    """
    store = Store(out)
    record = store.find(parsed.cell)
    if not record.distil_key or store.set_info(record.distil_key) is None:
        what = "full data" if record.cell.kind == "full_data" else f"status {record.status}"
        raise BenchError(f"cell {record.key[:12]} has no distilled set in {store.out} ({what}); name a cell that has one, or run it again")
    from ..data import default_data_root
    from ..foreign.export import export_set
    from ..judge.decoding import decode_closed
    from ..library import load_set

    import_plugins(parsed)
    given = parsed.data_root or data_root_of(record.cell.dataset, earlier_runs(store))
    root = Path(given) if given else default_data_root()
    distilled = load_set(store.set_folder(record.distil_key), root)
    pixels = _pixels(distilled, record, root, store) if _needs_pixels(distilled, parsed.format) else None
    folder = parsed.to or store.out / "exports" / f"{record.key[:12]}-{parsed.format}"
    batch = decode_closed(distilled.parameterization)
    written = export_set(distilled, batch, parsed.format, folder, _provenance(record), pixels)
    files = written.files
    yield from (f"wrote {file}" for file in files) if parsed.format != "images" else (f"wrote {len(files)} files into {folder}",)
    if written.read_again:
        options = [part for name, value in written.read_again.items() for part in (f"--{name}", value)]
        words = ["import", str(files[0]), *options, "--name", f"{record.cell.method}_{record.key[:8]}"]
        yield f"read it again: {program} {shlex.join(words)}"


def _needs_pixels(distilled: DistilledSet, form: str) -> bool:
    return (form == "images" and distilled.coordinates == "space") or (form == "ddranking" and distilled.coordinates == "rgb")


def _pixels(distilled: DistilledSet, record: Record, root: Path, store: Store) -> Pixels:
    """Fit the set's pixel space on the training images of its split."""
    import torch

    from ..data import DataOptions
    from ..foreign.export import Pixels
    from ..loading import load_dataset
    from ..nn.spaces import shared_space

    dataset = load_dataset(record.cell.dataset, record.cell.split, DataOptions(root, download=False))  # type: ignore[arg-type]
    space = shared_space(distilled.space, dataset, store.prerequisites)
    some = dataset.train.unit_images(torch.arange(min(8, len(dataset.train))))
    back = space.inverse(space.transform(some))
    return Pixels(space.inverse, space.transform, keeps_scale=bool((back - some).abs().max() < 1e-2))


def _provenance(record: Record) -> dict[str, Any]:
    cell = record.cell
    said: dict[str, Any] = {
        "cell": record.key,
        "set": record.distil_key,
        "method": cell.label,
        "dataset": cell.dataset,
        "data_hash": cell.data_hash,
        "split": cell.split,
        "budget": dict(cell.budget),
        "seed": cell.seed,
        "made": record.started,
    }
    if record.scores:
        protocol = {name: cell.protocol.get(name) for name in ("name", "hash", "students")}
        said["judged"] = {"protocol": protocol, "test_accuracy": mean(record.scores["final"]["test"])}
    return said
