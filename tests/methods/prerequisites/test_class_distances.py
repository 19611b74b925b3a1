"""Class distances, by features of the training images and by CLIP's text encoder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench import PREREQUISITES, BenchError
from bench.methods.prerequisites._clip import CLIP_MODEL, ClipReading, clip_text_embeddings, clip_weights_at_hand, download_clip_weights
from bench.methods.prerequisites.class_distances import cosine_distance, distances_by_clip, distances_by_features, read_distances
from bench.prerequisite_store import PrerequisiteStore, ensure, resolve
from bench.selection import features_need as features_themselves
from bench.selection import read_features

TINY = "tiny-clip-test"


@pytest.fixture
def tiny_clip(tmp_path: Path) -> Path:
    """A checkpoint of a tiny CLIP with random weights, whose model open_clip knows."""
    open_clip = pytest.importorskip("open_clip")
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    (tmp_path / f"{TINY}.json").write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        torch.save(open_clip.create_model(TINY).state_dict(), tmp_path / "tiny.pt")
    return tmp_path / "tiny.pt"


def expected_embeddings(checkpoint: Path, names: list[str]) -> torch.Tensor:
    open_clip = pytest.importorskip("open_clip")
    with torch.random.fork_rng():
        model = open_clip.create_model(TINY).eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True))
    with torch.no_grad():
        return model.encode_text(open_clip.get_tokenizer(TINY)([f"a photo of a {name}" for name in names]))


def test_cosine_distance_of_parallel_and_orthogonal_vectors():
    distance = cosine_distance(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
    assert torch.allclose(distance, torch.tensor([[0, 0, 1], [0, 0, 1], [1, 1, 0]], dtype=torch.float64))


def test_by_features_they_are_those_of_the_centred_class_means(digits, tmp_path):
    store = PrerequisiteStore(tmp_path)
    distances = read_distances(ensure(distances_by_features(3), digits, store).path)
    below = ensure(features_themselves(3), digits, store)
    assert not below.fresh, "the features of the same seed were built before"
    found = read_features(below.path).double()
    means = torch.stack([found[digits.train.labels == c].mean(0) for c in range(10)])
    centred = means - means.mean(0)
    assert distances.dtype == torch.float64
    for a in range(10):
        for b in range(10):
            cosine = centred[a] @ centred[b] / (centred[a].norm() * centred[b].norm())
            assert float(distances[a, b]) == pytest.approx(1 - float(cosine), abs=1e-9)
    assert (distances == (distances * 1e10).round() / 1e10).all(), "ten digits are kept"


def test_another_seed_sees_other_distances(digits, tmp_path):
    store = PrerequisiteStore(tmp_path)
    zero, one = (read_distances(ensure(distances_by_features(seed), digits, store).path) for seed in (0, 1))
    assert not torch.equal(zero, one)


def test_by_clip_they_come_from_the_names_alone(digits, tmp_path, tiny_clip):
    before = torch.get_rng_state()
    built = ensure(distances_by_clip(digits.spec, TINY, str(tiny_clip)), digits, PrerequisiteStore(tmp_path / "prerequisites"))
    assert torch.equal(before, torch.get_rng_state())
    expected = cosine_distance(expected_embeddings(tiny_clip, list(digits.spec.class_names)))
    torch.testing.assert_close(read_distances(built.path), expected, rtol=0, atol=1e-6)
    assert len(list((tmp_path / "prerequisites").glob("*/manifest.json"))) == 1, "no features are needed"


def expected_hidden_states(checkpoint: Path, texts: list[str]) -> torch.Tensor:
    """What Hugging Face's text model gives as its last hidden state, step by step, from tokens that it pads by the end token."""
    open_clip = pytest.importorskip("open_clip")
    with torch.random.fork_rng():
        model = open_clip.create_model(TINY).eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True))
    tokenizer = open_clip.get_tokenizer(TINY)
    rows = []
    for text in texts:
        words = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        rows.append(words + [tokenizer.eot_token_id] * (77 - len(words)))
    with torch.no_grad():
        states = model.token_embedding(torch.tensor(rows)) + model.positional_embedding
        return model.ln_final(model.transformer(states, attn_mask=model.attn_mask)).flatten(1)


