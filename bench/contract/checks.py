"""A check has a name, and says in one sentence what is wrong and what to do."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import random
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch

Subject = TypeVar("Subject")


class BrokenContract(Exception):
    """A plugin does not keep the contract; the text is one sentence: what was found, and what to do."""


class Inapplicable(Exception):
    """A check has nothing to look at here; the text is one sentence that says why."""


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """One thing that every plugin of a kind keeps.

    Attributes:
        name: what holds, in a few words.
        run: returns where it holds, and raises ``BrokenContract`` where it does not.
    """

    name: str
    run: Callable[[Subject], None]


def kept(checks: list[Check[Subject]], name: str) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Return a decorator that adds a function to a list of checks."""

    def add(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        checks.append(Check(name, run))
        return run

    return add


def require(holds: bool, sentence: str) -> None:
    """Raise the sentence unless something holds.

    Raises:
        BrokenContract: it does not.
    """
    if not holds:
        raise BrokenContract(sentence)


def global_generators() -> dict[str, Any]:
    """Return the states of the three global generators, as comparable values."""
    legacy: Any = np.random.get_state()  # noqa: NPY002 - looked at, never drawn from
    return {"torch": torch.get_rng_state().tolist(), "numpy": (legacy[1].tolist(), legacy[2:]), "random": random.getstate()}


@contextmanager
def other_global_generators() -> Iterator[None]:
    """Put the global generators into another state, and back at the end."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002 - the global generator is what is looked after
    random.seed(12345)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])


@contextmanager
def generators_left_alone(who: str) -> Iterator[None]:
    """Refuse code that draws from a global generator inside.

    Raises:
        BrokenContract: it drew from one; says from which.
    """
    with other_global_generators():
        before = global_generators()
        yield
        after = global_generators()
    touched = [name for name in before if before[name] != after[name]]
    require(not touched, f"{who} drew from the global generator of {', '.join(touched)}; draw from the generator it is given")


def check_fields_are_frozen_and_described(kind: type) -> None:
    """Check a class of hyper-parameters.

    Raises:
        BrokenContract: it is no frozen dataclass, or a field is not described.
    """
    frozen = dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    require(frozen, f"{kind.__name__} is no frozen dataclass; put @dataclass(frozen=True, kw_only=True) on it")
    for name in undescribed_fields(kind):
        raise BrokenContract(f"field {name} of {kind.__name__} is not described; write '{name}: what it does' into the class's docstring")


def check_pickles(part: Any) -> None:
    """Check that hyper-parameters reach another process as they are.

    Raises:
        BrokenContract: they do not.
    """
    same = pickle.loads(pickle.dumps(part)) == part
    require(same, f"{type(part).__name__} comes back from a pickle as another; let the dataclass compare its fields alone")


def undescribed_fields(kind: type) -> Iterable[str]:
    """Yield the fields of a dataclass that no docstring describes: a line ``field: text``, or ````field``: text`` in a sentence.

    A class that has the field may describe it: the dataclass itself, or a base of it.
    """
    for each in dataclasses.fields(kind):
        homes = [base for base in kind.__mro__ if dataclasses.is_dataclass(base) and each.name in base.__dataclass_fields__]
        texts = [inspect.cleandoc(vars(base).get("__doc__") or "") for base in homes]
        if not any(_describes(text, each.name) for text in texts):
            yield each.name


def _describes(text: str, name: str) -> bool:
    return re.search(rf"(^[ \t]+{name}|``{name}``): *\S+ +\S", text, re.MULTILINE) is not None
