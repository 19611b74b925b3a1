"""A pool of networks of different ages that train on the distilled set while it is learned (FRePo, Zhou et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench import Batch
from bench.nn.networks import Parameters, forward, initial_parameters
from bench.nn.training import squared_error

from .._unroll import AdamState, FlatLayout, InnerAdam


class Pool:
    """Networks that age by a step of Adam each time they were used, and are drawn afresh when they are too old.

    Ages start evenly spread, so that not all networks are replaced together; the networks themselves start untrained.

    Attributes:
        max_age: a network older than this is replaced where it would be trained.
        ages: steps of each network since it was drawn, plus the head start that its first one had.
    """

    def __init__(
        self, architecture: nn.Module, size: int, max_age: int, adam: InnerAdam, draw: torch.Generator, device: torch.device
    ) -> None:
        """Draw ``size`` networks from the stream ``draw``."""
        self.architecture, self.max_age, self.adam, self.draw, self.device = architecture, max_age, adam, draw, device
        self.layout = FlatLayout.of(dict(architecture.named_parameters()))
        self.networks = [self._fresh() for _ in range(size)]
        self.ages = [index * (max_age // size) for index in range(size)]

    def parameters(self, index: int) -> Parameters:
        """Return the parameters of a network."""
        return self.layout.unflatten(self.networks[index].theta)

    def train(self, index: int, batch: Batch) -> None:
        """Train a network for one step by the squared error, or replace one that is too old or no longer finite."""
        if self.ages[index] > self.max_age:
            self.replace(index)
            return
        state = self.networks[index]
        theta = state.theta.detach().requires_grad_()
        with torch.enable_grad():
            loss = squared_error(forward(self.architecture, self.layout.unflatten(theta), batch.images), batch.labels)
        (gradient,) = torch.autograd.grad(loss, theta)
        trained = self.adam.update_in_place(state, gradient)
        self.networks[index], self.ages[index] = trained, self.ages[index] + 1
        if not bool(trained.theta.isfinite().all()):
            self.replace(index)

    def replace(self, index: int) -> None:
        """Put a fresh network into a place."""
        self.networks[index], self.ages[index] = self._fresh(), 0

    def state(self) -> dict[str, Tensor]:
        """Return everything but the stream that fresh networks come from."""
        parts = {name: torch.stack([getattr(network, name) for network in self.networks]) for name in ("theta", "first", "second")}
        return parts | {"steps": torch.tensor([int(network.step) for network in self.networks]), "ages": torch.tensor(self.ages)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on with the networks of a state."""
        theta, first, second = (state[name].to(self.device, copy=True).unbind() for name in ("theta", "first", "second"))
        self.networks = list(map(AdamState, theta, first, second, state["steps"].tolist()))
        self.ages = state["ages"].tolist()

    def _fresh(self) -> AdamState:
        return self.adam.start(self.layout.ordered(initial_parameters(self.architecture, self.draw, self.device)))
