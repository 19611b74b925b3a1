"""Registration: nothing is overwritten, and a broken plugin harms nobody but itself."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import bench.methods
from bench import BenchError, registry
from bench.registry import RegistrationError, Registry, discover, load_plugin_file


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget everything that a test registers or imports."""
    for each in (registry.METHODS, registry.DATASETS, registry.PARAMETERIZATIONS):
        monkeypatch.setattr(each, "_entries", dict(each._entries))
    monkeypatch.setattr(registry, "UNAVAILABLE", dict(registry.UNAVAILABLE))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("ddbench_plugin_", "bench.methods.")):
            del sys.modules[name]


def in_module(name: str) -> type:
    return type("Thing", (), {"__module__": name})


def test_a_name_is_taken_once_and_both_modules_are_named() -> None:
    things: Registry[type] = Registry("thing")
    first = things.register("x")(in_module("first.module"))
    with pytest.raises(RegistrationError, match="thing 'x' is registered twice: by first.module and by second.module"):
        things.register("x")(in_module("second.module"))
    assert things["x"] is first
    assert list(things) == ["x"]
    assert "x" in things
    assert "y" not in things


def test_an_unknown_name_has_the_closest_and_all() -> None:
    things: Registry[type] = Registry("thing")
    for name in ("zebra", "horse"):
        things.register(name)(in_module("m"))
    with pytest.raises(BenchError, match=r"unknown thing 'zebr'; did you mean 'zebra'\? \(available: horse, zebra\)"):
        things["zebr"]


def test_a_repeated_import_of_the_same_definition_is_fine() -> None:
    things: Registry[type] = Registry("thing")
    things.register("x")(in_module("m"))
    again = things.register("x")(in_module("m"))
    assert things["x"] is again


def plugin(folder: Path, name: str, text: str) -> str:
    file = folder / f"{name}.py"
    file.write_text(text)
    return str(file)


METHOD = """
from dataclasses import dataclass
from bench import METHODS, Method

@METHODS.register("{name}")
@dataclass(frozen=True)
class Mine(Method):
    name = "{name}"
    reference = "none"

    def distill(self, task):
        raise NotImplementedError
"""


def test_a_plugin_file_registers(tmp_path: Path) -> None:
    file = plugin(tmp_path, "mine", METHOD.format(name="mine"))
    discover((file,))
    assert "mine" in registry.METHODS
    load_plugin_file(file)  # a second time is no clash


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("import no_such_module", "does not import: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def (", "does not import: SyntaxError"),
        ("raise SystemExit(3)", "does not import: SystemExit"),
        (METHOD.format(name="half") + "\n1 / 0", "does not import: ZeroDivisionError"),
        (METHOD.format(name="random"), "method 'random' is registered twice: by bench.methods.* and by .*broken.py"),
    ],
)
def test_a_plugin_file_asked_for_by_name_must_import(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BenchError, match=complaint):
        load_plugin_file(plugin(tmp_path, "broken", text))
    assert "half" not in registry.METHODS
    assert not [name for name in sys.modules if name.startswith("ddbench_plugin_broken")]


def test_a_plugin_file_must_be_a_python_file(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="does not exist"):
        load_plugin_file(str(tmp_path / "absent.py"))
    (tmp_path / "notes.txt").write_text("x = 1")
    with pytest.raises(BenchError, match="ends in .py"):
        load_plugin_file(str(tmp_path / "notes.txt"))


def test_a_broken_plugin_in_the_folder_does_not_take_others_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(tmp_path, "aaa_broken", METHOD.format(name="half") + "\nimport no_such_module")
    plugin(tmp_path, "bbb_leaves", "raise SystemExit")
    plugin(tmp_path, "ccc_works", METHOD.format(name="works"))
    monkeypatch.setattr(bench.methods, "__path__", [*bench.methods.__path__, str(tmp_path)])
    discover()
    assert "works" in registry.METHODS
    assert "half" not in registry.METHODS
    assert "random" in registry.METHODS
    assert "ModuleNotFoundError" in registry.UNAVAILABLE["bench.methods.aaa_broken"]
    assert "SystemExit" in registry.UNAVAILABLE["bench.methods.bbb_leaves"]
    (tmp_path / "aaa_broken.py").write_text(METHOD.format(name="half"))
    discover()
    assert "half" in registry.METHODS
    assert "bench.methods.aaa_broken" not in registry.UNAVAILABLE


def test_entry_points_register_third_party_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin(tmp_path, "third_party_plugin", METHOD.format(name="third_party"))
    info = tmp_path / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ddbench.methods]\nthird = third_party_plugin\nbad = no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [point.name for point in importlib.metadata.entry_points(group="ddbench.methods") if point.name == "third"]
    discover()
    assert "third_party" in registry.METHODS
    assert "no_such_module" in registry.UNAVAILABLE["no_such_module (entry point bad)"]
    del sys.modules["third_party_plugin"]


def test_the_plugins_of_the_suite_all_import() -> None:
    assert registry.UNAVAILABLE == {}
    assert {"digits", "mnist", "fashion_mnist", "cifar10", "cifar100"} <= set(registry.DATASETS)
    assert {"random", "rat_bptt", "podd"} <= set(registry.METHODS)


def test_the_plugin_folders_are_reached_through_their_homes_only() -> None:
    module = sys.modules["bench.datasets.digits"]
    assert isinstance(module, ModuleType)
    assert Path(str(module.__file__)).parent.name == "datasets"
    assert not [name for name in sys.modules if name in ("methods", "datasets.digits")]
