"""The manifest of a distilled set: everything but its tensors. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, with_config
from typing_extensions import TypedDict

from .errors import RejectedSet, reason_of
from .files import read_text
from .schema import FINITE, STRICT, Count, Positive, Schema, schema_of

SCHEMA = 2
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
    try:
        return _FILE.read(text)
    except ValueError as error:
        if schema_of(text) not in (None, SCHEMA):
            raise RejectedSet(f"the manifest {file} is not of schema {SCHEMA}") from error
        raise RejectedSet(f"the manifest {file} cannot be used: {error}") from error
