"""Recipe files: YAML as people write it, rules in file order, and one sentence for every mistake."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

import pytest
import yaml
from damage import mutations
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench import METHODS, BenchError, DistilledSet, Method, Task
from bench.recipes import check_built, check_fields, load_rules, recipe_file, resolve_recipe
from bench.yaml_text import read_yaml_file


@dataclass(frozen=True)
class Toy(Method):
    """A method as far as recipes are concerned."""

    window: int = 10
    lr: float = 1e-2
    order: Literal["identity", "random"] = "identity"
    poster: tuple[int, int] | None = None
    learn: bool = False
    name: ClassVar[str] = "toy"
    reference: ClassVar[str] = "none"

    def distill(self, task: Task) -> DistilledSet:
        raise NotImplementedError


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put Toy into a module of its own and return a function that writes its recipe file."""
    module = ModuleType("toy_of_a_test")
    module.__file__ = str(tmp_path / "toy_of_a_test.py")
    Path(module.__file__).write_text("")
    monkeypatch.setitem(sys.modules, "toy_of_a_test", module)
    monkeypatch.setattr(Toy, "__module__", "toy_of_a_test")
    vars(module).update(Toy=Toy, Literal=Literal, ClassVar=ClassVar, Task=Task, DistilledSet=DistilledSet)  # the names its annotations use

    def write(text: str) -> None:
        (tmp_path / "toy_of_a_test.yaml").write_text(text)

    return write


TWO_RULES = """
- when: {dataset: digits}
  set: {window: 20, lr: 1e-3}
  source: tuned on val
  trials: 12
- when: {dataset: digits, ipc: [0, 0.9]}
  set: {lr: 2e-3, poster: [5, 6]}
  source: tuned on val below one
  trials: 3
"""


def test_later_rules_win_and_trials_add_up(recipes: Any) -> None:
    recipes(TWO_RULES)
    small = resolve_recipe(Toy, "digits", 0.3)
    assert small.values == {"window": 20, "lr": 2e-3, "poster": (5, 6)}
    assert small.sources == ("tuned on val", "tuned on val below one")
    assert (small.tuned, small.trials) == (True, 15)
    assert resolve_recipe(Toy, "digits", 1.0).values == {"window": 20, "lr": 1e-3}
    assert resolve_recipe(Toy, "digits", 0.9).values["lr"] == 2e-3  # the range is closed


def test_overrides_stack_in_order(recipes: Any) -> None:
    recipes(TWO_RULES)
    found = resolve_recipe(Toy, "digits", 1.0, {"window": 30, "lr": 5}, {"window": 40}, {"order": "random"})
    assert found.values == {"window": 40, "lr": 5.0, "order": "random"}
    assert type(found.values["lr"]) is float


def test_without_a_matching_rule_the_recipe_is_untuned(recipes: Any) -> None:
    recipes(TWO_RULES)
    found = resolve_recipe(Toy, "mnist", 1.0, {"window": 30})
    assert (found.tuned, found.trials, found.sources) == (False, 0, ())


@pytest.mark.parametrize(("trials", "tuned"), [("", True), ("\n  trials: 0", False), ("\n  trials: 3", True)])
def test_a_rule_that_nobody_tuned_leaves_its_row_untuned(recipes: Any, trials: str, tuned: bool) -> None:
    """Without trials the values are somebody's published ones."""
    recipes("- set: {window: 3}\n  source: somewhere" + trials)
    found = resolve_recipe(Toy, "digits", 1.0)
    assert (found.values["window"], found.tuned) == (3, tuned)


def test_what_was_published_stands_beside_the_recipe_and_tunes_nothing(recipes: Any) -> None:
    recipes(
        "- {when: {dataset: digits, ipc: 1}, published: {accuracy: 53.2, spread: 0.7}, source: table 1}\n"
        "- {when: {dataset: digits, ipc: 1.0}, published: {accuracy: 50}, source: table 2}\n"
    )
    found = resolve_recipe(Toy, "digits", 1.0)
    assert found.published == ({"accuracy": 53.2, "spread": 0.7, "source": "table 1"}, {"accuracy": 50, "source": "table 2"})
    assert (found.values, found.tuned, found.sources, found.trials) == ({}, False, (), 0)
    assert resolve_recipe(Toy, "digits", 0.9).published == resolve_recipe(Toy, "mnist", 1.0).published == ()


