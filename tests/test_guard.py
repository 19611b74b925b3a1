"""The guard: what is closed stays closed, attempts are remembered even if they are caught, and it ends with its block."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench import Dataset
from bench.guard import ForbiddenAccess, guarded


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.npy"
    np.save(file, np.arange(3))
    return file


WAYS: dict[str, Callable[[Path], object]] = {
    "open": lambda file: file.open().close(),
    "os.open": lambda file: os.open(file, os.O_RDONLY),
    "numpy": np.load,
    "memory map": lambda file: np.load(file, mmap_mode="r"),
    "a copy": lambda file: shutil.copyfile(file, file.with_suffix(".copy")),
    "a link": lambda file: os.link(file, file.with_suffix(".link")),
    "another name": lambda file: file.rename(file.with_suffix(".moved")),
    "bytes": lambda file: open(os.fsencode(file), "rb").close(),
    "a detour": lambda file: (file.parent / ".." / file.parent.name / file.name).open().close(),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_closed_file_cannot_be_opened(secret: Path, way: Callable[[Path], object]) -> None:
    with guarded([secret]) as violations, pytest.raises(ForbiddenAccess, match="closed to it"):
        way(secret)
    assert violations == [f"opened {secret}"]
    secret.open().close()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_closed_folder_closes_all_that_lies_in_it(secret: Path, tmp_path: Path, way: Callable[[Path], object]) -> None:
    inside = tmp_path / "images" / "class" / "secret.npy"
    inside.parent.mkdir(parents=True)
    shutil.copy(secret, inside)
    shutil.copy(secret, tmp_path / "images.npy")
    with guarded([tmp_path / "images"]) as violations, pytest.raises(ForbiddenAccess):
        way(inside)
    assert len(violations) == 1
    with guarded([tmp_path / "images"]) as violations:
        np.load(tmp_path / "images.npy")
        with pytest.raises(ForbiddenAccess):
            (tmp_path / "images").rename(tmp_path / "elsewhere")
    assert len(violations) == 1


def test_a_symbolic_link_made_before_leads_nowhere(secret: Path, tmp_path: Path) -> None:
    link = tmp_path / "harmless"
    link.symlink_to(secret)
    with guarded([secret]), pytest.raises(ForbiddenAccess):
        link.open()
    with guarded([link]), pytest.raises(ForbiddenAccess):
        secret.open()


def test_a_closed_folder_closes_the_links_in_it(secret: Path, tmp_path: Path) -> None:
    folder, alias = tmp_path / "images", tmp_path / "alias"
    folder.mkdir()
    (folder / "1.npy").symlink_to(secret)
    alias.symlink_to(folder)
    for closed in (folder, alias):
        with guarded([closed]), pytest.raises(ForbiddenAccess):
            (closed / "1.npy").open()


def test_other_files_stay_open(secret: Path, tmp_path: Path) -> None:
    with guarded([secret]) as violations:
        (tmp_path / "log").write_text("fine")
        os.replace(tmp_path / "log", tmp_path / "log2")
    assert violations == []


def test_a_caught_attempt_is_remembered(secret: Path) -> None:
    with guarded([secret]) as violations, contextlib.suppress(OSError):
        np.load(secret)
    assert len(violations) == 1


def import_file(file: Path) -> None:
    spec = importlib.util.spec_from_file_location("code_of_the_test", file)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_only_program_text(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"x")
    (tmp_path / "code.py").write_text("")
    with guarded(only_program_text=True) as violations:
        import_file(tmp_path / "code.py")
        with pytest.raises(ForbiddenAccess):
            (tmp_path / "code.py").open()  # only Python itself reads it, or a file of pixels could be called code.py
        with pytest.raises(ForbiddenAccess):
            (tmp_path / "data.bin").open()
        with pytest.raises(ForbiddenAccess):
            (tmp_path / "new.bin").write_text("x")
    assert len(violations) == 3


def test_no_network() -> None:
    with guarded(no_network=True) as violations:
        with pytest.raises(ForbiddenAccess), socket.socket() as one:
            one.connect(("127.0.0.1", 9))
        with pytest.raises(ForbiddenAccess):
            socket.getaddrinfo("localhost", 80)
    assert violations == ["used the network (socket.connect)", "used the network (socket.getaddrinfo)"]


def test_an_inner_guard_opens_nothing(secret: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    with guarded([secret], no_network=True) as outer:
        with guarded([other]) as inner:
            for file in (secret, other):
                with pytest.raises(ForbiddenAccess):
                    file.open()
            with pytest.raises(ForbiddenAccess):
                socket.getaddrinfo("localhost", 80)
        other.open().close()
    assert len(inner) == 3
    assert outer == inner


CHANGES: dict[str, Callable[[Path], object]] = {
    "write": lambda file: file.write_text("mine"),
    "append": lambda file: file.open("a").close(),
    "update": lambda file: file.open("r+b").close(),
    "os.open": lambda file: os.open(file, os.O_WRONLY),
    "a new file": lambda file: (file.parent / "new").touch(),
    "a new folder": lambda file: (file.parent / "new").mkdir(),
    "remove": lambda file: file.unlink(),
    "remove the folder": lambda file: shutil.rmtree(file.parent),
    "rename": lambda file: file.rename(file.parents[1] / "elsewhere"),
    "replace": lambda file: os.replace(file.parents[1] / "other", file),
    "link": lambda file: os.link(file, file.parents[1] / "link"),
    "permissions": lambda file: file.chmod(0o666),
    "cut": lambda file: os.truncate(file, 0),
    "a detour": lambda file: (file.parents[1] / "alias" / file.name).write_text("mine"),
}


@pytest.mark.parametrize("way", CHANGES.values(), ids=CHANGES)
def test_a_read_only_folder_is_read_and_not_changed(tmp_path: Path, way: Callable[[Path], object]) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "file").write_text("theirs")
    (tmp_path / "other").write_text("mine")
    (tmp_path / "alias").symlink_to(folder)
    with guarded(read_only=[folder]) as violations:
        assert (folder / "file").read_text() == "theirs"
        (tmp_path / "shared-by-name-only").write_text("mine")
        assert violations == []
        with pytest.raises(ForbiddenAccess):
            way(folder / "file")
    assert len(violations) == 1
    assert violations[0].startswith(f"changed {folder}")
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("file", "theirs")]
    (folder / "file").write_text("after the guard it is open again")


def test_the_guard_ends_with_an_error_inside(secret: Path) -> None:
    with pytest.raises(KeyError), guarded([secret], only_program_text=True, no_network=True):
        raise KeyError
    secret.open().close()


def test_digits_are_out_of_reach_by_every_door(digits: Dataset) -> None:
    from sklearn.datasets import load_digits

    from bench import load_dataset

    for door in (load_digits, digits.test, lambda: load_dataset("digits")):
        with guarded(digits.files) as violations, pytest.raises(ForbiddenAccess):
            door()
        assert violations
