"""Downloads from a server on this machine: whole, interrupted, wrong, and without room."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Served, file_server

from bench import BenchError
from bench.download import Download, fetch

CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def served() -> Iterator[Served]:
    with file_server() as server:
        server.files["set.bin"] = CONTENT
        yield server


def names_in(folder: Path) -> set[str]:
    """Names of what is there, without empty lock files."""
    return {file.name for file in folder.iterdir() if not file.name.endswith(".lock")}


def get(served: Served, root: Path, md5: str = MD5, told: list[str] | None = None) -> Path:
    return fetch(Download((served.url("set.bin"),), "sub/set.bin", md5), root, (told if told is not None else []).append)


def test_a_file_is_downloaded_once(served: Served, tmp_path: Path) -> None:
    for _ in range(2):
        assert get(served, tmp_path).read_bytes() == CONTENT
    assert served.asked == [("set.bin", "")]
    assert names_in(tmp_path / "sub") == {"set.bin"}


def test_what_arrived_before_a_connection_ended_is_not_asked_for_again(served: Served, tmp_path: Path) -> None:
    served.most = 4000
    assert get(served, tmp_path).read_bytes() == CONTENT
    assert served.asked == [("set.bin", ""), ("set.bin", "bytes=4000-"), ("set.bin", "bytes=8000-")]


def test_another_command_goes_on_where_one_was_interrupted(served: Served, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".set.bin.part").write_bytes(CONTENT[:1000])
    told: list[str] = []
    assert get(served, tmp_path, told=told).read_bytes() == CONTENT
    assert served.asked == [("set.bin", "bytes=1000-")]
    assert told[0].startswith("going on with set.bin from http://127.0.0.1")
    assert names_in(tmp_path / "sub") == {"set.bin"}


def test_a_part_that_is_the_whole_file_is_taken_as_it_is(served: Served, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".set.bin.part").write_bytes(CONTENT)
    assert get(served, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"another file" * 90, CONTENT * 2], ids=["other bytes", "longer than the file"])
def test_a_part_of_another_file_is_given_up(part: bytes, served: Served, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".set.bin.part").write_bytes(part)
    assert get(served, tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(served: Served, tmp_path: Path) -> None:
    served.ranges = False
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".set.bin.part").write_bytes(CONTENT[:1000])
    assert get(served, tmp_path).read_bytes() == CONTENT


def test_the_next_address_is_tried(served: Served, tmp_path: Path) -> None:
    both = Download((served.url("gone"), served.url("set.bin")), "set.bin", MD5)
    assert fetch(both, tmp_path, print).read_bytes() == CONTENT


def test_another_checksum_leaves_nothing(served: Served, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=f"gave a file with the MD5 {MD5}, and the official set.bin has 0000; nothing was kept") as caught:
        get(served, tmp_path, md5="0000")
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path / "sub") == set()


def test_a_file_without_a_checksum_is_said_to_be_unverified(served: Served, tmp_path: Path) -> None:
    told: list[str] = []
    get(served, tmp_path, md5="", told=told)
    assert told[-1] == f"set.bin is unverified, as nobody tells its checksum (its SHA-256 is {hashlib.sha256(CONTENT).hexdigest()})"


def test_a_connection_that_brings_nothing_ends_the_download_and_keeps_what_came(served: Served, tmp_path: Path) -> None:
    served.files["set.bin"] = CONTENT[:100]
    with pytest.raises(BenchError):
        get(served, tmp_path)
    with pytest.raises(OSError, match="404"):
        fetch(Download((served.url("gone"),), "gone", MD5), tmp_path, print)
    with pytest.raises(OSError, match="refused"):
        fetch(Download(("http://127.0.0.1:9/x",), "x", MD5), tmp_path, print)
    assert names_in(tmp_path) == {"sub"}


def test_a_full_disk_ends_it_and_nothing_has_the_name_of_the_file(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(path: Path, *arguments: object, **others: object) -> object:
        if path.name.endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, *arguments, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        get(served, tmp_path)
    assert names_in(tmp_path / "sub") == set()


def test_how_far_it_is_is_told_a_few_times(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.download._CHUNK", 100)
    told: list[str] = []
    get(served, tmp_path, told=told)
    assert 5 <= len(told) <= 12
