"""A set that somebody else released, as a contestant.

``run_bench.py import FILES --dataset NAME --name NAME`` turns a released file into a set of this suite and keeps it in the out
folder; this method takes it from there, read-only, and hands it to the judge like any other: ``imported[name=NAME]``. Whoever
made it trained on all images, our validation images among them, so ``--split paper`` is where it belongs; in split ``dev`` its
rows are marked and not ranked.

Stored: what the released files store, see the origin in the notes of the set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bench import METHODS, BenchError, DistilledSet, Method, PlanContext, Refusal, RejectedSet, Resolution, Task
from bench.imported_set import SetName, found_set, need_of


@METHODS.register("imported")
@dataclass(frozen=True)
class Imported(Method):
    """A released set, taken as it was imported.

    Attributes:
        set: the name under which it was imported; ``name`` is another name of this field.
    """

    name: ClassVar[str] = "imported"
    reference: ClassVar[str] = "whoever released the set; its origin is in the notes"
    deterministic: ClassVar[bool] = True
    aliases: ClassVar[Mapping[str, str]] = {"name": "set"}

    set: SetName = ""

    def plan(self, context: PlanContext) -> Resolution | Refusal:
        """Take the set if it is there, of this data set, and within the budget.

        Raises:
            BenchError: no set was imported under this name, or it cannot be read.
        """
        if not self.set:
            return Refusal("it needs the name under which a set was imported: imported[name=NAME]")
        need = need_of(self.set)
        try:
            found = found_set(context.find(need))
            if found.manifest["dataset"] != context.spec.name:
                return Refusal(f"the set '{self.set}' was imported for {found.manifest['dataset']}, not for {context.spec.name}")
            distilled = DistilledSet.load(found.folder, context.spec)
        except (RejectedSet, OSError) as error:
            raise BenchError(f"the imported set '{self.set}' cannot be used ({error}); import it again") from error
        pixels = distilled.parameterization.pixels
        if pixels > context.budget.pixels:
            return Refusal(f"the set '{self.set}' stores {pixels} pixels, and the budget allows {context.budget.pixels}")
        return Resolution(
            self,
            plan={"content": found.content},
            notes=(found.origin, *filter(None, [found.trial])),
            network=distilled.network,
            needs=(need,),
            origin=found.origin,
        )

    def distill(self, task: Task) -> DistilledSet:
        """Hand on the set that was planned.

        Raises:
            BenchError: another one was imported under its name since.
        """
        need = need_of(self.set)
        found = found_set(task.prerequisite(need.name, **need.config))
        if found.content != task.plan["content"]:
            raise BenchError(f"another set was imported under the name '{self.set}' after the run was planned; start it again")
        return DistilledSet.load(found.folder, task.spec)
