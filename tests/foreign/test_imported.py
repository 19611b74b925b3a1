"""From somebody else's files to a row of the leaderboard, on digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from foreign import released_files as made

from bench import METHODS, BudgetRequest, DistilledSet, PlanContext, Refusal, Resolution, Spec, TrainRecipe, run_sweep, settings
from bench.cli import main
from bench.decoders.images import Images
from bench.errors import BenchError
from bench.foreign.importing import budget_text
from bench.foreign.keeping import keep_set
from bench.imported_set import found_set, need_of
from bench.prerequisite_store import PrerequisiteStore, ensure, resolve
from bench.record import Record

SPEC = Spec("digits", 10, (1, 8, 8), tuple(map(str, range(10))))


def a_set(shift: float = 0.0, file: str = "a.pt") -> DistilledSet:
    images = Images(SPEC, count=10)
    images.images.data.copy_(made.drawn() + shift)
    origin = {"files": [{"name": file, "bytes": 1, "sha256": "ab" * 32}], "options": {"space": "standard"}}
    return DistilledSet(SPEC, images, TrainRecipe(steps=20), notes={"origin": origin})


def planned(store: PrerequisiteStore, name: str = "mine", budget: str = "1", spec: Spec = SPEC) -> Resolution | Refusal:
    def find(need: object) -> Path:
        found = store.find(resolve(need).key(0, "any"))  # type: ignore[arg-type]
        assert found is not None
        return found

    granted = BudgetRequest.parse(budget).resolve(spec.classes, spec.height, spec.width)
    return METHODS["imported"](set=name).plan(PlanContext(spec, granted, find=find))  # type: ignore[no-any-return]


def test_a_kept_set_is_a_finished_prerequisite_that_comes_back_as_it_was(tmp_path: Path) -> None:
    store = PrerequisiteStore(tmp_path)
    kept = keep_set(a_set(), "mine", store)
    assert kept.replaced == ""
    folder = store.find(resolve(need_of("mine")).key(0, ""))
    assert folder is not None
    assert kept.folder == found_set(folder).folder
    assert torch.equal(DistilledSet.load(kept.folder, SPEC).parameterization.decode().images, made.drawn())
    assert not [file for file in folder.rglob("*") if file.is_file() and file.stat().st_mode & 0o222]


def test_its_key_is_that_of_every_seed_and_split() -> None:
    builder = resolve(need_of("mine"))
    assert builder.key(0, "dev") == builder.key(3, "paper") != resolve(need_of("other")).key(0, "dev")


def test_another_set_under_the_same_name_is_another_cell(tmp_path: Path) -> None:
    store, plans = PrerequisiteStore(tmp_path), []
    for changed in (a_set(), a_set(), a_set(shift=0.5), a_set(file="b.pt")):
        kept = keep_set(changed, "mine", store)
        answer = planned(store)
        assert isinstance(answer, Resolution)
        plans.append(answer.plan["content"])
    assert plans[0] == plans[1]
    assert len(set(plans)) == 3
    assert kept.replaced.startswith("imported from a.pt (sha256 abababababab)")


def test_what_a_trial_said_is_no_part_of_the_cell(tmp_path: Path) -> None:
    store, first = PrerequisiteStore(tmp_path), a_set()
    keep_set(first, "mine", store)
    before = planned(store)
    first.notes["origin"]["trial"] = "a trial of one student reached 9.0 % on val"
    keep_set(first, "mine", store)
    after = planned(store)
    assert isinstance(before, Resolution)
    assert isinstance(after, Resolution)
    assert before.plan == after.plan
    assert after.notes[1] == "a trial of one student reached 9.0 % on val"


def test_it_refuses_with_a_sentence(tmp_path: Path) -> None:
    store = PrerequisiteStore(tmp_path)
    keep_set(a_set(), "mine", store)
    small, other, nameless = (
        planned(store, budget="0.5"),
        planned(store, spec=Spec("other", 10, (1, 8, 8), SPEC.class_names)),
        planned(store, ""),
    )
    assert small == Refusal("the set 'mine' stores 640 pixels, and the budget allows 320")
    assert other == Refusal("the set 'mine' was imported for digits, not for other")
    assert isinstance(nameless, Refusal)


def test_nobody_builds_a_set_that_was_not_imported(tmp_path: Path, digits: object) -> None:
    with pytest.raises(BenchError, match="no set was imported under the name 'mine'"):
        ensure(need_of("mine"), digits, PrerequisiteStore(tmp_path))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "../up", "a b", "a,b", "x]", "-x", "007", "1.10", "true", "null"])
def test_names_that_cannot_be_typed(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(file) for file in made.dc(tmp_path, made.drawn())]
    command = ["import", *files, "--dataset", "digits", f"--name={name}", "--space", "standard", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_set_of_this_suite_needs_no_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_set().save(tmp_path / "theirs")
    assert main(["inspect", str(tmp_path / "theirs")]) == 0
    command = [str(tmp_path / "theirs"), "--dataset", "digits", "--out", str(tmp_path / "out")]
    assert "a set of this suite for digits: images, 640 pixels, space standard, labels probabilities" in capsys.readouterr().out
    assert main(["inspect", *command, "--probe"]) == 0
    assert "a trial of one student reached" in capsys.readouterr().out
    assert main(["import", *command, "--name", "theirs", "--space", "rgb", "--order", "identity"]) == 2
    assert "says everything itself; leave out --space and --order" in capsys.readouterr().err
    assert main(["import", *command, "--name", "theirs", "--no-probe"]) == 0
    found = found_set(tmp_path / "out" / "prerequisites" / resolve(need_of("theirs")).key(0, ""))
    assert (found.folder / "tensors.safetensors").read_bytes() == (tmp_path / "theirs" / "tensors.safetensors").read_bytes()
    assert found.origin.startswith("imported from theirs/tensors.safetensors (sha256 ")


def test_labels_beyond_the_free_ones_are_in_the_budget_that_is_named() -> None:
    labelled = Images(SPEC, count=20, size=(4, 4), labels="soft")
    assert budget_text(DistilledSet(SPEC, labelled, TrainRecipe())) == "420px"  # 320 of images and 100 of 200 label numbers
    assert budget_text(a_set()) == "1"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Record]]:
    """Real images of digits as somebody else's files, imported and judged in both splits."""
    from bench import load_dataset

    folder = tmp_path_factory.mktemp("swept")
    pixels = (made.real_images(load_dataset("digits", "paper")) * 255).round() / 255
    files = [str(file) for file in made.dc(folder, pixels)]
    assert (
        main(["import", *files, "--dataset", "digits", "--name", "mine", "--out", str(folder / "out"), "--recipe", "steps=60,lr=0.01"]) == 0
    )
    records = {}
    for split in ("dev", "paper"):
        asked = settings(methods="imported[name=mine],random[form=full]", budgets=[1], seeds=3, students=1, split=split, no_reference=True)
        result = run_sweep(asked, out=folder / "out")
        assert result.exit_code == 0
        records[split] = next(record for record in result.records.values() if record.cell.method == "imported")
    return folder / "out", records


