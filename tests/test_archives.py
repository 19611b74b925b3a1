"""Archives: one folder comes out, whole or not at all, and nothing lands elsewhere."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench import BenchError
from bench.archives import unpack

FILES = {"birds/list.txt": b"1 one\n", "birds/images/a/1.jpg": b"x" * 50_000, "attributes.txt": b"beside"}


def write_zip(file: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)


def write_tar(file: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(file, "w:gz") as packed:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))


Write = Callable[[Path, dict[str, bytes]], None]
both = pytest.mark.parametrize("write", [write_zip, write_tar])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder.parent)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def visible(folder: Path) -> set[str]:
    """Names of what is there, without the lock, which stays."""
    return {file.name for file in folder.iterdir() if file.name != ".birds.lock"}


@both
def test_the_folder_comes_out_and_what_lies_beside_it_does_not(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "a", FILES)
    unpack(tmp_path / "a", tmp_path / "birds", 10**6)
    assert contents(tmp_path / "birds") == {name: content for name, content in FILES.items() if name.startswith("birds")}
    assert visible(tmp_path) == {"a", "birds"}


@both
@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "birds/../../out.txt", "birds\\..\\..\\out.txt"])
def test_a_name_that_leads_out_refuses_the_whole_archive(write: Write, name: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    write(home / "a", {**FILES, name: b"out"})
    if write is write_zip and "\\" in name and os.sep == "/":
        assert zipfile.ZipFile(home / "a").namelist()[-1] == name
    with pytest.raises(BenchError, match="would land outside of its folder"):
        unpack(home / "a", home / "birds", 10**6)
    assert visible(home) == {"a"}
    assert visible(tmp_path) == {"home"}


def test_links_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w") as packed:
        for kind, name in ((tarfile.SYMTYPE, "birds/link"), (tarfile.LNKTYPE, "birds/hard"), (tarfile.FIFOTYPE, "birds/pipe")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            packed.addfile(member)
        member = tarfile.TarInfo("birds/real")
        packed.addfile(member)
    unpack(tmp_path / "a", tmp_path / "birds", 10**6)
    assert contents(tmp_path / "birds") == {"birds/real": b""}


@both
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_archive_leaves_nothing(write: Write, keep: float, tmp_path: Path) -> None:
    write(tmp_path / "a", {name: os.urandom(3000) for name in FILES})
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(BenchError, match="is damaged or no archive|holds no folder") as caught:
        unpack(tmp_path / "a", tmp_path / "birds", 10**6)
    assert "\n" not in str(caught.value)
    assert visible(tmp_path) == {"a"}


@both
def test_an_archive_that_unpacks_to_too_much_is_refused(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "a", {"birds/zeros": bytes(10**6)})
    with pytest.raises(BenchError, match="unpacks to more than 0 MiB"):
        unpack(tmp_path / "a", tmp_path / "birds", 10**5)
    assert visible(tmp_path) == {"a"}


@both
def test_an_archive_of_something_else_is_refused(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "a", {"fish/list.txt": b""})
    with pytest.raises(BenchError, match="holds no folder birds"):
        unpack(tmp_path / "a", tmp_path / "birds", 10**6)


@both
def test_a_folder_in_the_way_is_set_aside(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "a", FILES)
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "half").write_text("")
    unpack(tmp_path / "a", tmp_path / "birds", 10**6)
    assert "birds/list.txt" in contents(tmp_path / "birds")
    assert (tmp_path / "birds.damaged" / "half").exists()


def test_two_processes_that_want_a_folder_at_once_unpack_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tar(tmp_path / "a", FILES)
    copied, times = shutil.copyfileobj, []

    def slowly(*arguments: Any) -> None:
        times.append(time.sleep(0.2))
        copied(*arguments)

    monkeypatch.setattr(shutil, "copyfileobj", slowly)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: unpack(tmp_path / "a", tmp_path / "birds", 10**6), range(3)))
    assert len(times) == 2  # files of the folder
    assert visible(tmp_path) == {"a", "birds"}


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_every_compression_that_is_cut_off_or_garbled_is_a_sentence(mode: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "whole", mode) as packed:  # type: ignore[call-overload]
        member = tarfile.TarInfo("birds/1.jpg")
        member.size = 300_000
        packed.addfile(member, io.BytesIO(os.urandom(member.size)))
    whole = (tmp_path / "whole").read_bytes()
    for content in (whole[: len(whole) // 2], whole[:150_000] + bytes(50) + whole[150_050:]):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(BenchError, match="a is damaged or no archive|a cannot be unpacked"):
            unpack(tmp_path / "a", tmp_path / "birds", 10**6)
        assert visible(tmp_path) == {"a", "whole"}
