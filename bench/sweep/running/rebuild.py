"""From the plain JSON of a cell back to the objects it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...method import Method


def rebuild_method(method_class: type[Method], fields: Mapping[str, Any]) -> Method:
    """Build a method from the resolved fields of a cell.

    The fields went through JSON, which has lists for tuples; they are read back by the declared types.
    """
    legal = method_class.legal(fields)
    return method_class.build({key: legal[key].read(value, f"field '{key}' of the cell") for key, value in fields.items()})
