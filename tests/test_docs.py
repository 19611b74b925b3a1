"""The documents name everything that exists, point at files that exist, and their examples run."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_files import write_jpeg
from registries import restored_registries

from bench import DATASETS, METHODS, DataOptions, load_dataset, registry
from bench.cli.arguments import COMMANDS, parser_for
from bench.cli.scaffold import rendered
from bench.contract.combinations import as_table, combinations
from bench.contract.datasets import DATASET_CHECKS
from bench.contract.examine import examine
from bench.contract.methods import TRIAL_CHECKS
from bench.judge.protocol import PROTOCOLS
from bench.record import STATUSES, Record

registry.discover()
ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "results" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The last word on a flag wins, so these shorten every example without touching the rest of it.
QUICK = ["--effort", "1e-9", "--seeds", "1", "--students", "1"]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def lines(text: str) -> list[str]:
    """Return the commands of all shell blocks of a page."""
    return [line for block in blocks(text, "bash") for line in block.splitlines() if line and not line.startswith("#")]


def mentions(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


# What exists is documented ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert mentions(command, "".join(re.findall(r"`[^`\n]+`", README)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_in_the_readme_and_has_help(command: str) -> None:
    for action in parser_for(command)._actions:
        for option in action.option_strings:
            if option != "-h":
                assert mentions(option, README), f"{option} of {command} is not in the README"
        assert action.help


@pytest.mark.parametrize("name", [*METHODS, *DATASETS, *PROTOCOLS])
def test_every_method_data_set_and_protocol_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README or mentions(name, README)


@pytest.mark.parametrize("name", [*METHODS, *DATASETS])
def test_every_method_and_data_set_has_a_row_of_a_table(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|", README, re.MULTILINE)


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_explained(status: str) -> None:
    assert f"`{status}`" in README


def test_every_exit_code_is_in_the_readme() -> None:
    paragraph = README[README.index("Exit codes:") :].split("\n\n")[0]
    assert re.findall(r"\b(\d+) ", paragraph) == ["0", "1", "2", "3", "130"]


# What is documented exists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name} points at {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_flags_that_are_named_exist(page: Path) -> None:
    known = {option for command in COMMANDS for action in parser_for(command)._actions for option in action.option_strings}
    text = page.read_text(encoding="utf-8")
    ours = " ".join(line for line in lines(text) if "run_bench.py" in line or line.startswith("ddbench"))
    named = re.findall(r"`(--[a-z][a-z-]*)", text) + re.findall(r"(?<=\s)--[a-z][a-z-]*", ours)
    assert set(named) <= known | {"--check", "--help"}


# Set-up -------------------------------------------------------------------------------------------------------------


def setup_lines() -> list[str]:
    return [line for line in lines(README) if "pip install" in line]


def test_two_commands_do_all_the_set_up() -> None:
    first, second = setup_lines()
    assert first.endswith("run_bench.py --methods podd,rat_bptt --budgets 0.3,0.5,1")
    assert second.split(" && ")[-1].startswith(".venv/bin/pytest")
    assert README.index(first) < README.index(second) < README.index("\n## ")


def test_ci_runs_the_second_command_as_it_stands() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    pattern = re.search(r"grep -m1 -F \"(.+?)\" README\.md", script)
    assert pattern is not None
    assert [line for line in README.splitlines() if pattern.group(1) in line] == [setup_lines()[1]]


# Examples run -------------------------------------------------------------------------------------------------------


def run(arguments: list[str], folder: Path) -> str:
    """Run the command line in ``folder`` and return what it printed; any exit code but 0 fails the test."""
    command = [sys.executable, str(ROOT / "run_bench.py"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def examples(text: str) -> list[list[str]]:
    """Return the arguments of every example, that of the first set-up line included."""
    calls = [line.split(" && ")[-1] for line in lines(text)]
    words = [shlex.split(call) for call in calls]
    return [w[w.index(next(x for x in w if x.endswith("run_bench.py"))) + 1 :] for w in words if any(x.endswith("run_bench.py") for x in w)]


def is_about_released_files(arguments: list[str]) -> bool:
    """Tell whether an example needs files of other people, which tests/foreign runs."""
    return arguments[:1] in (["inspect"], ["import"]) or any(word.startswith("imported[") for word in arguments)


def is_run(arguments: list[str]) -> bool:
    return not arguments or arguments[0].startswith("-") or arguments[0] == "run"


@pytest.mark.slow
def test_the_examples_of_the_readme_run(tmp_path: Path) -> None:
    """In the order of the page, in an empty folder, each shortened by a small effort."""
    found = examples(README)
    assert len(found) >= 10
    for arguments in found:
        if "--datasets" in arguments or is_about_released_files(
            arguments
        ):  # needs files that are not here; planned and refused alike in its own test below
            continue
        if is_run(arguments):
            run([*arguments, *QUICK], tmp_path)
        elif arguments[0] == "show":
            key = next((tmp_path / "results" / "records").glob("*.json")).stem
            assert key in run(["show", key[:10], *arguments[2:]], tmp_path)
        else:
            assert run(arguments, tmp_path)
    assert (tmp_path / "results" / "leaderboard.md").is_file()
    assert (tmp_path / "more-results" / "leaderboard.md").is_file()


@pytest.mark.slow
def test_the_example_on_real_images_can_be_planned(tmp_path: Path, data_root: Path) -> None:
    (arguments,) = [each for each in examples(README) if "--datasets" in each and not is_about_released_files(each)]
    arguments[arguments.index("--data-root") + 1] = str(data_root)
    assert "estimate" in run([*arguments, "--methods", "rat_bptt", "--dry-run"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_its_files_the_example_on_real_images_is_one_sentence(tmp_path: Path) -> None:
    (arguments,) = [each for each in examples(README) if "--datasets" in each and not is_about_released_files(each)]
    arguments[arguments.index("--data-root") + 1] = str(tmp_path)
    command = [sys.executable, str(ROOT / "run_bench.py"), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "train-images-idx3-ubyte" in done.stderr


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (source,) = blocks(README, "python")
    assert len([line for line in source.splitlines() if line]) <= 10
    (tmp_path / "notebook.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "notebook.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "budget_px" in done.stdout
    assert (tmp_path / "from-python" / "leaderboard.md").is_file()


#: What docs/add-a-method.md shows: name of the file -> kind of plugin, and the most lines it may take.
PAGE = {"class_means": ("method", 30), "mean_matching": ("objective", 40), "linear_bases": ("form", 60), "central": ("selection", 30)}


def sources_of_the_page() -> dict[str, str]:
    page = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    return dict(zip(PAGE, blocks(page, "python"), strict=True))


@pytest.mark.parametrize("name", PAGE)
def test_the_examples_of_the_page_are_short_and_import_public_modules_only(name: str) -> None:
    source = sources_of_the_page()[name]
    assert len(source.splitlines()) <= PAGE[name][1]
    imported = [node.module or "" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    ours = {module for module in imported if module.startswith("bench")}
    assert ours <= {"bench", "bench.nn.networks"}


@pytest.mark.parametrize("name", [name for name, (kind, _) in PAGE.items() if kind != "selection"])
def test_new_writes_the_examples_of_the_page(name: str) -> None:
    assert rendered(PAGE[name][0], name) == sources_of_the_page()[name]


def names_to_use() -> list[str]:
    """Return the full names in the table "What you can use"."""
    page = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    section = page.partition("## What you can use\n")[2].partition("\n## ")[0]
    return sorted(set(re.findall(r"`(bench\.[\w.]+)`", section)))


@pytest.mark.parametrize("name", names_to_use())
def test_what_an_author_can_use_is_there_and_has_an_example(name: str) -> None:
    module, _, last = name.rpartition(".")
    found = getattr(importlib.import_module(module), last)
    assert ">>> " in (found.__doc__ or "")
    assert not any(part.startswith("_") for part in name.split("."))


def test_the_table_of_what_an_author_can_use_is_complete() -> None:
    """What the suite's own methods take from the host's shared rooms is offered to other authors, too."""
    offered = set(names_to_use())
    assert {"bench.Images", "bench.nn.augment.draw", "bench.nn.networks.initial_parameters", "bench.nn.training.train_students"} <= offered
    assert {f"bench.{name}" for name in ("Student", "RealImages", "Objective", "Run", "Prerequisite", "Workshop")} <= offered


@pytest.mark.parametrize("name", PAGE)
def test_the_examples_of_the_page_keep_the_whole_contract(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text(sources_of_the_page()[name], encoding="utf-8")
    (tmp_path / "scratch").mkdir()
    options = DataOptions(tmp_path / "no-data", download=False)
    with restored_registries():
        found = list(examine(str(tmp_path / f"{name}.py"), options, tmp_path / "scratch", lambda subject, check: None))
    assert [finding for finding in found if finding.status == "FAILED"] == []
    assert {finding.check for finding in found} >= {check.name for check in TRIAL_CHECKS}


def test_new_writes_the_data_set_of_its_page() -> None:
    page = (ROOT / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
    assert rendered("dataset", "shapes") == blocks(page, "python")[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGE)
def test_the_examples_of_the_page_run(name: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "add-a-method.md").read_text(encoding="utf-8")
    (tmp_path / f"{name}.py").write_text(sources_of_the_page()[name], encoding="utf-8")
    (tmp_path / "class_means.yaml").write_text(blocks(page, "yaml")[0], encoding="utf-8")
    (arguments,) = [arguments for arguments in examples(page) if f"{name}.py" in arguments and is_run(arguments)]
    # Enough outer steps for the objective to be far ahead of the noise it starts from; the others learn next to nothing in so few.
    effort = "0.2" if PAGE[name][0] == "objective" else "0.0001"
    run([*arguments, "--students", "1", "--no-reference", "--effort", effort], tmp_path)
    found = [*map(read, (tmp_path / "results" / "records").glob("*.json"))]
    by_budget = {record.cell.budget["requested"]: record for record in found}
    if name == "class_means":
        assert (by_budget["0.5"].status, by_budget["1"].status) == ("refused", "ok")
        assert by_budget["1"].cell.fields == {"images": 20, "student_steps": 500}
    assert {record.status for record in found if record.cell.budget["requested"] == "1"} == {"ok"}
    assert all(0 < record.audit["pixels"] <= 640 for record in found if record.status == "ok")
    wanted = {"class_means": 0.5, "mean_matching": 0.3, "linear_bases": 0.15, "central": 0.4}[name]
    scores = {r.cell.label: r.scores["final"]["test"][0] for r in found if r.status == "ok" and r.cell.parts.get("objective") != "bptt"}
    assert scores
    assert all(score > wanted for score in scores.values()), scores


@pytest.mark.slow
def test_the_data_set_of_the_page_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
    (tmp_path / "shapes.py").write_text(blocks(page, "python")[0], encoding="utf-8")
    write_shapes(tmp_path / "data" / "shapes")
    (arguments,) = examples(page)
    run([*arguments, *QUICK, "--methods", "random", "--no-reference"], tmp_path)
    (record,) = map(read, (tmp_path / "results" / "records").glob("*.json"))
    assert (record.status, record.cell.dataset) == ("ok", "shapes")


def test_the_data_set_of_the_page_keeps_the_contract(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
    (tmp_path / "shapes.py").write_text(blocks(page, "python")[0], encoding="utf-8")
    write_shapes(tmp_path / "data" / "shapes")
    with restored_registries():
        found = list(examine(str(tmp_path / "shapes.py"), DataOptions(tmp_path / "data", download=False), tmp_path, lambda s, c: None))
        dataset = load_dataset("shapes", options=DataOptions(tmp_path / "data", download=False))
    assert (dataset.spec.classes, len(dataset.test())) == (3, 30)
    assert {(finding.check, finding.status) for finding in found} >= {(check.name, "ok") for check in DATASET_CHECKS}
    assert {finding.status for finding in found} == {"ok"}


def write_shapes(folder: Path) -> None:
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for part in ("train", "test"):
        labels = np.arange(30) % 3
        np.save(
            folder / f"{part}_images.npy", (numbers.integers(0, 60, (30, 16, 16, 3)) + 60 * labels[:, None, None, None]).astype(np.uint8)
        )
        np.save(folder / f"{part}_labels.npy", labels)


def read(file: Path) -> Record:
    return Record.from_json(file.read_text(encoding="utf-8"))


def test_a_bare_checkout_runs_from_any_folder(tmp_path: Path) -> None:
    """Without being installed: the files alone, and nothing on the path but what lies beside run_bench.py."""
    for name in ("bench", "methods", "datasets"):
        shutil.copytree(ROOT / name, tmp_path / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run_bench.py", tmp_path / "checkout")
    command = [sys.executable, str(tmp_path / "checkout" / "run_bench.py"), "list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for name in (*METHODS, *DATASETS):
        assert mentions(name, done.stdout)


def test_the_table_of_forms_by_objectives_is_what_planning_says(tmp_path: Path) -> None:
    """``python run_bench.py list --combinations`` prints the table that belongs between the two comments."""
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    table = page.split("<!-- combinations -->\n")[1].split("\n<!-- end of combinations -->")[0]
    found = combinations(load_dataset("digits"), tmp_path)
    assert table == as_table(found)
    assert all(len(reason.split()) > 5 for one in found for reason in one.refusals.values())


def test_every_method_has_a_paragraph() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert [name for name in METHODS if not re.search(rf"^\*\*[^*]*`{name}`[^*]*\*\*", page, re.MULTILINE)] == []


def test_the_data_set_with_parameters_of_the_page_keeps_the_contract(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "add-a-dataset.md").read_text(encoding="utf-8")
    (tmp_path / "leaves.py").write_text(blocks(page, "python")[1], encoding="utf-8")
    for number in range(80):
        part, kind = ("train", "test")[number % 4 == 0], ("maple", "oak")[number % 2]
        write_jpeg(tmp_path / "data" / "leaves" / part / kind / f"{number}.jpg", number, (40, 30))
        write_jpeg(tmp_path / "data" / "leaves" / "test" / kind / f"more{number}.jpg", 500 + number, (40, 30))
    options = DataOptions(tmp_path / "data", download=False)
    with restored_registries():
        found = list(examine(str(tmp_path / "leaves.py"), options, tmp_path, lambda s, c: None))
        large = load_dataset("leaves[size=48]", options=options)
    assert {finding.status for finding in found} == {"ok"}
    assert (large.spec.name, large.spec.shape) == ("leaves[size=48]", (3, 48, 48))
