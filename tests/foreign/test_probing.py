"""A minute of training tells a right reading from a wrong one; on digits it takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from foreign import released_files as made
from foreign.conftest import Read

from bench.cli import main
from bench.foreign.conversion import to_distilled_set
from bench.foreign.probing import trains, tried, try_set
from bench.foreign.real_pixels import RealPixels


@pytest.fixture(scope="module")
def rows(real: RealPixels) -> torch.Tensor:
    """Three real digits of every class as plain pixels."""
    return made.real_images(real.dataset, per_class=3)


def write(folder: Path, images: torch.Tensor, labels: torch.Tensor) -> list[str]:
    torch.save({"images": images, "labels": labels}, folder / "set.pt")
    return [str(folder / "set.pt")]


def test_the_reading_that_trains_is_named(tmp_path: Path, rows: torch.Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    files = write(tmp_path, (rows - 0.3) / 0.37, made.ids(3))
    assert main(["inspect", *files, "--dataset", "digits", "--probe", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "on val (chance is 10 %)" in printed
    assert "it trains with --space standard" in printed


def test_labels_of_another_order_do_not_train(tmp_path: Path, rows: torch.Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    turned = (made.ids(3) + 1) % 10
    files = write(tmp_path, rows, turned)
    assert main(["inspect", *files, "--dataset", "digits", "--probe", "--out", str(tmp_path / "out")]) == 0
    assert "none of these readings trains" in capsys.readouterr().out


def test_every_open_question_is_tried(tmp_path: Path, rows: torch.Tensor, read: Read, real: RealPixels) -> None:
    (file,) = made.rat_bptt(tmp_path, (rows[::3] - 0.3) / 0.37)
    trials = list(tried(read([file]), real))
    assert {trial.differs.rpartition(" --space ")[0] for trial in trials} == {"--labels order"}
    assert len(trials) == len({trial.differs for trial in trials}) >= 1
    assert max(trials, key=lambda trial: trial.accuracy).trains


def test_a_trial_is_the_same_every_time(tmp_path: Path, rows: torch.Tensor, read: Read, real: RealPixels) -> None:
    distilled = to_distilled_set(read(made.dc(tmp_path, rows[::3])))
    assert try_set(distilled, real) == try_set(distilled, real) > 0.4


@pytest.mark.parametrize(
    ("accuracy", "classes", "learned"), [(0.14, 10, False), (0.2, 10, True), (0.019, 100, False), (0.03, 100, True), (0.7, 2, False)]
)
def test_the_bar_is_the_better_of_two_guesses(accuracy: float, classes: int, learned: bool) -> None:
    assert trains(accuracy, classes) is learned


def test_an_import_of_a_wrong_reading_is_warned_of(tmp_path: Path, rows: torch.Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["import", "--dataset", "digits", "--out", str(tmp_path / "out")]
    assert main([*command, *write(tmp_path, rows, (made.ids(3) + 1) % 10), "--name", "wrong"]) == 0
    assert "warning: a trial of one student reached" in capsys.readouterr().out
    assert main([*command, *write(tmp_path, rows, made.ids(3)), "--name", "right"]) == 0
    printed = capsys.readouterr().out
    assert "warning" not in printed
    assert "a trial of one student reached" in printed
    assert main([*command, *write(tmp_path, rows, made.ids(3)), "--name", "untried", "--no-probe"]) == 0
    assert "trial" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--probe"], "name it with --dataset"),
        (["--dataset", "digitz"], "did you mean 'digits'"),
        (["--dataset", "cifar10"], "no array can be images of 3x32x32"),
    ],
)
def test_what_cannot_be_inspected(
    tmp_path: Path, rows: torch.Tensor, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", *write(tmp_path, rows, made.ids(3)), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_without_a_data_set_the_arrays_are_listed(tmp_path: Path, rows: torch.Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", *write(tmp_path, rows, made.ids(3))]) == 0
    printed = capsys.readouterr().out
    assert "images (float32, 30x1x8x8) from 0 to 1" in printed
    assert "labels (int64, 30) from 0 to 9" in printed


def test_without_its_images_a_set_is_read_and_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"images": torch.rand(10, 1, 28, 28), "labels": torch.arange(10)}, tmp_path / "x.pt")
    command = [
        "import",
        str(tmp_path / "x.pt"),
        "--dataset",
        "mnist",
        "--name",
        "x",
        "--out",
        str(tmp_path / "out"),
        "--data-root",
        str(tmp_path),
    ]
    assert main(command) == 0
    assert "the images of mnist are not there" in capsys.readouterr().out
