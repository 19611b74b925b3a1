"""``check FILE``: what a plugin does not keep is named, with what to do; whatever it does to its process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from registries import restored_registries

from bench import DataOptions
from bench.cli import main
from bench.contract.checks import undescribed_fields
from bench.contract.examine import Finding, examine

ROOT = Path(__file__).parents[2]
GOOD = """
\"\"\"Blank images. Stored: c*h*w numbers per class.\"\"\"

import os
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from bench import METHODS, DistilledSet, Images, Method, PlanContext, Refusal, Resolution, Task, TrainRecipe


@METHODS.register("blank")
@dataclass(frozen=True, kw_only=True)
class Blank(Method):
    \"\"\"Noise in the place of images; ``scale``: its largest value.\"\"\"

    name: ClassVar[str] = "blank"
    reference: ClassVar[str] = "none"
    scale: float = 1.0

    def plan(self, context: PlanContext) -> Resolution | Refusal:
        return Resolution(self) if context.budget.images_per_class else Refusal("it keeps one full image of every class")

    def distill(self, task: Task) -> DistilledSet:
        stored = Images(task.spec, task.spec.classes)
        stored.write(torch.rand(10, *task.spec.shape, generator=task.generator("images")) * self.scale, torch.arange(10))
        return DistilledSet(task.spec, stored, TrainRecipe(steps=4), coordinates="rgb")
