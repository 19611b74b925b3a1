"""Errors a user can cause: one sentence that says what was asked, what was found and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake in the user's input. The command line prints its text and exits with code 2.

    Example:
        >>> from bench import BudgetRequest
        >>> BudgetRequest.parse("0")
        Traceback (most recent call last):
        bench.errors.BenchError: budget '0' is not positive; ask for more than 0 images per class
    """

    def __init__(self, text: str) -> None:
        """Take the sentence, which stays one line whatever it quotes."""
        super().__init__(one_line(text))


class UnwritableError(Exception):
    """What the suite made cannot be written; the text says what and why. The command line prints it and exits with code 1."""


class RejectedSet(Exception):
    """A distilled set broke a rule of the audit; the text says which rule and by how much.

    Example:
        >>> from bench import Budget, DistilledSet, Spec, TrainRecipe
        >>> from bench.decoders.images import Images
        >>> from bench.judge.audit import audit
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> audit(DistilledSet(spec, Images(spec, count=2), TrainRecipe()), Budget("100px", 100, 2, 8, 8))
        Traceback (most recent call last):
        bench.errors.RejectedSet: the set stores 128 pixel-equivalents; the budget of 100px allows 100
    """


_SHOWN = 60  # characters of a text, or parts of a list


def one_line(text: str) -> str:
    """Return a text on one line, with escapes for what cannot be printed: it may quote anything."""
    joined = " ".join(filter(None, map(str.strip, text.splitlines())))
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in joined)


def cut(text: str, most: int = _SHOWN) -> str:
    """Return a text as a sentence shows it: not all of a long one."""
    return text if len(text) <= most else f"{text[:most]}..."


def shorten(value: object) -> str:
    """Return a value as a sentence shows it, in Python's notation and not all of a long one."""
    # A part of a list of a million numbers is cut before all of it becomes a text.
    few = value[:_SHOWN] if isinstance(value, (str, list)) else value
    try:
        text = repr(few)
    except (ValueError, RecursionError):  # Python writes out no number of some thousand digits
        text = f"a huge {type(value).__name__}"
    return cut(text)


def reason_of(error: Exception) -> str:
    """Return what an error says, without the path that the sentence names anyway."""
    return str(getattr(error, "strerror", None) or error)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest of ``known``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """Build the error for a name that is not registered.

    Args:
        kind: what the name stands for, e.g. ``"method"``.
        name: the name that was asked for.
        known: the names that exist.
    """
    names = sorted(known)
    return BenchError(f"unknown {kind} '{cut(name)}'{did_you_mean(name, names)} (available: {', '.join(names)})")
