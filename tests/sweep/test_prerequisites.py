"""Prerequisites in a sweep: a stage of their own before the cells that need them, once, and listed with their cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.record import Record

SHARING = str(Path(__file__).parent / "plugins" / "sharing.py")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    file = tmp_path / "ledger"
    file.touch()
    return file


@pytest.fixture
def share(sweep: Callable, ledger: Path) -> Callable:
    """Run the sharing method; ``more`` are its fields beside the ledger."""

    def run(*flags: str, more: str = ""):
        return sweep("--methods", f"toy_sharing[ledger={ledger}{more}]", "--plugin", SHARING, "--seeds", "4", *flags)

    return run


def built(ledger: Path) -> list[str]:
    return sorted(ledger.read_text().split())


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def needed(record: Record) -> dict:
    (one,) = record.cell.prerequisites
    return one


def test_cells_of_two_jobs_share_one_for_each_seed_they_ask_for(share, ledger):
    done = share("--jobs", "2")
    assert done.code == 0, done.err
    assert built(ledger) == ["0", "1"]
    by_seed = {record.cell.seed: record for record in done.records}
    assert [needed(by_seed[seed])["seed"] for seed in range(4)] == [0, 1, 0, 1]
    for record in done.records:
        (cost,) = record.distil["prerequisites"]
        assert cost["key"] == needed(record)["key"]
        assert cost["seconds"] >= 0
        assert (done.store.prerequisites / cost["key"] / "manifest.json").is_file()
    again = share("--budgets", "2")
    assert again.code == 0
    assert built(ledger) == ["0", "1"], "another run finds them"


def test_a_damaged_one_is_built_anew_with_a_warning(share, ledger):
    first = share("--seeds", "1")
    file = first.store.prerequisites / needed(first.record)["key"] / "means.safetensors"
    whole = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again = share("--seeds", "1", "--force", "toy_sharing")
    assert again.code == 0
    assert again.err.count("is damaged (means.safetensors is not what was written)") == 1
    assert built(ledger) == ["0", "0"]
    assert file.read_bytes() == whole


def test_a_dry_run_builds_what_planning_looks_into_and_leaves_the_folder_alone(share, ledger, tmp_path):
    dry = share("--dry-run", "--seeds", "2", more=",looks=true")
    assert dry.code == 0, dry.err
    assert built(ledger) == ["0", "1"]
    assert not (tmp_path / "out").exists()
    done = share("--seeds", "1", more=",looks=true")
    assert done.record.cell.notes[0] == "planning saw 2 means"
    assert built(ledger) == ["0", "0", "1"], "planning built it, and the stage found it"
    before = contents(done.store.prerequisites)
    share("--dry-run", "--seeds", "2", more=",looks=true")
    assert built(ledger) == ["0", "0", "1", "1"], "the dry run read the one that is there"
    assert contents(done.store.prerequisites) == before


def test_cells_of_one_that_cannot_be_built_fail_with_its_words(share, ledger):
    done = share("--seeds", "3,", more=",breaks=true")
    assert done.code == 3
    assert done.record.status == "failed"
    assert "no means today" in done.record.reason
    assert "toy_means" in done.record.reason
    assert built(ledger) == ["1"]


def test_a_cell_cannot_open_what_its_plan_did_not_announce(share, ledger):
    share("--seeds", "1")
    done = share("--seeds", "1", more=",silent=true")
    (record,) = [record for record in done.records if record.cell.fields["silent"]]
    assert record.status == "failed"
    assert "LookupError: prerequisite 'toy_means' was not announced" in record.reason


def test_a_cell_that_changes_what_others_read_is_rejected(share, ledger):
    done = share("--seeds", "1", more=",forges=true")
    assert done.record.status == "rejected"
    assert "while it distilled, the method changed " in done.record.reason
    file = done.store.prerequisites / needed(done.record)["key"] / "means.safetensors"
    assert file.stat().st_mode & 0o777 == 0o444
