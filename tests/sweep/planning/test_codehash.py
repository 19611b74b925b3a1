from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.sweep.planning.codehash import code_hash, tree_hash

CODE = '''"""A method."""

from ._parts import shared


class Method:
    """Says what it does."""

    lr = 0.1  # a constant

    def run(self) -> float:
        """Run."""
        return self.lr
'''


def hash_of(text: str) -> str:
    return tree_hash(ast.parse(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a constant", "# another remark"),
        ('"""Run."""', '"""Go on, at length."""'),
        ('"""A method."""', '"""Something else."""'),
        ("lr = 0.1  #", "lr   =   0.1 #"),
        ('        """Run."""\n', ""),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(old: str, new: str) -> None:
    assert old in CODE
    assert hash_of(CODE.replace(old, new)) == hash_of(CODE)


@pytest.mark.parametrize(("old", "new"), [("0.1", "0.2"), ("self.lr", "-self.lr"), ("def run", "def walk"), ("0.1", "'0.1'")])
def test_what_is_computed_counts(old: str, new: str) -> None:
    assert hash_of(CODE.replace(old, new)) != hash_of(CODE)


@pytest.fixture
def plugin_folder(tmp_path: Path, plugins: None) -> Iterator[Callable[[str, str], type]]:
    """Load a module from a folder that stands for the plugin folder, under the name it would have there."""
    loaded = []

    def load(module: str, file: str) -> type:
        name = f"bench.methods.{module}"
        spec = importlib.util.spec_from_file_location(name, tmp_path / file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        loaded.append(name)
        exec(compile("class Method: pass", str(tmp_path / file), "exec"), sys.modules[name].__dict__)
        sys.modules[name].__file__ = str(tmp_path / file)
        return sys.modules[name].Method  # type: ignore[no-any-return]

    yield load
    for name in loaded:
        del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_shared_parts_are_followed_and_neighbours_are_not(tmp_path: Path, plugin_folder: Callable[[str, str], type]) -> None:
    write(tmp_path, mine="from ._parts.deep import f\nclass Method: pass\n", other="x = 1\n")
    (tmp_path / "_parts").mkdir()
    (tmp_path / "_parts" / "deep.py").write_text("from ..third import g\ndef f(): return 1\n")
    (tmp_path / "third.py").write_text("def g(): return 2\n")
    method = plugin_folder("mine", "mine.py")
    first = code_hash(method)
    (tmp_path / "other.py").write_text("x = 2\n")
    assert code_hash(method) == first
    (tmp_path / "third.py").write_text("def g(): return 2  # two\n")
    assert code_hash(method) == first
    (tmp_path / "third.py").write_text("def g(): return 3\n")
    assert code_hash(method) != first


def test_all_files_of_a_methods_own_folder_count(tmp_path: Path, plugin_folder: Callable[[str, str], type]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("class Method: pass\n")
    (tmp_path / "mine" / "unused.py").write_text("x = 1\n")
    method = plugin_folder("mine", "mine/__init__.py")
    first = code_hash(method)
    (tmp_path / "mine" / "unused.py").write_text("x = 2\n")
    assert code_hash(method) != first
