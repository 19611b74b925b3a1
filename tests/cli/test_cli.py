"""The command line: wrong input, speed of first answers, show, report, list and new."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from registries import restored_registries
from report.records import make_record

from bench import BenchError, registry
from bench.cli import main
from bench.cli.arguments import COMMANDS, parser_for
from bench.cli.scaffold import new_plugin
from bench.record import Cell, Record
from bench.sweep.readers import READERS
from bench.sweep.store import Store

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "sweep" / "plugins" / "toy.py"

Words = pytest.CaptureFixture[str]


def program(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_bench.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, timeout=120, check=False)


@pytest.fixture
def forget(plugins: None) -> Iterator[None]:
    """Take what a test registers out of the registries again."""
    with restored_registries():
        yield


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An out folder with one record."""
    protocol = {"name": "native-v1", "students": 2, "hash": "0a"}
    cell = Cell(
        "contestant",
        "digits",
        "d0",
        "dev",
        "podd",
        "order=random",
        1,
        {"window": 20},
        {"requested": "0.3", "pixels": 192, "ipc": 0.3},
        1,
        1.0,
        protocol,
        network="convnet-d2-w32",
        unofficial=True,
        parts={"form": "poster"},
        plan={"size": [12, 16]},
        prerequisites=[{"name": "features", "key": "f00d", "config": {}, "seed": 0, "used": "planning"}],
    )
    scores = {
        "n_test": 797,
        "n_val": 200,
        "final": {"step": 8, "test": [0.5, 0.625], "val": [0.5, 0.5]},
        "checkpoints": [{"step": 8, "test": [0.5, 0.625], "val": [0.5, 0.5]}],
        "val_selected": None,
        "test_best": {"step": 8, "test": [0.5, 0.625]},
        "final_8bit": {"test": [0.5, 0.5]},
        "lr": None,
        "lr_trials": [],
    }
    made = make_record()
    store = Store(tmp_path / "results")
    store.prepare()
    (store.out / "logs" / "abc123.log").write_text("a line of the log\n")
    store.write(
        Record(
            key="abc123",
            distil_key="def456",
            status="ok",
            cell=cell,
            scores=scores,
            log="logs/abc123.log",
            audit=made.audit,
            training=made.training,
        )
    )
    return store.out


