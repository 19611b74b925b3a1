"""The suite from Python: run a sweep, judge one set, load sets and records. The command line is a caller of these.

Free of torch until a function needs it, so that the command line answers at once.
"""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import BenchError, RejectedSet, UnwritableError
from .paths import read_path
from .record import Record
from .sweep.code_seen import code_seen, remember_code, stale_keys
from .sweep.listener import SweepListener
from .sweep.readers import default_out, from_keywords
from .sweep.running.numerics import settled
from .sweep.settings import RunSettings, config_text
from .sweep.store import Store, damage_of_set

if TYPE_CHECKING:
    import pandas

    from .data import Dataset
    from .distilled import DistilledSet
    from .judge import Judgement
    from .sweep.planning.estimate import Estimate
    from .sweep.planning.plan import Plan
    from .sweep.running.executor import Executor


@dataclass(frozen=True)
class SweepResult:
    """What a sweep left.

    Attributes:
        plan: all its cells.
        records: those of its cells that have one, by key.
        exit_code: what the command line would return: 0 if every cell is ok or refused, 3 if some is not, 130 if the
            sweep was interrupted.
        out: the folder of the results.
        finished: whether it came to its end.
        report: files of the report.

    Example:
        >>> from bench import run_sweep, settings
        >>> small = settings(methods="random", budgets=[1, 2], seeds=1, no_reference=True)
        >>> result = run_sweep(small, out="nowhere", dry_run=True)
        >>> [planned.cell.title for planned in result.plan.cells], result.records
        (['random digits 1 seed 0', 'random digits 2 seed 0'], {})
        >>> result.exit_code, result.out.name
        (0, 'nowhere')
    """

    plan: Plan
    records: dict[str, Record]
    exit_code: int
    out: Path
    finished: bool = True
    report: tuple[Path, ...] = field(default=())


def settings(config: Path | str | None = None, **given: Any) -> RunSettings:
    """Return what a sweep is to do; names and values are those of the command line's flags, and so are the defaults.

    Values may be typed as on the command line (``budgets="0.3,1"``) or be lists and numbers (``budgets=[0.3, 1]``).

    Args:
        config: a YAML file with any of them, such as the ``run.yaml`` of an earlier run.
        given: e.g. ``methods``, ``datasets``, ``budgets``, ``seeds``, ``students``, ``no_reference``; they win over
            ``config``.

    Raises:
        BenchError: an unknown name or a bad value.
    """
    return from_keywords(config, **given)


def run_sweep(
    settings: RunSettings,
    listener: SweepListener | None = None,
    out: Path | str | None = None,
    *,
    rerun: Sequence[str] = (),
    force: Sequence[str] = (),
    dry_run: bool = False,
    executor: Executor | None = None,
) -> SweepResult:
    """Plan a sweep, run what is missing in ``out``, and render the report.

    It prints nothing. Cells run in processes of their own; settings of this one (threads, rounding) are as before
    afterwards. Ctrl-C, or a notebook's stop button, ends it in order: ``finished`` is then false, and the same call goes on.

    Args:
        settings: what to run; see ``settings``.
        listener: told how it goes.
        out: folder of the results; ``$DDBENCH_OUT`` or ``results`` by default.
        rerun: statuses (or ``stale``) whose cells run again.
        force: methods whose cells run again from their distillation.
        dry_run: only plan, and write nothing.
        executor: runs the jobs; by default a pool on this machine as ``settings`` say.

    Raises:
        BenchError: the input is wrong: a name, a budget, a data set that is not there.
        UnwritableError: all cells ran, and the records of some, or the report, could not be written.
        OSError: nothing can be written into ``out``.
    """
    with settled():
        store = Store(read_path(out, "out") if out else default_out())
        return _Sweep(settings, listener or SweepListener(), store, rerun, force, dry_run).run(executor)


