"""``prepare``: downloads, decodes and fits; goes on, stays offline, and leaves nothing half-written."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import socket
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_files import write_cub200, write_layout, write_svhn
from file_server import Served, file_server

from bench import BenchError, DataOptions, load_dataset
from bench.cli import main

Words = pytest.CaptureFixture[str]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    """The archive of CUB-200-2011 on a server of this machine, with its checksum."""
    from bench.datasets import cub200

    folder, packed = write_cub200(tmp_path / "made"), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, folder.name)
    with file_server() as server:
        server.files["CUB_200_2011.tgz"] = packed.getvalue()
        md5 = hashlib.md5(packed.getvalue()).hexdigest()
        archive = replace(cub200.OFFICIAL.archive, urls=(f"{server.address}/CUB_200_2011.tgz?download=1",), md5=md5)
        monkeypatch.setattr(cub200, "OFFICIAL", replace(cub200.OFFICIAL, archive=archive))
        yield server


def prepare(tmp_path: Path, *more: str) -> int:
    return main(["prepare", *more, "--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out")])


def visible(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if not file.name.startswith(".")} if folder.exists() else set()


def test_a_data_set_is_downloaded_decoded_and_its_pixel_space_fitted(served: Served, tmp_path: Path, capsys: Words) -> None:
    assert prepare(tmp_path, "cub200[size=20]") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"downloading CUB_200_2011.tgz from {served.address}")
    assert lines[-3].startswith(
        "cub200[size=20]: 3 classes, 15 training and 9 test images of 3x20x20 (an unofficial copy, or a part), decoded in"
    )
    assert lines[-2].startswith("  a part of CUB-200-2011: 3 of 200 classes")
    assert lines[-1].startswith("  pixel space zca_kip: fitted on split dev in")
    assert visible(tmp_path / "data") == {"CUB_200_2011", "CUB_200_2011.tgz", "decoded"}
    (space,) = (tmp_path / "out" / "prerequisites").glob("*/space.safetensors")

    asked = len(served.asked)
    assert prepare(tmp_path, "cub200[size=20]") == 0
    assert "fitted on split dev before" in capsys.readouterr().out
    assert len(served.asked) == asked
    assert load_dataset("cub200[size=20]", options=DataOptions(tmp_path / "data", download=False)).spec.classes == 3


def test_a_run_uses_what_was_prepared(served: Served, tmp_path: Path) -> None:
    assert prepare(tmp_path, "cub200[size=19]", "--spaces", "zca_kip") == 0
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "prerequisites").glob("*/*")}
    what = ["--methods", "random", "--datasets", "cub200[size=19]", "--budgets", "1", "--seeds", "1", "--students", "1", "--no-reference"]
    few = ["--set", "random.student_steps=1", "--network", "convnet-d1-w4", "--offline"]
    assert main([*what, *few, "--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 0
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "prerequisites").glob("*/*")} == before


def test_a_dry_run_writes_nothing_into_the_data_root(tmp_path: Path, capsys: Words) -> None:
    folder = write_cub200(tmp_path / "data")
    dry = ["--methods", "random", "--datasets", "cub200", "--budgets", "1", "--seeds", "1", "--no-reference", "--dry-run"]
    where = ["--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main([*dry, *where]) == 0
    assert visible(tmp_path) == {"data"}
    assert visible(tmp_path / "data") == {folder.name}
    with tarfile.open(tmp_path / "data" / "CUB_200_2011.tgz", "w:gz") as tar:
        tar.add(folder, folder.name)
    shutil.rmtree(folder)
    capsys.readouterr()
    assert main([*dry, *where]) == 2
    assert "and a dry run writes nothing; give the command prepare cub200 first" in one_line(capsys)
    assert {file.name for file in (tmp_path / "data").iterdir()} == {"CUB_200_2011.tgz"}


def test_an_interrupted_download_goes_on_with_the_same_command(served: Served, tmp_path: Path, capsys: Words) -> None:
    part = tmp_path / "data" / ".CUB_200_2011.tgz.part"
    part.parent.mkdir()
    part.write_bytes(served.files["CUB_200_2011.tgz"][:500])
    assert prepare(tmp_path, "cub200", "--spaces", "none") == 0
    assert served.asked == [("CUB_200_2011.tgz", "bytes=500-")]
    assert "going on with CUB_200_2011.tgz" in capsys.readouterr().out


def one_line(capsys: Words) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ddbench: error: ")
    return line


def test_another_checksum_is_a_sentence_and_nothing_is_kept(served: Served, tmp_path: Path, capsys: Words) -> None:
    served.files["CUB_200_2011.tgz"] += b"!"
    assert prepare(tmp_path, "cub200") == 2
    assert "and the official CUB_200_2011.tgz has" in one_line(capsys)
    assert visible(tmp_path / "data") == set()
    assert not list((tmp_path / "data").glob("*.part"))


def test_a_truncated_archive_is_a_sentence_and_nothing_of_it_is_unpacked(served: Served, tmp_path: Path, capsys: Words) -> None:
    (tmp_path / "data").mkdir()
    content = served.files["CUB_200_2011.tgz"]
    (tmp_path / "data" / "CUB_200_2011.tgz").write_bytes(content[: len(content) // 2])
    assert prepare(tmp_path, "cub200", "--offline") == 2
    assert "CUB_200_2011.tgz is damaged or no archive, it holds gzip data" in one_line(capsys)
    assert visible(tmp_path / "data") == {"CUB_200_2011.tgz"}
    assert not served.asked


def test_a_server_that_is_gone_is_a_sentence(served: Served, tmp_path: Path, capsys: Words) -> None:
    served.files.clear()
    assert prepare(tmp_path, "cub200") == 2
    line = one_line(capsys)
    assert "data set 'cub200' is not in" in line
    assert "cannot be downloaded from http://127.0.0.1" in line
    assert "404" in line


@pytest.mark.parametrize("place", ["download", "unpack", "decode", "space"])
def test_a_full_disk_is_a_sentence_and_the_same_command_goes_on(
    place: str, served: Served, tmp_path: Path, capsys: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **others: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    home = {
        "download": "bench.download.urlopen",
        "unpack": "shutil.copyfileobj",
        "decode": "numpy.save",
        "space": "bench.nn.spaces.save_file",
    }
    with monkeypatch.context() as patch:
        patch.setattr(home[place], full)
        assert prepare(tmp_path, "cub200[size=20]") == 2
    assert "No space left on device" in one_line(capsys)
    assert "CUB_200_2011" not in visible(tmp_path / "data") or place in ("decode", "space")
    assert visible(tmp_path / "data" / "decoded") == (set() if place != "space" else visible(tmp_path / "data" / "decoded"))
    assert prepare(tmp_path, "cub200[size=20]") == 0


def test_offline_opens_no_socket(served: Served, tmp_path: Path, capsys: Words, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*arguments: object, **others: object) -> None:
        raise AssertionError("a socket was opened")

    write_svhn(tmp_path / "data")
    monkeypatch.setattr(socket, "socket", opened)
    monkeypatch.setattr(socket, "create_connection", opened)
    monkeypatch.setattr(socket, "getaddrinfo", opened)
    assert prepare(tmp_path, "svhn", "--offline", "--spaces", "none") == 0
    for name in ("cub200", "tiny_imagenet", "mnist", "kmnist", "fashion_mnist", "cifar10", "cifar100"):
        assert prepare(tmp_path, name, "--offline") == 2
        assert "give the command prepare" in (line := one_line(capsys)) or "downloads are off" in line
    assert not served.asked


def test_gray_sets_and_arrays_are_prepared_too(tmp_path: Path, capsys: Words) -> None:
    write_layout(tmp_path / "data", (24, 4, 5, 3))
    assert prepare(tmp_path, "toy,digits", "--offline") == 0
    out = capsys.readouterr().out
    assert "digits: 10 classes, 1,000 training and 797 test images of 1x8x8, decoded in decoded/digits" in out
    assert "pixel space standard: nothing to prepare" in out
    assert visible(tmp_path / "data" / "decoded") == {"digits", "toy"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["cub20"], "unknown data set 'cub20'; did you mean 'cub200'"),
        (["digits,nope"], "unknown data set 'nope'"),
        (["digits", "--spaces", "zca"], "unknown pixel space 'zca'"),
        (["digits", "--split", "all"], "unknown split 'all'"),
        (["image_folder"], "needs path"),
        ([], "required: DATASETS"),
    ],
)
def test_slips_are_told_before_anything_is_done(arguments: list[str], complaint: str, tmp_path: Path, capsys: Words) -> None:
    assert prepare(tmp_path, *arguments) == 2
    assert complaint in one_line(capsys)
    assert visible(tmp_path) == set()


def test_a_run_does_not_download_what_is_large(served: Served, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="give the command prepare cub200 --data-root .*, which downloads 1.1 GB once"):
        load_dataset("cub200", options=DataOptions(tmp_path, download=True))
    assert not served.asked


def test_what_was_prepared_is_mapped_and_not_read(tmp_path: Path) -> None:
    write_svhn(tmp_path / "data")
    assert prepare(tmp_path, "svhn", "--offline", "--spaces", "none") == 0
    dataset = load_dataset("svhn", "paper", DataOptions(tmp_path / "data", download=False))
    stored = np.load(tmp_path / "data" / "decoded" / "svhn" / "train_images.npy", mmap_mode="r")
    assert np.array_equal(dataset.train.images.numpy(), stored)
