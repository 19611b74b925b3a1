"""``new method NAME``: a method file that runs, passes the contract tests, and asks to be changed."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from .. import methods
from ..errors import BenchError
from ..registry import METHODS

_TEMPLATE = '''"""@TITLE@: say in one sentence what the method does.

Paper: authors, title, year, arXiv number.
What differs from the authors' code, and why: nothing yet.
Stored: images of one size, the same number of every class; their order says their class, so no label is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from bench import METHODS, Budget, DistilledSet, Method, PlanContext, Resolution, Spec, Task, TrainRecipe

from @PARTS@.images import Images, lowres_size


@METHODS.register("@NAME@")
@dataclass(frozen=True, kw_only=True)
class @CLASS@(Method):
    """Every image is the average of real ones of its class: an example to be replaced.

    Attributes:
        steps: outer steps; each averages one more real image per class into the set.
        lr: learning rate of the students.
        student_steps: steps a student is trained.
    """

    name: ClassVar[str] = "@NAME@"
    version: ClassVar[int] = 1  # raise it whenever results change
    reference: ClassVar[str] = "@NAME@: name its paper here"

    steps: int = 20
    lr: float = 1e-3
    student_steps: int = 300

    def refuses(self, spec: Spec, budget: Budget) -> str | None:
        """Refuse budgets below one pixel per class."""
        if budget.pixels < spec.classes:
            return f"it keeps an image per class, and {budget.pixels} px are too few for {spec.classes} classes"
        return None

    def resolve(self, context: PlanContext) -> Resolution:
        """Say that images are kept smaller where full ones do not fit."""
        return Resolution(self, adapted="" if context.budget.images_per_class else "lowres")

    def outer_steps(self) -> int:
        """Return the steps of the full recipe; ``--effort`` scales them."""
        return self.steps

    def distill(self, task: Task) -> DistilledSet:
        """Average random real images of every class."""
        spec, per_class = task.spec, max(1, task.budget.images_per_class)
        size = lowres_size(task.budget.pixels // (spec.classes * per_class), spec.height, spec.width)
        stored = Images(spec, spec.classes * per_class, size)
        labels = torch.arange(spec.classes).repeat_interleave(per_class)
        members = [task.train.of_class(int(label)) for label in labels]
        generator = task.generator("real images")
        total = torch.zeros(len(labels), *spec.shape)
        steps = task.steps(self.steps)
        for step in range(1, steps + 1):
            picks = torch.stack([m[torch.randint(len(m), (), generator=generator)] for m in members])
            total += task.train.unit_images(picks)
            task.report(step, steps)
        stored.write(total / steps, labels)
        return DistilledSet(spec, stored, TrainRecipe(lr=self.lr, steps=self.student_steps), coordinates="rgb")
'''


def new_method(name: str, folder: Path | None = None) -> Path:
    """Write a runnable method file.

    Args:
        name: name of the method, e.g. ``my_method``.
        folder: where the file is put; the folder of the plugins by default.

    Returns:
        Path of the new file.

    Raises:
        BenchError: the name is no good or taken, or the file cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise BenchError(f"'{name}' cannot name a method; use small letters, digits and underscores, e.g. my_method")
    if name in METHODS:
        raise BenchError(f"a method '{name}' exists already; choose another name")
    home = Path(methods.__path__[0])
    parts = "bench.decoders"
    if folder is not None and folder.resolve() != home.resolve():
        home = folder
    file = home / f"{name}.py"
    text = _TEMPLATE
    if parts.startswith("bench"):
        text = text.replace("TrainRecipe\n\nfrom @PARTS@", "TrainRecipe\nfrom @PARTS@")
    for mark, value in (("@TITLE@", name), ("@NAME@", name), ("@PARTS@", parts), ("@CLASS@", _class_name(name))):
        text = text.replace(mark, value)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise BenchError(f"{file} exists already; nothing was changed") from error
    except OSError as error:
        raise BenchError(f"{file} cannot be written: {error.strerror}; choose a folder with --into") from error
    return file


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_") if part)
