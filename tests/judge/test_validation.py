"""Scoring on val from another process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from bench import BenchError, DataOptions, Dataset, DistilledSet, RejectedSet, Split, TrainRecipe
from bench.guard import guarded
from bench.judge import Protocol, Validator, get_protocol, validation_accuracy

TOY_FILE = str(Path(__file__).with_name("toy.py"))


@pytest.fixture
def two() -> Protocol:
    return get_protocol("native-v1", 2)


@pytest.fixture
def validator(tmp_path: Path, two: Protocol) -> Iterator[Validator]:
    with Validator("judge-toy", "dev", DataOptions(tmp_path), tmp_path, two, seed=1, plugin_files=[TOY_FILE]) as validator:
        yield validator


def test_the_number_is_that_of_this_process(
    validator: Validator, make_set: Callable[..., DistilledSet], bars: Dataset, two: Protocol
) -> None:
    with guarded([Path("closed")]) as violations:
        scores = [validator.score(make_set(1)), validator.score(make_set(3))]
    expected = [validation_accuracy(make_set(count), bars, two, 1, None) for count in (1, 3)]
    assert scores == expected
    assert (validator.calls, violations) == (2, [])


def test_students_of_validation_are_not_those_of_the_judge(
    make_set: Callable[..., DistilledSet], bars: Dataset, two: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.judge.evaluate as evaluate

    streams = []
    monkeypatch.setattr(evaluate, "StudentStreams", lambda parts: streams.append(parts))
    for purpose in ("judge", "validate"):
        evaluate._open(make_set(1), bars, two, 0, None, torch.device("cpu"), purpose)
    assert len(set(streams)) == 4


def test_a_refusal_comes_back_and_the_process_goes_on(validator: Validator, make_set: Callable[..., DistilledSet]) -> None:
    broken = make_set(1, space="nowhere")
    with pytest.raises(BenchError, match="unknown pixel space 'nowhere'"):
        validator.score(broken)
    missing = make_set(1)
    manifest = dict(missing.manifest(), parameterization="not registered")
    object.__setattr__(missing, "manifest", lambda: manifest)
    with pytest.raises(RejectedSet, match="not registered"):
        validator.score(missing)
    assert 0.0 <= validator.score(make_set(1)) <= 1.0
    assert validator.calls == 3


def test_no_process_before_the_first_call_and_none_after_close(validator: Validator, make_set: Callable[..., DistilledSet]) -> None:
    assert validator._process is None
    validator.score(make_set(1))
    assert validator._process is not None
    child = validator._process.pid
    validator.close()
    validator.close()
    assert not Path(f"/proc/{child}").exists() or sys.platform != "linux"


def test_a_dead_process_is_an_error_not_a_wait(validator: Validator, make_set: Callable[..., DistilledSet]) -> None:
    validator.score(make_set(1))
    assert validator._process is not None
    validator._process.kill()
    with pytest.raises(RuntimeError, match="ended unexpectedly"):
        validator.score(make_set(1))


PARENT = """
import sys, time
from pathlib import Path
from bench import DataOptions
from bench.judge import Validator, get_protocol
validator = Validator("judge-toy", "dev", DataOptions(Path(".")), None, get_protocol("native-v1", 1), 0)
print(validator._start().pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_process_ends_with_its_parent() -> None:
    home = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": home}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdout is not None
        child = Path(f"/proc/{int(parent.stdout.readline())}/stat")
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 60
        while child.exists() and child.read_text().rsplit(")", 1)[1].split()[0] != "Z" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not child.exists() or child.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_val_images_stay_in_the_other_process(validator: Validator, make_set: Callable[..., DistilledSet], toy: ModuleType) -> None:
    gc.collect()
    before = {id(item) for item in gc.get_objects() if type(item) is Split}
    validator.score(make_set(1, recipe=TrainRecipe(steps=2)))
    val = toy.bars("val", 60)
    new = [item for item in gc.get_objects() if type(item) is Split and id(item) not in before and item is not val]
    assert not any(len(split) == len(val) for split in new)
