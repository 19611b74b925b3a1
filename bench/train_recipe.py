"""How a student is trained on a set: a closed list of names and numbers. Free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from pydantic import Field

from .errors import shorten
from .fields import hyperparameters

Optimizer = Literal["adam", "sgd"]
Schedule = Literal["constant", "step", "cosine", "warmup_cosine"]
Loss = Literal["cross_entropy", "mse"]
Rate = Annotated[float, Field(ge=0)]
Steps = Annotated[int, Field(ge=1, le=1_000_000)]
BatchSize = Annotated[int, Field(ge=0, le=1_000_000)]


@dataclass(frozen=True)
class TrainRecipe:
    """How a student is to be trained on the set. Closed: these numbers and no others, all of them counted.

    Attributes:
        optimizer: ``adam`` (betas 0.9, 0.999, epsilon 1e-8) or ``sgd``.
        lr: learning rate; learned ones live here, where they are seen.
        steps: optimizer steps of one student.
        batch_size: images per step, drawn without replacement within a step; 0 means all of them.
        momentum: of ``sgd``.
        weight_decay: added to the gradient, as in torch.
        schedule: ``constant``, ``step`` (a tenth after half the steps), ``cosine`` (to zero) or ``warmup_cosine`` (a line from zero
            over 500 steps, then a cosine to a hundredth).
        augmentation: strategy of ``bench.nn.augment``, e.g. ``none`` or ``flip_rotate``.
        loss: ``cross_entropy``, −Σ_c y_c log softmax(z)_c of logits z and targets y, or ``mse``, ½·Σ_c (z_c − y_c)²; both are
            averaged over the batch. Centred targets need ``mse``: their cross-entropy has no lower bound.

    Example:
        >>> from bench import TrainRecipe
        >>> recipe = TrainRecipe(optimizer="sgd", lr=0.01, momentum=0.9, steps=200)
        >>> recipe.problems(), recipe.scalars()
        ([], 5)
        >>> TrainRecipe(steps=0).problems()
        ['recipe steps is 0; it should be greater than or equal to 1']
    """

    optimizer: Optimizer = "adam"
    lr: Rate = 1e-3
    steps: Steps = 300
    batch_size: BatchSize = 0
    momentum: Rate = 0.0
    weight_decay: Rate = 0.0
    schedule: Schedule = "constant"
    augmentation: Annotated[str, Field(max_length=64)] = "none"
    loss: Loss = "cross_entropy"

    def problems(self) -> list[str]:
        """Return one sentence per field that no student could be trained with."""
        found = []
        for name, declared in _FIELDS.items():
            try:
                declared.fitting(getattr(self, name))
            except ValueError as error:
                found.append(f"recipe {name} is {shorten(getattr(self, name))}; {error}")
        return found

    def scalars(self) -> int:
        """Count the numbers the recipe carries."""
        return sum(isinstance(value, (int, float)) for value in asdict(self).values())


#: Read here, since pydantic imports parts of itself for the first type, and sets are read where imports count as reaching out.
_FIELDS = hyperparameters(TrainRecipe, "recipe")