"""


@pytest.fixture(autouse=True)
def forget(plugins: None) -> Iterator[None]:
    with restored_registries():
        yield


def found_in(text: str, folder: Path) -> list[Finding]:
    file = folder / "blank.py"
    file.write_text(text)
    (folder / "scratch").mkdir()
    return list(examine(str(file), DataOptions(folder, download=False), folder / "scratch", lambda subject, check: None))


def failed(text: str, folder: Path) -> dict[str, Finding]:
    assert text != GOOD
    return {finding.check: finding for finding in found_in(text, folder) if finding.status == "FAILED"}


def test_a_good_plugin_holds_and_its_refusals_are_shown(tmp_path: Path) -> None:
    found = found_in(GOOD, tmp_path)
    assert {finding.status for finding in found if finding.subject in ("method 'blank'", "blank", "blank at 1")} == {"ok"}
    refused = {finding.subject: finding.sentence for finding in found if finding.status == "refused"}
    assert refused == dict.fromkeys(("blank at 0.3", "blank at 0.5"), "it keeps one full image of every class")


#: what is changed in the text -> (by what, the check that fails, words of its sentence)
FAULTS = {
    "; ``scale``: its largest value": ("", "its fields are frozen, plain and described", "field scale of Blank is not described"),
    "``scale``: its largest value": (
        "``grey_scale``: its largest value",
        "its fields are frozen, plain and described",
        "field scale of Blank is not described",
    ),
    "(frozen=True, kw_only=True)": ("(kw_only=True)", "its fields are frozen, plain and described", "no frozen dataclass"),
    "Stored: c*h*w": ("Kept: c*h*w", "it says what it is", "write 'Stored: ...'"),
    ' = "none"': (' = " "', "it says what it is", "has no reference"),
    'generator=task.generator("images")': ("", "the same seed gives the same bytes", "draw every random number from task.generator"),
    "task.generator(": (
        "torch.Generator().manual_seed(0) or (",
        "another seed gives other images, or the same where it is deterministic",
        "declare it deterministic",
    ),
    "    scale: float = 1.0": (
        "    deterministic: ClassVar[bool] = True\n    scale: float = 1.0",
        "another seed gives other images, or the same where it is deterministic",
        "it is declared deterministic",
    ),
    "        stored = Images": (
        "        np.random.rand()\n        stored = Images",
        "the global generators are left alone",
        "drew from the global generator of numpy",
    ),
    "        stored.write": (
        "        task.train.images.fill_(0)\n        stored.write",
        "training data stay as they are",
        "work on a copy of task.train",
    ),
    "Images(task.spec, task.spec.classes)": (
        "Images(task.spec, 10, labels='ids'); stored = Images(task.spec, 20, labels='ids'); stored.write = lambda *_: None",
        "it passes the audit within its budget",
        "the audit rejects the set: ",
    ),
    "return DistilledSet(task.spec, stored, TrainRecipe(steps=4), ": (
        "return dict(",
        "its set is saved and read back",
        "distill() returned dict; return a DistilledSet",
    ),
    "images_per_class else Refusal": ("nothing else Refusal", "it is planned", "it raised AttributeError"),
    "if context.budget.images_per_class else": ("if 0 else", "it takes some budget", "it refuses every budget from 0.3 to 50"),
    "it keeps one full image of every class": ("no", "it is planned", "is no sentence of one line"),
}


@pytest.mark.parametrize("change", FAULTS)
def test_a_fault_is_named(change: str, tmp_path: Path) -> None:
    by, check, words = FAULTS[change]
    faults = failed(GOOD.replace(change, by, 1), tmp_path)
    assert words in faults[check].sentence
    assert "\n" not in faults[check].sentence


def test_the_end_of_the_authors_traceback_is_shown(tmp_path: Path) -> None:
    faults = failed(GOOD.replace("        stored = Images", "        self.missing()\n        stored = Images"), tmp_path)
    finding = faults["its set is saved and read back"]
    assert finding.trace[-1] == "AttributeError: 'Blank' object has no attribute 'missing'"
    assert any("self.missing()" in line for line in finding.trace)


def test_a_description_must_be_of_the_field_itself() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Base:
        """A base; it says ``size``: of something else that it has not."""

        rate: float = 0.1

    @dataclass(frozen=True)
    class Part(Base):
        """Has many.

        Attributes:
            rate: how fast it goes.
            window_size: another field's name ends alike.
            empty:
        """

        size: int = 1
        empty: int = 2
        window_size: int = 3

    assert list(undescribed_fields(Part)) == ["size", "empty"]


def check(file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_bench.py"), "check", str(file), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=file.parent)


def test_the_command_needs_no_pytest(tmp_path: Path) -> None:
    for name in ("pytest", "hypothesis", "_pytest"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('a development dependency was imported')")
    (tmp_path / "blank.py").write_text(GOOD)
    command = [sys.executable, str(ROOT / "run_bench.py"), "check", "blank.py"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "refused  blank at 0.5: it is planned: it keeps one full image of every class" in lines
    assert "ok       blank at 1: a resumed run gives the same bytes" in lines
    assert lines[-1] == "16 hold, 0 do not, 2 refused"
    assert sorted(file.name for file in tmp_path.iterdir() if file.suffix == ".py") == [
        "_pytest.py",
        "blank.py",
        "hypothesis.py",
        "pytest.py",
    ]


def test_a_plugin_that_ends_its_process_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "blank.py").write_text(GOOD.replace("        stored = Images", "        os._exit(0)\n        stored = Images"))
    done = check(tmp_path / "blank.py")
    assert done.returncode == 3
    assert "FAILED   blank at 1: its set is saved and read back: the process ended with exit code 0" in done.stdout
    assert "1 do not" in done.stdout.splitlines()[-1]


WRONG = {
    "not there": (None, "does not exist"),
    "does not import": ("import nowhere_to_be_found", "does not import: ModuleNotFoundError"),
    "registers nothing": ("x = 1", "registers nothing"),
    "ends the process": ("import os\nos._exit(0)", "exit code 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_no_plugin_is_wrong_input(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = WRONG[case]
    if text is not None:
        (tmp_path / "plugin.py").write_text(text)
    assert main(["check", str(tmp_path / "plugin.py")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_data_set_without_its_files_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "bench" / "cli" / "templates" / "dataset.txt").read_text()
    for mark in ("@TITLE@", "@NAME@", "@CLASS@"):
        text = text.replace(mark, "mine")
    found = {finding.check: finding for finding in found_in(text, tmp_path)}
    assert found["it says what it is without opening a file"].status == "ok"
    assert found["it opens"].status == "refused"
    assert "data set 'mine' is not in" in found["it opens"].sentence


def test_a_file_of_the_plugin_folder_is_checked_as_it_is(tmp_path: Path) -> None:
    found = list(
        examine(str(ROOT / "methods" / "selections" / "random.py"), DataOptions(tmp_path, download=False), tmp_path, lambda s, c: None)
    )
    assert {finding.subject for finding in found} >= {"selection 'random'", "random[init=random] at 1"}
    assert {finding.status for finding in found} == {"ok"}
