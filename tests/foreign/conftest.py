"""Options, readings and real images that the tests of released sets share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import Dataset, load_dataset
from bench.foreign.opening import open_release
from bench.foreign.options import parse_options
from bench.foreign.reading import Reading, read_release
from bench.foreign.real_pixels import RealPixels

Read = Callable[..., Reading]


@pytest.fixture(scope="session")
def real(digits: Dataset) -> RealPixels:
    """Digits under split paper."""
    return RealPixels(load_dataset("digits", "paper"))


@pytest.fixture
def read(real: RealPixels) -> Read:
    """Read files as a set of digits, with options as they are typed."""

    def reading(paths: list[Path], **options: str) -> Reading:
        return read_release(open_release(paths), real.dataset.spec, parse_options(options), real)

    return reading


@pytest.fixture(scope="session")
def released(data_root: Path) -> Path:
    """Folder of sets that other people released."""
    folder = data_root / "released"
    if not folder.is_dir():
        pytest.skip(f"there are no released sets in {folder}")
    return folder
