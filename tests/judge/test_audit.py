"""The audit: honest sets are counted right, and every cheat is refused with a sentence that names it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench import PARAMETERIZATIONS, Budget, Dataset, DistilledSet, RejectedSet, TrainRecipe
from bench.judge.audit import audit
from bench.judge.decoding import load_closed
from bench.keys import digest
from bench.registry import load_plugin_file
from bench.seeding import stream

from .cheats import CHEATS, HONEST

MakeSet = Callable[..., DistilledSet]


def set_of(text: str, folder: Path, dataset: Dataset, count: int = 4) -> DistilledSet:
    """Load a plugin from its text, and fill one of its sets with real images or their like."""
    name = f"cheat-{digest([text, str(folder)], 12)}"
    folder.mkdir(exist_ok=True)
    (folder / "secret.txt").write_text("2")
    plugin = folder / "plugin.py"
    plugin.write_text(text.replace("NAME", name).replace("FILE", str(folder / "secret.txt")).replace("SELF", str(plugin)))
    load_plugin_file(str(plugin))
    made = PARAMETERIZATIONS[name](dataset.spec, count)
    state = {key: _content(key, tensor, dataset) for key, tensor in made.state_dict().items()}
    made.load_state_dict(state, strict=False)
    return DistilledSet(dataset.spec, made, TrainRecipe())


def _content(key: str, tensor: Tensor, dataset: Dataset) -> Tensor:
    if key == "images":
        real = dataset.train.images[: len(tensor)]
        return real if tensor.dtype == torch.uint8 else (real / 255.0).to(tensor.dtype)
    if key == "packed":  # any bits but those of infinity
        bits = torch.randint(0, 0x7F00, tensor.shape, generator=stream("test", "bits"), dtype=torch.int16)
        return bits.view(torch.bfloat16)
    if key == "labels":
        rows = torch.rand(tensor.shape, generator=stream("test", "labels"))
        return rows / rows.sum(1, keepdim=True)
    return tensor


def judge(distilled: DistilledSet, folder: Path, budget: Budget) -> dict[str, object]:
    """Go the way of every set: to disk and back."""
    distilled.save(folder)
    return audit(load_closed(folder, distilled.spec), budget)


def test_the_honest_text_passes(tmp_path: Path, bars: Dataset, budget: Budget) -> None:
    assert judge(set_of(HONEST, tmp_path / "plugin", bars), tmp_path / "set", budget) == {
        "pixels": 4 * 64,
        "px_with_labels": 4 * 64 + 4 * 2,
        "effective_ipc": 2.0,
        "image_numbers": 4 * 64,
        "label_numbers": 4 * 2,
        "charged_labels": 0,
        "other_numbers": 0,
        "recipe_scalars": 5,
        "bytes": 4 * (4 * 64 + 4 * 2 + 5),
        "images": 4,
    }


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_rejected(name: str, tmp_path: Path, bars: Dataset, budget: Budget) -> None:
    text, words = CHEATS[name]
    distilled = set_of(text, tmp_path / "plugin", bars)
    with pytest.raises(RejectedSet, match=re.escape(words)) as rejection:
        judge(distilled, tmp_path / "set", budget)
    assert "\n" not in str(rejection.value)


def test_centred_labels_pass_with_the_squared_error(tmp_path: Path, bars: Dataset, budget: Budget) -> None:
    text, _ = CHEATS["centred labels under cross-entropy"]
    distilled = replace(set_of(text, tmp_path / "plugin", bars), recipe=TrainRecipe(loss="mse"))
    assert judge(distilled, tmp_path / "set", budget)["label_numbers"] == 4 * 2


def test_a_single_image_is_a_set_and_none_is_not(tmp_path: Path, bars: Dataset, budget: Budget) -> None:
    assert judge(set_of(HONEST, tmp_path / "plugin", bars, count=1), tmp_path / "set", budget)["images"] == 1
    with pytest.raises(RejectedSet, match="the set says it holds 0 images"):
        judge(set_of(HONEST, tmp_path / "none", bars, count=0), tmp_path / "empty", budget)


LABELS = [
    # kind, one row of labels, what is wrong with it
    pytest.param("probabilities", [0.5, 0.5009], "", id="rounding"),
    pytest.param("probabilities", [0.5, 0.4991], "", id="rounding down"),
    pytest.param("probabilities", [0.5, 0.502], "must sum to 1; one row is off by 0.002", id="more than rounding"),
    pytest.param("probabilities", [0.5, 0.498], "must sum to 1; one row is off by 0.002", id="less than rounding"),
    pytest.param("probabilities", [1.0, -5e-7], "", id="a zero that was rounded"),
    pytest.param("probabilities", [1.0, -5e-6], "labels declared as probabilities go down to -5e-06", id="negative"),
    pytest.param("weights", [3.0, 0.5], "", id="weights of any sum"),
    pytest.param("weights", [3.0, -0.5], "labels declared as weights go down to -0.5", id="negative weights"),
    pytest.param("centred", [0.5, -0.4991], "", id="centred"),
    pytest.param("centred", [0.5, -0.498], "must sum to 0; one row is off by 0.002", id="off centre"),
    pytest.param("centred", [1000.0, -999.1], "", id="large and centred, up to its own rounding"),
    pytest.param("centred", [1000.0, -998.0], "must sum to 0; one row is off by 2", id="large and off centre"),
]


@pytest.mark.parametrize(("kind", "row", "words"), LABELS)
def test_labels_keep_the_rule_of_their_kind(kind: str, row: list[float], words: str, tmp_path: Path, bars: Dataset, budget: Budget) -> None:
    text = HONEST.replace('label_kind = "probabilities"', f'label_kind = "{kind}"').replace(
        "# DECODE", f"labels = torch.tensor([[0.5, {0.5 if kind != 'centred' else -0.5}]] * 3 + [{row}])"
    )
    distilled = replace(set_of(text, tmp_path / "plugin", bars), recipe=TrainRecipe(loss="mse"))
    if not words:
        assert judge(distilled, tmp_path / "set", budget)["images"] == 4
        return
    with pytest.raises(RejectedSet, match=re.escape(words)):
        judge(distilled, tmp_path / "set", budget)


def test_a_set_that_is_not_finite(make_set: MakeSet, tmp_path: Path, budget: Budget) -> None:
    distilled = make_set()
    with torch.no_grad():
        distilled.parameterization.get_parameter("images")[0, 0, 3, 3] = torch.inf
    with pytest.raises(RejectedSet, match="'images' holds numbers that are not finite"):
        judge(distilled, tmp_path, budget)


def test_the_budget_is_kept_to_the_pixel(make_set: MakeSet, tmp_path: Path, budget: Budget) -> None:
    assert judge(make_set(2), tmp_path, replace(budget, pixels=256))["pixels"] == 256
    with pytest.raises(RejectedSet, match="stores 256 pixel-equivalents; the budget of 10 allows 255"):
        judge(make_set(2), tmp_path, replace(budget, pixels=255))


@dataclass(frozen=True)
class NineScalars(TrainRecipe):
    """A recipe with four numbers more than there are."""

    six: float = 6.0
    seven: float = 7.0
    eight: float = 8.0
    nine: float = 9.0


def test_a_recipe_with_a_ninth_scalar(make_set: MakeSet, tmp_path: Path, budget: Budget) -> None:
    distilled = make_set(recipe=NineScalars())
    assert distilled.recipe.scalars() == 9
    with pytest.raises(RejectedSet, match="it differs in eight, nine, seven, six"):
        judge(distilled, tmp_path, budget)
    with pytest.raises(RejectedSet, match="it must be a TrainRecipe"):
        audit(distilled, budget)


def test_eight_scalars_are_allowed_and_a_ninth_is_not(make_set: MakeSet, budget: Budget, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainRecipe, "scalars", lambda recipe: 8)
    assert audit(make_set(), budget)["recipe_scalars"] == 8
    monkeypatch.setattr(TrainRecipe, "scalars", lambda recipe: 9)
    with pytest.raises(RejectedSet, match="carries 9 numbers; at most 8 are allowed"):
        audit(make_set(), budget)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"space": "nowhere"}, "pixel space 'nowhere' does not exist"),
        ({"network": "transformer"}, "unknown network 'transformer'"),
        ({"recipe": TrainRecipe(augmentation="flip_magic")}, "unknown augmentation 'magic'"),
        ({"recipe": TrainRecipe(steps=0)}, "recipe steps is 0"),
    ],
)
def test_choices_that_no_student_can_follow(
    choices: dict[str, object], words: str, make_set: MakeSet, tmp_path: Path, budget: Budget
) -> None:
    with pytest.raises(RejectedSet, match=words):
        judge(make_set(**choices), tmp_path, budget)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("roles", {"images": "label", "ids": "label"}, "manifest's roles"),
        ("config", {"count": 4, "more": [1.5]}, "manifest's config"),
    ],
)
def test_a_manifest_that_says_otherwise(
    key: str, value: object, words: str, make_set: MakeSet, tmp_path: Path, budget: Budget, bars: Dataset
) -> None:
    make_set(2).save(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest[key] = value
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RejectedSet, match=words):
        audit(load_closed(tmp_path, bars.spec), budget)


@pytest.mark.parametrize("wrong", [-1, 2, 7])
def test_class_numbers_out_of_range(wrong: int, make_set: MakeSet, tmp_path: Path, budget: Budget) -> None:
    distilled = make_set()
    distilled.parameterization.get_buffer("ids").fill_(wrong)
    with pytest.raises(RejectedSet, match="outside 0 to 1"):
        judge(distilled, tmp_path, budget)


SURPLUS = """{"count": self.count, "more": [1.5] * 41}"""


def test_numbers_in_the_config_are_charged(tmp_path: Path, bars: Dataset, budget: Budget) -> None:
    distilled = set_of(HONEST.replace('{"count": self.count}', SURPLUS), tmp_path / "plugin", bars)
    counts = judge(distilled, tmp_path / "set", budget)
    assert counts["other_numbers"] == 42 - 32
    assert counts["pixels"] == 4 * 64 + 10


HONEST_DECODERS = {
    "upsampled": "images = F.interpolate(F.avg_pool2d(images, 2), (8, 8), mode='bilinear')",
    "squashed": "images = torch.sigmoid(images)",
    "mirrored": "images = images.flip(3).tanh()",
    "normalised": "images = images / images.square().mean((1, 2, 3), keepdim=True).sqrt()",
    "averaged with its neighbour": "images = (images + images.roll(1, 0)) / 2",
    "by frequencies": "images = torch.fft.irfft2(torch.fft.rfft2(images)[..., :4, :3], s=(8, 8))",
}


@pytest.mark.parametrize("name", HONEST_DECODERS)
def test_honest_decoders_pass(name: str, tmp_path: Path, bars: Dataset, budget: Budget) -> None:
    text = HONEST.replace("# DECODE", HONEST_DECODERS[name])
    assert judge(set_of(text, tmp_path / "plugin", bars), tmp_path / "set", budget)["images"] == 4


WEIGHTS = ("net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias")
NETWORK = (
    HONEST.replace("# INIT", "self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 4))")
    .replace('"labels": "label"}', '"labels": "label", ' + ", ".join(f'"{key}": "other"' for key in WEIGHTS) + "}")
    .replace("# DECODE", "images = 0.01 * images + self.net(grid()).permute(2, 0, 1).unsqueeze(1)")
    .replace(
        "# PRELUDE",
        "def grid():\n    line = torch.linspace(-1, 1, 8)\n    return torch.stack(torch.meshgrid(line, line, indexing='ij'), -1)",
    )
)


def test_a_network_of_coordinates_pays_for_its_weights(tmp_path: Path, bars: Dataset, budget: Budget) -> None:
    distilled = set_of(NETWORK, tmp_path / "plugin", bars)
    with torch.no_grad():
        for parameter in distilled.parameterization.get_submodule("net").parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=stream("test", "net")))
    before = torch.random.get_rng_state()
    counts = judge(distilled, tmp_path / "set", budget)
    assert counts["other_numbers"] == 2 * 16 + 16 + 16 * 4 + 4
    assert counts["pixels"] == 4 * 64 + 116
    assert torch.equal(before, torch.random.get_rng_state())


#: Flat images of one pixel each.
DOTS = (
    HONEST.replace("torch.zeros(count, *spec.shape)", "torch.zeros(count, spec.channels, 1, 1)")
    .replace("self.images", "self.dots")
    .replace("self.dots, self.labels\n", "self.dots.expand(-1, -1, 8, 8), self.labels\n")
    .replace('"images": "image"', '"dots": "image"')
)


def dots(count: int, folder: Path, dataset: Dataset) -> DistilledSet:
    """Make a set of ``count`` pixels of different brightness with soft labels."""
    distilled = set_of(DOTS, folder, dataset, count)
    with torch.no_grad():
        stored = distilled.parameterization.get_parameter("dots")
        stored.copy_(torch.linspace(0.3, 0.9, stored.numel()).view_as(stored))
    return distilled


def test_the_lowest_budget_passes(tmp_path: Path, bars: Dataset) -> None:
    assert judge(dots(2, tmp_path / "plugin", bars), tmp_path / "set", Budget("2px", 2, 2, 8, 8))["pixels"] == 2


def test_labels_beyond_the_free_ones_are_charged_like_pixels(tmp_path: Path, bars: Dataset) -> None:
    distilled = dots(7, tmp_path / "plugin", bars)
    counts = judge(distilled, tmp_path / "set", Budget("17px", 17, 2, 8, 8))  # 2 x 2 of 7 x 2 label numbers are free
    assert (counts["label_numbers"], counts["charged_labels"], counts["other_numbers"]) == (14, 10, 0)
    assert (counts["pixels"], counts["px_with_labels"]) == (17, 21)
    words = "stores 17 pixel-equivalents, 10 of its 14 label numbers included (4 are free); the budget of 16px allows 16"
    with pytest.raises(RejectedSet, match=re.escape(words)):
        judge(distilled, tmp_path / "set", Budget("16px", 16, 2, 8, 8))


def test_one_number_over_is_a_pixel_more(tmp_path: Path, bars: Dataset) -> None:
    colour = replace(bars, spec=replace(bars.spec, shape=(3, 8, 8)))
    distilled = dots(4, tmp_path / "plugin", colour)  # 4 x 3 image numbers, and 4 x 2 label numbers of which 4 are charged
    counts = judge(distilled, tmp_path / "set", Budget("6px", 6, 2, 8, 8))
    assert counts["image_numbers"] + counts["charged_labels"] == 3 * 5 + 1  # type: ignore[operator]
    assert (counts["pixels"], counts["px_with_labels"]) == (6, 7)
    with pytest.raises(RejectedSet, match="stores 6 pixel-equivalents"):
        judge(distilled, tmp_path / "set", Budget("5px", 5, 2, 8, 8))


def test_full_images_of_a_large_budget_have_free_labels(make_set: MakeSet, tmp_path: Path, budget: Budget, bars: Dataset) -> None:
    text = HONEST.replace("torch.full((count, spec.classes), 1 / spec.classes)", "torch.full((21, 2), 0.5)").replace(
        "# DECODE", "labels = labels[:4]"
    )
    counts = judge(set_of(text, tmp_path / "plugin", bars), tmp_path / "set", budget)
    assert budget.images == 20
    assert (counts["charged_labels"], counts["pixels"]) == (2, 4 * 64 + 2)


#: Images that cost one pixel in all: waves whose phases a formula scatters, so that students can tell them apart.
NOISE = (
    HONEST.replace("torch.zeros(count, *spec.shape)", "torch.ones(1)")
    .replace("self.images", "self.scale")
    .replace('"images": "image"', '"scale": "image"')
    .replace("self.scale, self.labels\n", "self.scale * noise(self.count), self.labels\n")
    .replace("# PRELUDE", "def noise(count):\n    return torch.sin(torch.arange(count * 64).square() * 0.7).view(count, 1, 8, 8)")
)


def test_a_pixel_does_not_buy_forty_thousand_soft_labels(tmp_path: Path, bars: Dataset) -> None:
    ten = replace(bars, spec=replace(bars.spec, classes=10, class_names=tuple("0123456789")))
    distilled = set_of(NOISE, tmp_path / "plugin", ten, count=4000)
    words = "stores 39901 pixel-equivalents, 39900 of its 40000 label numbers included (100 are free); the budget of 1px allows 1"
    with pytest.raises(RejectedSet, match=re.escape(words)):
        judge(distilled, tmp_path / "set", Budget("1px", 1, 10, 8, 8))
