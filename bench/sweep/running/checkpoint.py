"""The checkpoint of a cell that distils: written now and then, read when an interrupted run goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired

from pydantic import with_config
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from typing_extensions import TypedDict

from ...files import regular, replacing
from ...record_parts import Curve
from ...schema import STRICT, Amount, Count, Schema

_EVERY = 30.0  # seconds


@with_config(STRICT)
class About(TypedDict):
    """What a checkpoint file says beside its tensors."""

    code_hash: str
    seconds: Amount
    calls: Count
    curve: NotRequired[Curve]
    losses: NotRequired[list[float]]


_ABOUT: Schema[About] = Schema(About)


@dataclass
class CheckpointFile:
    """One safetensors file that always holds a whole checkpoint or does not exist.

    Attributes:
        file: its path.
        code_hash: hash of the method's code; a checkpoint of other code is not gone on from.
        seconds_before: seconds spent by the runs that led to the loaded checkpoint.
        calls_before: validation calls made by them.
        curve: the points of the curve so far, or ``None``.
        losses: sum and number of the losses since its last point.
    """

    file: Path
    code_hash: str
    seconds_before: float = 0.0
    calls_before: int = 0
    curve: Curve | None = None
    losses: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _paused: float = 0.0
    _started: float = field(default_factory=time.monotonic)
    _written: float = field(default_factory=time.monotonic)

    def load(self) -> dict[str, Tensor] | None:
        """Return the tensors of the last checkpoint, or ``None`` if there is none of this code."""
        try:
            with safe_open(regular(self.file), framework="pt") as stored:
                about = _ABOUT.read((stored.metadata() or {})["ddbench"])
                if about["code_hash"] != self.code_hash:
                    return None
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 - not a dictionary
        except (OSError, SafetensorError, ValueError, LookupError, RuntimeError):
            return None
        self.seconds_before, self.calls_before = about["seconds"], about["calls"]
        self.curve, self.losses = about.get("curve"), about.get("losses", self.losses)
        return tensors

    def seconds(self) -> float:
        """Return how long the distillation has taken, with the runs before and without the time that was ``paused``."""
        return self.seconds_before + time.monotonic() - self._started - self._paused

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let what is done inside not count as distillation."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._paused += time.monotonic() - started

    def offer(self, state: Callable[[], Mapping[str, Tensor]], calls: int) -> None:
        """Write a checkpoint, unless the last one was written less than half a minute ago.

        Args:
            state: returns what the method needs to go on; called only if that is written.
            calls: validation calls made by this process so far.
        """
        now = time.monotonic()
        if now - self._written < _EVERY:
            return
        about = About(code_hash=self.code_hash, seconds=self.seconds(), calls=self.calls_before + calls)
        if self.curve is not None:
            about |= {"curve": self.curve, "losses": self.losses}
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state().items()}
        with replacing(self.file) as scratch:
            # All in one metadata key, because the order of several is not fixed.
            save_file(tensors, scratch, metadata={"ddbench": json.dumps(about)})
        self._written = time.monotonic()

    def discard(self) -> None:
        """Remove the file, if it is there."""
        self.file.unlink(missing_ok=True)
