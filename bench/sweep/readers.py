"""Reads what a run is asked to do: defaults < ``--config`` file < flags, all checked by the same rules. Free of torch."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..brackets import bounded, parse_requests, read_value, split_assignment, split_list
from ..budget import BudgetRequest
from ..errors import BenchError, cut, did_you_mean, shorten, unknown_name
from ..paths import read_absolute_path, read_path
from ..yaml_text import read_yaml_file
from .settings import Overrides, RunSettings

DEFAULTS = Path(__file__).parent.parent / "defaults.yaml"
RERUN = ("failed", "timeout", "oom", "rejected", "interrupted", "stale")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,20})?)([smh]?)", re.ASCII)
_NETWORK = re.compile(r"[a-z][a-z0-9_.]*(-[a-z0-9_.]+)*", re.ASCII)
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 365 * 24 * 3600.0
_MOST_JOBS = 1024


def texts(value: Any, what: str) -> tuple[str, ...]:
    """Read a comma-separated text or a YAML list; repetitions are dropped."""
    if isinstance(value, (list, tuple)):
        items = tuple(str(item) for item in value)
        if not items:
            raise BenchError(f"{what} is an empty list; name at least one")
    else:
        items = split_list(str(value), what)
    return tuple(dict.fromkeys(items))


def datasets(value: Any, what: str) -> tuple[str, ...]:
    """Read data sets; a grid of parameters in brackets becomes one for each of its points."""
    return tuple(name for item in texts(value, what) for name in _points(item))


def _points(item: str) -> tuple[str, ...]:
    return tuple(request.label for request in parse_requests((item,), "data set")) if "[" in item else (item,)


def budgets(value: Any, what: str) -> tuple[str, ...]:
    """Read budgets, e.g. ``0.3,1,9180px``, into their normal forms."""
    return tuple(dict.fromkeys(BudgetRequest.parse(item).text for item in texts(value, what)))


def seeds(value: Any, what: str) -> tuple[int, ...]:
    """Read seeds: ``3`` is a count (0, 1, 2), ``3,`` is the seed 3, ``0,2`` is a list."""
    if isinstance(value, (list, tuple)):
        return tuple(dict.fromkeys(whole(item, what) for item in value)) or _no_seeds(what)
    text = str(value).strip()
    if "," not in text:
        count = whole(text, what, low=1)
        bounded(count, what)
        return tuple(range(count))
    items = text.removesuffix(",").split(",")
    return tuple(dict.fromkeys(whole(item, what) for item in items))


def _no_seeds(what: str) -> tuple[int, ...]:
    raise BenchError(f"{what} is an empty list; give a count such as 3")


def whole(value: Any, what: str, low: int = 0, high: int = 10**9) -> int:
    """Read a whole number from ``low`` to ``high``."""
    text = str(value).strip()
    if not re.fullmatch(r"[+-]?\d{1,10}", text) or not low <= int(text) <= high:
        raise BenchError(f"{what} needs a whole number from {low} to {high}, found {shorten(text)}")
    return int(text)


def positive_whole(value: Any, what: str) -> int:
    """Read a whole number of at least 1."""
    return whole(value, what, low=1)


def jobs(value: Any, what: str) -> int:
    """Read how many cells run at a time."""
    return whole(value, what, low=1, high=_MOST_JOBS)


def effort(value: Any, what: str) -> float:
    """Read the fraction of outer steps to take."""
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 < number <= 100:
        raise BenchError(f"{what} needs a number above 0 (1 is the full recipe, at most 100), found {shorten(str(value))}")
    return number


def duration(value: Any, what: str) -> float:
    """Read seconds, e.g. ``90``, ``30m`` or ``2h``."""
    match = _DURATION.fullmatch(str(value).strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        raise BenchError(f"{what} needs a time above 0 such as 90 (seconds), 30m or 2h, at most a year, found {shorten(str(value))}")
    return seconds


def word(value: Any, what: str) -> str:
    """Read one word; whether it exists is checked later, where the names are known."""
    text = str(value).strip()
    if not text:
        raise BenchError(f"{what} is empty")
    return text


def network(value: Any, what: str) -> str:
    """Read the name of a student network; whether a data set's images are large enough for it is found out while planning."""
    text = word(value, what)
    if not _NETWORK.fullmatch(text):
        raise BenchError(f"{what} needs the name of a network such as convnet-d3-w128, found {shorten(text)}")
    return text


def one_of(*options: str) -> Callable[[Any, str], str]:
    """Return a reader of one of ``options``."""

    def read(value: Any, what: str) -> str:
        if value not in options:
            raise unknown_name(what.lstrip("-"), str(value), options)
        return str(value)

    return read


def statuses(value: Any, what: str) -> tuple[str, ...]:
    """Read the list of ``--rerun``."""
    return tuple(one_of(*RERUN)(item, what) for item in texts(value, what))


