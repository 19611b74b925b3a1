"""The outer loop, one for all objectives: optimizer, clipping, averaging, checkpoints, resuming, reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from bench import Between, DistilledSet, OuterGradient, Parameterization, Run, Task
from bench.search import Search
from bench.train_recipe import Rate

#: Raised when the same gradients move the stored numbers otherwise; part of the key of every product with an objective.
VERSION = 1

#: A rule for a running norm, none, or the largest norm itself.
Clip = Literal["corrected", "official", "off"] | Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True)
class Outer:
    """How the stored numbers follow their gradients. Objectives supply defaults of their own (``outer_defaults``).

    Attributes:
        outer_iterations: outer steps of the full recipe.
        outer_optimizer: ``adam`` or ``sgd``.
        outer_lr: learning rate of stored images and other numbers.
        label_lr: learning rate of learned labels.
        outer_momentum: of ``sgd``.
        outer_schedule: ``constant`` as in the papers, or ``cosine`` to a hundredth (for short runs).
        average: share of the run at whose end the outer iterates are averaged; 0 returns the last one, as the papers.
        clip: gradient clipping of all but labels by a running norm s: ``corrected`` (threshold 2s from before, s updated
            with the clipped norm), ``official`` (s updated first with the raw norm, as RaT-BPTT's authors) or ``off``; a
            number is the largest norm itself, the same at every step. Non-finite gradients are skipped, whatever it is.
    """

    search: ClassVar[Mapping[str, Search | None]] = {"outer_lr": Between(1e-3, 1e-1)}

    outer_iterations: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1000
    outer_optimizer: Literal["adam", "sgd"] = "adam"
    outer_lr: Rate = 1e-3
    label_lr: Rate = 1e-3
    outer_momentum: Rate = 0.5
    outer_schedule: Literal["constant", "cosine"] = "constant"
    average: Annotated[float, Field(ge=0, le=1)] = 0.0
    clip: Clip = "off"


@dataclass
class NormClip:
    """Clips a gradient at twice a running mean of its norm (decay 0.9), or at a fixed norm.

    Attributes:
        mode: see ``Outer.clip``.
        running: the running norm s, or ``nan`` before the first step.
    """

    mode: Clip
    running: float = math.nan

    def factor(self, norm: float) -> float:
        """Return what to multiply a gradient of this norm by, and update the running norm.

        The authors update s with the raw norm before they form the threshold 2s, so that clipping starts only above
        2.25 times the old s and one outlier inflates s for some twenty steps.
        """
        if self.mode == "off":
            return 1.0
        if isinstance(self.mode, float):
            return min(1.0, self.mode / (norm + 1e-6))
        if math.isnan(self.running) or self.running == 0.0:  # nothing to compare with: a running mean of zero would stay zero
            self.running = norm
            return 1.0
        if self.mode == "official":
            self.running = 0.9 * self.running + 0.1 * norm
            return min(1.0, 2.0 * self.running / (norm + 1e-6))
        threshold = 2.0 * self.running
        self.running = 0.9 * self.running + 0.1 * min(norm, threshold)
        return min(1.0, threshold / (norm + 1e-6))


class OuterLoop:
    """Moves the trained tensors of one parameterization along the gradients of one run; resumable at every step."""

    def __init__(self, outer: Outer, task: Task, stored: Parameterization, run: Run) -> None:
        """Put everything in place; ``stored`` is on the task's device."""
        self.outer, self.task, self.stored, self.run = outer, task, stored, run
        self.total, self.done = task.steps(outer.outer_iterations), 0
        own = run.trained()
        self.trained = {**stored.trained(), **{name: tensor for name, (tensor, _) in own.items()}}
        self.optimizer = _optimizer(outer, stored, own)
        self.clip = NormClip(outer.clip)
        self.average: dict[str, Tensor] = {}
        self.good: dict[str, Tensor] = {}  # where the last step began in which no student diverged, of objectives that can tell
        self.skipped = 0

    def finish(self, make: Callable[[], DistilledSet] | None = None) -> None:
        """Take all outer steps; afterwards the parameterization holds the distilled set.

        Args:
            make: wraps the parameterization as it is now, for whoever looks at the set on the way.
        """
        self._resume()
        while self.done < self.total:
            found = self.run.gradient(self.stored, self.done / max(1, self.total - 1))
            self._take(found)
            self.done += 1
            self._accumulate_average()
            self.task.report(self.done, self.total, loss=found.loss)
            if make and self.done < self.total:  # the last one is offered once it is averaged
                self.task.offer(self.done, self.total, make, self.outer.outer_schedule)
            self.task.checkpoint(self.state)
        if not all(bool(tensor.isfinite().all()) for tensor in self.trained.values()):
            self._go_back()  # the last step of all, which no other one has tried
        if self.average:
            count = float(self.average["count"])
            with torch.no_grad():
                for name, tensor in self.trained.items():
                    tensor.copy_(self.average[name] / count)
        if make:
            self.task.offer(self.total, self.total, make, self.outer.outer_schedule)
        self.task.note(**self.run.facts())
        if self.skipped:
            # A run that learned nothing must not look like one that did.
            self.task.note(skipped_steps=self.skipped)

    def _is_clipped(self, name: str) -> bool:
        """Tell images and what else is stored from labels and from the objective's own numbers."""
        return self.stored.roles.get(name, "label") != "label"

    def _take(self, found: OuterGradient) -> None:
        """Take one step, unless it would lead nowhere: one exploding window must not poison the moments for ever."""
        if found.diverged or not all(bool(g.isfinite().all()) for g in found.gradients.values()):
            self.skipped += 1
            if found.diverged:
                self._go_back()
            return
        if found.diverged is False:
            self.good = {name: tensor.detach().clone() for name, tensor in self.trained.items()}
        self._descend(found.gradients)

    @torch.no_grad()
    def _go_back(self) -> None:
        """Go on from the last numbers that are known to be good, without the optimizer's memory of what led away from them."""
        for name, tensor in self.good.items():
            self.trained[name].copy_(tensor)
        if self.good:
            self.optimizer.state.clear()

    def _descend(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step of the optimizer and bring the numbers back to legal values."""
        # The norm is that of the images alone, as in the authors' code, so that label gradients do not decide it.
        pixels = [g for name, g in gradients.items() if self._is_clipped(name)]
        factor = self.clip.factor(float(torch.stack([g.square().sum() for g in pixels]).sum().sqrt())) if pixels else 1.0
        for name, tensor in self.trained.items():
            gradient = gradients.get(name)
            tensor.grad = gradient * factor if gradient is not None and self._is_clipped(name) else gradient
        decay = 1.0
        if self.outer.outer_schedule == "cosine":
            decay = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * self.done / self.total))
        for group in self.optimizer.param_groups:
            group["lr"] = decay * group["full_lr"]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.stored.project()
        self.run.project()

    def _accumulate_average(self) -> None:
        # With average=0 this holds at every step, and the last iterate is kept.
        if self.done <= self.total * (1.0 - self.outer.average):
            return
        # The count is a tensor among the others, so that checkpoints carry it.
        current = {name: tensor.detach() for name, tensor in self.trained.items()} | {"count": torch.ones((), device=self.task.device)}
        if not self.average:
            self.average = {name: torch.zeros_like(tensor) for name, tensor in current.items()}
        for name, tensor in current.items():
            self.average[name] += tensor

    def state(self) -> dict[str, Tensor]:
        """Return everything that decides how the run goes on, as tensors."""
        state = {f"stored.{name}": tensor.detach() for name, tensor in self.trained.items()}
        for name, tensor in self.trained.items():
            state |= {
                f"optimizer.{name}.{what}": value for what, value in self.optimizer.state.get(tensor, {}).items() if value is not None
            }
        state |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        state |= {f"good.{name}": tensor for name, tensor in self.good.items()}
        state |= {f"run.{name}": tensor for name, tensor in self.run.state().items()}
        state |= self.run.streams.state()
        return state | {"progress": torch.tensor([self.done, self.clip.running, self.skipped], dtype=torch.float64)}

    def _resume(self) -> None:
        saved = self.task.resume_from
        if saved is None or not self.run.load(_below("run.", saved)):
            return
        self.run.streams.load(saved)
        done, self.clip.running, skipped = saved["progress"].tolist()
        self.done, self.skipped = int(done), int(skipped)
        with torch.no_grad():
            for name, tensor in self.trained.items():
                tensor.copy_(saved[f"stored.{name}"])
                for what, value in _below(f"optimizer.{name}.", saved).items():
                    if "." in what:
                        continue  # of a tensor whose name begins like this one's; "step", "exp_avg" and the like have no dots
                    # Adam counts its steps on the host; what it remembers of gradients lies where the tensor lies.
                    self.optimizer.state[tensor][what] = value.clone() if what == "step" else value.to(tensor.device, copy=True)
        self.average = {name: tensor.to(self.task.device, copy=True) for name, tensor in _below("average.", saved).items()}
        self.good = {name: tensor.to(self.trained[name].device, copy=True) for name, tensor in _below("good.", saved).items()}


def _below(prefix: str, saved: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in saved.items() if name.startswith(prefix)}


def _optimizer(outer: Outer, stored: Parameterization, own: Mapping[str, tuple[Tensor, float]]) -> torch.optim.Optimizer:
    """Return PyTorch's optimizer: a group for images and other stored numbers, one for labels, one for each of the objective's own."""
    rates = {True: outer.label_lr, False: outer.outer_lr}
    members = [([t for n, t in stored.trained().items() if (stored.roles[n] == "label") == label], rate) for label, rate in rates.items()]
    members += [([tensor], rate) for tensor, rate in own.values()]
    # ``full_lr`` outlives the schedule, which overwrites ``lr`` at every step.
    groups = [{"params": tensors, "lr": rate, "full_lr": rate} for tensors, rate in members if tensors]
    if outer.outer_optimizer == "sgd":
        return torch.optim.SGD(groups, lr=outer.outer_lr, momentum=outer.outer_momentum)
    return torch.optim.Adam(groups, lr=outer.outer_lr)
