"""How a student is trained on a set: a closed list of names and numbers. Free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

Optimizer = Literal["adam", "sgd"]
Schedule = Literal["constant", "step", "cosine"]
Loss = Literal["cross_entropy", "mse"]


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
        schedule: ``constant``, ``step`` (a tenth after half the steps) or ``cosine`` (to zero).
        augmentation: strategy of ``bench.nn.augment``, e.g. ``none`` or ``flip_rotate``.
        loss: ``cross_entropy``, −Σ_c y_c log softmax(z)_c of logits z and targets y, or ``mse``, ½·Σ_c (z_c − y_c)²; both are
            averaged over the batch. Centred targets need ``mse``: their cross-entropy has no lower bound.

    Example:
        >>> from bench import TrainRecipe
        >>> recipe = TrainRecipe(optimizer="sgd", lr=0.01, momentum=0.9, steps=200)
        >>> recipe.problems(), recipe.scalars()
        ([], 5)
        >>> TrainRecipe(steps=0).problems()
        ['recipe steps is 0; it must be a whole number from 1 to 1000000']
    """

    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    steps: int = 300
    batch_size: int = 0
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    augmentation: str = "none"
    loss: Loss = "cross_entropy"

    def problems(self) -> list[str]:
        """Return one sentence per field that no student could be trained with."""
        found = []
        for name, kind in (("optimizer", Optimizer), ("schedule", Schedule), ("loss", Loss)):
            if getattr(self, name) not in (options := get_args(kind)):
                found.append(f"recipe {name} is {getattr(self, name)!r}; it must be one of {', '.join(options)}")
        for name, low, high in (("steps", 1, 1_000_000), ("batch_size", 0, 1_000_000)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                found.append(f"recipe {name} is {value!r}; it must be a whole number from {low} to {high}")
        for name in ("lr", "momentum", "weight_decay"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value < 1e300:  # a whole number may be too large for isfinite
                found.append(f"recipe {name} is {value!r}; it must be a finite number of at least 0")
        if not isinstance(self.augmentation, str) or len(self.augmentation) > 64:
            found.append("recipe augmentation must be the name of a strategy")
        return found

    def scalars(self) -> int:
        """Count the numbers the recipe carries."""
        return sum(isinstance(value, (int, float)) for value in asdict(self).values())
