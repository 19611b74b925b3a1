"""How long a plan will take: from earlier records where there are any, else from counted arithmetic."""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch

from ...data import Batch, Dataset, Spec
from ...judge.evaluate import network_name
from ...judge.protocol import Protocol
from ...nn.convnet.training import compiled_net
from ...nn.networks import build_network, default_network, ensemble_mode, flops_per_image, forward, initial_parameters
from ...nn.training import soft_cross_entropy
from ...record import Record
from ...seeding import stream
from ..store import Store
from .plan import Plan, PlannedCell

Source = Literal["records", "arithmetic", "unknown"]

_PROBE_SECONDS = 0.3
_PROBE_CHUNKS = 6  # of which the fastest counts, since others may use the machine at the same time
_PROBE_BATCH = 32
_START_SECONDS = 2.0  # a process that opens the data and loads the network's kernels
_SELECTION_SECONDS = 2.0  # a method without outer steps mostly starts its process and reads the data
#: How far a cell's time may be from its estimate, as factors. Records are of this machine, under whatever load it had;
#: counted arithmetic knows nothing of memory, small batches and several jobs that share caches (docs/findings.md).
_SPREAD = {"records": (0.75, 1.5), "arithmetic": (0.5, 3.0), "unknown": (1.0, 1.0)}


@dataclass(frozen=True)
class Estimate:
    """Seconds a cell will take.

    Attributes:
        distil: seconds of its first stage, or ``None`` where nothing is known.
        judge: seconds of its second stage, or ``None``.
        source: the weaker of the two sources.
    """

    distil: float | None
    judge: float | None
    source: Source

    @property
    def seconds(self) -> float:
        """The part that is known."""
        return (self.distil or 0.0) + (self.judge or 0.0)

    @property
    def bounds(self) -> tuple[float, float]:
        """Seconds between which the known part is to be expected."""
        least, most = _SPREAD[self.source]
        return least * self.seconds, most * self.seconds


@dataclass
class Estimator:
    """Estimates the cells of one plan.

    Attributes:
        plan: the plan.
        records: all earlier records.
        store: where finished sets lie.
        device: where the cells will run; times of another device tell nothing.
    """

    plan: Plan
    records: Iterable[Record]
    store: Store
    device: str
    _rates: dict[str, float] = field(default_factory=dict)

    def __call__(self, planned: PlannedCell) -> Estimate:
        """Estimate one cell."""
        like = [r for r in self.records if r.status == "ok" and r.cell.dataset == planned.cell.dataset and self._same_device(r)]
        if planned.cell.kind == "full_data":
            return self._full_data(planned, like)
        distil, source = self._distil(planned, [r for r in like if r.cell.method == planned.cell.method])
        judge = _median(_closest([r for r in like if r.cell.protocol.get("hash") == self.plan.protocol.hash], planned), _judge_seconds)
        if judge is None:
            judge, source = self._counted_judge(planned), "arithmetic"
        return Estimate(distil, judge, "unknown" if distil is None else source)

    def _same_device(self, record: Record) -> bool:
        return str(record.environment.get("device", self.device)).startswith(self.device.partition(":")[0])

    def _distil(self, planned: PlannedCell, like: list[Record]) -> tuple[float | None, Source]:
        if not planned.redistil and self.store.set_info(planned.distil_key) is not None:
            return 0.0, "records"
        steps = planned.cell.outer_steps
        closest = _closest([r for r in like if "seconds" in r.distil], planned)
        if closest and steps:
            # The longest of the records says most about the cost of a step, the least about starting up.
            longest = max(closest, key=lambda r: r.cell.outer_steps)
            return longest.distil["seconds"] * steps / max(1, longest.cell.outer_steps), "records"
        if closest:
            return _median(closest, lambda r: float(r.distil["seconds"])), "records"
        return self._counted(planned), "arithmetic"

    def _counted(self, planned: PlannedCell) -> float | None:
        flops = distil_flops(planned)
        if flops is None:
            return None if planned.cell.outer_steps else _SELECTION_SECONDS
        return flops / self.rate(self.plan.datasets[planned.cell.dataset].spec)

    def _counted_judge(self, planned: PlannedCell) -> float | None:
        dataset, protocol = self.plan.datasets[planned.cell.dataset], self.plan.protocol
        presented = presented_examples(planned, dataset.spec, protocol)
        if presented is None:
            return None
        return _START_SECONDS + judge_flops(dataset, protocol, planned.cell.network, presented) / self.rate(dataset.spec)

    def _full_data(self, planned: PlannedCell, like: list[Record]) -> Estimate:
        same = [r for r in like if r.cell.kind == "full_data" and r.cell.protocol.get("hash") == self.plan.protocol.hash]
        if same:
            return Estimate(0.0, _median(same, _judge_seconds), "records")
        dataset = self.plan.datasets[planned.cell.dataset]
        return Estimate(0.0, full_data_flops(dataset, self.plan.protocol) / self.rate(dataset.spec), "arithmetic")

    def rate(self, spec: Spec) -> float:
        """Return operations per second on a data set's network, measured once."""
        if spec.name not in self._rates:
            self._rates[spec.name] = measure_flop_rate(spec, torch.device(self.device))
        return self._rates[spec.name]


def presented_examples(planned: PlannedCell, spec: Spec, protocol: Protocol) -> int | None:
    """Return how many images a student of a cell's set is shown, or ``None`` where the method does not say."""
    if protocol.common is not None:
        return protocol.common.presented_examples
    if protocol.published is not None:
        return protocol.published.presented(spec, _images(spec, planned))
    return planned.resolution.presented_examples if planned.resolution else None


