"""A random search over what a method and its parts declare, with the same means for all of them.

Every trial is a cell that distils and is scored on val; the judge, and with it the test split, has no part in it. The
first trial is what stands in the recipe already, at the number of outer steps that all trials have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..brackets import Request, parse_one
from ..errors import BenchError
from ..files import lock
from ..method import Method
from ..recipes import check_fields, load_rules, recipe_path
from ..registry import METHODS, require
from ..sweep import run
from ..sweep.listener import SweepListener
from ..sweep.planning.estimate import Estimator
from ..sweep.planning.plan import Plan
from ..sweep.running.executor import Executor, Job
from ..sweep.running.stage import Outcome
from ..sweep.settings import RunSettings
from ..sweep.store import Store
from .candidates import Candidate, plan_trials
from .rule import append_rule, best_of, rule_text
from .settings import TuningSettings
from .trials import TuningTrial, read_trials, write_trials


@dataclass(frozen=True)
class Tuned:
    """What a tuning came to.

    Attributes:
        trials: those of this call, in the order they were drawn.
        best: the one that did best, or ``None`` if all failed.
        rule: its rule as text; empty without one.
        files: what was written.
        finished: whether the run came to its end.
    """

    trials: tuple[TuningTrial, ...]
    best: TuningTrial | None
    rule: str = ""
    files: tuple[Path, ...] = ()
    finished: bool = True


def tune(
    settings: RunSettings,
    tuning: TuningSettings,
    out: Path,
    listener: SweepListener | None = None,
    executor: Executor | None = None,
) -> Tuned:
    """Try settings on val, keep every trial, and write the one that did best as a rule.

    What was tried before with the same code, data and means is not tried again, so an interrupted tuning goes on.

    Args:
        settings: one method, one data set, one budget; seeds, students, protocol and network as in a run.
        tuning: how many settings, and how long each.
        out: folder in which sets are made.
        listener: told how it goes.
        executor: runs the jobs; by default a pool on this machine as ``settings`` say.

    Raises:
        BenchError: the input is wrong, the method declares nothing to search, or refuses whatever is tried.
        OSError: nothing can be written.
    """
    request = _only(settings)
    settings = replace(settings, methods=(request.label,), no_reference=True, curve="off")
    method = require(METHODS, request.name)
    check_fields(method, request.fields, f"method '{request.label}'")
    file = (tuning.into / recipe_path(method).name) if tuning.into else recipe_path(method)
    ledger = _Ledger(file.with_suffix(".trials.jsonl"))
    store = Store(out)
    store.prepare()
    candidates = plan_trials(settings, request, method, tuning, store)
    before = ledger.known()
    wanted = [candidate for candidate in candidates if not _made_by_the_code_of_today(candidate.trial, before)]
    finished = _run(wanted, settings, store, ledger, listener or SweepListener(), executor)
    done = ledger.known()
    trials = tuple(done[candidate.keys] for candidate in candidates if candidate.keys in done)
    if not finished or not any(trial.val for trial in trials):
        return Tuned(trials, None, "", (ledger.file,) if trials else (), finished)
    best = trials[best_of([trial.score for trial in trials])]
    tried = sum(_about(trial) == _about(best) for trial in done.values())
    rule = _rule(best, trials[0], tried, request, method, tuning)
    with lock(file.with_name(f".{file.name}.lock")):
        append_rule(file, rule, f"Hyper-parameters of {method.name}. Rules are read in order; all that match are stacked, later ones win.")
    if tuning.into is None:
        load_rules(method)  # what was written must be read again
    return Tuned(trials, best, rule, (ledger.file, file))


@dataclass
class _Ledger:
    """The file of trials; written after every trial, so that nothing is lost.

    Attributes:
        file: JSON lines.
    """

    file: Path

    def known(self) -> dict[tuple[str, ...], TuningTrial]:
        """Return all trials that need not be tried again: those that an end from outside did not cut short."""
        return {trial.keys: trial for trial in read_trials(self.file) if trial.status != "interrupted"}

    def add(self, trial: TuningTrial) -> None:
        """Write one more, in the place of an earlier one of the same keys."""
        with lock(self.file.with_name(f".{self.file.name}.lock")):
            others = [other for other in read_trials(self.file) if other.keys != trial.keys]
            write_trials(self.file, [*others, trial])


def _made_by_the_code_of_today(trial: TuningTrial, known: Mapping[tuple[str, ...], TuningTrial]) -> bool:
    made = known.get(trial.keys)
    return made is not None and made.code_hash == trial.code_hash


def _only(settings: RunSettings) -> Request:
    """Return the one method of a tuning.

    Raises:
        BenchError: there are several methods, data sets or budgets, or no validation images.
    """
    for what, values in (("method", settings.methods), ("data set", settings.datasets), ("budget", settings.budgets)):
        if len(values) != 1:
            raise BenchError(f"tune takes one {what}, found {len(values)} ({', '.join(values)}); give one command for each")
    if settings.split != "dev":
        raise BenchError(f"tune scores on validation images, and split {settings.split} has none; leave --split out")
    if settings.set:
        raise BenchError("tune takes what is not searched in brackets, method[field=value], and no --set")
    return parse_one(settings.methods[0], "method")


def _run(
    candidates: Sequence[Candidate],
    settings: RunSettings,
    store: Store,
    ledger: _Ledger,
    listener: SweepListener,
    executor: Executor | None,
) -> bool:
    """Run all trials; tell whether they came to their end."""
    if not candidates:
        return True
    devices = run.devices_for(settings.device)
    slots = settings.jobs or run.default_jobs(devices)
    cells = {planned.key: planned for candidate in candidates for planned in candidate.cells}
    for planned in cells.values():
        made = store.set_info(planned.distil_key)
        planned.redistil = made is not None and made.get("code_hash") != planned.cell.code_hash
    first = candidates[0].plan
    plan = Plan(list(cells.values()), first.datasets, first.protocol, first.options, asked=first.asked)
    estimator = Estimator(plan, [], store, devices[0])
    estimates = {key: estimator(planned) for key, planned in cells.items()}
    listener.planned(plan, estimates, slots)
    environment = run.make_environment(settings, devices[0])
    jobs = [_to_val(job) for job in run.make_jobs(plan, store, settings, environment, estimates)]
    keeper = _Keeper(candidates, ledger, listener)
    finished = run.run_jobs(jobs, keeper, executor or run.make_pool(slots, settings.timeout, devices))  # type: ignore[arg-type]
    listener.executed([])
    return finished


def _to_val(job: Job) -> Job:
    """Return a job that scores on val where it would have been judged."""
    return replace(job, stages=tuple("validate" if stage == "judge" else stage for stage in job.stages))


class _Keeper:
    """Listens to the executor and keeps a trial once all its cells have ended."""

    def __init__(self, candidates: Sequence[Candidate], ledger: _Ledger, progress: SweepListener) -> None:
        """Wait for all cells of all candidates."""
        self.ledger, self.progress = ledger, progress
        self._of = {key: candidate for candidate in candidates for key in candidate.keys}
        self._ended: dict[str, Outcome] = {}
        self.stage_started, self.progressed, self.repeated = progress.stage_started, progress.progressed, progress.repeated

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Note how a cell ended, and write its trial if it was the last of it."""
        if job.key in self._of:
            self._ended[job.key] = outcome
            candidate = self._of[job.key]
            ended = [self._ended[key] for key in candidate.keys if key in self._ended]
            if len(ended) == len(candidate.keys):
                self.ledger.add(_with_ends(candidate.trial, ended))
        self.progress.finished(job, outcome)


