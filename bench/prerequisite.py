"""What several cells share and is built once: fitted whitenings, features, class distances, expert trajectories."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .keys import digest
from .registry import PREREQUISITES
from .seeding import stream

if TYPE_CHECKING:
    import torch

    from .data import Spec, Split


@dataclass(frozen=True)
class Need:
    """A prerequisite that somebody asks for, by its registered name.

    Attributes:
        name: registered name.
        config: plain JSON; the builder's fields that differ from their defaults.
        seed: which of several equal ones: two feature networks differ in their seed alone.

    Example:
        >>> from bench import Need
        >>> Need("features", {"steps": 100}, seed=1)
        Need(name='features', config={'steps': 100}, seed=1)
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Workshop:
    """Everything the builder of a prerequisite may look at, and the folder it writes into.

    Attributes:
        spec: names and shapes of the data set.
        train: the training split; validation and test images are closed.
        seed: of the need.
        key: names the random streams.
        folder: where files are written, ``manifest.json`` being the only name that is taken. After an interrupted build
            it still holds what was written before, so a builder may go on from there; a file may then be cut short.
        device: where to compute.
        find: returns the folder of another prerequisite that ``needs`` named.
        on_report: called with ``(step, total, scalars)``.

    Example:
        The suite makes one; a builder reads and writes like this.

        >>> from bench import Workshop
        >>> def build(workshop: Workshop) -> None:
        ...     means = [workshop.train.unit_images(workshop.train.of_class(c)).mean() for c in range(workshop.spec.classes)]
        ...     (workshop.folder / "means.txt").write_text(" ".join(f"{mean:.6f}" for mean in means))
        ...     workshop.report(1, 1)
    """

    spec: Spec
    train: Split
    seed: int
    key: str
    folder: Path
    device: torch.device
    find: Callable[[Need], Path]
    on_report: Callable[[int, int, Mapping[str, float]], None]

    def generator(self, *names: str | int) -> torch.Generator:
        """Return the generator of one random stream of this build; equal names give equal streams."""
        return stream("prerequisite", self.key, *names)

    def report(self, step: int, total: int, **scalars: float) -> None:
        """Tell the progress display how far the build is."""
        self.on_report(step, total, scalars)


class Prerequisite(ABC):
    """A builder. Concrete ones are frozen dataclasses whose fields are their plain-JSON config.

    Attributes:
        name: registered name.
        version: raised when the same config gives other files; it is part of the key.
        writes: names of files that every build leaves, beside any others. What lacks one of them, because it was built before its
            builder wrote that file, is built again; so a file can be added without another key.

    Example:
        >>> from dataclasses import dataclass
        >>> import torch
        >>> from bench import Prerequisite, Workshop
        >>> @dataclass(frozen=True)
        ... class Directions(Prerequisite):
        ...     name = "directions"
        ...     count: int = 8
        ...
        ...     def build(self, workshop: Workshop) -> None:
        ...         drawn = torch.randn(self.count, *workshop.spec.shape, generator=workshop.generator("directions"))
        ...         torch.save(drawn, workshop.folder / "directions.pt")
        >>> Directions().key(seed=0, data_hash="d") == Directions(8).key(seed=0, data_hash="d")
        True
        >>> Directions().key(seed=0, data_hash="d") == Directions().key(seed=1, data_hash="d")
        False
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    writes: ClassVar[tuple[str, ...]] = ()

    def needs(self, seed: int) -> tuple[Need, ...]:
        """Return what must be built before the one of ``seed``; the default is nothing."""
        del seed
        return ()

    def disk_bytes(self, spec: Spec) -> int | None:
        """Return about how many bytes its files will have on a data set, or ``None`` where they are few or not known."""
        del spec
        return None

    def flops(self, spec: Spec, images: int) -> float | None:
        """Return about how many operations building it from so many training images takes, or ``None`` if that is not known."""
        del spec, images
        return None

    @abstractmethod
    def build(self, workshop: Workshop) -> None:
        """Write the files into ``workshop.folder``, and remove what was only needed to go on.

        Randomness comes from ``workshop.generator`` alone. The files of the data set and the network are closed.
        """

    def key(self, seed: int, data_hash: str) -> str:
        """Return the name of its folder: a hash of everything that can change the files, what it needs included."""
        config = asdict(self)  # type: ignore[call-overload]
        content = {"prerequisite": self.name, "version": self.version, "config": config, "seed": seed, "data": data_hash}
        if needs := self.needs(seed):
            content["needs"] = [PREREQUISITES[need.name](**need.config).key(need.seed, data_hash) for need in needs]
        return digest(content)


def unannounced(need: Need) -> LookupError:
    """Return the error for a prerequisite that is asked for and was never planned."""
    return LookupError(f"prerequisite '{need.name}' was not announced; name it in Resolution.needs")