def distil_flops(planned: PlannedCell) -> float | None:
    """Return the arithmetic of a cell's distillation as its method counts it, at the cell's effort; ``None`` where it does not say."""
    cell, resolution = planned.cell, planned.resolution
    if resolution is None or resolution.flops is None:
        return None
    return resolution.flops * (cell.outer_steps / max(1, resolution.outer_steps) if cell.outer_steps else 1.0)


def _images(spec: Spec, planned: PlannedCell) -> int:
    """Return about how many images a set decodes to: as many as fit whole, at least one per class."""
    return max(spec.classes, int(planned.cell.budget["pixels"]) // (spec.height * spec.width))


def _closest(records: list[Record], planned: PlannedCell) -> list[Record]:
    """Keep the records most like a cell: same method, then same hyper-parameters, then the nearest budget."""

    def unlikeness(record: Record) -> tuple[bool, bool, float]:
        cell = planned.cell
        distance = abs(record.cell.budget.get("pixels", 0) - cell.budget["pixels"])
        return record.cell.method != cell.method, record.cell.fields != cell.fields, distance

    if not records:
        return []
    best = min(unlikeness(record) for record in records)
    return [record for record in records if unlikeness(record) == best]


def _judge_seconds(record: Record) -> float:
    return float(record.seconds.get("judge", 0.0))


def _median(records: list[Record], read: Callable[[Record], float]) -> float | None:
    return statistics.median(read(record) for record in records) if records else None


def full_data_flops(dataset: Dataset, protocol: Protocol) -> float:
    """Count the arithmetic of the full-data line: forward and backward passes of all students over all epochs."""
    network = build_network(network_name(protocol, dataset.spec), dataset.spec)
    students = protocol.students if ensemble_mode(network) == "grouped" else 1
    recipe = protocol.full_data
    presented = recipe.steps(len(dataset.train)) * min(recipe.batch_size, len(dataset.train))
    return 3.0 * flops_per_image(network, dataset.spec) * presented * students


def judge_flops(dataset: Dataset, protocol: Protocol, network_name: str, presented: int) -> float:
    """Count the arithmetic of judging one set: training students twice (plain and after 8 bits), and scoring them.

    The test split is not opened for an estimate; it is taken to be a fifth of the training images.
    """
    network = build_network(network_name or default_network(dataset.spec), dataset.spec)
    val, test = len(dataset.val or ()), len(dataset.train) // 5
    training, scoring = 2 * presented, len(protocol.checkpoints) * (val + test) + test
    per_student = 3.0 * training + scoring
    trials = len(protocol.common.lr_grid) * protocol.common.lr_students if protocol.common and val else 0
    return flops_per_image(network, dataset.spec) * (protocol.students * per_student + trials * (3.0 * presented + val))


def measure_flop_rate(spec: Spec, device: torch.device) -> float:
    """Train the data set's default network on noise for a moment and return counted operations per second at their best.

    The gradient is computed as a cell computes it: by the compiled kernels where there are some, else by autograd.
    """
    name = default_network(spec)
    network = build_network(name, spec)
    generator = stream("speed probe", spec.name)
    parameters = {key: value.requires_grad_() for key, value in initial_parameters(network, generator, device).items()}
    images = torch.randn(_PROBE_BATCH, *spec.shape, generator=generator).to(device)
    labels = torch.full((_PROBE_BATCH, spec.classes), 1.0 / spec.classes, device=device)
    net = compiled_net(network, spec.shape, device)
    theta = net.pack(torch.cat([value.detach().flatten() for value in parameters.values()])) if net else None

    def one_pass() -> None:
        if net is not None and theta is not None:
            net.gradient(theta, Batch(images, labels))
        else:
            loss = soft_cross_entropy(forward(network, parameters, images), labels)
            torch.autograd.grad(loss, list(parameters.values()))[0].sum().item()

    one_pass()  # only warms up
    rates = [_passes_per_second(one_pass, _PROBE_SECONDS / _PROBE_CHUNKS) for _ in range(_PROBE_CHUNKS)]
    return 3.0 * flops_per_image(network, spec) * _PROBE_BATCH * max(rates)


def _passes_per_second(one_pass: Callable[[], None], seconds: float) -> float:
    passes, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds or not passes:
        one_pass()
        passes += 1
    return passes / spent


def packed(seconds: Iterable[float], jobs: int) -> float:
    """Return the time of a run whose cells take so many seconds: each goes to the first free job, the longest first."""
    free = [0.0] * jobs  # when each job is free again, a heap
    for cell in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + cell)
    return max(free)


def summary(estimates: Mapping[str, Estimate], jobs: int) -> str:
    """Say in one line how long the cells will take and how that is known."""
    if not estimates:
        return "estimate: nothing to run"
    values = list(estimates.values())
    known = [e for e in values if e.source != "unknown"]
    sources = [f"{sum(e.source == s for e in values)} from {what}" for s, what in _SOURCES.items() if any(e.source == s for e in values)]
    gaps = []
    if len(known) < len(values):
        gaps.append(f"{len(values) - len(known)} unknown and left out")
    if unjudged := sum(e.judge is None for e in values):
        gaps.append(f"judging of {unjudged} left out: no record tells its time yet")
    low, high = (readable(packed((estimate.bounds[end] for estimate in values), jobs)) for end in (0, 1))
    about = "time unknown" if not known else f"about {low}" if low == high else f"{low} to {high}"
    return f"estimate: {_count(len(values), 'cell')} to run, {about} with {_count(jobs, 'job')} ({', '.join(sources + gaps)})"


_SOURCES = {"records": "earlier records", "arithmetic": "counted arithmetic and a speed probe"}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def readable(seconds: float) -> str:
    """Write a time with the unit that fits it."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size or (unit == "min" and seconds >= 90):
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{seconds:.0f} s"
