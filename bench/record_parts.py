"""What the dictionaries of a record hold. A record file that does not fit is no record; docs/results.md says what each field means."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from .files import Checksum
from .schema import FINITE, STRICT, Amount, Count, Key, Name, Positive

Accuracy = Annotated[float, Field(ge=0.0, le=1.0)]
Rate = Annotated[float, Field(gt=0.0)]
OneOrMore = Annotated[list[Accuracy], Field(min_length=1)]

#: Paths are relative to the out folder, and never lead out of it.
LogPath = Annotated[str, Field(pattern=r"^(logs/[A-Za-z0-9._=-]+\.log)?$")]
PicturePath = Annotated[str, Field(pattern=r"^pictures/[A-Za-z0-9._=-]+$")]


class GrantedBudget(TypedDict):
    """``cell.budget``."""

    requested: Annotated[str, Field(min_length=1, max_length=40)]
    pixels: Positive
    ipc: Annotated[float, Field(gt=0.0, le=1e18)]


class NeededPrerequisite(TypedDict):
    """An item of ``cell.prerequisites``."""

    name: Name
    key: Key
    config: Annotated[dict[str, Any], FINITE]
    seed: int
    used: NotRequired[Literal["planning", "distilling"]]


@with_config(STRICT)
class Reported(TypedDict):
    """A published test accuracy, in per cent as papers print it, and the ± behind it, if there is one."""

    accuracy: Annotated[float, Field(gt=0, le=100)]
    spread: NotRequired[Annotated[float, Field(ge=0, le=100)]]


class Published(Reported):
    """An item of ``cell.published``: the number and where it stands."""

    source: str


class Choices(TypedDict):
    """``cell.protocol``: every choice of the judge. What it means is ``bench.judge.protocol``'s affair, which checks the hash."""

    name: Name
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]+$", max_length=64)]
    students: Annotated[int, Field(ge=1, le=1000)]
    recipe: NotRequired[Literal["native", "common", "published"]]
    checkpoints: NotRequired[list[Annotated[float, Field(gt=0.0, le=1.0)]]]
    network: NotRequired[str]
    val_selection_min: NotRequired[Count]
    common: NotRequired[Annotated[dict[str, Any], FINITE] | None]
    full_data: NotRequired[Annotated[dict[str, Any], FINITE]]
    published: NotRequired[Annotated[dict[str, Any], FINITE]]


class Audit(TypedDict):
    """``audit``: what the stored file holds."""

    pixels: Positive
    px_with_labels: Positive
    effective_ipc: Annotated[float, Field(gt=0.0, le=1e18)]
    image_numbers: Count
    label_numbers: Count
    charged_labels: Count
    other_numbers: Count
    recipe_scalars: Count
    bytes: Count
    images: Positive


class Checkpoint(TypedDict):
    """Accuracies after some steps of every student; ``val`` is empty without validation images."""

    step: Positive
    test: OneOrMore
    val: list[Accuracy]


class BestOnTest(TypedDict):
    """``scores.test_best``."""

    step: Positive
    test: OneOrMore


class EightBit(TypedDict):
    """``scores.final_8bit``; empty where nothing could be trained on the rounded set."""

    test: list[Accuracy]


class RateTried(TypedDict):
    """An item of ``scores.lr_trials``."""

    lr: Rate
    val: OneOrMore


class Scores(TypedDict):
    """``scores``: one accuracy per student, nothing averaged."""

    n_test: Positive
    n_val: Count
    final: Checkpoint
    checkpoints: Annotated[list[Checkpoint], Field(min_length=1)]
    val_selected: Checkpoint | None
    test_best: BestOnTest
    final_8bit: EightBit
    lr: Rate | None
    lr_trials: list[RateTried]


class Training(TypedDict):
    """``training``: what one student costs."""

    network: Annotated[str, Field(min_length=1, max_length=200)]
    presented_examples: Count
    student_steps: Count
    flops: Amount


class CurvePoint(TypedDict):
    """An item of ``distil.curve.points``: one val accuracy per student, and the mean of the losses reported since the point before."""

    step: Positive
    seconds: Amount
    val: OneOrMore
    loss: NotRequired[Annotated[float, Field(ge=-1e30, le=1e30)]]


class Curve(TypedDict):
    """``distil.curve``: how good the set was on the way."""

    version: Literal[1]
    horizon: Positive
    schedule: Annotated[str, Field(max_length=200)]
    chance: Accuracy
    seconds: Amount
    points: Annotated[list[CurvePoint], Field(min_length=1)]


class Cost(TypedDict):
    """An item of ``distil.prerequisites``."""

    name: Name
    key: Key
    seconds: Amount


class Distillation(TypedDict):
    """``distil``: how the set was made, and what its files are; a cell that never came so far has none of it."""

    seconds: NotRequired[Amount]
    outer_steps: NotRequired[Count]
    validate_calls: NotRequired[Count]
    peak_memory_mb: NotRequired[Amount]
    device: NotRequired[str]
    computed: NotRequired[Annotated[dict[str, Any], FINITE]]
    prerequisites: NotRequired[list[Cost]]
    curve: NotRequired[Curve]
    files: NotRequired[dict[str, Checksum]]


@with_config(STRICT)
class MadeSet(Distillation):
    """``distil.json`` of a set, which is written last: how it was made, and by which code."""

    code_hash: NotRequired[str]
    environment: NotRequired[Annotated[dict[str, Any], FINITE]]


@with_config({**STRICT, "extra": "allow"})
class Environment(TypedDict):
    """``environment``: these fields are read; others may be there for people."""

    device: NotRequired[str]
    commit: NotRequired[str]
    dirty: NotRequired[bool]
    packages: NotRequired[dict[str, str]]
    plugins: NotRequired[list[str]]