def test_hidden_states_of_the_bare_names_are_those_of_the_authors(digits, tiny_clip):
    names = ["zero", *(f"class {name}" for name in digits.spec.class_names[1:])]
    spec = replace(digits.spec, class_names=("nil", *(name.replace(" ", "_") for name in names[1:])))
    found = clip_text_embeddings(spec, TINY, str(tiny_clip), ClipReading("{}", "hidden_states", "nil=zero"))
    torch.testing.assert_close(found, expected_hidden_states(tiny_clip, names), rtol=1e-4, atol=1e-5)


def test_the_table_of_embeddings_is_kept_and_the_manifest_says_how_it_was_made(digits, tmp_path, tiny_clip):
    store, reading = PrerequisiteStore(tmp_path / "prerequisites"), ClipReading("the digit {}", "pooled")
    built = ensure(distances_by_clip(digits.spec, TINY, str(tiny_clip), reading), digits, store)
    table = load_file(built.path / "embeddings.safetensors")["embeddings"]
    assert torch.equal(table, clip_text_embeddings(digits.spec, TINY, str(tiny_clip), reading))
    torch.testing.assert_close(cosine_distance(table), read_distances(built.path), rtol=0, atol=1e-9)
    said = store.manifest(built.path)["config"]
    assert (said["clip_model"], said["clip_prompt"], said["clip_embedding"]) == (TINY, "the digit {}", "pooled")


def test_names_of_classes_that_do_not_exist_are_refused(digits, tiny_clip):
    with pytest.raises(BenchError, match="unknown class of digits in clip_names 'ship'"):
        distances_by_clip(digits.spec, TINY, str(tiny_clip), ClipReading(names="ship=boat"))


def test_a_model_with_another_tokenizer_is_refused(digits, tmp_path):
    (tmp_path / "weights.pt").touch()
    with pytest.raises(BenchError, match="needs CLIP's own tokenizer, and ViT-B-16-SigLIP has another one; use a model such as"):
        clip_text_embeddings(digits.spec, "ViT-B-16-SigLIP", str(tmp_path / "weights.pt"))


def test_weights_known_by_name_are_downloaded_once(tmp_path, tiny_clip, monkeypatch):
    """The hub's client is stood in for by one that puts the tiny model where the real one would."""
    fetched, home = [], tmp_path / "hub" / "models--timm--tiny"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("bench.methods.prerequisites._clip._REPOSITORIES", {(TINY, "openai"): "timm/tiny/"})

    def fetch(about: object) -> None:
        fetched.append(about)
        (home / "refs").mkdir(parents=True)
        (home / "refs" / "main").write_text("0" * 40)
        (home / "snapshots" / ("0" * 40)).mkdir(parents=True)
        shutil.copy(tiny_clip, home / "snapshots" / ("0" * 40) / "open_clip_pytorch_model.bin")

    monkeypatch.setattr("open_clip.pretrained.download_pretrained", fetch)
    download_clip_weights(TINY, "openai")
    assert clip_weights_at_hand(TINY, "openai")
    download_clip_weights(TINY, "openai")
    download_clip_weights(TINY, str(tmp_path / "none.pt"))  # a path is never fetched
    assert len(fetched) == 1


def test_a_download_that_fails_is_one_sentence(tmp_path, monkeypatch):
    def fetch(about: object) -> None:
        raise FileNotFoundError("no route to the hub")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("open_clip.pretrained.download_pretrained", fetch)
    with pytest.raises(BenchError, match=r"needs CLIP weights .* order=features \(the download failed: no route to the hub\)"):
        download_clip_weights(CLIP_MODEL, "openai")