def test_no_file_is_no_rule(recipes: Any) -> None:
    assert recipe_file(Toy) is None
    assert load_rules(Toy) == ()
    recipes("")
    assert load_rules(Toy) == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("window: 3", "must be a list of rules, found dict"),
        ("- 3", "rule 1 must be a mapping"),
        ("- {set: {window: 1}}", "rule 1 needs a source"),
        ("- {set: {window: 1}, source: x, whn: {}}", "unknown key 'whn'; did you mean 'when'"),
        ("- {when: {data_set: digits}, set: {}, source: x}", "rule 1, when has the unknown key 'data_set'; did you mean 'dataset'"),
        ("- {when: digits, set: {}, source: x}", "must be mappings"),
        ("- {when: {dataset: [digits, mnist]}, set: {}, source: x}", "dataset must be one name"),
        ("- {set: [window], source: x}", "must be mappings"),
        ("- {when: {ipc: [1, 0]}, set: {}, source: x}", "closed range"),
        ("- {when: {ipc: [1, 2, 3]}, set: {}, source: x}", "closed range"),
        ("- {when: {ipc: one}, set: {}, source: x}", "closed range"),
        ("- {when: {ipc: true}, set: {}, source: x}", "closed range"),
        ("- {set: {}, source: x, trials: many}", "trials must be a whole number"),
        ("- {set: {}, source: x, trials: -1}", "trials must be a whole number"),
        ("- {when: {dataset: d, ipc: 1}, published: {accuracy: 0.532}, source: x, trials: 1}", "sets nothing"),
        ("- {when: {dataset: d, ipc: 1}, published: {accuracy: 53}, set: {window: 1}, source: x}", "sets nothing"),
        ("- {when: {dataset: d}, published: {accuracy: 53}, source: x}", "needs a data set and one number"),
        ("- {when: {dataset: d, ipc: [1, 2]}, published: {accuracy: 53}, source: x}", "needs a data set and one number"),
        ("- {when: {dataset: d, ipc: 1}, published: {accuracy: 530}, source: x}", "published.accuracy is wrong.*53.2"),
        ("- {when: {dataset: d, ipc: 1}, published: {spread: 1}, source: x}", "published.accuracy is wrong: field required"),
        ("- {when: {dataset: d, ipc: 1}, published: {accuracy: 53, by: me}, source: x}", "published.by is wrong"),
        ("- {when: {dataset: d, ipc: 1}, published: 53, source: x}", "published is wrong"),
        ("- {set: {}, source: x}\n- {set: {windw: 1}, source: x}", "rule 2: toy has no field 'windw'; did you mean 'window'"),
        ("- {set: {window: 1.5}, source: x}", "field 'window' cannot be 1.5"),
        ("- {set: {window: '5'}, source: x}", "field 'window' cannot be '5'"),
        ("- {set: {window: true}, source: x}", "field 'window' cannot be True"),
        ("- {set: {learn: no}, source: x}", "field 'learn' cannot be 'no'"),
        ("- {set: {learn: 1}, source: x}", "field 'learn' cannot be 1"),
        ("- {set: {lr: .nan}, source: x}", "field 'lr' cannot be nan: it must be finite"),
        ("- {set: {lr: .inf}, source: x}", "field 'lr' cannot be inf: it must be finite"),
        ("- {set: {order: clever}, source: x}", "field 'order' cannot be 'clever'"),
        ("- {set: {poster: [1, 2, 3]}, source: x}", "field 'poster' cannot be"),
        ("- {set: {name: other}, source: x}", "has no field 'name'"),
    ],
)
def test_mistakes_are_one_sentence(recipes: Any, text: str, complaint: str) -> None:
    recipes(text)
    with pytest.raises(BenchError, match=complaint) as caught:
        resolve_recipe(Toy, "digits", 1.0)
    assert "\n" not in str(caught.value)
    assert "toy_of_a_test.yaml" in str(caught.value)


def test_overrides_are_checked_alike() -> None:
    with pytest.raises(BenchError, match="--set: toy has no field 'windo'; did you mean 'window'"):
        check_fields(Toy, {"windo": 3}, "--set")


def test_the_recipes_of_the_suite_are_well_formed() -> None:
    for name in METHODS:
        for rule in load_rules(METHODS[name]):
            assert rule.source, f"a rule of {name} does not say where its values come from"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfe", "recipe file '.*toy_of_a_test.yaml' cannot be read: it is not text"),
        (b"- {set: {window: !!timestamp x}}", "not valid YAML"),
        (b"- {set: {0: 1}, source: x}", "toy has no field '0'"),
        (b"- {set: {}, source: x, when: {ipc: [1, 1e999]}}", "a closed range .* from 0 to 1e.09, found"),
    ],
)
def test_a_recipe_file_that_is_no_plain_yaml_is_one_sentence(recipes: Any, tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "toy_of_a_test.yaml").write_bytes(content)
    with pytest.raises(BenchError, match=complaint):
        load_rules(Toy)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=mutations(yaml.safe_load(TWO_RULES)))
def test_a_damaged_recipe_file_is_read_or_one_sentence(recipes: Any, text: str) -> None:
    recipes(text)
    with suppress(BenchError):
        for rule in load_rules(Toy):
            rule.matches("digits", 0.5)
            check_built(Toy(**rule.set), "a test")


@pytest.mark.parametrize("name", ["podd", "rat_bptt", "random", "herding", "k_center", "k_means"])
@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_recipe_file_of_the_suite_is_read_or_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: st.DataObject
) -> None:
    own, damaged = Path("methods") / f"{name}.yaml", tmp_path / "damaged.yaml"
    damaged.write_text(data.draw(mutations(read_yaml_file(Path(__file__).parent.parent / own, "recipe file"))))
    monkeypatch.setattr("bench.recipes.recipe_file", lambda method: damaged)
    with suppress(BenchError):
        for rule in load_rules(METHODS[name]):
            rule.matches("digits", 0.5)
