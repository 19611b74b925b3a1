from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from damage import mutations
from hypothesis import example, given
from hypothesis import strategies as st

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


@pytest.mark.parametrize("value", ["-1", "-1,", "0,-2", "0", "", "x", "1.5", [], "1,,2", True, "999999999", "9" * 5000, {}, [[1]]])
def test_bad_seeds(value: object) -> None:
    with pytest.raises(BenchError, match="--seeds"):
        flags.seeds(value, "--seeds")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("0.5", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    assert flags.duration(text, "--timeout") == seconds


@pytest.mark.parametrize("text", ["0", "-5", "2d", "h", "", "1e3", "9" * 400, "9999h"])
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


def test_what_would_fill_memory_says_what_to_do() -> None:
    with pytest.raises(BenchError, match="--seeds asks for 999,999,999 cells; one run has at most 100,000, so ask for less"):
        flags.seeds("999999999", "--seeds")
    with pytest.raises(BenchError, match="--jobs needs a whole number from 1 to 1024, found '999999999'"):
        flags.jobs("999999999", "--jobs")
    assert flags.seeds("999999999,", "--seeds") == (999_999_999,)  # one seed, and no count


#: Every plain value that a YAML file can hold.
plain_values = st.recursive(
    st.text(st.characters()) | st.integers() | st.floats() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("flag", flags.READERS)
@given(value=plain_values | st.text(alphabet="0123456789.,e+-px[]='\"hms", max_size=12))
def test_any_value_of_a_flag_is_read_or_one_sentence(flag: str, value: object) -> None:
    with suppress(BenchError):
        flags.READERS[flag](value, flag)


@given(st.lists(st.text(st.characters()) | st.text(alphabet="ab.=[]1'\"! ", max_size=12), max_size=3))
def test_any_assignment_is_read_or_one_sentence(assignments: list[str]) -> None:
    with suppress(BenchError):
        parse_set(assignments)


RUN = {
    "methods": ["podd[order=identity]", "rat_bptt"],
    "datasets": ["digits"],
    "budgets": ["0.5", "9180px"],
    "seeds": [0, 1],
    "students": 2,
    "effort": 0.5,
    "timeout": 90.0,
    "set": {"podd": {"window": 20, "outer_lr": 0.01}},
    "offline": True,
    "data-root": "/tmp",
}


@given(config=mutations(RUN))
def test_a_damaged_run_file_is_read_or_one_sentence(config: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = write(tmp_path_factory.getbasetemp() / "damaged.yaml", config)
    with suppress(BenchError):
        again = write(tmp_path_factory.getbasetemp() / "again.yaml", config_text(merge({}, file)))
        assert merge({}, again) == merge({}, file)


@given(content=st.binary(max_size=60))
@example(content=b"\xff\xfe")
@example(content=b"seeds: \x00")
def test_bytes_are_read_or_one_sentence(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "noise.yaml"
    file.write_bytes(content)
    with suppress(BenchError):
        merge({}, file)


def test_a_config_that_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reasons = {tmp_path / "pipe": "not a regular file", tmp_path: "Is a directory", Path("/dev/zero"): "not a regular file"}
    for file, reason in reasons.items():
        with pytest.raises(BenchError, match=f"config file '{file}' cannot be read: .*{reason}"):
            merge({}, file)
