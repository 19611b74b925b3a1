"""The report as a whole: files, equal bytes, and no torch."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from report.records import full_data, make_cell, make_record, protocol, reference, seeds

from bench.record import Record
from bench.report import render

ROOT = Path(__file__).resolve().parents[2]


def records() -> list[Record]:
    return [
        *seeds([0.8, 0.82, 0.84]),
        *seeds([0.6, 0.62, 0.64], ipc=0.3),
        *seeds([0.7], "rat_bptt", effort=0.01, tuned=False, notes=["a note"]),
        *reference("lowres", [0.5, 0.51, 0.52], aliases=["random[images=tiles]", "random[images=mosaic]"]),
        *reference("tiles", [0.3, 0.31, 0.32], ipc=0.3),
        make_record(status="failed", reason="it broke", cell=make_cell("mtt", seed=1)),
        make_record(status="refused", reason="needs whole images", cell=make_cell("mtt", ipc=0.3)),
        full_data(),
        *seeds([0.7, 0.71], protocol=protocol("common-v1")),
    ]


def bytes_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_files_are_written_and_returned(tmp_path):
    written = render(records(), tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in written}
    assert names == {
        "leaderboard.md",
        "accuracy_vs_pixels.md",
        "accuracy_vs_pixels.csv",
        "details/digits.md",
        *(f"plots/digits-{name}.{kind}" for name in ("native-v1", "common-v1") for kind in ("png", "svg")),
    }
    assert set(bytes_of(tmp_path)) == names  # nothing half written is left behind
    assert written[0].name == "leaderboard.md"
    assert "(plots/digits-native-v1.png)" in written[0].read_text()


def test_a_plot_that_was_renamed_leaves_no_old_one_behind(tmp_path):
    render(seeds([0.5]), tmp_path)
    both = [*seeds([0.5]), *seeds([0.6], protocol=protocol(students=3))]
    named = {str(path.relative_to(tmp_path)) for path in render(both, tmp_path)}
    assert "plots/digits-native-v1.png" not in named
    assert set(bytes_of(tmp_path)) == named


def test_a_network_that_is_not_the_usual_one_any_more_leaves_no_old_plot_behind(tmp_path):
    small, large = "convnet-d2-w32", "convnet-d3-w32"
    render([*seeds([0.5, 0.6], network=small), *seeds([0.7], "b", network=large)], tmp_path)
    assert (tmp_path / f"plots/digits-native-v1-{large}.png").is_file()
    both = [*seeds([0.5, 0.6], network=small), *seeds([0.7, 0.7, 0.7], "b", network=large)]
    named = {str(path.relative_to(tmp_path)) for path in render(both, tmp_path)}
    assert f"plots/digits-native-v1-{small}.png" in named
    assert set(bytes_of(tmp_path)) == named


def test_rendering_twice_and_in_any_order_gives_the_same_bytes(tmp_path):
    render(records(), tmp_path / "a")
    render(records(), tmp_path / "a")
    shuffled = records()
    random.Random(1).shuffle(shuffled)
    for record in shuffled:
        record.cell.aliases.reverse()
    render(shuffled, tmp_path / "b")
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_records_from_disk_give_the_same_bytes(tmp_path):
    render(records(), tmp_path / "a")
    render([Record.from_json(record.to_json()) for record in records()], tmp_path / "b")
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_no_records_make_a_leaderboard_that_says_so(tmp_path):
    written = render([], tmp_path / "new")
    assert [path.name for path in written] == ["leaderboard.md", "accuracy_vs_pixels.md", "accuracy_vs_pixels.csv"]
    assert "There are no records yet." in written[0].read_text()


@pytest.mark.parametrize("status", ["refused", "rejected", "failed", "timeout", "oom", "interrupted"])
def test_without_any_score_there_are_tables_and_no_plot(tmp_path, status):
    render([make_record(status=status, reason="no luck")], tmp_path)
    assert not (tmp_path / "plots").exists()
    assert "no luck" in (tmp_path / "leaderboard.md").read_text()


def test_full_data_alone_can_be_rendered(tmp_path):
    render([full_data()], tmp_path)
    assert "No method has been run here yet." in (tmp_path / "leaderboard.md").read_text()


def test_a_bare_record_can_be_rendered(tmp_path):
    bare = make_record(audit={}, training={}, distil={}, seconds={}, environment={}, scores={"final": {"test": [0.5]}})
    render([bare], tmp_path)
    assert "50.0 ‡" in (tmp_path / "leaderboard.md").read_text()


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    render(seeds([0.5]), tmp_path)
    before = bytes_of(tmp_path)

    def full_disk(self, content):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        render(seeds([0.9]), tmp_path)
    monkeypatch.undo()
    assert bytes_of(tmp_path) == before


def test_the_report_needs_no_torch(tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    for record in records():
        (folder / f"{record.key}.json").write_text(record.to_json())
    program = """
import sys
from pathlib import Path
from bench.record import Record
from bench.report import render
out = Path(sys.argv[1])
render([Record.from_json(path.read_text()) for path in out.glob("records/*.json")], out)
"""
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    there = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env=there, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plots" / "digits-native-v1.png").stat().st_size > 10_000
