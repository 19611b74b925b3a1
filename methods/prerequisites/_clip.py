"""CLIP's text encoder: which weights are at hand, what identifies them, and the embeddings of class names."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from bench import BenchError, Spec
from bench.paths import read_path

#: The OpenAI weights need the QuickGELU variant; the plain ViT-B-32 loads them silently and computes something else.
CLIP_MODEL = "ViT-B-32-quickgelu"
#: Name of the copy in open_clip's own cache.
OPENAI = "openai"
_OPENAI_REPOSITORIES = {CLIP_MODEL: "timm/vit_base_patch32_clip_224.openai"}
_OPENAI_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def find_clip_weights(model: str, weights: str) -> Path | None:
    """Return the file of CLIP weights, found without loading open_clip and without a network, or ``None``.

    Args:
        model: open_clip's name of the model.
        weights: path of a checkpoint, or ``openai`` for the copy in open_clip's own cache.
    """
    if weights != OPENAI:
        file = read_path(weights, "clip_weights")
        return file if file.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    if model in _OPENAI_REPOSITORIES:
        for name in _OPENAI_FILES:
            found = try_to_load_from_cache(_OPENAI_REPOSITORIES[model], name)
            if isinstance(found, str):
                return Path(found)
    return None


def clip_weights_at_hand(model: str, weights: str) -> bool:
    """Tell, without loading open_clip and without a network, whether CLIP weights can be had."""
    return find_clip_weights(model, weights) is not None


def weights_digest(model: str, weights: str) -> str:
    """Return what identifies CLIP weights: the SHA-256 of a file, or the name of what is open_clip's own or missing."""
    file = None if weights == OPENAI else find_clip_weights(model, weights)
    if file is None:
        return weights
    facts = file.stat()
    return _sha256(file, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=8)
def _sha256(file: Path, size: int, changed: int) -> str:
    """Hash a file once, as long as its size and time of change stay."""
    del size, changed
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
    file = find_clip_weights(model, weights)
    if file is None:
        raise BenchError(
            f"order=clip needs CLIP weights and '{weights}' is not there; give clip_weights the path of a checkpoint of {model}, "
            "put them into open_clip's cache, or use order=features"
        )
    import open_clip

    try:
        with torch.random.fork_rng(devices=[]):  # open_clip draws an initialisation before it loads
            # Always a path: by the name of the weights, open_clip would ask the network first whether they are new.
            encoder = open_clip.create_model(model, pretrained=str(file)).eval()
    except (RuntimeError, AssertionError, OSError, KeyError) as error:
        raise BenchError(f"order=clip cannot load '{weights}' as {model}: {error}; use a checkpoint of that model") from error
    tokens = open_clip.get_tokenizer(model)([f"a photo of a {name.replace('_', ' ')}" for name in spec.class_names])
    with torch.no_grad():
        return encoder.encode_text(tokens).float()  # type: ignore[no-any-return, operator]
