"""How a set is judged: every choice, named, hashed and frozen. Free of torch, so that reports can name protocols.

docs/protocols.md gives the reason of each choice. A protocol never changes once it is released: another choice is
another name (``native-v2``), and a test pins the hashes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..errors import BenchError, unknown_name
from ..keys import digest, plain
from . import published
from .published import PublishedRecipe

#: ``Protocol.network``: the set's own network, or the data set's default where the set names none.
OWN_NETWORK = ""
#: ``Protocol.network``: the data set's default, whatever the set was made for.
DEFAULT_NETWORK = "default"

_MAX_STUDENTS = 1000


@dataclass(frozen=True)
class CommonRecipe:
    """The training recipe that ``common`` protocols impose on every set.

    Attributes:
        optimizer: as in ``TrainRecipe``.
        momentum: of the optimizer.
        weight_decay: added to the gradient.
        schedule: as in ``TrainRecipe``.
        lr_grid: learning rates, ascending, of which one is chosen on val; the middle one is used without val.
        lr_students: students per learning rate that is tried.
        presented_examples: images one student is shown, augmented ones counted each time.
        batch_size: images of every step; smaller sets repeat images within a step.
        augmentation_mirror: strategy where a left-right flip keeps the class.
        augmentation_upright: strategy where it does not (digits, letters).
    """

    optimizer: Literal["adam", "sgd"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["constant", "step", "cosine"] = "cosine"
    lr_grid: tuple[float, ...] = (0.001, 0.005, 0.01, 0.05, 0.1)
    lr_students: int = 2
    presented_examples: int = 32_000
    batch_size: int = 32
    augmentation_mirror: str = "crop_flip_scale_rotate"
    augmentation_upright: str = "crop_scale"

    @property
    def steps(self) -> int:
        """Optimizer steps of one student."""
        return self.presented_examples // self.batch_size

    @property
    def middle_lr(self) -> float:
        """The learning rate that is used where none can be chosen."""
        return self.lr_grid[len(self.lr_grid) // 2]


@dataclass(frozen=True)
class FullDataRecipe:
    """How students are trained on the full training split, for the full-data line.

    Attributes:
        optimizer: as in ``TrainRecipe``.
        lr: learning rate.
        schedule: as in ``TrainRecipe``.
        epochs: passes over the training split.
        least_examples: images one student is shown at least, where so many epochs would show fewer.
        batch_size: images per step.
        space: pixel space.
        augmentation: as in ``TrainRecipe``.
    """

    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = 1e-3
    schedule: Literal["constant", "step", "cosine"] = "cosine"
    epochs: int = 20
    least_examples: int = 64_000
    batch_size: int = 64
    space: str = "standard"
    augmentation: str = "none"

    def steps(self, images: int) -> int:
        """Return the optimizer steps of one student on so many images."""
        presented = max(self.epochs * images, self.least_examples)
        return math.ceil(presented / min(self.batch_size, images) - 1e-9)


@dataclass(frozen=True)
class Protocol:
    """All choices of the judge.

    Attributes:
        name: name with version.
        recipe: ``native`` trains students by the set's own recipe, ``common`` by one that is the same for all and chosen for
            ranking, ``published`` by one that a paper judges its sets with.
        students: fresh students per set.
        checkpoints: fractions of a student's steps at which it is scored; the last is 1.
        network: ``OWN_NETWORK``, ``DEFAULT_NETWORK`` or a network's name.
        val_selection_min: fewest validation images on which a checkpoint may be selected.
        common: the imposed recipe of ``common``, else ``None``.
        full_data: the recipe of the full-data line.
        published: the imposed recipe of ``published``, else ``None``.
    """

    name: str
    recipe: Literal["native", "common", "published"]
    students: int = 5
    checkpoints: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    network: str = OWN_NETWORK
    val_selection_min: int = 1000
    common: CommonRecipe | None = None
    full_data: FullDataRecipe = field(default_factory=FullDataRecipe)
    published: PublishedRecipe | None = None

    def choices(self) -> dict[str, Any]:
        """Return every choice as plain JSON."""
        choices: dict[str, Any] = plain(asdict(self))
        if self.published is None:  # a kind of choice that came later: the older protocols never made it
            del choices["published"]
        return choices

    @property
    def hash(self) -> str:
        """Hexadecimal digits that identify all choices, the number of students included."""
        hashed = self.choices()
        # The field had this name when the protocols were released; a better word is not another protocol.
        hashed["ceiling"] = hashed.pop("full_data")
        return digest(hashed)

    def as_json(self) -> dict[str, Any]:
        """Return every choice together with ``name`` and ``hash``, for the cell."""
        return {**self.choices(), "hash": self.hash}

    @classmethod
    def from_json(cls, choices: Mapping[str, Any]) -> Protocol:
        """Rebuild the very protocol that ``as_json`` described, whatever of a named one was changed.

        Raises:
            BenchError: the choices are not those of this version of the suite.
        """
        raw = _with_tuples(choices)
        try:
            raw["common"] = CommonRecipe(**_with_tuples(raw["common"])) if raw["common"] is not None else None
            if "published" in raw:
                raw["published"] = PublishedRecipe(**_with_tuples(raw["published"]))
            found = cls(**{**raw, "full_data": FullDataRecipe(**raw["full_data"])})
        except (AttributeError, KeyError, TypeError) as error:
            name = choices.get("name")
            raise BenchError(f"protocol {name} was written by another version of the suite ({error}); start the run again") from error
        if found.hash != choices.get("hash"):
            raise BenchError(f"protocol {found.name} does not have the choices of its hash {choices.get('hash')}; start the run again")
        return found

    def steps_at(self, steps: int) -> list[int]:
        """Return the numbers of steps at which a student of ``steps`` steps is scored, ascending, the last being all."""
        return sorted({max(1, round(fraction * steps)) for fraction in self.checkpoints})


def _with_tuples(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Undo what JSON did to tuples; the hash is no choice."""
    return {key: _tuple(value) for key, value in choices.items() if key != "hash"}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