@dataclass
class _Sweep:
    """One call of ``run_sweep``; the fields are its arguments."""

    settings: RunSettings
    listener: SweepListener
    store: Store
    rerun: Sequence[str]
    force: Sequence[str]
    dry_run: bool
    said: list[str] = field(default_factory=list)

    def run(self, executor: Executor | None) -> SweepResult:
        """Plan, execute and report."""
        from .sweep import run
        from .sweep.planning import estimate
        from .sweep.planning.built_first import built_first

        devices = run.devices_for(self.settings.device)
        slots = self.settings.jobs or run.default_jobs(devices)
        plan, records, renamed = self._plan()
        estimator = estimate.Estimator(plan, list(records.values()), self.store, devices[0])
        estimates = {planned.key: estimator(planned) for planned in plan.pending()}
        plan.built_first = built_first(plan, self.store, estimator.rate)
        self.listener.planned(plan, estimates, slots)
        if self.dry_run:
            return self._result(plan, records, finished=True)
        self.store.keep_config(config_text(self.settings))
        remember_code(self.store, [planned.cell for planned in plan.cells])
        for record in renamed:
            self.store.write(record)
        pool: Callable[[], Executor] = lambda: executor or run.make_pool(slots, self.settings.timeout, devices)  # noqa: E731
        finished = self._execute(plan, estimates, devices[0], pool)
        records = self.store.read_all()[0]
        self.listener.executed(run.closing_lines(plan, records, self.store))
        paths, fresh = write_report(self.store, self.said)
        self._warn(fresh)
        return self._result(plan, records, finished, paths)

    def _plan(self) -> tuple[Plan, dict[str, Record], list[Record]]:
        """Return the plan, all earlier records, and those of them that got a new name."""
        from .plugin_trial import discover_tried
        from .prerequisite_store import PrerequisiteStore
        from .registry import UNAVAILABLE
        from .sweep.planning.history import attach, damaged_sets
        from .sweep.planning.planner import Planner, require_known

        discover_tried(self.settings.plugin)
        self.settings = _settled(self.settings)
        broken = [f"plugin {name} does not import: {reason}" for name, reason in sorted(UNAVAILABLE.items())]
        require_known(self.force)
        with tempfile.TemporaryDirectory() as scratch:
            shared = self.store.prerequisites
            # A dry run looks at what is there, and builds what it has to look into elsewhere.
            built = PrerequisiteStore(Path(scratch), look_first=shared) if self.dry_run else PrerequisiteStore(shared)
            planner = Planner(self.settings, built, download=not self.dry_run)
            planner.check()
            if not self.dry_run:
                self.store.prepare()
            plan = planner.plan()
        records, corrupt = self.store.read_all(set_aside=not self.dry_run)
        self._warn([*broken, *built.warnings, *corrupt, *damaged_sets(plan, self.store)])
        return plan, records, attach(plan, self.store, records, self.rerun, self.force)

    def _execute(self, plan: Plan, estimates: Mapping[str, Estimate], device: str, pool: Callable[[], Executor]) -> bool:
        """Run the pending cells; tell whether the run came to its end."""
        from .sweep import run

        environment = run.make_environment(self.settings, device)
        run.write_unrun(plan, self.store, environment)
        jobs = run.make_jobs(plan, self.store, self.settings, environment, estimates)
        self._warn(run.damaged_prerequisites(jobs, self.store))
        if not jobs:
            return True
        recorder = run.Recorder(self.store, {planned.key: planned for planned in plan.pending()}, environment, self.listener)
        finished = run.run_jobs(jobs, recorder, pool())
        recorder.check()
        return finished

    def _result(self, plan: Plan, records: Mapping[str, Record], finished: bool, report: Sequence[Path] = ()) -> SweepResult:
        from .sweep import run

        own = {planned.key: records[planned.key] for planned in plan.cells if planned.key in records}
        code = run.OK if self.dry_run else run.exit_code(plan, own) if finished else run.INTERRUPTED
        return SweepResult(plan, own, code, self.store.out, finished, tuple(report))

    def _warn(self, new: Sequence[str]) -> None:
        """Tell warnings, and keep them for the report."""
        self.said += new
        for warning in new:
            self.listener.warned(warning)


def _settled(settings: RunSettings) -> RunSettings:
    """Return the same settings with paths in the names of data sets that hold in every folder."""
    from .data import default_data_root
    from .loading import settled_name

    root = Path(settings.data_root) if settings.data_root else default_data_root()
    return replace(settings, datasets=tuple(dict.fromkeys(settled_name(name, root) for name in settings.datasets)))


def write_report(store: Store, said: Sequence[str] = ()) -> tuple[list[Path], list[str]]:
    """Render tables and plots from all records of a folder.

    Args:
        store: the folder.
        said: warnings that go into the report.

    Returns:
        The files, and warnings about records that cannot be read.

    Raises:
        UnwritableError: the report cannot be written.
    """
    from .report import render

    try:
        # Of two runners that end together, the last one renders the records of both.
        with store.claim("report"):
            records, fresh = store.read_all()
            return render(list(records.values()), store.out, [*said, *fresh], stale_keys(records, code_seen(store))), fresh
    except OSError as error:
        at = error.filename2 or error.filename  # the second one is what was to be replaced
        why = f"{error.strerror} ('{at}')" if at else error.strerror
        raise UnwritableError(
            f"the report cannot be written into '{store.out}': {why}; make room there, then give the command report"
        ) from error


