"""The manifest of a distilled set: everything but its tensors. Free of torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from .errors import RejectedSet, reason_of
from .files import read_text
from .schema import FINITE, STRICT, Count, Positive, Schema, schema_of
from .train_recipe import TrainRecipe

SCHEMA = 2
#: Every version that is read. In the first one recipes had no ``loss``, and students were trained by cross-entropy.
VERSIONS = (1, SCHEMA)
TENSORS = "tensors.safetensors"
MANIFEST = "manifest.json"

Coordinates = Literal["space", "rgb"]


@with_config(STRICT)
class Manifest(TypedDict):
    """What ``DistilledSet.manifest`` writes. ``config`` and ``recipe`` are checked by the decoder and by ``TrainRecipe``."""

    schema: Annotated[int, Field(ge=SCHEMA, le=SCHEMA)]
    dataset: str
    classes: Positive
    shape: Annotated[list[Positive], Field(min_length=3, max_length=3)]
    parameterization: str
    version: Count
    config: Annotated[dict[str, Any], FINITE]
    roles: dict[str, str]
    recipe: Annotated[dict[str, Any], FINITE]
    space: str
    coordinates: Coordinates
    network: str
    notes: Annotated[dict[str, Any], FINITE]


_FILE: Schema[Manifest] = Schema(Manifest)


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the set in ``folder``.

    Raises:
        RejectedSet: it cannot be read, or does not have exactly the fields of its schema.
    """
    file = folder / MANIFEST
    try:
        text = read_text(file)
    except (OSError, ValueError) as error:
        raise RejectedSet(f"the manifest {file} cannot be read: {reason_of(error)}") from error
    today = text
    try:
        today = _as_written_today(text)
        return _FILE.read(today)
    except ValueError as error:
        if schema_of(today) not in (None, SCHEMA):
            raise RejectedSet(f"the manifest {file} is not of schema {SCHEMA}") from error
        raise RejectedSet(f"the manifest {file} cannot be used: {error}") from error


def _as_written_today(text: str) -> str:
    """Return the manifest of an earlier version as this one would write it; any other text as it is."""
    if schema_of(text) != 1:
        return text
    raw = json.loads(text)
    if not isinstance(raw.get("recipe"), dict) or "loss" in raw["recipe"]:
        return text
    return json.dumps({**raw, "schema": SCHEMA, "recipe": {**raw["recipe"], "loss": "cross_entropy"}})


def json_schema(version: int = SCHEMA) -> dict[str, Any]:
    """Return the JSON Schema of ``manifest.json``, for people who write sets without this code.

    Args:
        version: one of ``VERSIONS``.

    Example:
        >>> from bench.manifest import json_schema
        >>> sorted(json_schema()["properties"]["recipe"]["required"])[:3]
        ['augmentation', 'batch_size', 'loss']
    """
    manifest, recipe = (_without_prose(TypeAdapter(kind).json_schema()) for kind in (Manifest, TrainRecipe))
    if version == 1:
        del recipe["properties"]["loss"]
    recipe |= {"additionalProperties": False, "required": list(recipe["properties"])}
    manifest["properties"] |= {"schema": {"const": version}, "recipe": recipe}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"manifest.json of a distilled set, schema {version}",
        **manifest,
    }


def _without_prose(schema: Any) -> Any:
    """Drop titles, descriptions and defaults: docs/results.md says what fields mean, and none may be left out."""
    if isinstance(schema, list):
        return [_without_prose(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_prose(value)
        for key, value in schema.items()
        if isinstance(value, dict) or key not in ("title", "description", "default")
    }
