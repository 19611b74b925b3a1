"""Tuning: every trial is kept, val alone decides, the best becomes a rule, and a second call goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from executors import InThisProcess
from registries import restored_registries

from bench import BenchError
from bench.cli import main
from bench.recipes import load_rules, resolve_recipe
from bench.registry import METHODS, discover
from bench.sweep.readers import from_keywords
from bench.sweep.running.executor import Interrupted, Job, Listener
from bench.sweep.settings import RunSettings
from bench.tuning import Tuned, TuningSettings, tune
from bench.tuning.trials import read_trials

TOY = Path(__file__).parents[1] / "sweep" / "plugins" / "toy.py"
#: A method whose accuracy on val follows from one of its fields, as it swaps the classes if that is small.
SWAPPED = '''"""A method that is right or wrong."""
from dataclasses import dataclass
from typing import ClassVar
import torch
from bench import METHODS, Between, DistilledSet, Images, Method, OneOf, PlanContext, Refusal, Resolution, Task, TrainRecipe

@METHODS.register("swapped")
@dataclass(frozen=True, kw_only=True)
class Swapped(Method):
    name: ClassVar[str] = "swapped"
    reference: ClassVar[str] = "made up here"
    search: ClassVar = {"right": Between(1e-3, 1.0), "steps": OneOf(10, 20), "count": OneOf(1, 2)}
    right: float = 0.001
    steps: int = 10
    count: int = 1
    outer: int = 1000

    def plan(self, context: PlanContext) -> Resolution | Refusal:
        return Refusal("two are too many") if self.count == 2 else Resolution(self, outer_steps=self.outer)

    def distill(self, task: Task) -> DistilledSet:
        assert task.steps(self.outer) == min(50, self.outer)
        means = [task.train.unit_images(task.train.of_class(label)).mean(0) for label in range(2)]
        stored = Images(task.spec, 2)
        stored.write(torch.stack(means if self.right > 0.05 else means[::-1]), torch.arange(2))
        return DistilledSet(task.spec, stored, TrainRecipe(lr=0.01, steps=self.steps), coordinates="rgb")
'''


class Here(InThisProcess):
    """Notes the stages of every job; can be told to stop after some jobs."""

    def __init__(self, most: int = 1000, before: Callable[[], None] = lambda: None) -> None:
        self.most, self.before, self.stages = most, before, []

    def run(self, jobs: Iterable[Job], listener: Listener) -> None:
        self.before()
        super().run(jobs, listener)

    def run_job(self, job: Job, listener: Listener) -> None:
        if len(self.stages) >= self.most:
            raise Interrupted
        self.stages.append(job.stages)
        super().run_job(job, listener)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The method in a file of its own, beside which its recipes lie."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    shutil.copy(TOY, folder / "toy.py")
    (folder / "swapped.py").write_text(SWAPPED)
    return folder / "swapped.py"


@pytest.fixture
def wanted(plugin: Path) -> Iterator[RunSettings]:
    with restored_registries():
        files = [str(plugin.with_name("toy.py")), str(plugin)]
        discover(files)
        yield from_keywords(methods="swapped", datasets="toy", budgets="1", seeds="1", students=1, network="convnet-d1-w4", plugin=files)


def run(wanted: RunSettings, out: Path, executor: Here | None = None, **means: int) -> Tuned:
    return tune(wanted, TuningSettings(**{"trials": 6, "steps": 50, **means}), out, executor=executor or Here())


def test_every_trial_is_kept_and_the_best_becomes_a_rule_that_is_read(wanted: RunSettings, plugin: Path, tmp_path: Path) -> None:
    found = run(wanted, tmp_path / "out")
    ledger = plugin.with_suffix(".trials.jsonl")
    assert len(found.trials) == 6
    assert [trial.number for trial in found.trials] == list(range(6))
    assert sorted(json.loads(line)["number"] for line in ledger.read_text().splitlines()) == list(range(6))
    assert {trial.keys for trial in read_trials(ledger)} == {trial.keys for trial in found.trials}
    assert all(trial.status == "ok" and trial.steps == 50 and trial.fields.get("count", 1) == 1 for trial in found.trials)
    assert found.trials[0].fields == {}
    assert found.trials[0].score == 0.0  # what stands swaps the classes
    assert found.best is not None
    assert found.best.score == 1.0
    assert found.best.fields["right"] > 0.05
    (rule,) = load_rules(METHODS["swapped"])
    assert (rule.dataset, rule.ipc, dict(rule.set), rule.trials) == ("toy", (1.0, 1.0), found.best.fields, 6)
    assert "100.0 %, where 0.0 % stood" in rule.source
    assert "--trials 6 --steps 50 --draw 0" in rule.source
    recipe = resolve_recipe(METHODS["swapped"], "toy", 1.0)
    assert (recipe.values["right"], recipe.tuned, recipe.trials) == (found.best.fields["right"], True, 6)


def test_the_judge_has_no_part_in_it_and_test_images_stay_closed(
    wanted: RunSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the judge was asked")

    def close() -> None:
        for module in ("bench.judge.evaluate.judge_folder", "bench.sweep.running.judge.judge_folder", "bench.data.Dataset.test_split"):
            monkeypatch.setattr(module, never, raising=False)

    executor = Here(before=close)
    found = run(wanted, tmp_path / "out", executor, trials=2)
    assert [trial.status for trial in found.trials] == ["ok", "ok"]
    assert executor.stages == [("distil", "validate")] * 2
    assert not list((tmp_path / "out" / "records").glob("*.json"))


def test_what_was_tried_is_not_tried_again_and_more_trials_go_on(wanted: RunSettings, plugin: Path, tmp_path: Path) -> None:
    first = run(wanted, tmp_path / "out", trials=3)
    rules = plugin.with_suffix(".yaml").read_text()
    plugin.with_suffix(".yaml").unlink()  # as long as it stands, what stands is another setting
    again = Here()
    assert run(wanted, tmp_path / "out", again, trials=3).trials == first.trials
    assert again.stages == []
    assert plugin.with_suffix(".yaml").read_text() == rules
    plugin.with_suffix(".yaml").unlink()
    more = Here()
    assert run(wanted, tmp_path / "out", more, trials=5).trials[:3] == first.trials
    assert len(more.stages) == 2
    assert load_rules(METHODS["swapped"])[0].trials == 5


def test_a_trial_of_other_code_is_made_again(wanted: RunSettings, plugin: Path, tmp_path: Path) -> None:
    run(wanted, tmp_path / "out", trials=2)
    ledger, rule = plugin.with_suffix(".trials.jsonl"), plugin.with_suffix(".yaml")
    rule.unlink()
    made = ledger.read_text()
    (code,) = {trial.code_hash for trial in read_trials(ledger)}
    ledger.write_text(made.replace(code, "0123456789ab"))
    again = Here()
    run(wanted, tmp_path / "out", again, trials=2)
    assert len(again.stages) == 2
    assert {trial.code_hash for trial in read_trials(ledger)} == {code}


def test_an_interrupted_tuning_keeps_what_ended_and_goes_on(wanted: RunSettings, plugin: Path, tmp_path: Path) -> None:
    found = run(wanted, tmp_path / "out", Here(most=2), trials=4)
    assert (found.finished, len(found.trials), found.rule) == (False, 2, "")
    assert not plugin.with_suffix(".yaml").exists()
    rest = Here()
    assert len(run(wanted, tmp_path / "out", rest, trials=4).trials) == 4
    assert len(rest.stages) == 2


def test_trials_of_several_seeds_have_the_mean_of_all(wanted: RunSettings, tmp_path: Path) -> None:
    settings = from_keywords(**{**_flags(wanted), "plugin": wanted.plugin, "seeds": "2"})
    found = run(settings, tmp_path / "out", trials=2)
    assert [len(trial.val) for trial in found.trials] == [2, 2]
    assert [len(trial.keys) for trial in found.trials] == [2, 2]
    assert found.best is not None
    assert found.best.score == sum(found.best.val) / 2


def test_a_failed_trial_is_kept_and_never_the_best(wanted: RunSettings, plugin: Path, tmp_path: Path) -> None:
    text = plugin.read_text().replace("        means = [", "        assert self.right <= 0.05, 'too large'\n        means = [")
    plugin.write_text(text)
    METHODS._entries.pop("swapped")
    plugin.rename(plugin.with_name("other.py"))
    files = [str(plugin.with_name("toy.py")), str(plugin.with_name("other.py"))]
    discover(files)
    found = run(from_keywords(**{**_flags(wanted), "plugin": files}), tmp_path / "out")
    failed = [trial for trial in found.trials if trial.status == "failed"]
    assert failed
    assert all("too large" in trial.reason and trial.val == () and trial.score < 0 for trial in failed)
    assert found.best is not None
    assert found.best.status == "ok"


def _flags(settings: RunSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in ("methods", "datasets", "budgets", "seeds", "students", "network")}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"methods": "swapped,toy_mean"}, "tune takes one method, found 2"),
        ({"budgets": "1,2"}, r"tune takes one budget, found 2 \(1, 2\)"),
        ({"split": "paper"}, "split paper has none"),
        ({"methods": "swapped[count=2]"}, "refuses budget 1 on toy: two are too many"),
        ({"methods": "toy_mean"}, "there is nothing to search: declare search"),
        ({"methods": "swapped[wrong=2]"}, "wrong"),
    ],
)
def test_what_cannot_be_tuned_is_one_sentence(wanted: RunSettings, tmp_path: Path, given: dict[str, str], complaint: str) -> None:
    with pytest.raises(BenchError, match=complaint):
        run(from_keywords(**{**_flags(wanted), "plugin": wanted.plugin, **given}), tmp_path / "out")


def test_a_damaged_file_of_trials_is_named_with_its_line(wanted: RunSettings, plugin: Path, tmp_path: Path) -> None:
    plugin.with_suffix(".trials.jsonl").write_text('{"keys": []}\n')
    with pytest.raises(BenchError, match=r"line 1 of '.*swapped.trials.jsonl' is no trial \(method is missing\)"):
        run(wanted, tmp_path / "out")


def test_a_product_is_tuned_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--dataset", "digits", "--budget", "0.3", "--trials", "2", "--students", "1", "--steps", "2", "--jobs", "1"]
    where = ["--into", str(tmp_path / "recipes"), "--out", str(tmp_path / "out")]
    assert main(["tune", "dm[form=tiles,tiles=1]", *flags, *where]) == 0
    words = capsys.readouterr().out
    assert "(what stood)" in words
    assert "the rule of the best:" in words
    rule = (tmp_path / "recipes" / "dm.yaml").read_text()
    assert "- when: {dataset: digits, ipc: 0.3, form: tiles}" in rule
    assert "tiles: 1" in rule
    assert "outer_iterations: 2" in rule
    trials = read_trials(tmp_path / "recipes" / "dm.trials.jsonl")
    assert [trial.parts for trial in trials] == [{"form": "tiles", "objective": "dm", "selection": "random"}] * 2
