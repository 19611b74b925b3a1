"""``--set`` and ``--config``: hyper-parameters for all rows of a method that have the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...brackets import Request, write_value
from ...method import Method
from ...registry import METHODS


def with_overrides(request: Request, overrides: Mapping[str, Mapping[str, Any]]) -> Request:
    """Add the fields of ``--set`` and ``--config`` that the brackets leave open to a request and to its name."""
    asked = overrides.get(request.name, {})
    added = fitting(METHODS[request.name], request.fields, asked) if request.name in METHODS else dict(asked)
    added = {key: value for key, value in added.items() if key not in request.fields}
    if not added:
        return request
    shown = [f"{key}={write_value(value)}" for key, value in sorted(added.items())]
    return Request(request.name, ",".join(filter(None, [request.variant, *shown])), {**request.fields, **added})


def axes_of(method: type[Method], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts that some fields choose."""
    named = {method.aliases.get(key, key): value for key, value in fields.items()}
    return {axis: named[axis] for axis in method.axes if axis in named}


def fitting(method: type[Method], fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the overrides that ``fields`` leave open, under whatever name, and that their parts have."""
    taken = {method.aliases.get(key, key) for key in fields}
    open_ones = {key: value for key, value in overrides.items() if method.aliases.get(key, key) not in taken}
    legal = method.legal({**axes_of(method, open_ones), **axes_of(method, fields)})
    return {key: value for key, value in open_ones.items() if method.aliases.get(key, key) in legal}
