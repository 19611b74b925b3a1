"""Fields that may be set from outside: their declared types and bounds, and whether a value fits. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, MISSING, Field, InitVar, dataclass, fields, is_dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, get_origin, get_type_hints

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from .errors import BenchError, shorten, unknown_name
from .schema import in_words
from .yaml_text import read_yaml


@dataclass(frozen=True)
class Hyperparameter:
    """One field that may be set from outside.

    Attributes:
        type: declared type with its bounds, as ``typing.get_type_hints`` gives it: ``Annotated[int, Field(ge=1)]``.
        default: value without any recipe or override, ``None`` where there is none.
        owner: the part it belongs to, for messages: ``form 'poster'``.

    Example:
        >>> from typing import Annotated
        >>> from pydantic import Field
        >>> from bench.fields import Hyperparameter
        >>> window = Hyperparameter(Annotated[int, Field(ge=1)], 60, "objective 'bptt'")
        >>> window.read(20, "field 'window'")
        20
        >>> window.read(0, "field 'window'")
        Traceback (most recent call last):
        bench.errors.BenchError: field 'window' cannot be 0: it should be greater than or equal to 1
    """

    type: Any
    default: Any
    owner: str

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        try:
            return TypeAdapter(self.type, config=ConfigDict(strict=True, allow_inf_nan=False))
        except PydanticUserError as error:
            raise BenchError(
                f"{self.owner}: a field of type {self.type} cannot be set from outside; "
                "use numbers, texts, truth values, Literal, and tuples of these"
            ) from error

    def read(self, value: Any, what: str) -> Any:
        """Return a value as the declared type has it: tuples for lists, ``1.0`` for ``1``; nothing else is converted.

        A text such as ``(4,6)`` or ``[4,6]`` stands for a tuple where the type takes no text.

        Raises:
            BenchError: it does not fit; begins with ``what``, and says which bound it breaks.
        """
        try:
            return self.fitting(value)
        except ValueError as error:
            if isinstance(value, str) and (listed := _listed(value)) is not None:
                return self.read(listed, what)
            hint = "; a list in brackets is a grid, so write a tuple like (4,6)" if self._takes_lists and _is_no_list(value) else ""
            raise BenchError(f"{what} cannot be {shorten(value)}: {error}{hint}") from error

    def fitting(self, value: Any) -> Any:
        """Return a value as the type has it, without a word for a tuple; see ``read``.

        Raises:
            ValueError: says what it should be.
        """
        try:
            # Through JSON, as fields travel: it has lists for tuples, and no number that is none.
            text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("it holds half a character") from error
        except ValueError as error:
            raise ValueError("it must be finite") from error
        except (TypeError, RecursionError) as error:
            raise ValueError("it is no plain number, text, truth value or list") from error
        try:
            return self._adapter.validate_json(text)
        except ValidationError as error:
            raise ValueError(_sentence(error)) from error
        except BenchError as error:  # of a registry or a parser that was asked
            raise ValueError(str(error)) from error

    @property
    def _takes_lists(self) -> bool:
        """Tell whether the type takes some list, by the way it complains about none."""
        try:
            self._adapter.validate_json("{}")
        except ValidationError as error:
            return any(found["type"] in ("tuple_type", "list_type") for found in error.errors())
        except BenchError:
            pass
        return False


def _is_no_list(value: Any) -> bool:
    return not isinstance(value, (list, tuple))


def _listed(text: str) -> Any:
    """Return the list that a text such as ``(4,6)`` or ``[4,6]`` stands for, or ``None``."""
    text = text.strip()
    if text[:1] + text[-1:] not in ("()", "[]"):
        return None
    try:
        return read_yaml(f"[{text[1:-1]}]", "a tuple")
    except BenchError:
        return None


def _sentence(error: ValidationError) -> str:
    """Return the complaints of pydantic in words; a union has one for each of its types."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return " or ".join(dict.fromkeys(in_words(each["msg"]) for each in found))


def named_in(kind: str, *known: Iterable[str]) -> AfterValidator:
    """Annotate a text that names something registered; what is registered is looked up when a value is checked.

    Args:
        kind: what it names, e.g. ``selection``.
        known: registries, dictionaries or tuples of names.

    Example:
        >>> from typing import Annotated
        >>> from bench.fields import Hyperparameter, named_in
        >>> Fruit = Annotated[str, named_in("fruit", ("apple", "pear"), {"auto": None})]
        >>> Hyperparameter(Fruit, "auto", "a basket").read("aple", "field 'fruit'")
        Traceback (most recent call last):
        bench.errors.BenchError: field 'fruit' cannot be 'aple': unknown fruit 'aple'; did you mean 'apple'? (available: apple, auto, pear)
    """

    def check(name: str) -> str:
        names = [name for some in known for name in some]
        if name not in names:
            raise unknown_name(kind, name, names)
        return name

    return AfterValidator(check)


def hyperparameters(kind: type, owner: str) -> dict[str, Hyperparameter]:
    """Return the fields of a frozen dataclass as hyper-parameters of ``owner``.

    Raises:
        BenchError: it is none, or its declarations cannot be used: the sentence says what its author is to do.
    """
    return dict(_hyperparameters(kind, owner))


@lru_cache(maxsize=512)
def _hyperparameters(kind: type, owner: str) -> Mapping[str, Hyperparameter]:
    if not is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise BenchError(f"{owner} is no frozen dataclass; write @dataclass(frozen=True) above its class {kind.__qualname__}")
    try:
        hints = get_type_hints(kind, include_extras=True)
    except Exception as error:  # whatever the evaluation of a plugin's annotations raises
        raise BenchError(
            f"the types of the fields of {owner} cannot be read ({type(error).__name__}: {error}); import what they name where it runs"
        ) from error
    declared = {item.name: item for item in fields(kind)}
    for name, hint in hints.items():
        if name not in declared and get_origin(hint) is not ClassVar and hint not in (ClassVar, KW_ONLY) and not isinstance(hint, InitVar):
            raise BenchError(f"'{name}' of {owner} is no field of it; write @dataclass(frozen=True) above its class {kind.__qualname__}")
    return {name: _hyperparameter(item, hints[name], owner) for name, item in declared.items()}


def _hyperparameter(item: Field[Any], hint: Any, owner: str) -> Hyperparameter:
    """Return one field, whose default must be a value that it takes."""
    if item.default is MISSING and item.default_factory is MISSING:
        return Hyperparameter(hint, None, owner)
    default = item.default if item.default is not MISSING else item.default_factory()  # type: ignore[misc, operator]
    found = Hyperparameter(hint, default, owner)
    found.read(default, f"the default of field '{item.name}' of {owner}")
    return found
