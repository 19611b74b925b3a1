"""The record of one cell: the only output of a run, and the only input of a report. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from .keys import readable_json
from .record_parts import (
    Audit,
    Choices,
    Distillation,
    Environment,
    GrantedBudget,
    LogPath,
    NeededPrerequisite,
    PicturePath,
    Published,
    Scores,
    Training,
)
from .schema import FINITE, OR_EMPTY, STRICT, Amount, Count, DataSetName, Free, Key, Line, Name, Schema, fits, schema_of

SCHEMA = 2

Status = Literal["ok", "refused", "rejected", "failed", "timeout", "oom", "interrupted"]
Kind = Literal["contestant", "reference", "full_data"]

STATUSES: tuple[str, ...] = get_args(Status)


def label_of(method: str, variant: str) -> str:
    """Return a method as it is typed and shown: ``podd`` or ``podd[order=random]``."""
    return f"{method}[{variant}]" if variant else method


def as_published(one: Mapping[str, Any]) -> str:
    """Return an item of ``cell.published`` as papers write it, in per cent: ``53.2 ± 0.7``."""
    return f"{one['accuracy']:g}" + (f" ± {one['spread']:g}" if "spread" in one else "")


@dataclass
class Cell:
    """One square of the sweep: what is run, with everything resolved. Plain JSON all through.

    Attributes:
        kind: ``contestant``, ``reference`` (the equal-pixel forms of random selection) or ``full_data``.
        dataset: registered name, with its parameters in brackets if it has any; of a folder, its last part.
        data_hash: fingerprint of what contestants and validation see.
        split: ``dev`` or ``paper``.
        method: registered name; ``full-data`` for students trained on the full data.
        variant: the bracketed parameters as typed, without brackets, e.g. ``order=random``, or empty.
        aliases: other labels that resolve to this very cell, e.g. ``rat_bptt[form=lowres]`` at one image per class.
        method_version: the method's version.
        code_hash: hash of the method's syntax trees without comments and docstrings; recorded, not keyed.
        fields: all hyper-parameters, resolved.
        budget: ``requested`` (text), ``pixels`` and ``ipc`` granted.
        seed: distillation seed.
        effort: fraction of outer steps.
        protocol: name -> value of every choice of the protocol, with ``name`` and ``hash``.
        adapted: how a whole-image method copes below one image per class, or empty.
        external: what is used from outside the training data, or empty.
        notes: sentences for the reader.
        tuned: whether somebody tuned the recipe, here on val or whoever published it.
        tuning_trials: settings tried on val for the recipe.
        sources: where the recipe's values come from.
        published: what the method reached elsewhere on this data set at this budget: ``accuracy`` and maybe ``spread``, in per
            cent, and ``source``.
        reference: the paper of the method.
        outer_steps: outer steps that will be taken (effort included).
        network: the student network by which the set will be judged. Rows of different networks never share a ranking.
        unofficial: the images are a copy of the data set that nobody vouches for.
        identity: what beside the fields names the method in the key: name and version, or the versions of its parts.
        unkeyed: fields that choose how a result is computed and not which one; they are left out of the key.
        parts: what the method is made of: kind of part -> registered name, e.g. ``{"form": "poster"}``.
        plan: the geometry that was decided while planning.
        prerequisites: what was built before the cell ran: ``name``, ``key``, ``config``, ``seed``, and whether it was
            ``used`` for ``planning`` or for ``distilling``. Their cost is in ``Record.distil``.
        origin: where a set comes from that was made elsewhere, or empty.

    Example:
        >>> from bench.record import Cell
        >>> cell = Cell(
        ...     kind="contestant", dataset="digits", data_hash="0123", split="dev", method="podd", variant="order=random",
        ...     method_version=1, fields={"order": "random"}, budget={"requested": "0.3", "pixels": 192, "ipc": 0.3},
        ...     seed=1, effort=1.0, protocol={"name": "native-v1"},
        ... )
        >>> cell.title
        'podd[order=random] digits 0.3 seed 1'
    """

    __pydantic_config__ = STRICT

    kind: Kind
    dataset: DataSetName
    data_hash: str
    split: Annotated[str, Field(pattern="^(dev|paper)$")]
    method: Name
    variant: Line
    method_version: Count
    fields: Free
    budget: Annotated[dict[str, Any], fits(GrantedBudget)]
    seed: Count
    effort: Annotated[float, Field(gt=0.0, le=1e6)]
    protocol: Annotated[dict[str, Any], fits(Choices)]
    code_hash: str = ""
    aliases: list[Line] = field(default_factory=list)
    adapted: str = ""
    external: str = ""
    notes: list[str] = field(default_factory=list)
    tuned: bool = False
    tuning_trials: Count = 0
    sources: list[str] = field(default_factory=list)
    published: list[Annotated[dict[str, Any], fits(Published)]] = field(default_factory=list)
    reference: str = ""
    outer_steps: Count = 0
    network: Line = ""
    unofficial: bool = False
    identity: Free = field(default_factory=dict)
    unkeyed: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    plan: Free = field(default_factory=dict)
    prerequisites: list[Annotated[dict[str, Any], fits(NeededPrerequisite)]] = field(default_factory=list)
    origin: str = ""

    @property
    def label(self) -> str:
        """The method with its variant."""
        return label_of(self.method, self.variant)

    @property
    def title(self) -> str:
        """The cell in a few words: ``podd digits 0.3 seed 1``."""
        return f"{self.label} {self.dataset} {self.budget['requested']} seed {self.seed}"


@dataclass
class Record:
    """What happened to a cell.

    Attributes:
        key: judge key, name of the file.
        distil_key: key of the distilled set.
        status: see ``Status``.
        reason: one sentence, for every status but ``ok``.
        cell: what was run.
        audit: what the stored file holds: ``pixels``, ``px_with_labels``, ``effective_ipc``, ``image_numbers``,
            ``label_numbers``, ``charged_labels``, ``other_numbers``, ``recipe_scalars``, ``bytes``, ``images`` (how many
            it decodes to).
        scores: every single score, see docs/results.md: ``final`` {step, test: [...], val: [...]}, ``checkpoints``
            [{step, test, val}], ``val_selected`` | null, ``test_best``, ``final_8bit`` {test}, ``n_test``, ``n_val``.
        training: ``network``, ``presented_examples``, ``student_steps`` and ``flops`` of one student.
        distil: ``seconds`` the set took when it was made, ``outer_steps``, ``validate_calls``, ``peak_memory_mb``,
            ``device``, and ``computed``: what the method noted about how it computed, e.g. ``engine``.
        seconds: spent by this run: ``distil`` (0 if the set was re-used) and ``judge``.
        peak_memory_mb: of the judge's process.
        environment: versions, machine, threads, git commit.
        started: ISO time.
        log: path of the log, relative to the out folder.
        pictures: paths of pictures, relative to the out folder.
        traceback: last lines, for failures.

    Example:
        >>> from bench.record import Cell, Record
        >>> budget, protocol = {"requested": "1", "pixels": 640, "ipc": 1.0}, {"name": "native-v1", "hash": "0a", "students": 5}
        >>> cell = Cell("reference", "digits", "0123", "dev", "random", "", 1, {}, budget, 0, 1.0, protocol)
        >>> record = Record("0123", "4567", "refused", cell, reason="too few pixels")
        >>> Record.from_json(record.to_json()) == record
        True
    """

    __pydantic_config__ = STRICT

    key: Key
    distil_key: Annotated[str, Field(pattern="^[A-Za-z0-9_-]*$", max_length=200)]
    status: Status
    cell: Cell
    reason: str = ""
    audit: Annotated[dict[str, Any], fits(Audit), OR_EMPTY] = field(default_factory=dict)
    scores: Annotated[dict[str, Any], fits(Scores), OR_EMPTY] = field(default_factory=dict)
    training: Annotated[dict[str, Any], fits(Training), OR_EMPTY] = field(default_factory=dict)
    distil: Annotated[dict[str, Any], fits(Distillation)] = field(default_factory=dict)
    seconds: dict[str, Amount] = field(default_factory=dict)
    peak_memory_mb: Amount = 0.0
    environment: Annotated[dict[str, Any], fits(Environment), FINITE] = field(default_factory=dict)
    started: str = ""
    log: LogPath = ""
    pictures: list[PicturePath] = field(default_factory=list)
    traceback: str = ""
    schema: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)] = SCHEMA

    def to_json(self) -> str:
        """Return the text of the record file.

        Raises:
            ValueError: a number is not finite; a record never holds NaN.
        """
        return readable_json(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a record file.

        Raises:
            EarlierSchema: an earlier version of the suite made it.
            ValueError: the text is not a record of this schema; says which field is wrong.
        """
        try:
            record = _FILE.read(text)
        except ValueError:
            _check_version(schema_of(text))
            raise
        if problem := next(_contradictions(record), ""):
            raise ValueError(problem)
        return record