def load_set(path: Path | str, data_root: Path | str | None = None) -> DistilledSet:
    """Load a distilled set, e.g. ``results/sets/<key>``; no image of a data set is read.

    Args:
        path: its folder.
        data_root: where its data set lies if that is not registered but in plain arrays; as ``--data-root``.

    Raises:
        BenchError: its data set is neither registered nor in ``data_root``.
        RejectedSet: it cannot be read, does not fit its own manifest, or is not the set that a sweep made there.
    """
    from .data import default_data_root
    from .judge.decoding import load_closed
    from .loading import find_dataset
    from .manifest import read_manifest
    from .registry import discover

    discover()
    root = read_path(data_root, "data_root") if data_root else default_data_root()
    folder = read_path(path, "path")
    _refuse_damaged(folder)
    return load_closed(folder, find_dataset(read_manifest(folder)["dataset"], root).spec)


def judge_set(
    given: DistilledSet | Path | str,
    dataset: Dataset | str,
    protocol: str = "native-v1",
    students: int | None = None,
    split: str = "dev",
    budget: str | float | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Judgement:
    """Judge one distilled set as a sweep would: count it, train fresh students on it, and score them on val and test.

    Args:
        given: the set, or its folder. Judging starts from disk, so a set is saved into a temporary folder first.
        dataset: its name, or what ``load_dataset`` returned, for data in a folder of its own.
        protocol: how to judge.
        students: fresh students; as many as the protocol says by default.
        split: ``dev`` or ``paper``, where the data set is given by name.
        budget: pixels granted, written as on the command line; by default what the set uses.
        seed: names the students' random streams, as the distillation seed does in a sweep.
        device: where students are trained.

    Raises:
        BenchError: a name is unknown, or the data set is not there.
        RejectedSet: the set breaks a rule of the audit, or is not the one that a sweep made in that folder.
    """
    from . import judge
    from .budget import BudgetRequest
    from .loading import load_dataset
    from .registry import discover
    from .sweep.readers import one_of
    from .sweep.running.opening import take_device

    discover()
    chosen = judge.get_protocol(protocol, students)
    if isinstance(dataset, str):
        dataset = load_dataset(dataset, one_of("dev", "paper")(split, "split"))  # type: ignore[arg-type]
    spec = dataset.spec
    with settled(), tempfile.TemporaryDirectory(prefix="ddbench-set-") as scratch:
        if isinstance(given, (str, Path)):
            folder = read_path(given, "given")
            _refuse_damaged(folder)
        else:
            folder = Path(scratch)
            given.save(folder)
        wanted = f"{_pixels_of(folder, dataset)}px" if budget is None else str(budget)
        granted = BudgetRequest.parse(wanted).resolve(spec.classes, spec.height, spec.width)
        return judge.judge_folder(folder, dataset, granted, chosen, seed, None, device=take_device(device))


def _refuse_damaged(folder: Path) -> None:
    """Refuse a set that has other checksums than ``distil.json`` beside it; a released set has none.

    Raises:
        RejectedSet: says which file differs.
    """
    if damage := damage_of_set(folder):
        raise RejectedSet(f"the set in {folder} is not the one that was made there ({damage}); run its sweep again, or take a whole copy")


def _pixels_of(folder: Path, dataset: Dataset) -> int:
    """Return the smallest budget that the set in ``folder`` fits into, in pixels."""
    from .budget import BudgetRequest, least_pixels
    from .judge.audit import audit
    from .judge.decoding import load_closed

    spec, distilled = dataset.spec, load_closed(folder, dataset.spec)
    room = BudgetRequest.parse(f"{10**12}px")  # enough for anything: only the numbers are wanted here
    counts = audit(distilled, room.resolve(spec.classes, spec.height, spec.width))
    numbers, labels = counts["image_numbers"] + counts["other_numbers"], counts["label_numbers"]
    return least_pixels(numbers, labels, spec.shape, spec.classes)


def load_records(folder: Path | str) -> pandas.DataFrame:
    """Return the records of a folder, one row each; what a record does not have is missing in its row.

    Accuracies are means over students, as fractions. A record that cannot be read is warned of and left out.

    Raises:
        BenchError: the folder is not there.
    """
    from .report.frame import SCORES, record_frame, score_frame

    out = read_path(folder, "folder")
    if not out.is_dir():
        raise BenchError(f"the out folder '{out}' is not there; name the folder of an earlier run")
    records, corrupt = Store(out).read_all(set_aside=False)
    for warning in corrupt:
        warnings.warn(warning, stacklevel=2)
    frame = record_frame(score_frame(records.values()))
    return frame.loc[:, [*itertools.takewhile(lambda name: name != "curve", frame), *SCORES]].reset_index(drop=True)
