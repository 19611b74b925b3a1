"""What a run is asked to do. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import yaml

from ..keys import plain

Overrides = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides which cells a run has and how they are run.

    Attributes:
        methods: selections as typed, e.g. ``podd[order=random]``.
        datasets: registered names, with parameters in brackets where a data set takes some.
        budgets: normal forms, e.g. ``0.3`` or ``9180px``.
        seeds: distillation seeds.
        students: students per set.
        protocol: name of the judge's protocol.
        split: ``dev`` or ``paper``.
        effort: fraction of outer steps.
        device: ``cpu``, ``cuda`` or ``auto``.
        jobs: cells at a time; ``None`` for one per core, or one per GPU.
        timeout: seconds a stage of a cell may take; ``None`` for any time.
        set: method -> field -> value, on top of the recipes.
        plugin: absolute paths of plugin files.
        data_root: folder of the data sets; ``None`` for the default.
        offline: never download.
        no_reference: leave out the forms of random selection and the full-data line.
        network: the student network of every row; empty for that of each set, or of the data set.
        keep_on_timeout: judge the last set that was kept of a distillation whose time ran out.
        curve: whether sets are scored on val on the way: ``on``, ``off``, or ``auto`` for where it is cheap.

    Example:
        >>> from bench import settings
        >>> wanted = settings(methods="random", budgets=[0.3, 1], seeds=2)
        >>> wanted.budgets, wanted.seeds, wanted.protocol
        (('0.3', '1'), (0, 1), 'native-v1')
    """

    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]
    students: int
    protocol: str
    split: str
    effort: float
    device: str
    jobs: int | None = None
    timeout: float | None = None
    set: Overrides = field(default_factory=dict)
    plugin: tuple[str, ...] = ()
    data_root: str | None = None
    offline: bool = False
    no_reference: bool = False
    network: str = ""
    keep_on_timeout: bool = False
    curve: str = "auto"


def config_text(settings: RunSettings) -> str:
    """Return the text of a ``run.yaml`` that re-creates the run: the same cells with the same keys."""
    values = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if value is not None and value is not False and value not in ((), {}, ""):
            values[item.name.replace("_", "-")] = plain(value)  # YAML would write a tuple with a tag
    return "# Re-create this run with: --config run.yaml\n" + yaml.safe_dump(values, sort_keys=False)
