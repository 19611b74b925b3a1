"""Operations of DC and FRePo: their ranges, their resampling against pixel-by-pixel oracles, and one operation for each image."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench.nn.augment import Augmentation, draw, parse_strategy
from bench.nn.operations import OTHER_OPERATIONS
from bench.seeding import stream
from oracles import siamese

SHAPE = (1, 28, 20)
MANY = 4000
GEOMETRIC = ("pad", "resize", "turn", "zoom", "translate")


def affine(operation: str, count: int = MANY) -> Tensor:
    drawn = draw(operation, count, SHAPE, stream("operations", operation)).affine
    assert drawn is not None
    return drawn


def fills(values: Tensor, low: float, high: float) -> bool:
    """Tell whether values spread over a range and do not leave it."""
    edge = 0.01 * (high - low)
    return low - 1e-5 <= float(values.min()) < low + edge and high - edge < float(values.max()) <= high + 1e-5


def test_a_pad_of_four_shifts_by_minus_four_to_three_whole_pixels() -> None:
    drawn = affine("pad")
    right, down = drawn[:, 0, 2] * 20 / 2, drawn[:, 1, 2] * 28 / 2
    for shift in (right, down):
        torch.testing.assert_close(shift, shift.round(), rtol=0, atol=1e-4)
        assert set(shift.round().int().tolist()) == set(range(-4, 4))
    image = torch.randn(1, *SHAPE, generator=stream("pad"))
    one = draw("pad", 1, SHAPE, stream("one"))
    assert one.affine is not None
    dx, dy = (round(float(one.affine[0, row, 2]) * size / 2) for row, size in ((0, 20), (1, 28)))
    torch.testing.assert_close(one(image)[0], siamese.shift(image[0], dx, dy), rtol=1e-4, atol=1e-4)


def test_a_resize_is_by_a_fifth_at_most_and_each_axis_for_itself() -> None:
    drawn = affine("resize")
    width, height = 1 / drawn[:, 0, 0], 1 / drawn[:, 1, 1]  # of the content; the map goes from output to input
    assert fills(width, 0.8, 1.2)
    assert fills(height, 0.8, 1.2)
    assert abs(float(torch.corrcoef(torch.stack([width, height]))[0, 1])) < 0.05


def test_a_turn_is_by_at_most_45_degrees() -> None:
    drawn = affine("turn")
    degrees = torch.rad2deg(torch.atan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    assert fills(degrees, -45, 45)
    torch.testing.assert_close(drawn[:, :, :2] @ drawn[:, :, :2].mT, torch.eye(2).expand(MANY, 2, 2))
    assert not drawn[:, :, 2].any()


def test_a_tint_is_a_quarter_in_each_direction() -> None:
    color = draw("tint", MANY, SHAPE, stream("tint")).color
    assert color is not None
    assert fills(color[:, 0], -0.25, 0.25)
    for factor in (color[:, 1], color[:, 2]):
        assert fills(factor.log(), -0.25, 0.25)
        assert float(factor.log().mean()) == pytest.approx(0.0, abs=0.01)


def test_a_zoom_stays_in_the_frame_and_goes_everywhere_in_it() -> None:
    drawn = affine("zoom")
    seen = drawn[:, 0, 0]
    assert torch.equal(seen, drawn[:, 1, 1])
    assert fills(seen.log(), -math.log(1.25), math.log(1.25))
    for shift in (drawn[:, 0, 2], drawn[:, 1, 2]):
        # A window smaller than the image lies within it; a larger one has the image within itself.
        assert (shift.abs() <= (1 - seen).abs() + 1e-6).all()
        assert fills(shift / (1 - seen), -1, 1)


def test_a_translation_is_by_an_eighth_of_the_image_at_most() -> None:
    drawn = affine("translate")
    right, down = drawn[:, 0, 2] / 2, drawn[:, 1, 2] / 2  # in images
    assert fills(right, -0.125, 0.125)
    assert fills(down, -0.125, 0.125)


def test_a_hole_is_a_box_of_a_quarter_inside_the_image() -> None:
    keep = draw("hole", 2000, SHAPE, stream("hole")).keep
    assert keep is not None
    rows, columns = (keep[:, 0] == 0).any(2), (keep[:, 0] == 0).any(1)
    assert (rows.sum(1) == 7).all()
    assert (columns.sum(1) == 5).all()
    assert ((keep == 0).flatten(1).sum(1) == 35).all()
    assert set(rows.float().argmax(1).tolist()) == set(range(22))
    assert set(columns.float().argmax(1).tolist()) == set(range(16))


@pytest.mark.parametrize("operation", GEOMETRIC)
def test_resampling_against_the_oracle(operation: str) -> None:
    images = torch.randn(4, 2, 8, 10, generator=stream("images"))
    drawn = draw(operation, 4, (2, 8, 10), stream(operation))
    assert drawn.affine is not None
    for image, out, matrix in zip(images, drawn(images), drawn.affine.tolist(), strict=True):
        torch.testing.assert_close(out, siamese.resample(image, matrix), rtol=1e-4, atol=1e-4)


def test_each_sample_draws_its_own_operation() -> None:
    strategy = "each_pad_resize_turn"
    assert parse_strategy(strategy) == ("pad", "resize", "turn")
    drawn = draw(strategy, MANY, SHAPE, stream("each")).affine
    assert drawn is not None
    turned, resized = drawn[:, 0, 1] != 0, (drawn[:, 0, 1] == 0) & (drawn[:, 0, 0] != 1)
    for share in (turned, resized, ~(turned | resized)):
        assert float(share.float().mean()) == pytest.approx(1 / 3, abs=0.03)


def test_each_changes_what_its_operation_changes_and_nothing_else() -> None:
    images = torch.randn(60, 1, 8, 8, generator=stream("images"))
    drawn = draw("each_hole_flip_tint", 60, (1, 8, 8), stream("mixed"))
    assert drawn.keep is not None
    assert drawn.affine is not None
    assert drawn.color is not None
    holed, flipped = (drawn.keep == 0).flatten(1).any(1), drawn.affine[:, 0, 0] < 0
    tinted = (drawn.color != torch.tensor([0.0, 1.0, 1.0])).any(1)
    assert not (holed & flipped | holed & tinted | flipped & tinted).any()
    alone = drawn.take(torch.arange(60)[holed])
    torch.testing.assert_close(drawn(images)[holed], alone(images[holed]))
    assert draw("none", 3, SHAPE, stream("x")).take(torch.tensor([0])) == Augmentation()


@pytest.mark.parametrize("operation", OTHER_OPERATIONS)
def test_equal_streams_draw_equal_parameters(operation: str) -> None:
    one, other = (draw(operation, 5, SHAPE, stream("same")) for _ in range(2))
    image = torch.randn(5, *SHAPE, generator=stream("image"))
    assert torch.equal(one(image), other(image))
