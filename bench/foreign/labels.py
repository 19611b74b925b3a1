"""What the labels of a released set are: one of half a dozen conventions, told by their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import BenchError
from .contents import finite_in_float32
from .questions import Question

_SUM = 1e-3  # how near to its sum a row of float32 comes
_MOST_CENTRED = 1.5  # centred targets are at most one-hot; logits that a network gives go far beyond


@dataclass(frozen=True)
class LabelGuess:
    """What the numbers say of labels.

    Attributes:
        plausible: kinds that the numbers allow; one kind alone is certain.
        evidence: a sentence.
    """

    plausible: tuple[str, ...]
    evidence: str

    def question(self) -> Question | None:
        """Return what is to be asked, or ``None``."""
        return None if len(self.plausible) == 1 else Question("labels", "the kind of the labels is not certain", self.plausible)


def guess_labels(labels: np.ndarray, classes: int, name: str) -> LabelGuess:
    """Look at (n,) or (n, classes) labels.

    Raises:
        BenchError: they are neither class numbers nor rows of one number per class, or not finite.
    """
    if not finite_in_float32(labels):
        raise BenchError(f"the labels {name} hold numbers that are not finite; get the set again")
    if labels.ndim == 1:
        return _ids(labels, classes, name)
    if labels.ndim != 2 or labels.shape[1] != classes:
        found = "x".join(map(str, labels.shape))
        raise BenchError(f"the labels {name} are {found}; the data set has {classes} classes, so rows of {classes} numbers are needed")
    return _rows(labels.astype(np.float64))


def _ids(labels: np.ndarray, classes: int, name: str) -> LabelGuess:
    whole = labels.dtype.kind in "bui" or bool((labels == np.floor(labels)).all())
    least, most = float(labels.min()), float(labels.max())
    if not whole or least < 0 or most >= classes:
        hint = "; subtract 1" if whole and (least, most) == (1.0, float(classes)) else ""
        raise BenchError(f"the labels {name} run from {least:g} to {most:g}; class numbers are whole ones from 0 to {classes - 1}{hint}")
    written = "" if labels.dtype.kind in "ui" else f", stored as {labels.dtype}"
    covered = len(np.unique(labels))
    return LabelGuess(("ids",), f"whole numbers from {least:g} to {most:g}{written}: class ids; covers {covered} of {classes} classes")


def _rows(rows: np.ndarray) -> LabelGuess:
    sums, least, most = rows.sum(1), float(rows.min()), float(rows.max())
    classes = rows.shape[1]
    told = f"numbers from {least:.3g} to {most:.3g}, rows sum to {_between(sums)}"
    if set(np.unique(rows)) <= {0.0, 1.0} and (sums == 1).all():
        covered = len(np.unique(rows.argmax(1)))
        return LabelGuess(("one_hot",), f"every row is one 1 among zeros: one-hot; covers {covered} of {classes} classes")
    if least >= 0:
        kind = "probabilities" if np.abs(sums - 1).max() <= _SUM else "weights"
        meant = "probabilities" if kind == "probabilities" else "weights that do not sum to one"
        return LabelGuess((kind,), f"{told}: {meant}")
    centred = np.abs(sums).max() <= _SUM * max(1.0, most)
    if centred and most <= _MOST_CENTRED:
        values = np.unique(np.round(rows / max(most, 1e-12), 4))
        meant = f"a one-hot row less its mean, times {most * classes / (classes - 1):.3g}" if len(values) == 2 else "rows less their mean"
        return LabelGuess(("centred",), f"{told}: {meant}, for squared error")
    if most > _MOST_CENTRED:
        return LabelGuess(("logits",), f"{told}: numbers before a softmax (logits)")
    return LabelGuess(("centred", "logits"), f"{told}: learned targets for squared error, or small logits")


def _between(sums: np.ndarray) -> str:
    low, high = float(sums.min()), float(sums.max())
    return f"{low:.3g}" if high - low <= _SUM else f"{low:.3g} to {high:.3g}"


def as_rows(labels: np.ndarray, kind: str) -> np.ndarray:
    """Return rows of targets (n, classes) float32 as a student is trained on them: logits through a softmax, centred ones without sum."""
    rows = labels.astype(np.float64)
    if kind == "logits":
        rows = np.exp(rows - rows.max(1, keepdims=True))
        rows /= rows.sum(1, keepdims=True)
    elif kind == "centred":
        off = rows.mean(1, keepdims=True)
        rows = rows if np.abs(off).max() <= 1e-6 else rows - off
    return np.ascontiguousarray(rows, dtype=np.float32)


def check_given(kind: str, guess: LabelGuess, labels: np.ndarray) -> None:
    """Refuse a kind of labels that the numbers cannot be.

    Raises:
        BenchError: says what they are.
    """
    possible = {
        "ids": labels.ndim == 1,
        "one_hot": "one_hot" in guess.plausible,
        "probabilities": labels.ndim == 2 and {"one_hot", "probabilities"} & {*guess.plausible},
        "weights": labels.ndim == 2 and labels.min() >= 0,
        "logits": labels.ndim == 2,
        "centred": labels.ndim == 2,
    }
    if not possible.get(kind, False):
        raise BenchError(f"the labels cannot be {kind}: {guess.evidence}; say --labels {' or '.join(guess.plausible)}")
