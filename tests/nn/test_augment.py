"""Augmentations against one-pixel-at-a-time oracles; ranges, directions, independence of samples."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as official

from bench import BenchError
from bench.nn.augment import OPERATIONS, Augmentation, draw, join, parse_strategy
from bench.seeding import stream
from oracles import siamese

SHAPE = (3, 8, 10)
IDENTITY = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]])


def images(count: int, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.randn(count, *shape, generator=stream("images"))


def test_strategies() -> None:
    assert parse_strategy("none") == ()
    assert parse_strategy("flip_rotate") == ("flip", "rotate")
    with pytest.raises(BenchError, match="unknown augmentation 'jump' in 'flip_jump'"):
        parse_strategy("flip_jump")


def test_neutral_parameters_change_nothing() -> None:
    x = images(4)
    assert Augmentation()(x) is x
    neutral = Augmentation(IDENTITY.repeat(4, 1, 1), torch.tensor([[0.0, 1.0, 1.0]]).repeat(4, 1), torch.ones(4, 1, *SHAPE[1:]))
    torch.testing.assert_close(neutral(x), x, rtol=1e-5, atol=1e-5)
    assert draw("none", 4, SHAPE, stream("x")) == Augmentation()


def test_a_flip_is_exact() -> None:
    x = images(64)
    drawn = draw("flip", 64, SHAPE, stream("flip"))
    out = drawn(x)
    assert drawn.affine is not None
    flipped = drawn.affine[:, 0, 0] < 0
    assert 16 < int(flipped.sum()) < 48
    torch.testing.assert_close(out[flipped], x[flipped].flip(-1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out[~flipped], x[~flipped], rtol=1e-5, atol=1e-5)


def test_a_crop_shifts_by_whole_pixels_at_most_an_eighth() -> None:
    shape = (3, 32, 16)
    x = images(64, shape)
    drawn = draw("crop", 64, shape, stream("crop"))
    assert drawn.affine is not None
    right, down = drawn.affine[:, 0, 2] * shape[2] / 2, drawn.affine[:, 1, 2] * shape[1] / 2
    assert set(right.tolist()) == set(map(float, range(-2, 3)))
    assert (down.abs().max(), down.round().equal(down)) == (4, True)
    for image, out, dx, dy in zip(x[:12], drawn(x), right.int().tolist(), down.int().tolist(), strict=False):
        torch.testing.assert_close(out, siamese.shift(image, dx, dy), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("operation", ["scale", "rotate"])
def test_resampling_against_the_oracle(operation: str) -> None:
    x = images(6)
    drawn = draw(operation, 6, SHAPE, stream(operation))
    assert drawn.affine is not None
    for image, out, affine in zip(x, drawn(x), drawn.affine.tolist(), strict=True):
        torch.testing.assert_close(out, siamese.resample(image, affine), rtol=1e-4, atol=1e-4)


def test_a_rotation_turns_as_torchvision_does() -> None:
    angle = math.radians(12.0)
    affine = torch.tensor([[[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]]])
    square = images(1, (3, 16, 16))
    turned = Augmentation(affine=affine)(square)
    theirs = official.rotate(square, angle=12.0, interpolation=official.InterpolationMode.BILINEAR)
    torch.testing.assert_close(turned[..., 3:-3, 3:-3], theirs[..., 3:-3, 3:-3], rtol=1e-3, atol=1e-3)


def test_color_against_the_oracle() -> None:
    x = images(8)
    drawn = draw("color", 8, SHAPE, stream("color"))
    assert drawn.color is not None
    for image, out, parameters in zip(x, drawn(x), drawn.color.tolist(), strict=True):
        torch.testing.assert_close(out, siamese.color(image, *parameters), rtol=1e-4, atol=1e-4)


def test_ranges_are_those_of_dsa() -> None:
    count = 4000
    color = draw("color", count, SHAPE, stream("c")).color
    assert color is not None
    for column, (low, high) in enumerate(((-0.5, 0.5), (0.0, 2.0), (0.5, 1.5))):
        values = color[:, column]
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
    scale = draw("scale", count, SHAPE, stream("s")).affine
    rotate = draw("rotate", count, SHAPE, stream("r")).affine
    assert scale is not None
    assert rotate is not None
    for values, (low, high) in ((scale[:, 0, 0], (1 / 1.2, 1.2)), (scale[:, 1, 1], (1 / 1.2, 1.2))):
        assert low <= values.min() < low + 0.01
        assert high - 0.01 < values.max() <= high
    degrees = torch.rad2deg(torch.asin(rotate[:, 1, 0]))
    assert -15 <= degrees.min() < -14.9
    assert 14.9 < degrees.max() <= 15 + 1e-4


def test_a_cutout_is_one_box_of_half_the_size_wherever_its_centre_falls() -> None:
    shape = (1, 8, 10)
    keep = draw("cutout", 500, shape, stream("cutout")).keep
    assert keep is not None
    for mask in keep[:, 0]:
        hole = torch.nonzero(mask == 0)
        low, high = hole.amin(0), hole.amax(0)
        size = (high - low + 1).tolist()
        assert size[0] <= 4
        assert size[1] <= 5
        assert len(hole) == size[0] * size[1]  # a full box
        assert size[0] == 4 or low[0] == 0 or high[0] == 7  # cut short at a border only
        assert size[1] == 5 or low[1] == 0 or high[1] == 9
    covered = (keep[:, 0] == 0).float().mean(0)
    assert covered.min() > 0.05  # no pixel is safe; a corner is hit one time in ten


@given(st.sampled_from(OPERATIONS), st.integers(2, 9))
def test_every_sample_draws_for_itself(operation: str, count: int) -> None:
    x = images(1).expand(count, *SHAPE)
    drawn = draw(operation, count, SHAPE, stream(operation, count))
    out = drawn(x)
    assert out.shape == x.shape
    if operation not in ("flip", "crop", "cutout", "pad", "hole"):  # their few outcomes may coincide
        assert all(not torch.equal(out[0], out[i]) for i in range(1, count))


def test_one_operation_is_drawn_per_batch_and_each_of_them_comes_up() -> None:
    seen = set()
    for seed in range(60):
        drawn = draw("color_cutout_flip", 2, SHAPE, stream(seed))
        used = [name for name in ("color", "keep", "affine") if getattr(drawn, name) is not None]
        assert len(used) == 1
        seen.update(used)
    assert seen == {"color", "keep", "affine"}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_gradients_reach_the_pixels(operation: str) -> None:
    x = images(3).double().requires_grad_()
    drawn = draw(operation, 3, SHAPE, stream("gradient", operation))
    assert torch.autograd.gradcheck(lambda pixels: drawn(pixels).square().sum(), (x,))


def test_joined_augmentations_are_the_parts_one_after_another() -> None:
    parts = [draw(name, 4, SHAPE, stream("join", name)) for name in ("color", "cutout", "flip", "none")]
    x = images(16)
    one_by_one = torch.cat([part(piece) for part, piece in zip(parts, x.split(4), strict=True)])
    torch.testing.assert_close(join(parts, 4, SHAPE)(x), one_by_one, rtol=1e-4, atol=1e-5)
    assert join([Augmentation()] * 3, 4, SHAPE) == Augmentation()


def test_equal_generators_draw_equal_parameters() -> None:
    one, other = (draw("flip_rotate_crop_scale", 5, SHAPE, stream("same")) for _ in range(2))
    assert one.affine is not None
    assert other.affine is not None
    assert torch.equal(one.affine, other.affine)


@pytest.mark.parametrize(
    ("size", "shares"),
    [
        # the box is even, so its centre lies between two pixels, and each of the 9 places is as likely
        pytest.param(8, {2: 2 / 9, 3: 2 / 9, 4: 5 / 9}, id="4 of 8"),
        # the box is odd, so its centre is one of 10 pixels
        pytest.param(10, {3: 2 / 10, 4: 2 / 10, 5: 6 / 10}, id="5 of 10"),
        pytest.param(5, {2: 2 / 5, 3: 3 / 5}, id="3 of 5"),
        pytest.param(6, {2: 2 / 6, 3: 4 / 6}, id="3 of 6"),
    ],
)
def test_how_often_a_hole_is_cut_short_by_the_border(size: int, shares: dict[int, float]) -> None:
    count = 20_000
    for axis, shape in ((1, (1, size, 7)), (2, (1, 7, size))):
        keep = draw("cutout", count, shape, stream("holes", size)).keep
        assert keep is not None
        hole = (keep[:, 0] == 0).any(3 - axis)
        lengths = hole.sum(1)
        assert {int(n): float((lengths == n).float().mean()) for n in lengths.unique()} == pytest.approx(shares, abs=0.015)
        covered = hole.float().mean(0)
        torch.testing.assert_close(covered, covered.flip(0), rtol=0, atol=0.015)  # no side is favoured


def test_a_crop_of_an_eighth_is_rounded_to_the_nearest_pixel() -> None:
    shape = (1, 12, 28)
    affine = draw("crop", 2000, shape, stream("crop")).affine
    assert affine is not None
    right, down = (affine[:, 0, 2] * 28 / 2).round(), (affine[:, 1, 2] * 12 / 2).round()
    assert set(right.tolist()) == set(map(float, range(-4, 5)))  # 28 / 8 = 3.5
    assert set(down.tolist()) == set(map(float, range(-2, 3)))  # 12 / 8 = 1.5
    assert abs(float(torch.corrcoef(torch.stack([right, down]))[0, 1])) < 0.1


GOLDEN: dict[str, list[list[float]]] = {
    "crop": [[1, 0, 0.2, 0, 1, 0], [1, 0, 0, 0, 1, -0.25]],
    "flip": [[-1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0]],
    "scale": [[1.1305, 0, 0, 0, 1.0228, 0], [1.0160, 0, 0, 0, 0.9413, 0]],
    "rotate": [[0.9736, -0.2282, 0, 0.2282, 0.9736, 0], [0.9998, -0.0193, 0, 0.0193, 0.9998, 0]],
    "color": [[0.4538, 0.4365, 1.1290], [0.0861, 1.5801, 1.4534]],
    "cutout": [[4, 7, 6, 9], [6, 7, 6, 9]],
    "pad": [[1, 0, 0, 0, 1, 0.25], [1, 0, -0.8, 0, 1, -0.25]],
    "resize": [[1.062, 0, 0, 0, 1.1319, 0], [1.1878, 0, 0, 0, 1.2352, 0]],
    "turn": [[0.8396, 0.5432, 0, -0.5432, 0.8396, 0], [0.9979, 0.0641, 0, -0.0641, 0.9979, 0]],
    "tint": [[0.1768, 1.1187, 1.2737], [0.0679, 1.0291, 0.8398]],
    "zoom": [[0.8838, 0, 0.0599, 0, 0.8838, -0.0561], [1.2016, 0, -0.1608, 0, 1.2016, 0.0291]],
    "translate": [[1, 0, -0.2019, 0, 1, -0.2286], [1, 0, 0.2063, 0, 1, 0.0412]],
    "hole": [[5, 6, 7, 8], [5, 6, 8, 9]],
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_a_stream_draws_stays_what_it_was(operation: str) -> None:
    """Students of one stream see the same augmentations in every version, or a record could not be compared with a later one."""
    drawn = draw(operation, 2, SHAPE, stream("golden", operation))
    if drawn.keep is not None:
        holes = [torch.nonzero(mask == 0) for mask in drawn.keep[:, 0]]
        found = torch.stack([torch.stack([hole.amin(0), hole.amax(0)], 1).flatten() for hole in holes])  # top, bottom, left, right
    else:
        values = drawn.affine if drawn.color is None else drawn.color
        assert values is not None
        found = values.flatten(1)
    torch.testing.assert_close(found.float(), torch.tensor(GOLDEN[operation]).float(), rtol=0, atol=1e-4)


def test_which_operation_a_stream_picks_stays_what_it_was() -> None:
    generator = stream("golden", "pick")
    picked = ["flip" if draw("color_flip", 1, SHAPE, generator).affine is not None else "color" for _ in range(8)]
    assert picked == ["flip", "flip", "flip", "color", "color", "flip", "flip", "flip"]


def test_half_of_the_samples_are_flipped_and_the_axes_are_scaled_apart() -> None:
    flip, scale = (draw(name, 8000, SHAPE, stream("law", name)).affine for name in ("flip", "scale"))
    assert flip is not None
    assert scale is not None
    assert float((flip[:, 0, 0] < 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert abs(float(torch.corrcoef(torch.stack([scale[:, 0, 0], scale[:, 1, 1]]))[0, 1])) < 0.05
