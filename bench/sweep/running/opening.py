"""What every stage of a cell begins with: the plugins, the data set that was planned, its budget and the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from ...budget import Budget, BudgetRequest
from ...data import DataOptions, Dataset, SplitName
from ...errors import BenchError
from ...judge.protocol import Protocol
from ...loading import load_dataset
from ...record import Cell
from ...registry import discover
from ..store import Store
from .stage import Payload


@dataclass(frozen=True)
class Opened:
    """A cell with what it is run on.

    Attributes:
        cell: what is run.
        dataset: its data set under its split.
        options: where that came from.
        store: the out folder.
        protocol: how it is judged.
        device: where to compute.
    """

    cell: Cell
    dataset: Dataset
    options: DataOptions
    store: Store
    protocol: Protocol
    device: torch.device

    @property
    def budget(self) -> Budget:
        """The pixels granted; the full-data line has no budget."""
        spec = self.dataset.spec
        return BudgetRequest.parse(self.cell.budget["requested"]).resolve(spec.classes, spec.height, spec.width)


def open_cell(payload: Payload) -> Opened:
    """Import the plugins, open the data set of a cell and take its device.

    Raises:
        BenchError: the data set is no longer the one that was planned, or the protocol another one.
        ValueError: the payload holds no cell.
    """
    cell = payload.cell
    if cell is None:
        raise ValueError(f"the payload of {payload.key} holds no cell")
    dataset, options = open_dataset(payload, cell.dataset, cell.split, cell.data_hash)
    protocol = Protocol.from_json(cell.protocol)
    return Opened(cell, dataset, options, Store(Path(payload.out)), protocol, take_device(payload.device))


def open_dataset(payload: Payload, name: str, split: str, data_hash: str) -> tuple[Dataset, DataOptions]:
    """Import the plugins and open a data set, which must be the one that was planned.

    Raises:
        BenchError: its files changed since.
    """
    discover(payload.plugins)
    options = DataOptions(Path(payload.data), download=False)
    dataset = load_dataset(payload.asked or name, cast(SplitName, split), options)
    if dataset.fingerprint() != data_hash:
        raise BenchError(f"the files of data set '{name}' changed after the run was planned; start it again")
    return dataset, options


def take_device(name: str) -> torch.device:
    """Return a device, and make it the one that PyTorch takes where none is named."""
    device = torch.device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def device_name(device: torch.device) -> str:
    """Return what a record says of a device."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
