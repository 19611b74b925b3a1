"""A way to run the command line on the toy plugin, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from registries import restored_registries

from bench.cli import main
from bench.record import Record
from bench.sweep.store import Store

TOY = Path(__file__).parent / "plugins" / "toy.py"
RUN_BENCH = Path(__file__).parents[2] / "run_bench.py"


@dataclass
class Finished:
    """What a command left: its exit code, its words and its records."""

    code: int
    out: str
    err: str
    store: Store

    @property
    def records(self) -> list[Record]:
        return list(self.store.read_all()[0].values())

    @property
    def record(self) -> Record:
        (record,) = self.records
        return record


def toy_flags(folder: Path, plugin: Path = TOY) -> list[str]:
    """Flags of the smallest sweep: one cell of the toy method, one student."""
    what = ["--methods", "toy_mean", "--datasets", "toy", "--budgets", "1", "--seeds", "1", "--students", "1", "--no-reference"]
    return [*what, "--plugin", str(plugin), "--out", str(folder)]


@pytest.fixture
def forget(plugins: None) -> Iterator[Callable[[], None]]:
    """Take what a test registers out of the registries again, at its end or when it asks for it."""
    with restored_registries() as restore:
        yield restore


@pytest.fixture
def forget_plugins(forget: Callable[[], None]) -> None:
    """Use ``forget`` for its end alone."""


@pytest.fixture
def sweep(forget_plugins: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run the toy sweep in this process; its cells have their own processes all the same. Later flags win."""

    def run(*flags: str, plugin: Path = TOY) -> Finished:
        capsys.readouterr()
        folder = tmp_path / "out"
        code = main([*toy_flags(folder, plugin), *flags])
        words = capsys.readouterr()
        return Finished(code, words.out, words.err, Store(folder))

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the toy sweep as a program of its own."""
    started: list[subprocess.Popen[str]] = []

    def run(*flags: str, own_group: bool = False) -> subprocess.Popen[str]:
        command = [sys.executable, str(RUN_BENCH), *toy_flags(tmp_path / "out"), *flags]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, **pipes, text=True, env={**os.environ}, start_new_session=own_group))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
