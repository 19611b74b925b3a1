from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from bench.record_parts import Curve
from bench.sweep.running import checkpoint
from bench.sweep.running.checkpoint import CheckpointFile

CURVE = Curve(
    version=1, horizon=6, schedule="constant", chance=0.5, seconds=2.0, points=[{"step": 1, "seconds": 0.5, "val": [0.5], "loss": -1.0}]
)


@pytest.fixture(autouse=True)
def _every_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)


def test_it_comes_back_with_what_was_spent(tmp_path: Path) -> None:
    file = tmp_path / "set" / "checkpoint.safetensors"
    state = {"x": torch.arange(3), "y": torch.ones(2, 2).T}
    CheckpointFile(file, "code").offer(lambda: state, calls=4)
    again = CheckpointFile(file, "code")
    loaded = again.load()
    assert loaded is not None
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert again.calls_before == 4
    assert again.seconds_before >= 0
    again.offer(lambda: state, calls=3)
    third = CheckpointFile(file, "code")
    third.load()
    assert third.calls_before == 7


def test_other_code_does_not_go_on_from_it(tmp_path: Path) -> None:
    CheckpointFile(tmp_path / "c", "code").offer(lambda: {"x": torch.ones(1)}, 0)
    assert CheckpointFile(tmp_path / "c", "other").load() is None


@pytest.mark.parametrize("content", [b"", b"torn", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_torn_or_foreign_file_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    assert CheckpointFile(tmp_path / "c", "code").load() is None


def test_it_is_written_at_most_every_half_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_EVERY", 30.0)

    def state() -> dict[str, torch.Tensor]:
        raise AssertionError("the state was gathered for nothing")

    CheckpointFile(tmp_path / "c", "code").offer(state, 0)
    assert not (tmp_path / "c").exists()


def test_the_points_of_a_curve_come_back_and_what_was_spent_on_them_is_no_distillation(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "c", "code", seconds_before=100.0)
    file.curve, file.losses = CURVE, [3.0, 2.0]
    with file.paused():
        time.sleep(0.3)
    file.offer(lambda: {"x": torch.ones(1)}, 0)
    again = CheckpointFile(tmp_path / "c", "code")
    again.load()
    assert (again.curve, again.losses) == (CURVE, [3.0, 2.0])
    assert 100.0 <= again.seconds_before < 100.3