def test_an_imported_set_is_judged_like_any_other(swept: tuple[Path, dict[str, Record]]) -> None:
    record = swept[1]["paper"]
    assert (record.status, record.audit["pixels"], record.training["student_steps"]) == ("ok", 640, 60)
    assert record.scores["final"]["test"][0] > 0.3


def test_its_origin_is_in_the_record_and_in_the_details(swept: tuple[Path, dict[str, Record]]) -> None:
    out, records = swept
    assert records["paper"].cell.origin.startswith("imported from images.pt (sha256 ")
    assert records["paper"].cell.origin.endswith("read with labels=ids recipe=steps=60,lr=0.01 space=rgb")
    details = (out / "details" / "digits.md").read_text()
    assert "imported from images.pt (sha256 " in details


def test_split_dev_marks_it_and_does_not_rank_it(swept: tuple[Path, dict[str, Record]]) -> None:
    out, _ = swept
    assert "(seen val)" in (out / "leaderboard.md").read_text()
    details = (out / "details" / "digits.md").read_text()
    sections = details.split("\n## ")[1:]
    by_split = {split: next(section for section in sections if f"split {split}" in section.splitlines()[0]) for split in ("dev", "paper")}
    assert "seen val" in by_split["dev"]
    assert "seen val" not in by_split["paper"]
