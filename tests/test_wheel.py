"""The wheel: built and installed without the network, complete, and no trouble for packages called methods or datasets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bench import DATASETS, METHODS, registry
from bench.judge.protocol import PROTOCOLS
from bench.registry import Registry

registry.discover()
ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def call(command: list[str], folder: Path, **environment: str) -> str:
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTEST_CURRENT_TEST")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, since setuptools leaves a build folder behind; with a method added that no list knows."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for name in ("bench", "methods", "datasets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "methods" / "brand_new").mkdir()
    (source / "methods" / "brand_new" / "__init__.py").write_text("")
    (source / "methods" / "brand_new" / "recipes.yaml").write_text("")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    call([*pip, "wheel", str(source), "--no-build-isolation", "--no-deps", "--no-index", "-w", str(target)], source)
    (found,) = target.glob("ddbench-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    call([*pip, "install", str(wheel), "--no-deps", "--no-index", "--target", str(target)], target.parent)
    return target


def test_it_holds_every_file_of_the_packages(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, target in (("bench", "bench"), ("methods", "bench/methods"), ("datasets", "bench/datasets")):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".yaml") or file.name == "py.typed":
                assert f"{target}/{file.relative_to(ROOT / folder).as_posix()}" in inside
    assert {"bench/methods/brand_new/__init__.py", "bench/methods/brand_new/recipes.yaml"} <= inside


def test_it_installs_one_top_level_package(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bench"}


def test_its_command_lists_everything_from_another_folder(installed: Path, tmp_path: Path) -> None:
    printed = call([str(installed / "bin" / "ddbench"), "list"], tmp_path, PYTHONPATH=str(installed))
    for name in (*own(METHODS), *own(DATASETS), *PROTOCOLS):
        assert name in printed
    assert "not available" not in printed
    assert list(tmp_path.iterdir()) == []


def test_its_own_files_are_used(installed: Path, tmp_path: Path) -> None:
    code = "import bench, bench.methods, bench.datasets; print(bench.__file__, *bench.methods.__path__, *bench.datasets.__path__)"
    for path in call([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(installed)).split():
        assert Path(path).is_relative_to(installed)


def test_recipes_are_found_inside(installed: Path, tmp_path: Path) -> None:
    code = (
        "from bench import METHODS, registry; from bench.recipes import load_rules; registry.discover();"
        "print({name: len(load_rules(METHODS[name])) for name in METHODS})"
    )
    here = {name: len(registry_rules(name)) for name in own(METHODS)}
    assert call([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(installed)).strip() == str(here)


def own(plugins: Registry[Any]) -> list[str]:
    """The names that come with the suite; other tests may have registered more in this process."""
    return [name for name in plugins if plugins[name].__module__.startswith("bench.")]


def registry_rules(name: str) -> tuple[object, ...]:
    from bench.recipes import load_rules

    return load_rules(METHODS[name])


def test_it_runs_a_cell(installed: Path, tmp_path: Path) -> None:
    command = [str(installed / "bin" / "ddbench"), "--methods", "random", "--budgets", "1", "--seeds", "1", "--students", "1"]
    call([*command, "--no-reference", "--out", str(tmp_path / "out")], tmp_path, PYTHONPATH=str(installed))
    assert (tmp_path / "out" / "leaderboard.md").is_file()


def test_packages_called_datasets_are_not_shadowed(installed: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    for name in ("datasets", "methods"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "__init__.py").write_text("mine = False\n")
    code = (
        "import bench.datasets.digits, bench.methods.random, datasets, methods;"
        "print(datasets.mine, methods.mine, bench.datasets.digits.__name__)"
    )
    # The installed package and a checkout's folder both come first, and still the other packages win.
    path = os.pathsep.join([str(installed), str(ROOT), str(elsewhere)])
    assert call([sys.executable, "-c", code], tmp_path, PYTHONPATH=path).split() == ["False", "False", "bench.datasets.digits"]
