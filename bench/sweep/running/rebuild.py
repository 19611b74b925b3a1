"""From the plain JSON of a cell back to the objects it was made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from ...method import Method


def rebuild_method(method_class: type[Method], fields: Mapping[str, Any]) -> Method:
    """Build a method from the resolved fields of a cell.

    The fields went through JSON, which has lists for tuples; they are read back by the declared types.
    """
    legal = method_class.legal(fields)
    values = {key: TypeAdapter(legal[key].type).validate_json(json.dumps(value), strict=True) for key, value in fields.items()}
    return method_class.build(values)
