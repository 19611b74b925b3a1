"""Where PoCO's class similarities come from: CLIP's text encoder, or a small network trained on the data set itself."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from bench import Batch, BenchError, PlanContext, Spec, Split, TrainRecipe
from bench.keys import digest
from bench.nn.networks import ConvNet, build_network
from bench.nn.spaces import fit_space
from bench.nn.students import StudentStreams, train_students

from ..forms._class_order import cosine_distance

#: The OpenAI weights need the QuickGELU variant; the plain ViT-B-32 loads them silently and computes something else.
CLIP_MODEL = "ViT-B-32-quickgelu"
_OPENAI_REPOSITORIES = {CLIP_MODEL: "timm/vit_base_patch32_clip_224.openai"}
_OPENAI_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def class_distances(context: PlanContext, clip: tuple[str, str] | None) -> list[list[float]]:
    """Return (C, C) class distances, from this process's memory or the cache folder where they were computed before.

    Args:
        context: the data set, and the cache folder (used if it exists).
        clip: model and weights of CLIP's text encoder, or ``None`` for features of the training split.

    Raises:
        BenchError: CLIP weights were asked for and cannot be had.
    """
    content = context.data_hash if clip is None else [list(context.spec.class_names), clip[0], _weights_digest(clip[1])]
    key = digest(["class distances", 1, content])
    file = context.cache / f"class-distances-{key}.json"
    if key not in _DISTANCES and file.is_file():
        _DISTANCES[key] = json.loads(file.read_text())
    if key not in _DISTANCES:
        embeddings = feature_embeddings(context.spec, context.train()) if clip is None else clip_text_embeddings(context.spec, *clip)
        # Ten digits decide every comparison and do not depend on the last bits of a matrix product.
        _DISTANCES[key] = [[round(value, 10) for value in row] for row in cosine_distance(embeddings).tolist()]
        if context.cache.is_dir():
            scratch = file.with_suffix(f".{os.getpid()}.tmp")
            scratch.write_text(json.dumps(_DISTANCES[key]))
            scratch.replace(file)
    return _DISTANCES[key]


_DISTANCES: dict[str, list[list[float]]] = {}


@lru_cache(maxsize=8)
def _weights_digest(weights: str) -> str:
    """Identify CLIP weights: by content for a file, by name for open_clip's own."""
    path = Path(weights).expanduser()
    if weights == "openai" or not path.is_file():
        return weights
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clip_weights_at_hand(model: str, weights: str) -> bool:
    """Tell, without loading open_clip and without a network, whether CLIP weights can be had.

    Args:
        model: open_clip's name of the model.
        weights: path of a checkpoint, or ``openai`` for the copy in open_clip's own cache.
    """
    if weights != "openai":
        return Path(weights).expanduser().is_file()
    from huggingface_hub import try_to_load_from_cache

    repository = _OPENAI_REPOSITORIES.get(model)
    return repository is not None and any(isinstance(try_to_load_from_cache(repository, name), str) for name in _OPENAI_FILES)


def clip_text_embeddings(spec: Spec, model: str, weights: str) -> Tensor:
    """Return (C, d) CLIP text embeddings of ``"a photo of a {name}"``.

    The authors flatten all 77 hidden states of the bare class name, most of which are padding, so that distances are
    dominated by it; here the pooled, projected embedding is used, as CLIP was trained.

    Args:
        spec: gives the class names.
        model: open_clip's name of the model.
        weights: path of a checkpoint of that model, or ``openai`` for the copy in open_clip's own cache.

    Raises:
        BenchError: the weights are not there or are of another model.
    """
    if not clip_weights_at_hand(model, weights):
        raise BenchError(
            f"order=clip needs CLIP weights and '{weights}' is not there; give clip_weights the path of a checkpoint of {model}, "
            "put them into open_clip's cache, or use order=features"
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the weights are here; without this open_clip asks the network first
    import open_clip

    path = weights if weights == "openai" else str(Path(weights).expanduser())
    try:
        with torch.random.fork_rng(devices=[]):  # open_clip draws an initialisation before it loads
            encoder = open_clip.create_model(model, pretrained=path).eval()
    except (RuntimeError, AssertionError, OSError, KeyError) as error:
        raise BenchError(f"order=clip cannot load '{weights}' as {model}: {error}; use a checkpoint of that model") from error
    tokens = open_clip.get_tokenizer(model)([f"a photo of a {name.replace('_', ' ')}" for name in spec.class_names])
    with torch.no_grad():
        return encoder.encode_text(tokens).float()  # type: ignore[no-any-return, operator]


def feature_embeddings(spec: Spec, train: Split) -> Tensor:
    """Return (C, d) class means, centred, of a small ConvNet's last features on (at most 5,000) training images.

    The network is trained on those images first, for 200 steps; its streams depend on the data set alone, so that the
    order is the same for every seed.
    """
    network = build_network("convnet-d2-w32" if min(spec.height, spec.width) < 16 else "convnet-d3-w32", spec)
    assert isinstance(network, ConvNet)
    some = train.take(torch.linspace(0, len(train) - 1, min(len(train), 5000)).long())
    images = fit_space("standard", train).transform(some.unit_images())
    labels = torch.nn.functional.one_hot(some.labels, spec.classes).float()
    recipe = TrainRecipe(optimizer="adam", lr=1e-3, steps=200, batch_size=64)
    streams = StudentStreams(("poco features", spec.name))
    parameters = train_students(network, Batch(images, labels), recipe, [streams], [recipe.steps])[recipe.steps][0]
    with torch.no_grad():
        features = torch.cat([_features(network, parameters, part) for part in images.split(512)])
    means = torch.stack([features[some.labels == c].mean(0) for c in range(spec.classes)])
    return means - means.mean(0)


def _features(network: ConvNet, parameters: dict[str, Tensor], images: Tensor) -> Tensor:
    """Return (n, f) inputs of the network's last layer."""
    found: list[Tensor] = []
    hook = network.head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    try:
        torch.func.functional_call(network, parameters, (images,))
    finally:
        hook.remove()
    return found[0]
