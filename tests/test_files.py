"""Reading regular files alone; the atomic writer: whole files or none, and nothing is left lying about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import files
from bench.files import read_bytes, read_end, read_text, replacing, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xc3\xa9\r\n")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    assert read_text(tmp_path / "file") == read_text(tmp_path / "link") == "é\r\n"
    for other in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "nothing"):
        with pytest.raises(OSError, match="regular file|directory|No such file"):
            read_bytes(other)
    (tmp_path / "file").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="utf-8"):
        read_text(tmp_path / "file")


def test_it_writes_what_it_is_given_and_makes_the_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "text.json", "é\r\n")
    write_bytes(tmp_path / "a" / "bytes", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "text.json").read_bytes() == "é\r\n".encode()
    assert (tmp_path / "a" / "bytes").read_bytes() == b"\x00\xff"
    assert names(tmp_path / "a") == ["b", "bytes"]
    assert names(tmp_path / "a" / "b") == ["text.json"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "file.png"
    write_text(file, "old")
    with replacing(file) as scratch:
        assert scratch.parent == tmp_path
        assert scratch.name.startswith(".")
        assert scratch.suffix == ".png"
        scratch.write_text("new, half of it")
        assert file.read_text() == "old"
        scratch.write_text("new")
    assert file.read_text() == "new"
    assert names(tmp_path) == ["file.png"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_on_the_way_leaves_the_old_file_and_no_litter(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "file"
    write_text(file, "old")

    def write() -> None:
        with replacing(file) as scratch:
            scratch.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert file.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_rename_that_fails_leaves_no_litter(tmp_path: Path) -> None:
    (tmp_path / "file" / "inside").mkdir(parents=True)  # a folder of that name cannot be replaced by a file
    with pytest.raises(OSError, match="file"):
        write_text(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "file", "old")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_two_writers_of_one_file_do_not_share_a_scratch(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as one, replacing(tmp_path / "file") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "file").read_text() == "one"  # the outer block ends last
    assert names(tmp_path) == ["file"]


def test_the_file_gets_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "")
    (tmp_path / "theirs").write_text("")
    assert os.stat(tmp_path / "ours").st_mode == os.stat(tmp_path / "theirs").st_mode


def test_a_text_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "record.json").touch()
    os.truncate(tmp_path / "record.json", 2**40)  # a hole, which takes no room on the disk
    with pytest.raises(OSError, match="it is longer than 64 MiB"):
        read_text(tmp_path / "record.json")


def test_the_end_of_a_file_is_read_without_the_rest(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as stream:
        stream.truncate(2**40)
        stream.seek(0, os.SEEK_END)
        stream.write(b"the last words")
    assert read_end(tmp_path / "log", 10) == b"last words"
    write_bytes(tmp_path / "short", b"abc")
    assert read_end(tmp_path / "short", 10) == b"abc"