def test_the_key_follows_the_weights_and_names_and_not_their_place(digits, tmp_path, tiny_clip):
    def key(spec, model, weights) -> str:
        return resolve(distances_by_clip(spec, model, str(weights))).key(0, "data")

    first = key(digits.spec, TINY, tiny_clip)
    shutil.copy(tiny_clip, tmp_path / "copy.pt")
    assert key(digits.spec, TINY, tmp_path / "copy.pt") == first
    other = replace(digits.spec, class_names=tuple(reversed(digits.spec.class_names)))
    content = bytearray(tiny_clip.read_bytes())
    content[-100] ^= 1
    tiny_clip.write_bytes(content)
    keys = {
        first,
        key(digits.spec, TINY, tiny_clip),
        key(other, TINY, tmp_path / "copy.pt"),
        key(digits.spec, "another", tmp_path / "copy.pt"),
    }
    assert len(keys) == 4


def test_weights_that_changed_after_the_plan_are_refused(digits, tmp_path, tiny_clip):
    need = distances_by_clip(digits.spec, TINY, str(tiny_clip))
    state = torch.load(tiny_clip, weights_only=True)
    torch.save({name: value + 1 if value.is_floating_point() else value for name, value in state.items()}, tiny_clip)
    with pytest.raises(BenchError, match="changed after the run was planned"):
        ensure(need, digits, PrerequisiteStore(tmp_path / "prerequisites"))


def test_clip_without_weights_says_what_to_do(digits, tmp_path):
    missing = str(tmp_path / "none.pt")
    assert not clip_weights_at_hand(CLIP_MODEL, missing)
    with pytest.raises(BenchError, match="order=clip needs CLIP weights .* or use order=features"):
        ensure(distances_by_clip(digits.spec, CLIP_MODEL, missing), digits, PrerequisiteStore(tmp_path))


def test_clip_weights_of_another_model_are_refused_in_a_sentence(digits, tmp_path, tiny_clip):
    torch.save({"nothing": torch.zeros(1)}, tiny_clip)
    with pytest.raises(BenchError, match=f"cannot load .* as {TINY}"):
        ensure(distances_by_clip(digits.spec, TINY, str(tiny_clip)), digits, PrerequisiteStore(tmp_path / "prerequisites"))


@pytest.mark.parametrize("name", ["weights.bin", "weights.safetensors", "weights.pt"])
@pytest.mark.parametrize("content", [b"", b"no weights" * 50, b"PK\x03\x04" + bytes(50)], ids=["nothing", "text", "half a file"])
def test_damaged_clip_weights_are_a_sentence_that_advises_nothing_unsafe(digits, tmp_path, tiny_clip, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchError, match=f"cannot load .* as {TINY}, it holds .*; use a checkpoint of that model") as caught:
        clip_text_embeddings(digits.spec, TINY, str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_a_clip_model_that_nobody_knows_is_a_sentence(digits, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(BenchError, match="a model that open_clip knows, and 'ViT-X' is none"):
        clip_text_embeddings(digits.spec, "ViT-X", str(tmp_path / "weights.pt"))


def test_the_copy_in_the_cache_is_read_without_the_network(digits, tmp_path, tiny_clip, monkeypatch):
    """A hub cache with the tiny model in it: the builder runs with the network closed and still finds the weights."""
    repository, commit = "timm/tiny", "0" * 40
    home = tmp_path / "hub" / "models--timm--tiny"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    (home / "snapshots" / commit).mkdir(parents=True)
    shutil.copy(tiny_clip, home / "snapshots" / commit / "open_clip_pytorch_model.bin")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert not clip_weights_at_hand(TINY, "openai")
    monkeypatch.setattr("bench.methods.prerequisites._clip._REPOSITORIES", {(TINY, "openai"): f"{repository}/"})
    assert clip_weights_at_hand(TINY, "openai")
    built = ensure(distances_by_clip(digits.spec, TINY, "openai"), digits, PrerequisiteStore(tmp_path / "prerequisites"))
    expected = cosine_distance(clip_text_embeddings(digits.spec, TINY, str(tiny_clip)))
    torch.testing.assert_close(read_distances(built.path), expected, rtol=0, atol=1e-9)


def test_the_key_carries_the_versions_of_what_it_needs(monkeypatch):
    before = resolve(distances_by_features(0)).key(0, "data")
    monkeypatch.setattr(PREREQUISITES["features"], "version", 7)
    assert resolve(distances_by_features(0)).key(0, "data") != before
