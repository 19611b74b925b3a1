"""Which form goes with which objective, found by planning every pair on a small data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from ..data import Dataset
from ..method import Refusal
from ..registry import FORMS, METHODS, OBJECTIVES
from .trials import answer_of, request_for

#: Images per class at which every pair is tried.
BUDGETS = ("0.3", "0.5", "1", "2")
#: The objective of a product that optimises nothing.
NOTHING = "none"


@dataclass(frozen=True)
class Combination:
    """A form with an objective.

    Attributes:
        form: its name.
        objective: its name, or ``none``.
        refusals: budget -> why it is refused there; budgets that are missing work.
    """

    form: str
    objective: str
    refusals: dict[str, str]

    @property
    def words(self) -> str:
        """Where it works: ``yes``, ``at 1, 2`` or ``no``."""
        working = [budget for budget in BUDGETS if budget not in self.refusals]
        if len(working) == len(BUDGETS):
            return "yes"
        return f"at {', '.join(working)}" if working else "no"


def combinations(dataset: Dataset, scratch: Path) -> list[Combination]:
    """Plan every registered form with every registered objective, and with none, at ``BUDGETS``.

    The yardstick is the host: a product of which any part can be exchanged.

    Args:
        dataset: on which it is planned.
        scratch: folder for prerequisites that planning asks for, such as a class order.
    """
    host = next(name for name in METHODS if METHODS[name].reference_forms)
    found = []
    for form in FORMS:
        for objective in (NOTHING, *OBJECTIVES):
            request = request_for(host, {"form": form, "objective": objective})
            answers = {budget: answer_of(request, budget, dataset, scratch) for budget in BUDGETS}
            refusals = {budget: answer.reason for budget, answer in answers.items() if isinstance(answer, Refusal)}
            found.append(Combination(form, objective, refusals))
    return found


def as_table(found: list[Combination]) -> str:
    """Return the combinations as a markdown table, a row per form and a column per objective."""
    columns = list(dict.fromkeys(one.objective for one in found))
    words = {(one.form, one.objective): one.words for one in found}
    rows = [[form, *(words[form, objective] for objective in columns)] for form in dict.fromkeys(one.form for one in found)]
    return tabulate(rows, ["form", *columns], tablefmt="github", disable_numparse=True)


def as_sentences(found: list[Combination]) -> str:
    """Return a line per refusal: what, at which budgets, and why."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        for budget, reason in one.refusals.items():
            lines.setdefault((one.form, one.objective, reason), []).append(budget)
    return "\n".join(
        f"- form={form} with objective={objective} at {', '.join(at)}: {reason}" for (form, objective, reason), at in lines.items()
    )