PROTOCOLS: dict[str, Protocol] = {
    "native-v1": Protocol("native-v1", "native"),
    "common-v1": Protocol("common-v1", "common", network=DEFAULT_NETWORK, common=CommonRecipe()),
    "dc-v1": Protocol("dc-v1", "published", published=published.DC),
    "dsa-v1": Protocol("dsa-v1", "published", published=published.DSA),
    "mtt-v1": Protocol("mtt-v1", "published", published=published.MTT),
    "rat-v1": Protocol("rat-v1", "published", published=published.RAT),
    "frepo-v1": Protocol("frepo-v1", "published", network="widenet-d3-w128", published=published.FREPO),
}

#: What ``list`` says of each, in a few words; no choice, and so no part of the hash.
DESCRIPTIONS: dict[str, str] = {
    "native-v1": "the set's own recipe and network",
    "common-v1": "one recipe for all, its learning rate chosen on val",
    "dc-v1": "300 epochs of SGD without augmentation, as DC (Zhao et al. 2021)",
    "dsa-v1": "1,000 epochs of SGD with DSA's augmentation (Zhao & Bilen 2021)",
    "mtt-v1": "as dsa-v1 at the set's own learning rate, as MTT (Cazenavette et al. 2022)",
    "rat-v1": "600 steps of Adam on all images, as RaT-BPTT (Feng et al. 2024)",
    "frepo-v1": "squared error on a network without norms, as FRePo (Zhou et al. 2022)",
}


def get_protocol(name: str, students: int | None = None) -> Protocol:
    """Return the protocol called ``name``, with another number of students if one is given.

    Raises:
        BenchError: no protocol has that name, or the number of students is not between 1 and 1000.
    """
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    if students is None:
        return PROTOCOLS[name]
    if not 1 <= students <= _MAX_STUDENTS:
        raise BenchError(f"{students} students were asked for; give a whole number from 1 to {_MAX_STUDENTS}")
    return replace(PROTOCOLS[name], students=students)
