"""What only people know of a released set: the options by which they say it. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from ..errors import BenchError, shorten, unknown_name
from ..fields import hyperparameters
from ..train_recipe import TrainRecipe
from ..yaml_text import read_yaml

LabelName = Literal["order", "ids", "one_hot", "probabilities", "weights", "logits", "centred", "fixed", "proportional", "learned"]
FlatOrder = Literal["chw", "hwc"]
Crops = Literal["bounded", "toroidal"]
#: The longest class order; more classes than any data set here has.
_MOST_CLASSES = 100_000


@dataclass(frozen=True)
class Options:
    """What is known of a set beside its files. An empty value is not known.

    Attributes:
        images: name of the array that holds the images, where several could.
        label_array: name of the array that holds the labels, where several could.
        space: pixel space of the stored numbers, ``rgb``, ``rgb:SPACE`` or ``normalised:NAME``; see ``pixel_space``.
        labels: what the labels are.
        order: the class of every image where they go by order, or of every area of a poster; ``identity`` is 0, 1, 2, ...
        flat: how the numbers of an image follow each other where it is stored as one row.
        tiles: tiles per side in each stored image; 1 says that they are whole images.
        patches: (columns, rows) of a poster's patches.
        class_grid: (columns, rows) of a poster's class areas.
        crops: whether a poster's patches end at its edges or go on at the opposite one; unknown is ``bounded``.
        recipe: fields of ``TrainRecipe`` by which a student is trained under the protocol ``native``.
        network: student network the set was made for.
    """

    images: str = ""
    label_array: str = ""
    space: str = ""
    labels: LabelName | Literal[""] = ""
    order: tuple[int, ...] | Literal["identity", ""] = ""
    flat: FlatOrder | Literal[""] = ""
    tiles: int = 0
    patches: tuple[int, int] | None = None
    class_grid: tuple[int, int] | None = None
    crops: Crops | Literal[""] = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    network: str = ""

    def given(self) -> dict[str, str]:
        """Return those that are known, as plain JSON: text as it is typed."""
        return {name: typed(name, value) for name, value in asdict(self).items() if value not in ("", 0, None, {})}


def typed(option: str, value: Any) -> str:
    """Return the value of an option as it is typed."""
    if isinstance(value, tuple):
        return ("-" if option == "order" else "x").join(map(str, value))
    return ",".join(f"{key}={each}" for key, each in value.items()) if isinstance(value, Mapping) else str(value)


def parse_options(texts: Mapping[str, str]) -> Options:
    """Read options as they are typed; those that are empty are left out.

    Args:
        texts: name of a field of ``Options`` -> text.

    Raises:
        BenchError: a value is no value of its option.
    """
    return Options(**{name: _READERS.get(name, _text)(text, f"--{name.replace('_', '-')}") for name, text in texts.items() if text})


def _text(text: str, what: str) -> str:
    del what
    return text


def _one_of(*known: str) -> Callable[[str, str], str]:
    def read(text: str, what: str) -> str:
        name = text.replace("-", "_")
        if name not in known:
            raise unknown_name(f"value of {what}", text, known)
        return name

    return read


def _order(text: str, what: str) -> tuple[int, ...] | str:
    if text == "identity":
        return text
    parts = text.replace("-", ",").split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() and len(part) < 8 for part in parts) or len(parts) > _MOST_CLASSES:
        raise BenchError(f"{what} is {shorten(text)}; write the class numbers in order, like 0-8-5-7-4-1-9-3-2-6, or identity")
    return tuple(map(int, parts))


def _grid(text: str, what: str) -> tuple[int, int]:
    columns, sign, rows = text.partition("x")
    if not sign or not all(part.isascii() and part.isdigit() and 0 < len(part) < 6 and int(part) for part in (columns, rows)):
        raise BenchError(f"{what} is {shorten(text)}; write columns x rows, like 16x6")
    return int(columns), int(rows)


def _count(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:3]) <= 64 and len(text) < 3):
        raise BenchError(f"{what} is {shorten(text)}; give the number of tiles along one side of a stored image, from 1 to 64")
    return int(text)


def _recipe(text: str, what: str) -> dict[str, Any]:
    """Read ``optimizer=adam,lr=1e-3``: fields of ``TrainRecipe``."""
    known = hyperparameters(TrainRecipe, "a recipe")
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign:
            raise BenchError(f"{what} is {shorten(text)}; write field=value,field=value")
        if name not in known:
            raise unknown_name(f"field of {what}", name, known)
        found[name] = known[name].read(read_yaml(value, what), f"{what}: field '{name}'")
    return found


_READERS: dict[str, Callable[[str, str], Any]] = {
    "labels": _one_of(*get_args(LabelName)),
    "order": _order,
    "flat": _one_of(*get_args(FlatOrder)),
    "tiles": _count,
    "patches": _grid,
    "class_grid": _grid,
    "crops": _one_of(*get_args(Crops)),
    "recipe": _recipe,
}

#: Every option by name.
NAMES = tuple(each.name for each in fields(Options))
