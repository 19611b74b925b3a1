"""The examples in docstrings run, and every public class has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import bench

HOME = Path(bench.__file__).parent
MODULES = sorted(
    ".".join(("bench", *file.relative_to(HOME).with_suffix("").parts)).removesuffix(".__init__") for file in HOME.rglob("*.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_say_what_happens(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(name)
    # Without the module's own globals an example has to import what it uses, as its reader has to.
    examples = doctest.DocTestFinder(exclude_empty=True).find(module, globs={})
    runner = doctest.DocTestRunner()
    for example in examples:
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out


def public_classes() -> dict[str, type]:
    found = {name: getattr(bench, name) for name in bench.__all__}
    return {name: entry for name, entry in found.items() if inspect.isclass(entry)}


@pytest.mark.parametrize("name", sorted(public_classes()))
def test_every_public_class_has_an_example(name: str) -> None:
    assert ">>> " in (public_classes()[name].__doc__ or "")
