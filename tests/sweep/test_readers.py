from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import BenchError
from bench.sweep import readers as flags
from bench.sweep.readers import merge, parse_set
from bench.sweep.settings import config_text


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_defaults_are_complete() -> None:
    assert merge({}, None).seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("value", "seeds"), [("3", (0, 1, 2)), (3, (0, 1, 2)), ("3,", (3,)), ("0,2", (0, 2)), ([3], (3,)), ("2,0,2", (2, 0))]
)
def test_seeds_are_a_count_or_a_list(value: object, seeds: tuple[int, ...]) -> None:
    assert flags.seeds(value, "--seeds") == seeds


@pytest.mark.parametrize("value", ["-1", "-1,", "0,-2", "0", "", "x", "1.5", [], "1,,2", True])
def test_bad_seeds(value: object) -> None:
    with pytest.raises(BenchError, match="--seeds"):
        flags.seeds(value, "--seeds")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("0.5", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    assert flags.duration(text, "--timeout") == seconds


@pytest.mark.parametrize("text", ["0", "-5", "2d", "h", "", "1e3"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(BenchError, match="--timeout"):
        flags.duration(text, "--timeout")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", "1000"])
def test_bad_efforts(text: str) -> None:
    with pytest.raises(BenchError, match="--effort"):
        flags.effort(text, "--effort")


def test_budgets_are_kept_in_their_normal_form_once() -> None:
    assert flags.budgets("1,0.30,1.0,9180px", "--budgets") == ("1", "0.3", "9180px")


def test_flags_win_over_the_config_and_that_over_the_defaults(tmp_path: Path) -> None:
    config = write(tmp_path / "c.yaml", "budgets: [0.3, 2]\nseeds: 2\nset: {podd: {window: 20, lr: 1e-3}}\nno-reference: true\n")
    merged = merge({"seeds": (7,), "set": parse_set(["podd.window=30", "random.steps=5"])}, config)
    assert (merged.budgets, merged.seeds, merged.no_reference) == (("0.3", "2"), (7,), True)
    assert merged.set == {"podd": {"window": 30, "lr": 0.001}, "random": {"steps": 5}}
    assert merged.datasets == merge({}, None).datasets


def test_the_written_config_gives_the_same_settings(tmp_path: Path) -> None:
    plugin = str((tmp_path / "my plugin.py").resolve())
    given = replace(
        merge({}, None),
        methods=("podd[order=random,window=[10,20]]", "rat_bptt"),
        budgets=("0.3", "9180px"),
        seeds=(0, 5),
        effort=0.01,
        set={"podd": {"lr": 1e-3, "word": "no", "list": [8, 8], "text": "1"}},
        plugin=(plugin,),
        jobs=3,
        timeout=90.0,
        offline=True,
        data_root=str(tmp_path),
    )
    assert merge({}, write(tmp_path / "run.yaml", config_text(given))) == given


@pytest.mark.parametrize(
    "text",
    [
        "budget: 1",
        "[1, 2]",
        "seeds: -1",
        "seeds: 1\nseeds: 2",
        "methods: []",
        "set: {podd: 3}",
        "split: test",
        "offline: maybe",
        "a: [",
        "effort: fast",
    ],
)
def test_a_bad_config_is_one_sentence_that_names_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(BenchError, match=r"bad\.yaml") as error:
        merge({}, write(tmp_path / "bad.yaml", text))
    assert "\n" not in str(error.value)


def test_an_unknown_key_is_answered_with_the_closest_one(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="did you mean 'budgets'"):
        merge({}, write(tmp_path / "c.yaml", "budget: 1"))


@pytest.mark.parametrize("text", ["podd", "podd.window", "window=3", ".x=1", "podd.=1", "podd.x="])
def test_bad_assignments(text: str) -> None:
    with pytest.raises(BenchError, match="--set"):
        parse_set([text])
