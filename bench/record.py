"""The record of one cell: the only output of a run, and the only input of a report. Free of torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from .keys import readable_json

SCHEMA = 2

Status = Literal["ok", "refused", "rejected", "failed", "timeout", "oom", "interrupted"]
Kind = Literal["contestant", "reference", "full_data"]

STATUSES: tuple[str, ...] = get_args(Status)


@dataclass
class Cell:
    """One square of the sweep: what is run, with everything resolved. Plain JSON all through.

    Attributes:
        kind: ``contestant``, ``reference`` (the equal-pixel forms of random selection) or ``full_data``.
        dataset: registered name.
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

    kind: Kind
    dataset: str
    data_hash: str
    split: str
    method: str
    variant: str
    method_version: int
    fields: dict[str, Any]
    budget: dict[str, Any]
    seed: int
    effort: float
    protocol: dict[str, Any]
    code_hash: str = ""
    aliases: list[str] = field(default_factory=list)
    adapted: str = ""
    external: str = ""
    notes: list[str] = field(default_factory=list)
    tuned: bool = False
    tuning_trials: int = 0
    sources: list[str] = field(default_factory=list)
    published: list[dict[str, Any]] = field(default_factory=list)
    reference: str = ""
    outer_steps: int = 0
    network: str = ""
    unofficial: bool = False
    identity: dict[str, Any] = field(default_factory=dict)
    unkeyed: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    prerequisites: list[dict[str, Any]] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The method as it is typed and shown: ``podd`` or ``podd[order=random]``."""
        return f"{self.method}[{self.variant}]" if self.variant else self.method

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
        >>> cell = Cell("reference", "digits", "0123", "dev", "random", "", 1, {}, {"requested": "1"}, 0, 1.0, {})
        >>> record = Record("key", "distil key", "refused", cell, reason="too few pixels")
        >>> Record.from_json(record.to_json()) == record
        True
    """

    key: str
    distil_key: str
    status: Status
    cell: Cell
    reason: str = ""
    audit: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    distil: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    environment: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    log: str = ""
    pictures: list[str] = field(default_factory=list)
    traceback: str = ""
    schema: int = SCHEMA

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
            ValueError: the text is not a record of this schema; says what is wrong.
        """
        raw = json.loads(text, parse_constant=_refuse_constant)
        if not isinstance(raw, dict) or type(raw.get("schema")) is not int:
            raise ValueError(f"not a record of schema {SCHEMA}")
        if raw["schema"] < SCHEMA:
            raise ValueError("made by an earlier version of the suite; run again")
        if raw["schema"] > SCHEMA:
            raise ValueError("made by a later version of the suite; update the suite")
        if raw.get("status") not in STATUSES:
            raise ValueError(f"unknown status {raw.get('status')!r}")
        cell = raw.pop("cell", None)
        if not isinstance(cell, dict):
            raise ValueError("no cell")
        return cls(cell=Cell(**_only_known(Cell, cell)), **_only_known(cls, raw))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"the number {name} is not allowed in a record")


def _only_known(kind: type, raw: dict[str, Any]) -> dict[str, Any]:
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise ValueError(f"unknown fields {', '.join(unknown)}")
    missing = [f.name for f in fields(kind) if f.name not in raw and _required(f) and f.name != "cell"]
    if missing:
        raise ValueError(f"missing fields {', '.join(missing)}")
    return raw


def _required(f: Any) -> bool:
    return f.default is MISSING and f.default_factory is MISSING


def mean(values: Sequence[float]) -> float:
    """Return the mean of accuracies, NaN if there are none; the sum is exactly rounded, so their order does not matter."""
    return math.fsum(values) / len(values) if values else math.nan
