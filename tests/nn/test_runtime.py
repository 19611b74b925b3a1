"""The allocator's settings: in force on glibc, opted out of by one variable, and worth having."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from bench.nn import runtime

GLIBC = sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc"

FAULTS = """
import resource, sys
from bench.nn.runtime import tune_allocator
print(tune_allocator())
import torch
torch.set_num_threads(1)
for _ in range(12):
    torch.ones(12 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(12 << 20)  # 48 MB, above the largest size that glibc keeps by itself
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**variables: str) -> tuple[str, int]:
    import os

    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": "."} | variables
    )
    tuned, count = done.stdout.split()
    return tuned, int(count)


@pytest.mark.skipif(not GLIBC, reason="the settings are glibc's")
def test_large_tensors_stay_in_the_process() -> None:
    tuned, few = faults(DDBENCH_MALLOC="1")
    untuned, many = faults(DDBENCH_MALLOC="0")
    assert (tuned, untuned) == ("True", "False")
    assert many > 1000  # or huge pages hide the effect and this test shows nothing
    assert few < many / 20


@pytest.mark.parametrize(("system", "libc"), [("darwin", ("", "")), ("win32", ("", "")), ("linux", ("musl", "1.2"))])
def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch, system: str, libc: tuple[str, str]) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    monkeypatch.setattr(runtime.ctypes, "CDLL", lambda *_: pytest.fail("the C library was touched"))
    assert runtime.tune_allocator() is False
