"""The stage that distils: a method makes its set, which is saved under ``sets/<distil key>``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from ...data import SplitName
from ...distilled import DistilledSet
from ...errors import RejectedSet
from ...guard import guarded
from ...judge import Validator
from ...keys import plain
from ...method import Task
from ...nn.spaces import open_space
from ...prerequisite import Need
from ...prerequisite_store import PrerequisiteStore, opener
from ...registry import METHODS
from ..curve_steps import STUDENTS
from ..store import CHECKPOINT, Store
from .checkpoint import CheckpointFile
from .curve import OnTheWay
from .environment import peak_memory_mb
from .opening import Opened, device_name, open_cell
from .rebuild import rebuild_method
from .stage import Payload, Report

_LOG_EVERY = 10.0  # seconds between progress lines in a cell's log


def distil_stage(payload: Payload, report: Report) -> dict[str, Any]:
    """Make the distilled set of a cell, unless another runner on the same folder has made it meanwhile.

    Returns:
        ``seconds`` this stage took; 0 if the set was there.

    Raises:
        RejectedSet: the method reached for closed files, or what it returned cannot be stored.
    """
    opened = open_cell(payload)
    with opened.store.claim(payload.distil_key):
        if not payload.redistil and opened.store.set_info(payload.distil_key) is not None:
            return {"seconds": 0.0}
        return _distil(payload, opened, report)


def _distil(payload: Payload, opened: Opened, report: Report) -> dict[str, Any]:
    cell, store, started = opened.cell, opened.store, time.monotonic()
    if damage := store.set_damage(payload.distil_key):
        sys.stdout.write(f"warning: the set {payload.distil_key} is damaged ({damage}); it is made again\n")
    folder = store.make_room(payload.distil_key)
    checkpoint = CheckpointFile(folder / CHECKPOINT, cell.code_hash)
    if payload.redistil:
        checkpoint.discard()
    resume_from = checkpoint.load()
    if resume_from is None:
        store.drop_kept(payload.distil_key)  # it may be of other code
    validator, curve_validator = _validator(payload, opened), _curve_validator(payload, opened)
    on_the_way = OnTheWay(checkpoint, partial(curve_validator.accuracies, purpose="curve") if curve_validator else None, _chance(opened))
    # From here on val images are in the validator's process only.
    dataset = replace(opened.dataset, val=None)
    method = rebuild_method(METHODS[cell.method], cell.fields)
    find = opener(_needs(opened), PrerequisiteStore(store.prerequisites), cell.data_hash)
    computed: dict[str, str | float] = {}
    task = Task(
        spec=dataset.spec,
        train=dataset.train,
        budget=opened.budget,
        seed=cell.seed,
        key=payload.distil_key,
        # A form and an objective ask for the same one, and a large one is a large file.
        open_space=cache(lambda name: open_space(name, dataset.train, find)),
        plan=cell.plan,
        device=opened.device,
        effort=cell.effort,
        find=find,
        on_report=_logged(report, on_the_way),
        on_note=lambda facts: computed.update(plain(dict(facts))),  # what no record could hold is an error now, not in the end
        on_checkpoint=lambda state: checkpoint.offer(state, validator.calls if validator else 0),
        on_offer=on_the_way.offered,
        resume_from=resume_from,
        score=validator.score if validator else None,
    )

    def info(outer_steps: int) -> dict[str, Any]:
        return {
            "seconds": round(checkpoint.seconds(), 3),
            "outer_steps": outer_steps,
            "validate_calls": checkpoint.calls_before + (validator.calls if validator else 0),
            "peak_memory_mb": peak_memory_mb(),
            "code_hash": cell.code_hash,
            "device": device_name(opened.device),
            "computed": computed,
            "prerequisites": _costs(opened, find),
            "environment": payload.environment,
            **({"curve": checkpoint.curve} if checkpoint.curve else {}),
        }

    if payload.keep:
        on_the_way.keep = lambda distilled, step: store.keep(payload.distil_key, distilled, info(step))
    try:
        with guarded(dataset.files, read_only=[store.prerequisites]) as violations:
            try:
                distilled = method.distill(task)
            finally:
                # A refusal that the plugin caught, or turned into another error, is still a refusal.
                _reject_violations(violations)
    finally:
        for one in (validator, curve_validator):
            if one is not None:
                one.close()
    _save(distilled, store, payload.distil_key)
    store.finish_set(payload.distil_key, info(cell.outer_steps))
    checkpoint.discard()
    store.drop_kept(payload.distil_key)
    return {"seconds": round(time.monotonic() - started, 3)}


def _needs(opened: Opened) -> tuple[Need, ...]:
    """Return the prerequisites that the plan announced."""
    return tuple(Need(p["name"], p["config"], p["seed"]) for p in opened.cell.prerequisites)


def _costs(opened: Opened, find: Callable[[Need], Path]) -> list[dict[str, Any]]:
    """Return name, key and building time of every prerequisite of a cell; several cells may share one."""
    built = PrerequisiteStore(opened.store.prerequisites)
    seconds = [built.manifest(find(need))["seconds"] for need in _needs(opened)]
    return [{"name": p["name"], "key": p["key"], "seconds": s} for p, s in zip(opened.cell.prerequisites, seconds, strict=True)]


def _chance(opened: Opened) -> float:
    """Return the share of the largest class of val; 0 without val."""
    val = opened.dataset.val
    return int(val.labels.bincount().max()) / len(val) if val is not None and len(val) else 0.0


def _curve_validator(payload: Payload, opened: Opened) -> Validator | None:
    """Return the validator of the curve, with few students of its own, so that its calls are none of the method's."""
    if not payload.curve:
        return None
    few = replace(opened.protocol, students=min(STUDENTS, opened.protocol.students))
    return _validator(payload, replace(opened, protocol=few))


def _validator(payload: Payload, opened: Opened) -> Validator | None:
    if opened.dataset.val is None:
        return None
    return Validator(
        payload.asked or opened.cell.dataset,
        cast(SplitName, opened.cell.split),
        opened.options,
        opened.store.prerequisites,
        opened.protocol,
        opened.cell.seed,
        plugin_files=payload.plugins,
        device=payload.device,
    )


def _reject_violations(violations: list[str]) -> None:
    if violations:
        raise RejectedSet(f"while it distilled, the method {violations[0]}, which is closed to it")


def _save(distilled: object, store: Store, distil_key: str) -> None:
    if not isinstance(distilled, DistilledSet):
        raise TypeError(f"distill() returned {type(distilled).__name__}; it must return a DistilledSet")
    if problems := distilled.recipe.problems():
        raise RejectedSet(problems[0])
    store.unfinish_set(distil_key)
    try:
        distilled.save(store.set_folder(distil_key))
    except (TypeError, ValueError) as error:
        raise RejectedSet(f"the set cannot be stored: {error}") from error


def _logged(report: Report, on_the_way: OnTheWay) -> Callable[[int, int, Mapping[str, float]], None]:
    """Report to the runner, to the curve, and now and then to the log."""
    last = [0.0]

    def both(step: int, total: int, scalars: Mapping[str, float]) -> None:
        shown = {key: float(value) for key, value in scalars.items()}
        report(step, total, shown)
        on_the_way.reported(shown)
        now = time.monotonic()
        if now - last[0] >= _LOG_EVERY or step >= total:
            last[0] = now
            values = " ".join(f"{key} {value:.6g}" for key, value in shown.items())
            sys.stdout.write(f"step {step}/{total} {values}".rstrip() + "\n")

    return both
