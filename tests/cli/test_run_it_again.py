"""The command that ``show`` prints makes the cell again: it is run as it stands, from another folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from registries import restored_registries

from bench.cli import main
from bench.record import Record
from bench.sweep.store import Store

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "sweep" / "plugins" / "toy.py"
UNUSED = """
from bench import SELECTIONS

@SELECTIONS.register("unused")
def unused(features, labels, slots, generator):
    return slots
"""


@pytest.fixture
def forget(plugins: None) -> Iterator[None]:
    with restored_registries():
        yield


@pytest.fixture
def out(forget: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An out folder with cells of a plugin, made beside a plugin that they do not need; its paths have spaces."""
    folder = tmp_path / "my plugins"
    folder.mkdir()
    (folder / "toy's.py").write_text(TOY.read_text())
    (folder / "unused.py").write_text(UNUSED)
    plugins = [word for name in ("unused.py", "toy's.py") for word in ("--plugin", str(folder / name))]
    what = ["--methods", "toy_mean[take=3]", "--datasets", "toy", "--budgets", "1,0.5", "--effort", "0.123456789", "--seeds", "1,"]
    assert main([*what, *plugins, "--students", "1", "--no-reference", "--out", str(tmp_path / "my out")]) == 0
    return tmp_path / "my out"


def printed(record: Record, out: Path, folder: Path) -> list[str]:
    """Return the lines below "run it again", as ``show`` prints them in ``folder``."""
    command = [sys.executable, str(ROOT / "run_bench.py"), "show", record.key, "--out", str(out)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.partition("run it again\n")[2].splitlines()


def by_status(out: Path) -> dict[str, Record]:
    return {record.status: record for record in Store(out).read_all()[0].values()}


def test_it_runs_as_it_stands_and_names_the_cell(out: Path, tmp_path: Path) -> None:
    for record in by_status(out).values():
        (line,) = printed(record, out, tmp_path)
        words = shlex.split(line)
        assert [Path(words[i + 1]).name for i, word in enumerate(words) if word == "--plugin"] == ["toy's.py"]
        done = subprocess.run(
            [sys.executable, *words[1:], "--dry-run"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        if record.status == "ok":
            assert done.returncode == 0, done.stderr
            assert record.key[:10] in done.stdout
        else:  # a refusal is all that this cell has
            assert done.returncode == 2
            assert "it keeps two whole images" in done.stderr


def test_a_path_that_is_not_known_is_said(out: Path, tmp_path: Path) -> None:
    record = by_status(out)["ok"]
    assert record.environment["plugins"] == ["toy's.py"]
    for file in (out / "run.yaml", *(out / "runs").glob("*.yaml")):
        file.unlink()
    line, sentence = printed(record, out, tmp_path)
    assert "PATH/TO/toy's.py" in shlex.split(line)
    assert "put its path in place of PATH/TO/toy's.py" in sentence


def test_the_file_of_an_earlier_run_is_found(out: Path, tmp_path: Path) -> None:
    record = by_status(out)["ok"]
    (out / "runs").mkdir(exist_ok=True)
    os.replace(out / "run.yaml", out / "runs" / "2020-01-01.yaml")
    (out / "run.yaml").write_text("plugin: [1, /nowhere/toy's.py]\ndatasets: [toy]\n")
    (out / "runs" / "2021-01-01.yaml").write_text("- [nonsense")
    (line,) = printed(record, out, tmp_path)
    assert str(tmp_path / "my plugins" / "toy's.py") in shlex.split(line)


def test_the_data_root_is_that_of_the_run(out: Path, tmp_path: Path) -> None:
    record = by_status(out)["ok"]
    settings = yaml.safe_load((out / "run.yaml").read_text())
    (out / "run.yaml").write_text(yaml.safe_dump({**settings, "data-root": str(tmp_path)}))
    (line,) = printed(record, out, tmp_path)
    words = shlex.split(line)
    assert words[words.index("--data-root") + 1] == str(tmp_path)
