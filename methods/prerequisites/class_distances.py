"""How alike the classes are: by features of the training images, or by what CLIP's text encoder makes of their names."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench import PREREQUISITES, BenchError, Need, Prerequisite, Spec, Workshop
from bench import selection as features
from bench.keys import digest

from ._clip import ClipReading, Embedding, clip_text_embeddings, weights_digest

_FILE = "distances.json"
_EMBEDDINGS = "embeddings.safetensors"


def distances_by_features(seed: int) -> Need:
    """Return the distances of class means in the features of one network."""
    return Need(ClassDistances.name, {"source": "features"}, seed)


def distances_by_clip(spec: Spec, model: str, weights: str, reading: ClipReading | None = None) -> Need:
    """Return the distances of CLIP's text embeddings.

    Args:
        spec: gives the class names.
        model: open_clip's name of the model.
        weights: path of a checkpoint of that model, or open_clip's name of weights that are in its own cache.
        reading: prompt and embedding.
    """
    reading = reading or ClipReading()
    read = {"clip_prompt": reading.prompt, "clip_embedding": reading.embedding, "clip_names": reading.names}
    content = _clip_content(spec, model, weights, reading)
    return Need(ClassDistances.name, {"source": "clip", "clip_model": model, "clip_weights": weights, **read, "clip_content": content})


def read_distances(folder: Path) -> Tensor:
    """Read the (C, C) float64 distances of a built ``class_distances``."""
    return torch.tensor(json.loads((folder / _FILE).read_text(encoding="utf-8")), dtype=torch.float64)


@PREREQUISITES.register("class_distances")
@dataclass(frozen=True, kw_only=True)
class ClassDistances(Prerequisite):
    """Cosine distances between the classes, in ``distances.json``; ask for them by ``distances_by_features`` or ``distances_by_clip``.

    Beside those by CLIP lies the table of embeddings they come from, ``embeddings`` (C, d) in ``embeddings.safetensors``.

    Attributes:
        source: ``features`` takes the centred class means of the ``features`` of the same seed, ``clip`` CLIP's text
            embeddings of the class names.
        clip_model: open_clip's name of the model.
        clip_weights: where its weights are; not part of the key.
        clip_prompt: what the encoder reads; see ``ClipReading``.
        clip_embedding: what is taken from it.
        clip_names: other words for some classes.
        clip_content: digest of model, texts and weights, so that the same weights elsewhere are the same.
    """

    name: ClassVar[str] = "class_distances"

    source: Literal["features", "clip"] = "features"
    clip_model: str = ""
    clip_weights: str = ""
    clip_prompt: str = ClipReading.prompt
    clip_embedding: Embedding = ClipReading.embedding
    clip_names: str = ClipReading.names
    clip_content: str = ""

    def needs(self, seed: int) -> tuple[Need, ...]:
        """Return the features."""
        return (features.features_need(seed),) if self.source == "features" else ()

    def key(self, seed: int, data_hash: str) -> str:
        """Leave out where the weights lie."""
        return super().key(seed, data_hash) if not self.clip_weights else replace(self, clip_weights="").key(seed, data_hash)

    def build(self, workshop: Workshop) -> None:
        """Write the distances, rounded: ten digits decide every comparison, and the last bits of a product do not."""
        if self.source == "features":
            embeddings = self._by_features(workshop)
        else:
            embeddings = self._by_clip(workshop.spec)
            save_file({"embeddings": embeddings.contiguous()}, workshop.folder / _EMBEDDINGS)
        rows = [[round(value, 10) for value in row] for row in cosine_distance(embeddings).tolist()]
        (workshop.folder / _FILE).write_text(json.dumps(rows, allow_nan=False) + "\n", encoding="utf-8")

    def _by_features(self, workshop: Workshop) -> Tensor:
        found = features.read_features(workshop.find(features.features_need(workshop.seed))).double()
        means = torch.stack([found[workshop.train.of_class(c)].mean(0) for c in range(workshop.spec.classes)])
        return means - means.mean(0)

    def _by_clip(self, spec: Spec) -> Tensor:
        reading = ClipReading(self.clip_prompt, self.clip_embedding, self.clip_names)
        embeddings = clip_text_embeddings(spec, self.clip_model, self.clip_weights, reading)
        if self.clip_content != _clip_content(spec, self.clip_model, self.clip_weights, reading):
            raise BenchError(f"the CLIP weights '{self.clip_weights}' changed after the run was planned; start it again")
        return embeddings


def cosine_distance(embeddings: Tensor) -> Tensor:
    """Return the (C, C) distances ``1 - cos`` of (C, d) embeddings."""
    unit = torch.nn.functional.normalize(embeddings.double(), dim=1)
    return 1.0 - unit @ unit.T


def _clip_content(spec: Spec, model: str, weights: str, reading: ClipReading) -> str:
    return digest([model, reading.texts(spec), reading.embedding, weights_digest(model, weights)])
