"""Pixels per dataset: the one axis on which every method is compared."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from .errors import BenchError, shorten

_PIXELS = re.compile(r"(\d+)px", re.ASCII)
_NUMBER = re.compile(r"(\d{1,20}(\.\d{0,20})?|\.\d{1,20})(e[+-]?\d{1,2})?", re.IGNORECASE | re.ASCII)
#: No data set has as much, or as little; what lies beyond is a slip of the finger.
_MOST_PIXELS, _MOST_IPC, _LEAST_IPC = 10**12, 10**6, Decimal("1e-9")


@dataclass(frozen=True)
class BudgetRequest:
    """What the user asked for, before a data set is known: images per class (``ipc``) or ``pixels``, never both.

    Example:
        >>> from bench import BudgetRequest
        >>> BudgetRequest.parse("0.9").resolve(classes=10, height=32, width=32).pixels
        9216
        >>> BudgetRequest.parse("9180px").resolve(classes=10, height=32, width=32).ipc
        0.896484375
    """

    text: str
    ipc: Decimal | None = None
    pixels: int | None = None

    @classmethod
    def parse(cls, text: str) -> BudgetRequest:
        """Read ``"0.3"``, ``"10"`` (images per class) or ``"9180px"`` (pixels per dataset).

        Raises:
            BenchError: the text is neither, or the number is not positive, or beyond any data set.
        """
        text = str(text).strip()
        if match := _PIXELS.fullmatch(text):
            # Its length first: Python reads no number of some thousand digits.
            pixels = int(match[1]) if len(match[1].lstrip("0")) <= len(str(_MOST_PIXELS)) else _MOST_PIXELS + 1
            if not 1 <= pixels <= _MOST_PIXELS:
                raise BenchError(f"budget {shorten(text)} is out of reach; ask for 1px to {_MOST_PIXELS}px")
            return cls(f"{pixels}px", pixels=pixels)
        if not _NUMBER.fullmatch(text):
            raise BenchError(f"budget {shorten(text)} is not a number of images per class (0.3, 1, 10) nor of pixels (9180px)")
        ipc = Decimal(text)
        if ipc <= 0:
            raise BenchError(f"budget '{text}' is not positive; ask for more than 0 images per class")
        if not _LEAST_IPC <= ipc <= _MOST_IPC:
            raise BenchError(f"budget '{text}' is out of reach; ask for {_LEAST_IPC:f} to {_MOST_IPC} images per class")
        return cls(format(ipc.normalize(), "f"), ipc=ipc)

    def resolve(self, classes: int, height: int, width: int) -> Budget:
        """Turn the request into whole pixels for a data set: ``floor(ipc · classes · height · width)``, exactly.

        Raises:
            BenchError: less than one pixel is left.
        """
        area = classes * height * width
        if self.pixels is not None:
            pixels = self.pixels
        else:
            assert self.ipc is not None  # parse() sets one of the two
            pixels = int((self.ipc * area).to_integral_value(rounding=ROUND_FLOOR))
        if pixels < 1:
            raise BenchError(f"budget '{self.text}' gives no pixel on {classes} classes of {height}x{width}; ask for more")
        return Budget(requested=self.text, pixels=pixels, classes=classes, height=height, width=width)


@dataclass(frozen=True)
class Budget:
    """A number of pixels that a distilled set of one data set may use.

    Attributes:
        requested: the request in its normal form, ``"0.3"`` or ``"9180px"``.
        pixels: pixel positions (a colour pixel counts once) over the whole set.
        classes: number of classes of the data set.
        height: rows of one image, in pixels.
        width: columns of one image, in pixels.

    Example:
        >>> from bench import BudgetRequest
        >>> budget = BudgetRequest.parse("2.7").resolve(classes=10, height=8, width=8)
        >>> budget.pixels, budget.images, budget.images_per_class
        (1728, 27, 2)
        >>> budget.describe(used_pixels=1280)
        '2.7 asked = 1728 px, 1280 px used = 2.0000 IPC'

        A soft label for each of 50 smaller images is more than the 270 free label numbers; the rest takes pixels:

        >>> budget.pixels_beside_labels(50 * 10, channels=1)
        1498
    """

    requested: str
    pixels: int
    classes: int
    height: int
    width: int

    @property
    def ipc(self) -> float:
        """The granted pixels as images per class."""
        return self.effective_ipc(self.pixels)

    @property
    def asked_ipc(self) -> float:
        """The images per class that were asked for, on which recipe rules match; whole pixels are a little less."""
        asked = BudgetRequest.parse(self.requested).ipc
        return self.ipc if asked is None else float(asked)

    @property
    def images(self) -> int:
        """How many full images fit in the budget."""
        return self.pixels // (self.height * self.width)

    @property
    def images_per_class(self) -> int:
        """How many full images of every class fit in the budget: 0 below one image per class."""
        return self.images // self.classes

    @property
    def free_labels(self) -> int:
        """Label numbers that cost nothing: a row of class values for every full image that fits, and for every class at least.

        Every published set of learned labels fits. What goes beyond is charged like any other stored number: otherwise
        thousands of rows of labels for images that cost nothing (noise, say) would be storage for free.
        """
        return self.classes * max(self.classes, self.images)

    def charged_labels(self, label_numbers: int) -> int:
        """Return how many of so many stored label numbers are not free."""
        return max(0, label_numbers - self.free_labels)

    def pixels_beside_labels(self, label_numbers: int, channels: int) -> int:
        """Return the pixels that are left for images where so many label numbers are stored, 0 if the labels take all.

        Args:
            label_numbers: label numbers of the whole set, free and charged ones together.
            channels: colour channels of the data set, as a pixel holds that many numbers.
        """
        return max(0, self.pixels - -(-self.charged_labels(label_numbers) // channels))

    def effective_ipc(self, used_pixels: int) -> float:
        """Express ``used_pixels`` as images per class; a 153x60 poster of CIFAR-10 gives 0.896..."""
        return used_pixels / (self.classes * self.height * self.width)

    def describe(self, used_pixels: int) -> str:
        """Say requested, used and effective budget in a few words."""
        return f"{self.requested} asked = {self.pixels} px, {used_pixels} px used = {self.effective_ipc(used_pixels):.4f} IPC"


def least_pixels(numbers: int, labels: int, shape: tuple[int, int, int], classes: int) -> int:
    """Return the smallest budget in pixels that a set fits into.

    Args:
        numbers: stored numbers that are no labels.
        labels: stored label numbers, of which a larger budget lets more be free.
        shape: channels, height and width of an image.
        classes: number of classes.
    """
    channels, height, width = shape

    def fits(pixels: int) -> bool:
        granted = Budget(f"{pixels}px", pixels, classes, height, width)
        return numbers + granted.charged_labels(labels) <= pixels * channels

    # The smaller the budget, the fewer labels are free, so the set may need more pixels than its images have.
    least, most = max(1, -(-numbers // channels)), -(-(numbers + labels) // channels)
    return bisect_left(range(least, most + 1), True, key=fits) + least
