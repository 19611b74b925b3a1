"""Standard output that is closed, full, or left by its reader: the work is done all the same, and nothing looks broken."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.output import Output
from bench.sweep.store import Store

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "sweep" / "plugins" / "toy.py"
RUN_BENCH = f"'{sys.executable}' '{ROOT / 'run_bench.py'}'"
TINY = f"--plugin '{TOY}' --methods toy_mean --datasets toy --budgets 1 --seeds 2 --students 1 --no-reference --jobs 1"


def shell(command: str, folder: Path) -> tuple[int, str]:
    """Run a command of bash; return its exit code, of a pipe that of the first part, and what it says on standard error."""
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        env={**os.environ, "DDBENCH_OUT": str(folder / "out")},
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


class Failing(io.StringIO):
    """Takes some writes, then none."""

    def __init__(self, error: OSError, takes: int) -> None:
        super().__init__()
        self.error, self.left = error, takes

    def write(self, text: str) -> int:
        if not self.left:
            raise self.error
        self.left -= 1
        return super().write(text)


def test_a_reader_who_left_is_no_problem() -> None:
    stream = Failing(BrokenPipeError(errno.EPIPE, "Broken pipe"), takes=1)
    output = Output(stream)
    assert [output.write(text) for text in ("one", "two", "three")] == [3, 3, 5]
    output.flush()
    assert stream.getvalue() == "one"
    assert output.problem == ""


def test_words_without_room_are_a_problem_named_once() -> None:
    output = Output(Failing(OSError(errno.ENOSPC, "No space left on device"), takes=0))
    output.write("one")
    output.write("two")
    assert output.problem == "No space left on device"


def test_it_is_like_the_stream_otherwise() -> None:
    output = Output(io.StringIO())
    assert output.isatty() is False
    print("words", file=output)  # type: ignore[arg-type]
    assert output.getvalue() == "words\n"


FULL = "ddbench: error: not all of this could be printed (No space left on device); whatever was to be done is done\n"


@pytest.mark.parametrize("command", ["--help", "show --help", "report"])
@pytest.mark.parametrize(
    ("where", "code", "words"),
    [("| true", 0, ""), (">&-", 0, ""), ("2>&-", 0, ""), ("</dev/null >&- 2>&-", 0, ""), ("> /dev/full", 1, FULL)],
)
def test_answers_that_nobody_can_read(command: str, where: str, code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert shell(f"{RUN_BENCH} {command} {where}", tmp_path) == (code, words)


@pytest.mark.parametrize("where", ["2> /dev/full", "2>&-"])
def test_a_mistake_that_cannot_be_told_is_still_exit_code_2(where: str, tmp_path: Path) -> None:
    assert shell(f"{RUN_BENCH} --budgets x {where}", tmp_path)[0] == 2


@pytest.mark.slow
@pytest.mark.parametrize(("where", "code", "words"), [("| head -1", 0, ""), (">&-", 0, ""), ("> /dev/full", 1, FULL)])
def test_a_sweep_comes_to_its_end_whatever_becomes_of_its_words(where: str, code: int, words: str, tmp_path: Path) -> None:
    assert shell(f"{RUN_BENCH} {TINY} {where}", tmp_path) == (code, words)
    records = Store(tmp_path / "out").read_all()[0].values()
    assert [record.status for record in records] == ["ok", "ok"]
    assert (tmp_path / "out" / "leaderboard.md").is_file()


@pytest.mark.slow
def test_a_sweep_whose_reader_left_exits_with_its_own_code(tmp_path: Path) -> None:
    code, _ = shell(f"{RUN_BENCH} {TINY} --set toy_mean.behave=raise | head -1", tmp_path)
    assert code == 3
    assert [record.status for record in Store(tmp_path / "out").read_all()[0].values()] == ["failed", "failed"]
