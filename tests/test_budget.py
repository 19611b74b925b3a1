"""Budgets: the floor rule in exact arithmetic, and the published posters."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import BenchError, BudgetRequest

shapes = st.tuples(st.integers(2, 1000), st.integers(1, 256), st.integers(1, 256))
hundredths = st.integers(1, 10_000)  # a budget of n/100 images per class

POSTERS = [
    # classes, height, width of the data set; width and height of the published poster for 0.9 images per class
    pytest.param((10, 32, 32), (153, 60), 9_180, id="cifar10"),
    pytest.param((100, 32, 32), (303, 303), 91_809, id="cifar100"),
    pytest.param((200, 32, 32), (610, 302), 184_220, id="cub200"),
    pytest.param((200, 64, 64), (1211, 608), 736_288, id="tiny_imagenet"),
]


def as_text(n: int) -> str:
    return f"{n // 100}.{n % 100:02d}"


@given(shapes, hundredths)
def test_ipc_is_floored_exactly(shape: tuple[int, int, int], n: int) -> None:
    classes, height, width = shape
    exact = Fraction(n, 100) * classes * height * width
    if exact < 1:
        with pytest.raises(BenchError, match="gives no pixel"):
            BudgetRequest.parse(as_text(n)).resolve(*shape)
    else:
        assert BudgetRequest.parse(as_text(n)).resolve(*shape).pixels == exact.numerator // exact.denominator


@given(shapes, hundredths, hundredths)
def test_more_ipc_never_means_fewer_pixels(shape: tuple[int, int, int], n: int, more: int) -> None:
    shape = (shape[0] * 100, *shape[1:])  # large enough that no budget is empty
    small, large = (BudgetRequest.parse(as_text(m)).resolve(*shape) for m in (n, n + more))
    assert small.pixels < large.pixels
    assert small.images <= large.images
    assert small.images_per_class <= large.images_per_class


@given(shapes, st.integers(1, 10**9))
def test_pixels_are_taken_as_they_are(shape: tuple[int, int, int], pixels: int) -> None:
    budget = BudgetRequest.parse(f"{pixels}px").resolve(*shape)
    assert budget.pixels == pixels
    assert budget.images * shape[1] * shape[2] <= pixels < (budget.images + 1) * shape[1] * shape[2]
    assert budget.ipc == pytest.approx(pixels / (shape[0] * shape[1] * shape[2]))


@given(st.sampled_from(["1", "1.0", "1.000", "1e0", "10e-1", "01", " 1 "]))
def test_spellings_of_one_number_are_one_request(text: str) -> None:
    assert BudgetRequest.parse(text) == BudgetRequest.parse("1")


@pytest.mark.parametrize("text", ["1e9", "0.1e-9", "9" * 5000 + "px", "1000000000001px", "0px", "9" * 5000, "1e99", "1e-99", "٣"])
def test_what_no_data_set_has_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="budget '.*(out of reach; ask for|is not a number)"):
        BudgetRequest.parse(text)


@given(st.text("0123456789.epx+-", max_size=12))
def test_a_normal_form_is_its_own(text: str) -> None:
    try:
        normal = BudgetRequest.parse(text).text
    except BenchError:
        return
    assert BudgetRequest.parse(normal).text == normal


def test_normal_form_has_no_exponent() -> None:
    assert BudgetRequest.parse("10").text == "10"
    assert BudgetRequest.parse("1e-2").text == "0.01"
    assert BudgetRequest.parse("0009180px").text == "9180px"


@pytest.mark.parametrize(("shape", "poster", "pixels"), POSTERS)
def test_published_posters_fit_nine_tenths_of_an_image_per_class(shape: tuple[int, int, int], poster: tuple[int, int], pixels: int) -> None:
    assert poster[0] * poster[1] == pixels
    budget = BudgetRequest.parse("0.9").resolve(*shape)
    assert pixels <= budget.pixels
    assert 0.895 < budget.effective_ipc(pixels) <= 0.9


def test_one_image_per_class_of_cifar10() -> None:
    budget = BudgetRequest.parse("1").resolve(10, 32, 32)
    assert (budget.pixels, budget.images, budget.images_per_class) == (10_240, 10, 1)
    assert BudgetRequest.parse("0.3").resolve(10, 8, 8).images_per_class == 0


def test_description_has_requested_used_and_effective() -> None:
    text = BudgetRequest.parse("0.9").resolve(10, 32, 32).describe(9180)
    assert "0.9 asked = 9216 px" in text
    assert "9180 px used = 0.8965 IPC" in text


@pytest.mark.parametrize("text", ["", "x", "1x", "px", "-1", "-3px", "1.5px", "nan", "inf", "1_0", "0x10", "1e999", "٣", "0.3,0.5", "1 0"])
def test_malformed_budgets_are_one_sentence(text: str) -> None:
    with pytest.raises(BenchError, match="budget '") as caught:
        BudgetRequest.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["0", "0.0", "0e5", "0px"])
def test_nothing_is_not_a_budget(text: str) -> None:
    with pytest.raises(BenchError, match="budget '0"):
        BudgetRequest.parse(text)


def test_a_budget_below_one_pixel_is_refused() -> None:
    with pytest.raises(BenchError, match="gives no pixel on 2 classes of 8x8"):
        BudgetRequest.parse("0.001").resolve(2, 8, 8)


@pytest.mark.parametrize(
    ("ipc", "free"),
    [("0.3", 10 * 10), ("1", 10 * 10), ("1.99", 10 * 19), ("50", 10 * 500)],
)
def test_free_labels_are_a_row_for_every_full_image_and_for_every_class_at_least(ipc: str, free: int) -> None:
    assert BudgetRequest.parse(ipc).resolve(10, 32, 32).free_labels == free


def test_labels_take_pixels_from_the_first_number_that_is_not_free() -> None:
    budget = BudgetRequest.parse("0.3").resolve(10, 8, 8)
    assert [budget.charged_labels(numbers) for numbers in (0, 100, 101, 400)] == [0, 0, 1, 300]
    assert [budget.pixels_beside_labels(numbers, 1) for numbers in (0, 100, 101, 291, 292, 400)] == [192, 192, 191, 1, 0, 0]
    assert [budget.pixels_beside_labels(numbers, 3) for numbers in (100, 101, 103, 104)] == [192, 191, 191, 190]


@given(shapes, st.integers(1, 10**7), st.integers(0, 10**7), st.sampled_from([1, 3]))
def test_images_and_labels_fill_the_budget_and_never_exceed_it(
    shape: tuple[int, int, int], pixels: int, labels: int, channels: int
) -> None:
    budget = BudgetRequest.parse(f"{pixels}px").resolve(*shape)
    left, charged = budget.pixels_beside_labels(labels, channels), budget.charged_labels(labels)
    stored = -(-(channels * left + charged) // channels)  # as the audit counts a set that uses all of it
    assert stored == pixels or (left == 0 and stored > pixels)
