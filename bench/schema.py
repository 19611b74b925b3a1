"""What is read from a JSON file is checked against a type; the first thing that does not fit becomes a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, GetPydanticSchema, TypeAdapter, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError, from_json

from .errors import shorten

T = TypeVar("T")

_MOST = 10**18

#: Of all files: nothing is converted, nothing unknown is passed over, no number is infinite.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

#: A whole number of things, none included.
Count = Annotated[int, Field(ge=0, le=_MOST)]
#: A whole number of things of which there must be one.
Positive = Annotated[int, Field(ge=1, le=_MOST)]
#: A name of a registry: part of file names, and typed on a command line.
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", max_length=200)]
#: A data set as it is typed, maybe with parameters in brackets. Whatever makes a file name of it leaves the brackets out.
DataSetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(\[[^\x00-\x1f\x7f-\x9f]*\])?$", max_length=2000)]
#: A key: the name of a file or folder.
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=200)]

#: A text on one line, without characters that cannot be drawn: labels of rows and of curves.
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


def _amount(value: Any) -> Any:
    if type(value) not in (int, float) or not 0 <= value <= 1e30:
        raise ValueError("must be a number from 0 to 1e30")
    return value


#: Seconds, megabytes, operations: whole numbers stay whole. The bound keeps sums of several from overflowing.
Amount = Annotated[Any, AfterValidator(_amount)]


def _plain(value: Any) -> Any:
    for path, number in _floats(value, ""):
        if not math.isfinite(number):
            raise PydanticCustomError("not_finite", "", {"path": path, "number": number})
    return value


def _floats(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _floats(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _floats(item, f"{path}.{index}")


#: Any JSON object of finite numbers, whose names are up to whoever wrote it.
Free = Annotated[dict[str, Any], AfterValidator(_plain)]
#: For what else may be anything, but must not hold a number that is none.
FINITE = AfterValidator(_plain)


def fits(kind: Any) -> GetPydanticSchema:
    """Annotate a plain ``dict[str, Any]`` with the TypedDict that it is checked against, so that code reads it as a plain one."""
    return GetPydanticSchema(lambda source, handler: handler(kind))


#: Beside ``fits``: an empty dictionary fits as well.
OR_EMPTY = WrapValidator(lambda value, handler: {} if value == {} else handler(value))


class Schema(Generic[T]):
    """The type of a file: a dataclass or TypedDict with ``__pydantic_config__ = STRICT``.

    Example:
        >>> from bench.schema import Positive, Schema
        >>> Schema(dict[str, Positive]).read('{"pixels": 0}')
        Traceback (most recent call last):
        ValueError: pixels is 0; it should be greater than or equal to 1
    """

    def __init__(self, kind: type[T]) -> None:
        """Compile the type. Not when the first file is read, which may be where other files are closed."""
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def read(self, text: str) -> T:
        """Return what a text holds.

        Raises:
            ValueError: it is no JSON, or does not fit; the sentence names the first field that is wrong.
        """
        try:
            return self._adapter.validate_json(text, strict=True)
        except ValidationError as error:
            raise ValueError(_sentence(error)) from None


def schema_of(text: str) -> int | None:
    """Return the number that a file gives as its ``schema``, or ``None`` if it gives none."""
    try:
        raw = from_json(text)
    except (ValueError, TypeError):  # TypeError: half a surrogate pair
        return None
    schema = raw.get("schema") if isinstance(raw, dict) else None
    return schema if type(schema) is int else None


def in_words(complaint: str) -> str:
    """Return what pydantic says of a value that does not fit, without its vocabulary: ``it should be a whole number``."""
    for theirs, ours in _WORDS:
        complaint = complaint.replace(theirs, ours)
    return complaint[:1].lower() + complaint[1:]


_WORDS = (
    ("Value error, ", ""),
    ("Input should", "it should"),
    ("Tuple should", "it should"),
    ("Invalid JSON", "it is no JSON"),
    ("it should be a finite number", "it must be finite"),
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
    ("a valid string", "a text"),
    ("a valid boolean", "true or false"),
    ("a valid array", "a list"),
    ("an object", "a JSON object"),
    (" after validation", ""),
)


def _sentence(error: ValidationError) -> str:
    """Turn the first error of a validation into a sentence without pydantic's vocabulary."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "json_invalid":
            return in_words(first["msg"])
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"{where} is not a field of it"
        case "not_finite":
            return f"{where}{first['ctx']['path']} is {first['ctx']['number']}; it must be finite"
        case "string_pattern_mismatch":
            return f"{where} is {shorten(first['input'])}, which cannot stand there"
        case "finite_number":
            return f"{where} is {shorten(first['input'])}; it must be finite"
        case "value_error":
            return f"{where} is {shorten(first['input'])}; it {in_words(first['msg'])}"
    said = in_words(first["msg"])
    return f"{where} is {shorten(first['input'])}; {said}" if where else f"{said}, found {shorten(first['input'])}"
