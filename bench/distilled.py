"""The artefact: what a method hands to the judge, on disk as safetensors and a JSON manifest. Never pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .data import Spec
from .errors import RejectedSet, shorten
from .files import regular, replacing, write_text
from .keys import plain, readable_json
from .manifest import MANIFEST, SCHEMA, TENSORS, Coordinates, Manifest, read_manifest
from .parameterization import Parameterization
from .registry import PARAMETERIZATIONS
from .train_recipe import TrainRecipe


@dataclass(frozen=True)
class DistilledSet:
    """Stored numbers, how to read them, and how to train on them.

    Attributes:
        spec: the data set it was distilled from.
        parameterization: the stored numbers and their decoder.
        recipe: how a student is trained under the ``native`` protocol.
        space: name of the pixel space (``bench.nn.spaces``) in which students see images.
        coordinates: ``space`` if decoded images are already in that space, ``rgb`` if they are plain [0, 1] pixels
            which the student sees through the space's transform.
        network: the network the set was made for, e.g. ``convnet-d3-w128``; empty means the data set's default.
        notes: plain JSON for people (class order and its source, adaptations, ...); decoding never sees it.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from bench import DistilledSet, Spec, TrainRecipe
        >>> from bench.decoders.images import Images
        >>> spec = Spec("toy", 2, (1, 8, 8), ("one", "other"))
        >>> made = DistilledSet(spec, Images(spec, count=2), TrainRecipe(steps=50))
        >>> with TemporaryDirectory() as folder:
        ...     made.save(Path(folder))
        ...     again = DistilledSet.load(Path(folder), spec)
        >>> again.recipe.steps, again.parameterization.pixels
        (50, 128)
    """

    spec: Spec
    parameterization: Parameterization
    recipe: TrainRecipe
    space: str = "standard"
    coordinates: Coordinates = "space"
    network: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``tensors.safetensors`` and ``manifest.json`` into ``folder``, the manifest last and atomically."""
        tensors = {key: t.detach().cpu().contiguous().clone() for key, t in self.parameterization.state_dict().items()}
        with replacing(folder / TENSORS) as scratch:
            save_file(tensors, scratch)
        write_text(folder / MANIFEST, readable_json(self.manifest()))

    def manifest(self) -> dict[str, Any]:
        """Return everything but the tensors as plain JSON."""
        return {
            "schema": SCHEMA,
            "dataset": self.spec.name,
            "classes": self.spec.classes,
            "shape": list(self.spec.shape),
            "parameterization": self.parameterization.name,
            "version": self.parameterization.version,
            "config": self.parameterization.config(),
            "roles": dict(self.parameterization.roles),
            "recipe": asdict(self.recipe),
            "space": self.space,
            "coordinates": self.coordinates,
            "network": self.network,
            "notes": self.notes,
        }

    @classmethod
    def load(cls, folder: Path, spec: Spec) -> DistilledSet:
        """Read a set back, trusting nothing that the files say beyond the closed schema.

        Raises:
            RejectedSet: a file is missing or torn, the schema or the data set is another one, the parameterization is
                not registered, the recipe has unknown fields, or the tensors are not exactly the declared ones.
        """
        manifest = read_manifest(folder)
        expected = {"dataset": spec.name, "classes": spec.classes, "shape": list(spec.shape)}
        for key, value in expected.items():
            if (said := manifest[key]) != value:  # type: ignore[literal-required]
                raise RejectedSet(f"the set is for {key} {shorten(said)}, it is judged on {value!r}")
        return cls(
            spec=spec,
            parameterization=_rebuild(manifest, folder, spec),
            recipe=_read_recipe(manifest["recipe"]),
            space=manifest["space"],
            coordinates=manifest["coordinates"],
            network=manifest["network"],
            notes=manifest["notes"],
        )


def _read_recipe(raw: dict[str, Any]) -> TrainRecipe:
    known = {f.name for f in fields(TrainRecipe)}
    if differing := sorted(set(raw) ^ known):
        raise RejectedSet(f"the recipe must have exactly the fields {', '.join(sorted(known))}; it differs in {', '.join(differing)}")
    recipe = TrainRecipe(**raw)
    if problems := recipe.problems():
        raise RejectedSet(problems[0])
    return recipe


def _rebuild(manifest: Manifest, folder: Path, spec: Spec) -> Parameterization:
    name = manifest["parameterization"]
    if name not in PARAMETERIZATIONS:
        raise RejectedSet(f"the parameterization {shorten(name)} is not registered; known are {', '.join(PARAMETERIZATIONS)}")
    kind: type[Parameterization] = PARAMETERIZATIONS[name]
    if kind.version != manifest["version"]:
        raise RejectedSet(f"the set was written by version {manifest['version']} of '{name}', installed is version {kind.version}")
    tensors = _read_tensors(folder)
    try:
        if (shapes := kind.shapes(manifest["config"], spec)) is not None:
            _check_shapes(tensors, shapes)
        parameterization = kind.from_config(manifest["config"], spec)
        config = plain(parameterization.config())
    except RejectedSet:
        raise
    except Exception as error:
        # The decoder's own code reads a file that anybody may have written; whatever it trips over, the set is unfit.
        raise RejectedSet(f"the config of parameterization '{name}' cannot be used: {type(error).__name__}: {error}") from error
    for what, said, true in (
        ("roles", manifest["roles"], dict(kind.roles)),
        ("config", manifest["config"], config),
    ):
        if readable_json(said) != readable_json(true):  # as values, True would be 1
            raise RejectedSet(f"the manifest's {what} of parameterization '{name}' are not those of the rebuilt object")
    _fill(parameterization, tensors)
    return parameterization


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(regular(folder / TENSORS))
    except (OSError, SafetensorError, ValueError, LookupError, RuntimeError) as error:
        raise RejectedSet(f"the tensors {folder / TENSORS} cannot be read: {error}") from error


def _check_shapes(tensors: Mapping[str, Tensor], declared: Mapping[str, tuple[int, ...]]) -> None:
    """Compare with what the config declares, before room is made for that: it may be any number."""
    if set(tensors) != set(declared):
        raise RejectedSet(f"stored and declared tensors differ: {', '.join(sorted(set(tensors) ^ set(declared)))}")
    for key, tensor in tensors.items():
        if tuple(tensor.shape) != tuple(declared[key]):
            raise RejectedSet(f"tensor '{key}' is {tuple(tensor.shape)}, declared is {shorten(tuple(declared[key]))}")


def _fill(parameterization: Parameterization, tensors: dict[str, Tensor]) -> None:
    """Load the stored tensors, which must be exactly the declared ones."""
    wanted = parameterization.state_dict()
    if not all(isinstance(t, torch.Tensor) for t in wanted.values()):
        raise RejectedSet(f"the parameterization '{parameterization.name}' keeps something other than tensors in its state")
    if set(tensors) != set(wanted):
        raise RejectedSet(f"stored and declared tensors differ: {', '.join(sorted(set(tensors) ^ set(wanted)))}")
    for key, tensor in tensors.items():
        if tensor.shape != wanted[key].shape or tensor.dtype != wanted[key].dtype:
            raise RejectedSet(
                f"tensor '{key}' is {tensor.dtype} {tuple(tensor.shape)}, declared is {wanted[key].dtype} {tuple(wanted[key].shape)}"
            )
    try:
        parameterization.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise RejectedSet(f"the tensors do not fit parameterization '{parameterization.name}': {' '.join(str(error).split())}") from error
