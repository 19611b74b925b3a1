"""The stages themselves, called in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from bench import RejectedSet, registry
from bench.nn.convnet import library
from bench.sweep.planning.plan import Planner
from bench.sweep.readers import merge
from bench.sweep.running import checkpoint
from bench.sweep.running.stages import distil_stage, judge_stage
from bench.sweep.store import Store

TOY = str(Path(__file__).parents[1] / "plugins" / "toy.py")


def silent(step: int, total: int, scalars: dict[str, float]) -> None:
    del step, total, scalars


@pytest.fixture
def payload(forget_plugins: None, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    registry.discover((TOY,))

    def make(method: str, out: str = "out", **changes: Any) -> dict[str, Any]:
        settings = replace(
            merge({}, None), methods=(method,), datasets=("toy",), budgets=("1",), seeds=(0,), students=1, no_reference=True, **changes
        )
        plan = Planner(settings, tmp_path / "cache").plan()
        (planned,) = plan.cells
        Store(tmp_path / out).prepare()
        return {
            "cell": asdict(planned.cell),
            "key": planned.key,
            "distil_key": planned.distil_key,
            "out": str(tmp_path / out),
            "log": "logs/log",
            "plugins": [TOY],
            "data": str(plan.options.root),
            "device": "cpu",
            "students": 1,
            "environment": {},
            "redistil": False,
        }

    return make


def tensors(payload: dict[str, Any]) -> bytes:
    return (Store(Path(payload["out"])).set_folder(payload["distil_key"]) / "tensors.safetensors").read_bytes()


def test_an_interrupted_distillation_goes_on_and_gives_the_same_set(
    payload: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)
    broken = payload("toy_walk[breaks_at=4]", split="paper")
    folder = Store(Path(broken["out"])).set_folder(broken["distil_key"])
    with pytest.raises(RuntimeError, match="power"):
        distil_stage(broken, silent)
    assert (folder / "checkpoint.safetensors").is_file()
    assert Store(Path(broken["out"])).set_info(broken["distil_key"]) is None
    steps: list[int] = []
    distil_stage(broken, lambda step, total, scalars: steps.append(step))
    assert steps == [4, 5, 6]
    assert not (folder / "checkpoint.safetensors").exists()

    monkeypatch.setattr(checkpoint, "_EVERY", 1e9)
    whole = {**broken, "out": broken["out"] + "-2", "cell": {**broken["cell"], "fields": {"breaks_at": 0}}}
    Store(Path(whole["out"])).prepare()
    distil_stage(whole, silent)
    assert tensors(whole) == tensors(broken)


def test_validation_calls_are_counted(payload: Callable[..., dict[str, Any]]) -> None:
    cell = payload("toy_walk")
    distil_stage(cell, silent)
    info = Store(Path(cell["out"])).set_info(cell["distil_key"])
    assert info is not None
    assert info["validate_calls"] == 6


def test_the_judge_starts_from_disk_and_writes_the_record(payload: Callable[..., dict[str, Any]]) -> None:
    cell = payload("toy_mean")
    with pytest.raises(RejectedSet, match="not complete"):
        judge_stage(cell, silent)
    distil_stage(cell, silent)
    told = judge_stage({**cell, "distil_seconds": 1.5}, silent)
    record = Store(Path(cell["out"])).read(cell["key"])
    assert record is not None
    assert record.seconds["distil"] == 1.5
    assert record.distil["seconds"] > 0
    assert told["accuracy"] == sum(record.scores["final"]["test"])
    assert record.audit["pixels"] == 128
    # The record tells by which code the set was made, also if the method has changed since.
    judge_stage({**cell, "cell": {**cell["cell"], "code_hash": "newer"}}, silent)
    again = Store(Path(cell["out"])).read(cell["key"])
    assert again is not None
    assert again.cell.code_hash == record.cell.code_hash != "newer"


def test_data_that_changed_since_the_plan_is_noticed(payload: Callable[..., dict[str, Any]]) -> None:
    cell = payload("toy_mean")
    with pytest.raises(Exception, match="changed after the run was planned"):
        distil_stage({**cell, "cell": {**cell["cell"], "data_hash": "0" * 16}}, silent)


@pytest.mark.parametrize("switched_off", [True, False])
def test_the_record_says_which_kernels_trained_the_students(
    payload: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, switched_off: bool
) -> None:
    if switched_off:
        monkeypatch.setattr(library, "load", lambda: (None, "switched off"))
    expected = "PyTorch" if switched_off or library.load()[0] is None else "compiled"
    made = payload("toy_mean")
    distil_stage(made, silent)
    judge_stage(made, silent)
    record = Store(tmp_path / "out").read(made["key"])
    assert record is not None
    assert record.environment["kernels"] == expected
