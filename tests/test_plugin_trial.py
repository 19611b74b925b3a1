"""Plugin files that end, or never end, the process that imports them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from registries import restored_registries

import bench
from bench import BenchError, plugin_trial, registry
from bench.cli import main
from bench.plugin_trial import discover_tried


@pytest.fixture(autouse=True)
def untried() -> None:
    """Do not leave the trial out, as other tests do."""


@pytest.fixture(autouse=True)
def forget(plugins: None) -> Iterator[None]:
    """Take what a test registers out of the registries again."""
    with restored_registries():
        yield


def plugin(folder: Path, text: str, name: str = "mine") -> str:
    (folder / f"{name}.py").write_text(text)
    return str(folder / f"{name}.py")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import os; os._exit(0)", "ended the process with exit code 0"),
        ("import os; os._exit(7)", "ended the process with exit code 7"),
        ("import os; os.abort()", "ended the process by signal 6"),
        ("import os; os.close(1); os._exit(0)", "ended the process with exit code 0"),
        ("print('+++', flush=True)\nimport os; os.write(1, b'+++'); os._exit(0)", "ended the process with exit code 0"),
    ],
)
def test_a_plugin_that_ends_its_process_is_wrong_input(text: str, what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = plugin(tmp_path, text)
    assert main(["list", "--plugin", file, "--offline"]) == 2
    words = capfd.readouterr()
    assert words.out == ""
    assert words.err == f"ddbench: error: plugin file '{file}' does not import: importing it {what}; take out what does so\n"


def test_a_plugin_that_never_ends_is_wrong_input(tmp_path: Path) -> None:
    endless = plugin(tmp_path, "while True: pass")
    with pytest.raises(BenchError, match=r"mine.py' does not import: importing it is not done after 1.5 s; take out what does so"):
        discover_tried([endless], limit=1.5)


def test_a_trial_that_never_came_to_the_file_does_not_accuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_trial, "_START", 0.01)
    with pytest.raises(BenchError, match=r"mine.py' cannot be tried: the installed plugins are not imported after 0.01 s"):
        discover_tried([plugin(tmp_path, "")])


def test_the_file_that_does_so_is_named_and_none_is_imported(tmp_path: Path) -> None:
    good, bad = plugin(tmp_path, "", "good"), plugin(tmp_path, "import os; os._exit(3)", "bad")
    with pytest.raises(BenchError, match=r"bad.py' does not import: importing it ended the process with exit code 3"):
        discover_tried([good, bad])
    assert not registry.is_loaded(good)


def test_a_sweep_from_python_tries_its_plugins_too(tmp_path: Path) -> None:
    file = plugin(tmp_path, "import os; os._exit(0)")
    with pytest.raises(BenchError, match="mine.py' does not import: importing it ended the process with exit code 0"):
        bench.run_sweep(bench.settings(methods="random", plugin=[file]), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("raise SystemExit(3)", "does not import: SystemExit: 3"), ("import no_such_module", "does not import: ModuleNotFoundError")],
)
def test_an_ordinary_error_keeps_its_sentence(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=complaint):
        discover_tried([plugin(tmp_path, text)])


def test_a_plugin_finds_in_the_trial_what_it_finds_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "neighbour_of_mine.py").write_text(f"import os\nif os.getpid() != {os.getpid()}: os._exit(5)\n")
    monkeypatch.syspath_prepend(tmp_path / "beside")
    with pytest.raises(BenchError, match="exit code 5"):
        discover_tried([plugin(tmp_path, "from bench import METHODS\nMETHODS['random']\nimport neighbour_of_mine")])


def test_what_a_plugin_prints_is_told_once_and_not_among_the_answers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = plugin(tmp_path, "print('hello from mine')")
    assert main(["list", "--plugin", file, "--offline"]) == 0
    words = capfd.readouterr()
    assert words.err == "hello from mine\n"
    assert "hello" not in words.out


def test_a_plugin_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = plugin(tmp_path, "")
    discover_tried([file])
    monkeypatch.setattr(plugin_trial, "_try", lambda *_: pytest.fail("it was tried again"))
    discover_tried([file])
    discover_tried([])


def test_a_process_that_a_plugin_leaves_behind_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "left"
    monkeypatch.setenv("LEFT", str(left))
    file = plugin(
        tmp_path,
        "import os, time\n"
        "if not os.path.exists(os.environ['LEFT']):\n"
        "    if child := os.fork():\n"
        "        open(os.environ['LEFT'], 'w').write(str(child))\n"
        "    else:\n"
        "        time.sleep(600)\n"
        "        os._exit(0)\n",
    )
    discover_tried([file])
    assert registry.is_loaded(file)
    os.kill(int(left.read_text()), signal.SIGKILL)  # raises if it has ended, and then nothing was shown


def test_a_plugin_that_is_no_regular_file_is_not_said_to_be_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    for there in (tmp_path, tmp_path / "pipe.py"):
        with pytest.raises(BenchError, match=r"is not a regular file; give --plugin the path of a Python file"):
            discover_tried([str(there)])
    with pytest.raises(BenchError, match=r"does not exist; give --plugin the path of a Python file"):
        discover_tried([str(tmp_path / "nothing.py")])