def _with_ends(trial: TuningTrial, ended: Sequence[Outcome]) -> TuningTrial:
    """Return a trial with what came of its cells; it is as good as the worst of them."""
    seconds = round(sum(sum(outcome.seconds.values()) for outcome in ended), 3)
    bad = [outcome for outcome in ended if outcome.status != "ok" or outcome.accuracy is None]
    if bad:
        return replace(trial, status=bad[0].status, reason=bad[0].reason, seconds=seconds)
    return replace(trial, status="ok", val=tuple(outcome.accuracy or 0.0 for outcome in ended), seconds=seconds)


def _rule(best: TuningTrial, stood: TuningTrial, tried: int, request: Request, method: type[Method], tuning: TuningSettings) -> str:
    """Return the rule of the best trial: for what it holds, what it sets, and how it was found."""
    parts = {axis: best.parts[axis] for axis in method.axes if axis in request.fields and axis in best.parts}
    fixed = {name: value for name, value in request.fields.items() if name not in method.axes}
    seeds = f"{len(best.seeds)} seed{'s' if len(best.seeds) > 1 else ''}"
    source = (
        f"tuned on val by a random search (tune {best.method} --dataset {best.dataset} --budget {best.budget} --trials {tuning.trials} "
        f"--steps {tuning.steps} --draw {tuning.draw}; {seeds} of {best.students} students): {100 * best.score:.1f} %, "
        f"where {100 * stood.score:.1f} % stood"
    )
    return rule_text({"dataset": best.dataset, "ipc": _as_typed(best.ipc), **parts}, {**fixed, **best.fields}, source, tried)


def _as_typed(number: float) -> float | int:
    """Return a whole number without its point."""
    return int(number) if number == int(number) else number


def _about(trial: TuningTrial) -> tuple[str, str, str]:
    return trial.dataset, trial.budget, trial.method
