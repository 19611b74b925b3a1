"""The compiled library: built once under a lock, kept apart per processor, and never needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.nn.convnet import library

STUB = """#!/bin/sh
case "$*" in *--version*) echo "stub 1"; exit 0;; esac
echo built >> "{count}"
sleep 0.3
while [ "$1" != "-o" ]; do shift; done
cp "{real}" "$2"
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Give every test an empty cache folder and forget what was loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DDBENCH_NATIVE", raising=False)
    library.load.cache_clear()
    yield
    library.load.cache_clear()


def stub(folder: Path, text: str) -> Path:
    script = folder / "compiler"
    script.write_text(text)
    script.chmod(0o755)
    return script


def test_opting_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDBENCH_NATIVE", "0")
    kernels, reason = library.load()
    assert kernels is None
    assert "DDBENCH_NATIVE=0" in reason


def test_no_compiler_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(library.shutil, "which", lambda name: None)
    kernels, reason = library.load()
    assert kernels is None
    assert "no C++ compiler" in reason


@pytest.mark.parametrize("body", ["echo 'x.cpp:1: error: no such vector' >&2; exit 1", "echo nonsense > /dev/null; exit 0"])
def test_a_failing_compiler_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str) -> None:
    script = stub(tmp_path, f'#!/bin/sh\ncase "$*" in *--version*) echo 1; exit 0;; esac\n{body}\n')
    monkeypatch.setenv("CXX", str(script))
    kernels, reason = library.load()
    assert kernels is None
    assert "could not be built" in reason
    assert reason.count("\n") == 0


def test_where_there_is_a_compiler_the_library_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of the kernels skip where there are none; one that does not build must not turn them all into skips."""
    monkeypatch.delenv("CXX", raising=False)
    if os.name != "posix" or not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("there is no C++ compiler")
    kernels, reason = library.load()
    assert reason == ""
    assert kernels is not None
    assert kernels.ddbench_lanes(1) > 0


def test_processes_that_start_together_build_once(tmp_path: Path) -> None:
    """The stub compiler copies any shared library and counts its runs."""
    real = next(Path(sys.base_prefix).rglob("_json*.so"), None) or next(Path(sys.base_prefix).rglob("*.so"))
    script = stub(tmp_path, STUB.format(count=tmp_path / "count", real=real))
    program = "from bench.nn.convnet import library; print(library._built(__import__('os').environ['CXX']))"
    variables = os.environ | {"CXX": str(script), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": "."}
    running = [subprocess.Popen([sys.executable, "-c", program], env=variables, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {process.communicate()[0] for process in running}
    assert len(paths) == 1
    assert (tmp_path / "count").read_text() == "built\n"
    assert [file.name for file in library.cache_folder().iterdir() if file.suffix != ".lock"] == [Path(paths.pop().strip()).name]


def test_the_name_changes_with_source_compiler_and_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = stub(tmp_path, "#!/bin/sh\necho version 1\n")
    names = {library._key(str(script))}
    script.write_text("#!/bin/sh\necho version 2\n")
    names.add(library._key(str(script)))
    monkeypatch.setattr(library, "_processor", lambda: b"another one")
    names.add(library._key(str(script)))
    other = tmp_path / "other.cpp"
    other.write_text("int main;")
    monkeypatch.setattr(library, "SOURCE", other)
    names.add(library._key(str(script)))
    assert len(names) == 4
