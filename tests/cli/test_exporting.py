"""``export``: the set of a cell, found by its key, goes out in every format, or a sentence says why not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from report.records import make_record

from bench import Dataset, DistilledSet, Images, TrainRecipe
from bench.cli import main
from bench.sweep.store import Store

Words = pytest.CaptureFixture[str]


@pytest.fixture
def out(tmp_path: Path, digits: Dataset) -> Path:
    """An out folder with the record of a set of real digits, whitened as students see them, and one of a failed cell."""
    store = Store(tmp_path / "results")
    store.prepare()
    chosen = torch.cat([digits.train.of_class(label)[:1] for label in range(10)])
    images = Images(digits.spec, 10)
    images.write(digits.train.unit_images(chosen), torch.arange(10))
    folder = store.make_room("def456")
    DistilledSet(digits.spec, images, TrainRecipe(), coordinates="rgb").save(folder)
    store.finish_set("def456", {})
    made = make_record()
    cell = replace(made.cell, dataset="digits", split="dev")
    store.write(replace(made, key="abc123", distil_key="def456", cell=cell, log=""))
    store.write(replace(made, key="fa11ed", distil_key="not-there", cell=cell, log=""))
    return store.out


@pytest.mark.parametrize("form", ["pt", "npz", "images", "ddranking"])
def test_a_cell_goes_out_in_every_format(form: str, out: Path, capsys: Words) -> None:
    assert main(["export", "abc", "--format", form, "--out", str(out)]) == 0
    folder = out / "exports" / f"abc123-{form}"
    about = json.loads((folder / "about.json").read_text())
    assert about["provenance"]["cell"] == "abc123"
    assert about["provenance"]["set"] == "def456"
    assert about["provenance"]["judged"]["protocol"]["name"] == make_record().cell.protocol["name"]
    said = capsys.readouterr().out
    assert str(folder) in said
    assert ("read it again: " in said) == (form in ("pt", "npz"))
    assert all((folder / name).is_file() for name in about["files"])


def test_ddranking_gets_what_students_see(out: Path, digits: Dataset, tmp_path: Path) -> None:
    from bench.nn.spaces import Standard

    assert main(["export", "abc123", "--format", "ddranking", "--to", str(tmp_path / "there"), "--out", str(out)]) == 0
    images = torch.load(tmp_path / "there" / "images.pt", weights_only=True)
    chosen = torch.cat([digits.train.of_class(label)[:1] for label in range(10)])
    torch.testing.assert_close(images, Standard.fit(digits.train).transform(digits.train.unit_images(chosen)))


WRONG = {
    "another format": (["abc", "--format", "npy"], "unknown format 'npy'"),
    "no format": (["abc"], "--format"),
    "no such cell": (["zzz", "--format", "pt"], "key 'zzz' fits no record"),
    "no set": (["fa11", "--format", "pt"], "cell fa11ed has no distilled set in"),
}


@pytest.mark.parametrize(("arguments", "complaint"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_exported_is_a_sentence(arguments: list[str], complaint: str, out: Path, capsys: Words) -> None:
    assert main(["export", *arguments, "--out", str(out)]) == 2
    assert complaint in capsys.readouterr().err
    assert not (out / "exports").exists()


def test_a_second_export_keeps_the_first(out: Path, capsys: Words) -> None:
    assert main(["export", "abc", "--format", "pt", "--out", str(out)]) == 0
    before = (out / "exports" / "abc123-pt" / "set.pt").read_bytes()
    assert main(["export", "abc", "--format", "pt", "--out", str(out)]) == 2
    assert "is there already and not an empty folder" in capsys.readouterr().err
    assert (out / "exports" / "abc123-pt" / "set.pt").read_bytes() == before
