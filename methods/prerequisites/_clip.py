"""CLIP's text encoder: which weights are at hand, what identifies them, and the embeddings of class names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from bench import BenchError, Spec
from bench.errors import reason_of, unknown_name
from bench.file_kinds import kind_of_file
from bench.guard import ForbiddenAccess
from bench.paths import read_path

#: The OpenAI weights need the QuickGELU variant; the plain ViT-B-32 loads them silently and computes something else.
CLIP_MODEL = "ViT-B-32-quickgelu"
#: open_clip's name of the weights that OpenAI trained.
OPENAI = "openai"
_REPOSITORIES = {(CLIP_MODEL, OPENAI): "timm/vit_base_patch32_clip_224.openai/"}  # as open_clip has it, which is slow to import
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

#: ``pooled`` is the projected embedding, as CLIP was trained; ``hidden_states`` the last states of all 77 positions.
Embedding = Literal["pooled", "hidden_states"]


@dataclass(frozen=True)
class ClipReading:
    """How class names become embeddings.

    PoDD's authors take the bare names and flatten the hidden states of all 77 positions, most of which are padding, so
    that distances are dominated by it: ``ClipReading("{}", "hidden_states")``. The default is what CLIP was trained for.

    Attributes:
        prompt: what the encoder reads; ``{}`` stands for the name.
        embedding: what is taken from it.
        names: other words for some classes, ``ship=boat,keyboard=computer keyboard``.
    """

    prompt: str = "a photo of a {}"
    embedding: Embedding = "pooled"
    names: str = ""

    def texts(self, spec: Spec) -> list[str]:
        """Return what the encoder reads for every class; underscores are spaces.

        Raises:
            BenchError: ``names`` has a class that does not exist.
        """
        others = readable_names(self.names)
        for name in others:
            if name not in spec.class_names:
                raise unknown_name(f"class of {spec.name} in clip_names", name, spec.class_names)
        return [self.prompt.replace("{}", others.get(name, name).replace("_", " ")) for name in spec.class_names]

    def describe(self) -> str:
        """Return a phrase for a note."""
        return f"prompt '{self.prompt}', {self.embedding.replace('_', ' ')}" + (f", {self.names}" if self.names else "")


def readable_names(text: str) -> Mapping[str, str]:
    """Read ``ship=boat,keyboard=computer keyboard``.

    Raises:
        BenchError: the text is something else.
    """
    pairs = [pair.partition("=") for pair in text.split(",")] if text else []
    if not all(name.strip() and other.strip() for name, _, other in pairs):
        raise BenchError("write class=words, joined by commas, e.g. ship=boat,keyboard=computer keyboard")
    return {name.strip(): other.strip() for name, _, other in pairs}


def find_clip_weights(model: str, weights: str) -> Path | None:
    """Return the file of CLIP weights, found without a network, or ``None``.

    Args:
        model: open_clip's name of the model.
        weights: path of a checkpoint, or open_clip's name of weights of that model for the copy in its own cache.
    """
    repository = _repository(model, weights)
    if repository is None:
        file = read_path(weights, "clip_weights")
        return file if file.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    home, _, file_name = repository.rpartition("/")
    for name in (file_name,) if file_name else _FILES:
        found = try_to_load_from_cache(home, name)
        if isinstance(found, str):
            return Path(found)
    return None


def clip_weights_at_hand(model: str, weights: str) -> bool:
    """Tell, without a network, whether CLIP weights can be had."""
    return find_clip_weights(model, weights) is not None


def download_clip_weights(model: str, weights: str) -> None:
    """Fetch weights that open_clip knows by their name into its cache, if they are not there.

    Raises:
        BenchError: they cannot be had.
    """
    if clip_weights_at_hand(model, weights) or _repository(model, weights) is None:
        return
    from open_clip.pretrained import download_pretrained, get_pretrained_cfg

    try:
        download_pretrained(get_pretrained_cfg(model, weights))
    except Exception as error:  # of the hub's client, of its transport, of a proxy
        raise BenchError(f"{_needed(model, weights)} (the download failed: {reason_of(error)})") from error


def weights_digest(model: str, weights: str) -> str:
    """Return what identifies CLIP weights: the SHA-256 of a file, or the name of what is open_clip's own or missing."""
    file = find_clip_weights(model, weights) if _repository(model, weights) is None else None
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


