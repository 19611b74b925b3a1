"""All checks of whatever a plugin file registers, one finding after another."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from ..brackets import Request
from ..data import DataOptions, Dataset
from ..errors import BenchError
from ..loading import load_dataset
from ..method import Method, Refusal
from ..registry import (
    DATASETS,
    FORMS,
    METHODS,
    OBJECTIVES,
    PARAMETERIZATIONS,
    PREREQUISITES,
    SELECTIONS,
    Registry,
    discover,
    load_plugin_file,
)
from ..sweep.readers import DEFAULTS, read_config
from .checks import BrokenContract, Check, Inapplicable
from .combinations import NOTHING
from .datasets import DATASET_CHECKS, DECLARATION_CHECKS, DatasetTrial
from .methods import METHOD_CHECKS, TRIAL_CHECKS, check_takes_or_refuses_some
from .parts import CLASS_CHECKS, PREREQUISITE_CHECKS, SELECTION_CHECKS, PartTrial
from .trials import BUDGETS, LARGE_BUDGETS, request_for, trial_of

_REGISTRIES = (METHODS, FORMS, OBJECTIVES, SELECTIONS, PREREQUISITES, PARAMETERIZATIONS, DATASETS)
_TRACE_LINES = 12

Status = Literal["ok", "refused", "FAILED"]


@dataclass(frozen=True)
class Finding:
    """What became of one check.

    Attributes:
        subject: what was checked, e.g. ``method 'mine'`` or ``mine at 0.5``.
        check: what should hold.
        status: how it went.
        sentence: what is wrong and what to do, or why it is refused.
        trace: last lines of a traceback of the author's own code.
    """

    subject: str
    check: str
    status: Status = "ok"
    sentence: str = ""
    trace: tuple[str, ...] = ()


#: Told what is checked next, so that somebody knows where a process ended.
Begun = Callable[[str, str], None]


@dataclass(frozen=True)
class Examiner:
    """Checks what one file registers.

    Attributes:
        registered: what it registers: registry and names.
        options: where data sets are.
        scratch: folder for sets and prerequisites.
        begun: told what is checked next.
    """

    registered: Mapping[Registry[Any], tuple[str, ...]]
    options: DataOptions
    scratch: Path
    begun: Begun

    def findings(self) -> Iterator[Finding]:
        """Run all checks; whatever breaks in one of them is its finding."""
        for registry, checks in CLASS_CHECKS:
            for name in self.registered.get(registry, ()):
                yield from self._each(f"{registry.kind} '{name}'", checks, registry[name])
        for name in self.registered.get(DATASETS, ()):
            yield from self._dataset(name)
        if any(registry in self.registered for registry in _REGISTRIES if registry is not DATASETS):
            dataset = load_dataset(read_config(DEFAULTS)["datasets"][0], options=self.options)
            yield from self._on(dataset)

    def _on(self, dataset: Dataset) -> Iterator[Finding]:
        for registry, checks in ((SELECTIONS, SELECTION_CHECKS), (PREREQUISITES, PREREQUISITE_CHECKS)):
            for name in self.registered.get(registry, ()):
                part = PartTrial(name, registry[name], dataset, self.scratch)
                yield from self._each(f"{registry.kind} '{name}'", checks, part)
        for name in self.registered.get(METHODS, ()):
            yield from self._each(f"method '{name}'", METHOD_CHECKS, METHODS[name])
        for request in self._requests():
            some = Check("any budget is taken or refused with a sentence", check_takes_or_refuses_some)
            yield self._tried(request.label, some, request)
            yield from self._at_budgets(request, dataset)

    def _requests(self) -> Iterator[Request]:
        """Yield the methods to try: those of the file, their reference forms, and methods of others with a part of the file."""
        for name in self.registered.get(METHODS, ()):
            for fields in ({}, *METHODS[name].reference_forms):
                yield request_for(name, fields)
        optimising, selecting = self._hosts()
        for name in self.registered.get(FORMS, ()):
            for host in (*selecting[:1], *optimising[:1]):
                yield request_for(host, {"form": name})
        for name in self.registered.get(OBJECTIVES, ()):
            for host in optimising:
                yield request_for(host, {"objective": name})
        for name in self.registered.get(SELECTIONS, ()):
            for host in selecting[:1]:
                yield request_for(host, {"init": name})

    def _hosts(self) -> tuple[list[str], list[str]]:
        """Return the products that optimise something and those that only select, a yardstick first; none of this file."""
        others = [name for name in METHODS if name not in self.registered.get(METHODS, ()) and _is_product(METHODS[name])]
        selecting = [name for name in others if METHODS[name].candidates({})[0]["objective"] == NOTHING]
        return [name for name in others if name not in selecting], sorted(selecting, key=lambda name: not METHODS[name].reference_forms)

    def _at_budgets(self, request: Request, dataset: Dataset) -> Iterator[Finding]:
        taken = False
        for budget in (*BUDGETS, *LARGE_BUDGETS):
            if budget in LARGE_BUDGETS and taken:
                return
            for finding in self._at(request, budget, dataset):
                taken |= finding.status != "refused"
                yield finding
        if not taken:
            sentence = f"it refuses every budget from {BUDGETS[0]} to {LARGE_BUDGETS[-1]}, so nothing could be checked; take at least one"
            yield Finding(request.label, "it takes some budget", "FAILED", sentence)

    def _at(self, request: Request, budget: str, dataset: Dataset) -> Iterator[Finding]:
        """Run the checks at one budget; where no set is made there is nothing else to check."""
        subject = f"{request.label} at {budget}"
        folder = self.scratch / f"{len(list(self.scratch.iterdir()))}"
        made: list[Any] = []
        planned = Check[None]("it is planned", lambda _: made.append(trial_of(request, budget, dataset, folder)))
        finding = self._tried(subject, planned, None)
        if made and isinstance(made[0], Refusal):
            yield Finding(subject, "it is planned", "refused", made[0].reason)
            return
        yield finding
        if made:
            first, *others = TRIAL_CHECKS
            finding = self._tried(subject, first, made[0])
            yield finding
            if finding.status == "ok":
                yield from self._each(subject, others, made[0])

    def _dataset(self, name: str) -> Iterator[Finding]:
        subject, trial = f"data set '{name}'", DatasetTrial(name, self.options)
        yield from self._each(subject, DECLARATION_CHECKS, trial)
        opened = self._tried(subject, Check("it opens", _open), trial)
        if opened.status == "FAILED" and not opened.trace:  # the data set's own sentence: its files are not there
            yield Finding(subject, "it opens", "refused", f"{opened.sentence} (without its files nothing else can be checked)")
            return
        yield opened
        if opened.status == "ok":
            yield from self._each(subject, DATASET_CHECKS, trial)

    def _each(self, subject: str, checks: Iterable[Check[Any]], what: Any) -> Iterator[Finding]:
        yield from (self._tried(subject, check, what) for check in checks)

    def _tried(self, subject: str, check: Check[Any], what: Any) -> Finding:
        self.begun(subject, check.name)
        try:
            check.run(what)
        except BrokenContract as error:
            return Finding(subject, check.name, "FAILED", str(error), _trace(error.__cause__))
        except Inapplicable as reason:
            return Finding(subject, check.name, "refused", str(reason))
        except BenchError as error:
            return Finding(subject, check.name, "FAILED", str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit: it ends this check only
            text = str(error).partition("\n")[0]
            return Finding(subject, check.name, "FAILED", f"it raised {type(error).__name__}: {text}; see the lines below", _trace(error))
        return Finding(subject, check.name)


def _open(trial: DatasetTrial) -> None:
    trial.dataset  # noqa: B018 - opened here, used by the checks that follow


def _is_product(kind: type[Method]) -> bool:
    return {"form", "objective"} <= set(kind.axes)


def _trace(error: BaseException | None) -> tuple[str, ...]:
    if error is None or isinstance(error, BenchError):
        return ()
    lines = "".join(traceback.format_exception(error)).splitlines()
    return tuple(lines[-_TRACE_LINES:])


def examine(file: str, options: DataOptions, scratch: Path, begun: Begun) -> Iterator[Finding]:
    """Import a plugin file and run the contract over whatever it registers.

    Args:
        file: its path.
        options: where data sets are.
        scratch: an empty folder.
        begun: told what is checked next.

    Raises:
        BenchError: it is not there, does not import, or registers nothing.
    """
    discover()
    registered = _registered_by(file)
    if not registered:
        raise BenchError(f"plugin file '{file}' registers nothing; put a decorator such as @METHODS.register(\"name\") on what it offers")
    yield from Examiner(registered, options, scratch, begun).findings()


def _registered_by(file: str) -> dict[Registry[Any], tuple[str, ...]]:
    """Import a file, unless it is in a plugin folder and was found there, and return what it registers."""
    path = Path(file).resolve()
    if found := {name for name, module in list(sys.modules.items()) if name.startswith("bench.") and _lies_at(module, path)}:
        return _entries(lambda registry, name: getattr(registry[name], "__module__", None) in found)
    before = {registry: set(registry) for registry in _REGISTRIES}
    load_plugin_file(file)
    return _entries(lambda registry, name: name not in before[registry])


def _lies_at(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == path


def _entries(wanted: Callable[[Registry[Any], str], bool]) -> dict[Registry[Any], tuple[str, ...]]:
    return {registry: names for registry in _REGISTRIES if (names := tuple(name for name in registry if wanted(registry, name)))}