class EarlierSchema(ValueError):
    """A record of an earlier version of the suite, whose cell is to run again."""


_FILE: Schema[Record] = Schema(Record)


def _check_version(schema: int | None) -> None:
    if schema is not None and schema < SCHEMA:
        raise EarlierSchema("made by an earlier version of the suite; run again")
    if schema is not None and schema > SCHEMA:
        raise ValueError("made by a later version of the suite; update the suite")


def _contradictions(record: Record) -> Iterator[str]:
    """Say what is wrong although every field by itself could be right."""
    if record.status == "ok":
        wanted = ("scores", "training") if record.cell.kind == "full_data" else ("scores", "training", "audit")
        yield from (f"{name} is empty, and the status is ok" for name in wanted if not getattr(record, name))
    if record.scores:
        yield from _unequal(record.scores)


def _unequal(scores: dict[str, Any]) -> Iterator[str]:
    """Say where a list has not one accuracy for each student."""
    students = len(scores["final"]["test"])
    named = [("test_best", scores["test_best"]), ("final_8bit", scores["final_8bit"]), ("final", scores["final"])]
    named += [(f"checkpoints.{index}", row) for index, row in enumerate(scores["checkpoints"])]
    named += [("val_selected", scores["val_selected"])] if scores["val_selected"] else []
    for name, row in named:
        for split in ("test", "val"):
            count = len(row.get(split, ()))
            if count not in (0, students):
                yield f"scores.{name}.{split} has {count} accuracies, scores.final.test {students}"


def mean(values: Sequence[float]) -> float:
    """Return the mean of accuracies, NaN if there are none; the sum is exactly rounded, so their order does not matter."""
    return math.fsum(values) / len(values) if values else math.nan