def clip_text_embeddings(spec: Spec, model: str, weights: str, reading: ClipReading | None = None) -> Tensor:
    """Return (C, d) CLIP text embeddings of the class names.

    Args:
        spec: gives the class names.
        model: open_clip's name of the model.
        weights: path of a checkpoint of that model, or open_clip's name of weights that are in its cache.
        reading: prompt and embedding.

    Raises:
        BenchError: the weights are not there or are of another model, nobody knows the model, or its tokenizer is none of CLIP's.
    """
    reading = reading or ClipReading()
    file = find_clip_weights(model, weights)
    if file is None:
        raise BenchError(_needed(model, weights))
    import open_clip

    known = open_clip.get_model_config(model)
    if known is None:
        raise BenchError(f"order=clip needs a model that open_clip knows, and '{model}' is none; use a model such as {CLIP_MODEL}")
    if known.get("text_cfg", {}).get("hf_tokenizer_name"):
        raise BenchError(f"order=clip needs CLIP's own tokenizer, and {model} has another one; use a model such as {CLIP_MODEL}")
    try:
        with torch.random.fork_rng(devices=[]):  # open_clip draws an initialisation before it loads
            # Always a path: by the name of the weights, open_clip would ask the network first whether they are new.
            encoder = open_clip.create_model(model, pretrained=str(file)).eval()
    except (MemoryError, ForbiddenAccess):
        raise
    except Exception as error:  # a damaged file makes a reader raise whatever it likes, and PyTorch advises to run what it holds
        found = f"it holds {kind_of_file(file)} ({type(error).__name__})"
        raise BenchError(f"order=clip cannot load '{weights}' as {model}, {found}; use a checkpoint of that model") from error
    tokens = open_clip.get_tokenizer(model)(reading.texts(spec))
    with torch.no_grad():
        if reading.embedding == "pooled":
            return encoder.encode_text(tokens).float()  # type: ignore[no-any-return, operator]
        return _hidden_states(encoder, tokens).flatten(1).float()


def _hidden_states(encoder: torch.nn.Module, tokens: Tensor) -> Tensor:
    """Return the (C, 77, width) states after the last layer, as Hugging Face's ``last_hidden_state``.

    Its tokenizer pads with the end token, open_clip's with zeros.
    """
    ends = tokens.argmax(1, keepdim=True)  # the end token is the largest
    padded = torch.where(torch.arange(tokens.shape[1]) > ends, tokens.gather(1, ends), tokens)
    seen: list[Tensor] = []
    norm = getattr(encoder, "text", encoder).ln_final
    assert isinstance(norm, torch.nn.Module)
    handle = norm.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    try:
        encoder.encode_text(padded)  # type: ignore[operator]
    finally:
        handle.remove()
    return seen[0]


def _repository(model: str, weights: str) -> str | None:
    """Return where open_clip has weights from, ``home/name/`` or ``home/name/file``, or ``None`` if they are a path."""
    if (model, weights) in _REPOSITORIES:
        return _REPOSITORIES[model, weights]
    if weights != OPENAI and ("/" in weights or "\\" in weights or "." in weights):
        return None
    from open_clip.pretrained import get_pretrained_cfg

    return get_pretrained_cfg(model, weights).get("hf_hub") or None


def _needed(model: str, weights: str) -> str:
    return (
        f"order=clip needs CLIP weights and '{weights}' is not there; give clip_weights the path of a checkpoint of {model}, "
        "put them into open_clip's cache (a run without --offline downloads what open_clip knows by name), or use order=features"
    )
