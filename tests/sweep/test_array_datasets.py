"""Arrays without a plugin in a whole sweep: planned, distilled, judged, listed, and loaded from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import write_cub200, write_layout

import bench
from bench import BenchError, DataOptions, load_dataset
from bench.cli import main
from bench.sweep.store import Store

Words = pytest.CaptureFixture[str]


def flags(root: Path) -> list[str]:
    what = ["--methods", "random", "--datasets", "toy", "--budgets", "1", "--seeds", "1", "--students", "1", "--no-reference"]
    return [*what, "--set", "random.student_steps=2", "--data-root", str(root / "data"), "--out", str(root / "out")]


def test_arrays_run_without_a_plugin_and_their_sets_are_loaded_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_layout(tmp_path / "data", shape=(24, 8, 8, 3))
    assert main(flags(tmp_path)) == 0
    (record,) = Store(tmp_path / "out").read_all()[0].values()
    assert (record.status, record.cell.dataset, record.cell.unofficial) == ("ok", "toy", True)
    folder = tmp_path / "out" / "sets" / record.distil_key
    with pytest.raises(BenchError, match="unknown data set 'toy'"):
        bench.load_set(folder)
    distilled = bench.load_set(folder, tmp_path / "data")
    assert distilled.spec.class_names == ("cat", "sea lion", "dog")
    elsewhere = load_dataset("toy", options=DataOptions(tmp_path / "data"))
    assert bench.judge_set(distilled, elsewhere, students=1).scores == record.scores
    monkeypatch.setenv("DDBENCH_DATA", str(tmp_path / "data"))
    assert bench.judge_set(bench.load_set(folder), "toy", students=1).scores == record.scores


def test_a_damaged_test_file_ends_the_command_before_anything_runs(tmp_path: Path, capsys: Words) -> None:
    folder = write_layout(tmp_path / "data", shape=(24, 8, 8, 3))
    np.save(folder / "test_labels.npy", np.arange(24) % 3 + 1)
    for more in ([], ["--dry-run"]):
        assert main([*flags(tmp_path), *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"ddbench: error: {folder / 'test_labels.npy'} must hold 24 integers from 0 to 2")
        assert line.endswith("they run from 1 to 3, so subtract 1")
    assert not list((tmp_path / "out").glob("records/*"))
    assert not list((tmp_path / "out").glob("prerequisites/*"))


def test_list_shows_arrays_and_what_is_wrong_with_them(tmp_path: Path, capsys: Words) -> None:
    write_layout(tmp_path, shape=(24, 8, 8, 3))
    damaged = write_layout(tmp_path / "other")
    damaged.rename(tmp_path / "broken")
    np.save(tmp_path / "broken" / "train_labels.npy", np.zeros(5, int))
    write_layout(tmp_path / "third").rename(tmp_path / "unreadable")
    (tmp_path / "unreadable" / "classes.txt").write_bytes(b"\xff")
    assert main(["list", "--offline", "--data-root", str(tmp_path)]) == 0
    rows = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert rows["toy"] == f"toy available (unofficial) 3 classes, 24 images of 3x8x8 arrays in {tmp_path / 'toy'}"
    assert rows["broken"].startswith("broken not usable ")
    assert "there are 5, so store one label for each image" in rows["broken"]
    assert "unreadable not usable " in rows["unreadable"]
    assert "cannot be read as UTF-8 text" in rows["unreadable"]
    assert rows["mnist"].startswith("mnist not there ")
    assert rows["digits"].startswith("digits available 10 classes, 1000 images of 1x8x8")


def test_list_decodes_nothing_and_says_what_is_prepared(tmp_path: Path, capsys: Words) -> None:
    write_cub200(tmp_path)

    def rows() -> dict[str, str]:
        assert main(["list", "--offline", "--data-root", str(tmp_path)]) == 0
        return {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}

    before = rows()
    assert before["cub200"].startswith("cub200 once it is prepared CUB-200-2011: 200 kinds of birds")
    assert before["image_folder"].startswith("image_folder with path Images of your own in class folders")
    assert not (tmp_path / "decoded").exists()
    load_dataset("cub200", options=DataOptions(tmp_path, download=False))
    assert rows()["cub200"].startswith("cub200 available (unofficial) 3 classes, 15 images of 3x32x32")
