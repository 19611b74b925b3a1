"""Files as other people released them: read, understood, and turned into rows by the README's three commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from bench import DataOptions, Spec, load_dataset
from bench.cli import main
from bench.errors import BenchError
from bench.foreign.conversion import to_distilled_set
from bench.foreign.opening import open_release
from bench.foreign.options import parse_options
from bench.foreign.reading import Reading, plausible_options, read_release
from bench.foreign.real_pixels import RealPixels
from bench.loading import find_dataset

README = Path(__file__).parent.parent.parent / "README.md"
DC = ("dc_cifar10_ipc1_ddranking_images.pt", "dc_cifar10_ipc1_ddranking_labels.pt")
ORDER = (0, 8, 5, 7, 4, 1, 9, 3, 2, 6)


def spec_of(name: str) -> Spec:
    return find_dataset(name, Path("nowhere")).spec


def read(folder: Path, dataset: str, *files: str, real: RealPixels | None = None, **options: str) -> Reading:
    return read_release(open_release([folder / file for file in files]), spec_of(dataset), parse_options(options), real)


def said(reading: Reading) -> str:
    return " ".join(sentence for _, sentence in reading.evidence)


@pytest.fixture(scope="module")
def cifar10(real_data: DataOptions) -> RealPixels:
    return RealPixels(load_dataset("cifar10", "paper", real_data))


def test_dc_on_cifar10(released: Path) -> None:
    reading = read(released, "cifar10", *DC, space="normalised:cifar10")
    assert (reading.pixels(), reading.options.labels, reading.questions) == (10_240, "ids", ())
    distilled = to_distilled_set(reading)
    assert (distilled.space, distilled.coordinates) == ("standard", "rgb")
    assert distilled.parameterization.decode().labels.argmax(1).tolist() == list(range(10))


def test_the_result_file_of_dc_on_mnist(released: Path) -> None:
    """``weights_only`` refuses it for its scalars of numpy."""
    reading = read(released, "mnist", "dc_mnist_ipc1_danielhelle.pt")
    assert (reading.images.shape, reading.options.labels) == ((10, 1, 28, 28), "ids")
    assert "accs_all_exps.ConvNet (float64, 20)" in " ".join(reading.left_out)
    assert [question.option for question in reading.questions] == ["space"]


def test_rat_bptt_is_rows_channels_first_without_labels(released: Path) -> None:
    reading = read(released, "cifar10", "rat_bptt_cifar10_ipc1.h5")
    assert "read as chw" in said(reading)
    assert [question.option for question in reading.questions] == ["labels", "space"]


def test_a_random_selection_is_known_by_its_constants(released: Path) -> None:
    reading = read(released, "cifar10", "datadam_init_cifar10_ipc1_images.pt")
    assert reading.options.space == "normalised:cifar10"
    assert "real images, untouched" in said(reading)
    pixels = to_distilled_set(read(released, "cifar10", "datadam_init_cifar10_ipc1_images.pt", labels="order")).parameterization.decode()
    scaled = 255 * pixels.images.detach().numpy()
    assert np.abs(scaled - np.rint(scaled)).max() < 1e-3


def test_a_poster_cannot_be_read_without_its_order_and_patches(released: Path) -> None:
    reading = read(released, "cifar10", "ppodd_cifar10_0.9ipc_poster.pt")
    assert (reading.layout, reading.options.class_grid, reading.pixels()) == ("poster", (5, 2), 9180)
    assert [question.option for question in reading.questions] == ["patches", "order", "labels", "space"]
    with pytest.raises(BenchError, match="patch grid of the poster"):
        list(plausible_options(reading))


def test_a_poster_with_all_that_its_log_says(released: Path) -> None:
    options = {"patches": "16x6", "order": "-".join(map(str, ORDER)), "labels": "fixed", "space": "zca_kip"}
    stored = to_distilled_set(read(released, "cifar10", "ppodd_cifar10_0.9ipc_poster.pt", **options)).parameterization
    counts = np.bincount(stored.decode().labels.argmax(1).numpy(), minlength=10)
    # As many patches for each cell, column after column, as the paper's geometry gives; cell k of a row is class order[k].
    assert [counts[ORDER[cell]] for cell in (0, 5, 1, 6, 2, 7, 3, 8, 4, 9)] == [6, 6, 12, 12, 12, 12, 12, 12, 6, 6]


@pytest.mark.slow
def test_real_images_tell_the_spaces(released: Path, cifar10: RealPixels) -> None:
    """Each set beside the whitened and the plain training images; a wrong space is warned of at once."""
    dc = read(released, "cifar10", *DC, real=cifar10)
    (question,) = dc.questions  # the mildest whitening leaves images nearly as smooth
    assert question.plausible == ("normalised:cifar10", "zca_kornia")
    for options in ({}, {"space": "standard"}):
        whitened = read(released, "cifar10", "rat_bptt_cifar10_ipc1.h5", real=cifar10, labels="order", **options)
        assert bool(whitened.warnings) is bool(options)
    assert "speak against --space standard" in whitened.warnings[0]
    poster = read(released, "cifar10", "ppodd_cifar10_0.9ipc_poster.pt", real=cifar10)
    assert "zca_kip" in poster.questions[-1].plausible
    assert "normalised:cifar10" not in poster.questions[-1].plausible


@pytest.mark.slow
def test_the_three_commands_of_the_readme(
    released: Path, data_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From DC's files to a row; only the paths are changed, students are few and train for a step."""
    text = README.read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if "run_bench.py import" in block)
    commands = [shlex.split(line)[2:] for line in block.splitlines()]
    monkeypatch.setattr("bench.foreign.probing._LEAST_STEPS", 1)
    monkeypatch.setattr("bench.foreign.probing._MOST_STEPS", 60)
    monkeypatch.setattr("bench.foreign.probing._VAL_IMAGES", 500)
    names = {"images.pt": str(released / DC[0]), "labels.pt": str(released / DC[1])}
    for arguments in commands:
        where = ["--out", str(tmp_path / "out"), "--data-root", str(data_root)]
        extra = ["--seeds", "1", "--students", "1", "--no-reference", "--dry-run"] if arguments[0].startswith("-") else []
        assert main([names.get(word, word) for word in arguments] + where + extra) == 0
    printed = capsys.readouterr().out
    assert "it trains with --space normalised:cifar10" in printed
    assert "a trial of one student reached" in printed
    assert "1 pending" in printed
