"""``run --dry-run`` on input that somebody damaged: a plan or one sentence, exit code 0 or 2, never a traceback."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest
from damage import mutations
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench import BenchError
from bench.cli import main
from bench.prerequisite_store import PrerequisiteStore
from bench.sweep.planning.planner import Planner
from bench.sweep.readers import merge

RUN = {
    "methods": ["random[form=tiles,tiles=[2,4]]", "rat_bptt[window=4,labels=fixed]", "podd[order=identity]"],
    "datasets": ["digits"],
    "budgets": ["0.5", "64px", 1],
    "seeds": [0],
    "students": 1,
    "protocol": "native-v1",
    "effort": 0.5,
    "set": {"rat_bptt": {"window": 4, "outer_lr": 0.01, "space": "standard", "augmentation": "rotate"}, "random": {"tiles": 3}},
    "network": "convnet-d1-w4",
    "no-reference": True,
    "offline": True,
}


def dry_run(*arguments: str) -> None:
    """Plan through the command line and hold it to its word."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["run", "--dry-run", *arguments])
    assert code in (0, 2), err.getvalue()
    if code == 2:
        assert err.getvalue().startswith("ddbench: error: ")
        assert err.getvalue().count("\n") == 1
    assert "Traceback" not in err.getvalue()


def is_small(config: Path) -> bool:
    """Tell whether a config asks for a plan that takes no time; one that is refused takes none."""
    with suppress(BenchError):
        found = merge({}, config)
        return len(found.seeds) * len(found.budgets) * len(found.methods) < 20
    return True


@given(text=mutations(RUN))
def test_any_damaged_config_is_checked_or_one_sentence(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    file = folder / "checked.yaml"
    file.write_text(text)
    with suppress(BenchError):
        Planner(merge({}, file), PrerequisiteStore(folder / "prerequisites")).check()


@hypothesis_settings(max_examples=12)
@given(text=mutations(RUN))
def test_any_damaged_config_is_planned_or_one_sentence(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "planned.yaml"
    file.write_text(text)
    if is_small(file):
        dry_run("--config", str(file), "--out", str(tmp_path_factory.getbasetemp() / "out"))


@hypothesis_settings(max_examples=40)
@given(
    flag=st.sampled_from(["--methods", "--datasets", "--budgets", "--seeds", "--set", "--students", "--network", "--protocol", "--effort"]),
    value=st.text(st.characters(), max_size=20) | st.text(alphabet="podrandm[=],'\"!&(){}1e-. ", max_size=30),
)
@example("--methods", "podd[window=!!timestamp x]")
@example("--methods", "podd[window=" + "[" * 3000)
@example("--methods", "random[form='tiles,x']")
@example("--methods", "random[form=['tiles,x']]")
@example("--methods", "podd[clip_weights=~nouser,order=clip]")
@example("--methods", 'podd[clip_weights="\\0"]')
@example("--methods", "podd[space=nope]")
@example("--methods", "podd[overlap=1e400]")
@example("--set", "rat_bptt.outer_lr=-1")
@example("--set", "rat_bptt.form=[1]")
@example("--set", "random.tiles=" + "9" * 5000)
@example("--seeds", "999999999")
@example("--budgets", "999999999999px")
@example("--budgets", "1e-9")
def test_any_flag_is_planned_or_one_sentence(flag: str, value: str) -> None:
    dry_run(f"{flag}={value}", "--no-reference")