def truth(value: Any, what: str) -> bool:
    """Read a switch of a config file."""
    if not isinstance(value, bool):
        raise BenchError(f"{what} must be true or false, found {shorten(value)}")
    return value


def overrides(value: Any, what: str) -> Overrides:
    """Read ``set`` of a config file: method -> field -> value."""
    if not isinstance(value, dict) or not all(isinstance(inner, dict) for inner in value.values()):
        raise BenchError(f"{what} must be a mapping of methods to fields, like {{method: {{field: 20}}}}")
    return {str(method): {str(key): item for key, item in inner.items()} for method, inner in value.items()}


def parse_set(assignments: list[str]) -> Overrides:
    """Read the ``--set method.field=value`` flags; a later one wins.

    Raises:
        BenchError: one is not of that form.
    """
    found: Overrides = {}
    for assignment in assignments:
        target, text = split_assignment(assignment, "--set")
        method, dot, name = target.partition(".")
        if not (method and dot and name):
            raise BenchError(f"--set {shorten(assignment)} names no field; write it like method.field=20")
        found.setdefault(method, {})[name] = read_value(text, cut(f"--set {assignment}"))
    return found


def plugin_paths(value: Any, what: str) -> tuple[str, ...]:
    """Read plugin files as absolute paths, so that a config works from every folder."""
    return tuple(str(read_absolute_path(item, what)) for item in texts(value, what))


def folder(value: Any, what: str) -> str:
    """Read a folder as an absolute path."""
    return str(read_absolute_path(value, what))


#: Flags that a config file may also have, by their name without dashes, and how their values are read.
READERS: dict[str, Callable[[Any, str], Any]] = {
    "methods": texts,
    "datasets": datasets,
    "budgets": budgets,
    "seeds": seeds,
    "students": positive_whole,
    "protocol": word,
    "split": one_of("dev", "paper"),
    "effort": effort,
    "device": one_of("cpu", "cuda", "auto"),
    "jobs": jobs,
    "timeout": duration,
    "set": overrides,
    "plugin": plugin_paths,
    "data-root": folder,
    "offline": truth,
    "no-reference": truth,
    "network": network,
    "curve": one_of("auto", "on", "off"),
    "keep-on-timeout": truth,
}


def read_config(file: Path) -> dict[str, Any]:
    """Read a config file into checked values by flag name.

    Raises:
        BenchError: it cannot be read, is not a mapping, or has an unknown key or a bad value.
    """
    raw = read_yaml_file(file, "config file") or {}
    if not isinstance(raw, dict):
        raise BenchError(f"config file '{file}' must be a mapping of flags to values, found {type(raw).__name__}")
    checked = {}
    for key, value in raw.items():
        if key not in READERS:
            known = f"{did_you_mean(str(key), READERS)} (known: {', '.join(READERS)})"
            raise BenchError(f"config file '{file}' has the unknown key {shorten(str(key))}{known}")
        if value is not None:
            checked[str(key)] = READERS[key](value, f"{key} in '{file}'")
    return checked


def merge(flags: Mapping[str, Any], config: Path | None) -> RunSettings:
    """Lay the defaults, the config file and the flags on top of each other.

    Args:
        flags: checked values of the flags that were given, by flag name.
        config: a config file, or ``None``.
    """
    layers = [read_config(DEFAULTS), read_config(config) if config else {}, dict(flags)]
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if key == "set":
                value = _stack(merged.get("set", {}), value)
            merged[key.replace("-", "_")] = value
    return RunSettings(**merged)


def from_keywords(config: Path | str | None = None, **given: Any) -> RunSettings:
    """Return settings as the command line would read them: defaults < ``config`` < ``given``.

    Args:
        config: a YAML file such as the ``run.yaml`` of an earlier run.
        given: flags by their names with underscores; ``None`` counts as not given.

    Raises:
        BenchError: an unknown name or a bad value.
    """
    checked = {}
    for name, value in given.items():
        flag = name.replace("_", "-")
        if flag not in READERS:
            known = [reader.replace("-", "_") for reader in READERS]
            raise BenchError(f"unknown setting '{name}'{did_you_mean(name, known)} (known: {', '.join(known)})")
        if value is not None:
            checked[flag] = READERS[flag](value, name)
    return merge(checked, read_path(config, "config") if config else None)


def _stack(below: Overrides, above: Overrides) -> Overrides:
    return {method: {**below.get(method, {}), **above.get(method, {})} for method in {**below, **above}}


def default_out() -> Path:
    """Return ``$DDBENCH_OUT`` or ``results`` under the current folder."""
    named = os.environ.get("DDBENCH_OUT")
    return read_path(named, "$DDBENCH_OUT") if named else read_path("results", "the default of --out")
