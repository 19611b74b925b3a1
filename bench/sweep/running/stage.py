"""One stage of a cell as a function: a payload of plain JSON in, an outcome of plain JSON out. Any executor can call it.

A cell is a list of stages. They meet on disk alone, so each may run in a process, or on a machine, of its own.
Free of torch until a stage runs.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any, Self

from ...errors import BenchError, RejectedSet
from ...record import Cell

#: Tells how far a stage is: (step, total, scalars).
Report = Callable[[int, int, dict[str, float]], None]

#: Where the function of each stage is. It takes (payload, report) and returns ``seconds``, and ``accuracy`` if it judged.
STAGES = {
    "prerequisite": ("prerequisite", "prerequisite_stage"),
    "distil": ("distil", "distil_stage"),
    "judge": ("judge", "judge_stage"),
    "validate": ("validate", "validate_stage"),
}

# What torch says on a CPU, where it raises a plain RuntimeError instead of its OutOfMemoryError.
_NO_MEMORY_ON_CPU = "DefaultCPUAllocator: can't allocate memory"


@dataclass(frozen=True)
class Payload:
    """Everything a stage needs to know; what it makes goes into the out folder.

    Attributes:
        key: judge key of the cell, or key of the prerequisite.
        out: absolute path of the out folder.
        data: root of the data sets, which are all there.
        cell: what is run; ``None`` if a prerequisite is built.
        asked: how its data set is asked for, if that is not by its name: with the whole path of a folder.
        distil_key: key of the distilled set; empty for the full-data line.
        prerequisite: ``name``, ``config``, ``seed`` and ``key`` as in ``Cell.prerequisites``, and the ``dataset``,
            ``split`` and ``data_hash`` it is built on; empty if a cell is run.
        plugins: absolute paths of plugin files.
        device: where to compute.
        environment: what records say of the run's surroundings.
        redistil: make the set again although it may be there.
        curve: score the set on val on the way.
        keep: keep the set on the way, for the case that the time runs out.
        timed_out: how the time ran out, where the set that was kept is to be judged; else empty.
        judged_at: when the judge began whose record the plan found, and which is to be replaced; empty if it found none.
        seconds: spent by this run on the stages before, by their names.
    """

    key: str
    out: str
    data: str
    cell: Cell | None = None
    asked: str = ""
    distil_key: str = ""
    prerequisite: dict[str, Any] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    device: str = "cpu"
    environment: dict[str, Any] = field(default_factory=dict)
    redistil: bool = False
    curve: bool = False
    keep: bool = False
    timed_out: str = ""
    judged_at: str = ""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def log(self) -> str:
        """Path of the log, relative to the out folder."""
        return f"logs/{self.key}.log"

    @property
    def title(self) -> str:
        """What is run, in a few words."""
        if self.cell is not None:
            return self.cell.title
        named = (self.prerequisite.get("name", self.key), self.prerequisite.get("seed") or "", self.prerequisite.get("dataset", ""))
        return " ".join(["prerequisite", *(str(word) for word in named if word)])

    def to_json(self) -> str:
        """Return the text that carries it to another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote."""
        raw = json.loads(text)
        cell = Cell(**raw["cell"]) if raw["cell"] is not None else None
        return cls(**{**raw, "cell": cell, "plugins": tuple(raw["plugins"])})


@dataclass(frozen=True)
class Outcome:
    """How a stage, or a cell with all its stages, ended.

    Attributes:
        status: as in ``bench.record.Status``.
        reason: one sentence, unless it is ok.
        traceback: of failures.
        seconds: time per stage that ended well or badly.
        accuracy: mean final test accuracy of a judged cell, also of one whose time ran out.
    """

    status: str
    reason: str = ""
    traceback: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    accuracy: float | None = None

    def to_json(self) -> str:
        """Return the text that carries it to another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))


def silent(step: int, total: int, scalars: dict[str, float]) -> None:
    """Tell nobody how far a stage is."""
    del step, total, scalars


def run_stage(stage: str, payload: Payload, report: Report = silent) -> Outcome:
    """Run one stage in this process; whatever goes wrong in it becomes its outcome.

    It computes with one thread and exact float32, and leaves both settings of the process as they were.

    Args:
        stage: a name of ``STAGES``.
        payload: what to run.
        report: told how far it is.

    Raises:
        KeyError: there is no such stage.
        KeyboardInterrupt: the process was told to stop.
    """
    module, name = STAGES[stage]
    try:
        from .numerics import settled

        with settled():
            found = getattr(import_module(f"{__package__}.{module}"), name)(payload, report)
        return Outcome("ok", seconds={stage: found["seconds"]}, accuracy=found.get("accuracy"))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit of a plugin: it ends this stage only
        status, reason = _name(error)
        return Outcome(status, _writable(reason), _writable(traceback.format_exc()))


def _writable(text: str) -> str:
    """Spell out what no file can hold: half a surrogate pair, as it comes from undecodable file names."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _name(error: BaseException) -> tuple[str, str]:
    """Return the status and the reason of an error."""
    text = str(error).splitlines()[0][:500] if str(error) else ""
    if isinstance(error, RejectedSet):
        return "rejected", str(error)
    if isinstance(error, BenchError):
        return "failed", str(error)
    if _out_of_memory(error):
        return "oom", f"out of memory: {text}" if text else "out of memory"
    return "failed", f"{type(error).__name__}: {text}" if text else type(error).__name__


def _out_of_memory(error: BaseException) -> bool:
    # By name, because torch itself may be what failed to import.
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _NO_MEMORY_ON_CPU in str(error)