WRONG = {
    "unknown command": (["lits"], "did you mean 'list'"),
    "unknown flag": (["--method", "podd"], "did you mean '--methods'"),
    "abbreviated flag": (["--data", "digits"], "unknown option '--data'"),
    "surplus word": (["run", "podd"], "unknown argument 'podd'"),
    "flag without value": (["--methods"], "expected one argument"),
    "malformed budget": (["--budgets", "0.3,much"], "budget 'much' is not a number"),
    "budget of nothing": (["--budgets", "0"], "not positive"),
    "negative seeds": (["--seeds", "-1"], "--seeds"),
    "half a seed": (["--seeds", "1.5"], "--seeds"),
    "no students": (["--students", "0"], "--students"),
    "no effort": (["--effort", "0"], "--effort"),
    "timeout in days": (["--timeout", "2d"], "--timeout"),
    "unknown split": (["--split", "test"], "unknown split 'test'"),
    "unknown device": (["--device", "tpu"], "unknown device 'tpu'"),
    "unknown status": (["--rerun", "faild"], "did you mean 'failed'"),
    "brackets that do not match": (["--methods", "podd[order=random"], "bracket"),
    "assignment without field": (["--set", "podd=3"], "--set"),
    "unreadable config": (["--config", "not-there.yaml"], "not-there.yaml"),
    "missing plugin": (["--plugin", "not-there.py"], "not-there.py"),
    "missing results": (["report", "--out", "not-there"], "not-there"),
    "no such cell": (["show", "0000", "--out", "not-there"], "no record"),
    "unknown method": (["--methods", "ranbom"], "did you mean 'random'"),
    "unknown data set": (["--methods", "random", "--datasets", "digit"], "did you mean 'digits'"),
    "unknown field": (["--methods", "random[fomr=lowres]"], "did you mean 'form'"),
    "unknown field in --set": (["--methods", "random", "--set", "random.fomr=lowres"], "did you mean 'form'"),
    "unknown protocol": (["--methods", "random", "--protocol", "nativ-v1"], "did you mean 'native-v1'"),
    "a network of that name cannot be": (["--network", "ConvNet 3"], "--network"),
    "no such network": (["--methods", "random", "--network", "convnet"], "convnet-d<depth>-w<width>"),
    "unknown method in --force": (["--methods", "random", "--force", "ranbom"], "did you mean 'random'"),
    "less than a pixel": (["--methods", "random", "--budgets", "0.0001"], "gives no pixel"),
    "a data set that is not there": (["--methods", "random", "--datasets", "cifar10", "--offline"], "cifar10"),
    "nothing new to write": (["new", "method", "Big Name"], "cannot name a method"),
    "a method that exists": (["new", "method", "random"], "exists already"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    case: str, forget: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Words
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = WRONG[case]
    assert main(arguments) == 2
    words = capsys.readouterr()
    assert words.out == ""
    assert len(words.err.splitlines()) == 1
    assert words.err.startswith("ddbench: error: ")
    assert message in words.err
    if case.startswith("unknown"):
        assert list(tmp_path.iterdir()) == []


def test_a_budget_below_one_patch_is_wrong_input(forget: None, tmp_path: Path, capsys: Words) -> None:
    assert main(["--methods", "podd", "--budgets", "20px", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert "patch" in error[0]


def test_an_out_folder_that_cannot_be_written(forget: None, tmp_path: Path, capsys: Words) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--methods", "random", "--out", str(tmp_path / "file" / "inside")]) == 2
    assert "--out" in capsys.readouterr().err


def test_wrong_input_as_a_program(tmp_path: Path) -> None:
    done = program("--budgets", "x", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_plugin_is_a_warning_that_names_it_unless_it_is_asked_for(
    forget: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Words
) -> None:
    monkeypatch.setitem(registry.UNAVAILABLE, "bench.methods.lost", "ImportError: no module named 'gone'")
    flags = ["--plugin", str(TOY), "--datasets", "toy", "--budgets", "1", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*flags, "--methods", "toy_mean"]) == 0
    assert "warning: plugin bench.methods.lost does not import: ImportError: no module named 'gone'" in capsys.readouterr().err
    assert main([*flags, "--methods", "lost"]) == 2
    assert "is not available" in capsys.readouterr().err.splitlines()[-1]


#: What takes long to import, and is not needed to say what is wrong with a flag.
SLOW_TO_IMPORT = ("torch", "torchvision", "scipy", "sklearn", "pandas", "matplotlib", "seaborn", "open_clip")


@pytest.mark.parametrize("arguments", [["--help"], ["show", "--help"], ["tune", "--help"], ["--budgets", "x"], ["--nonsense"]])
def test_help_and_typing_mistakes_are_answered_at_once(arguments: list[str], tmp_path: Path) -> None:
    for name in SLOW_TO_IMPORT:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} was imported')")
    done = program(*arguments, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert "was imported" not in done.stderr
    assert done.returncode == (0 if "--help" in arguments else 2)


def test_a_report_needs_no_torch(out: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    for arguments in (["report", "--out", str(out)], ["--report-only"], ["show", "abc", "--out", str(out)]):
        done = program(*arguments, cwd=tmp_path, PYTHONPATH=str(tmp_path), DDBENCH_OUT=str(out))
        assert done.returncode == 0, done.stderr
    assert "56.2" in (out / "leaderboard.md").read_text()


def test_help_names_every_command_and_flag() -> None:
    text = parser_for("run").format_help()
    for name in [*READERS, "out", "config", "dry-run", "rerun", "force", "report-only"]:
        assert f"--{name}" in text
    for command in COMMANDS:
        assert command in text
        assert parser_for(command).format_help()


def test_show_tells_everything_about_a_cell(out: Path, capsys: Words) -> None:
    assert main(["show", "abc", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    for part in (
        "podd[order=random]",
        "56.25 %",
        "0.5000 0.6250",
        "def456",
        "a line of the log",
        "window",
        "--seeds 1,",
        "--students 2",
        "--force podd",
        "convnet-d2-w32",
        "an unofficial copy",
        "part form",
        "planned size",
        "f00d",
    ):
        assert part in text
    assert "--methods 'podd[order=random]'" in text


def test_list_shows_what_there_is(forget: None, capsys: Words) -> None:
    assert main(["list", "--plugin", str(TOY), "--offline"]) == 0
    text = capsys.readouterr().out
    parts = (*registry.FORMS, *registry.OBJECTIVES, *registry.SELECTIONS, *registry.PREREQUISITES)
    for name in (*registry.METHODS, *parts, *registry.DATASETS, "native-v1", "common-v1", "toy_mean", "made up here"):
        assert name in text


@pytest.mark.parametrize(
    ("kind", "methods", "changes", "statuses"),
    [
        ("method", "mine", "mine.student_steps=4", ["ok", "refused"]),
        ("objective", "rat_bptt[objective=mine]", "rat_bptt.outer_iterations=2", ["ok", "ok"]),
        ("form", "random[form=mine]", "random.student_steps=4", ["ok", "ok"]),
    ],
)
def test_a_new_plugin_runs_at_once(
    kind: str, methods: str, changes: str, statuses: list[str], forget: None, tmp_path: Path, capsys: Words
) -> None:
    assert main(["new", kind, "mine", "--into", str(tmp_path / "mine")]) == 0
    file = tmp_path / "mine" / "mine.py"
    assert f"wrote {file}" in capsys.readouterr().out
    flags = ["--plugin", str(file), "--methods", methods, "--budgets", "0.3,1", "--seeds", "1", "--students", "1", "--no-reference"]
    assert main([*flags, "--set", changes, "--out", str(tmp_path / "out")]) == 0
    found = list(Store(tmp_path / "out").read_all()[0].values())
    assert sorted(record.status for record in found) == statuses
    assert main(["new", kind, "mine", "--into", str(tmp_path / "mine")]) == 2


def test_a_new_data_set_says_which_files_it_wants(forget: None, tmp_path: Path, capsys: Words) -> None:
    assert main(["new", "dataset", "mine", "--into", str(tmp_path)]) == 0
    capsys.readouterr()
    flags = ["--plugin", str(tmp_path / "mine.py"), "--datasets", "mine", "--data-root", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(flags) == 2
    assert f"put its arrays into {tmp_path / 'mine'}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["9lives", "Upper", "with-dash", "class", "", "a b", "../up"])
def test_names_that_cannot_be_methods(name: str, plugins: None, tmp_path: Path) -> None:
    with pytest.raises(BenchError):
        new_plugin("method", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unforeseen_failure_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: Words, out: Path) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    replacement: Callable[..., None] = broken
    monkeypatch.setattr("bench.report.render", replacement)
    assert main(["report", "--out", str(out)]) == 1
    assert "the suite itself failed" in capsys.readouterr().err


def test_list_tells_which_form_goes_with_which_objective_and_why_not(capsys):
    assert main(["list", "--combinations"]) == 0
    table, _, refusals = capsys.readouterr().out.partition("\n\n")
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in table.splitlines()}
    assert rows["form"][0] == "none"
    assert rows["subset"][rows["form"].index("dc")] == "at 1, 2"
    assert "form=subset with objective=dc at 0.5: objective=dc compares images class by class" in refusals
