from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_sets import SPEC, make_set
from report.records import make_cell, make_record
from safetensors.torch import load_file, save_file

from bench import PARAMETERIZATIONS, BenchError, DistilledSet, TrainRecipe
from bench.decoders.images import Images
from bench.record import Record
from bench.sweep.code_seen import remember_code
from bench.sweep.store import Store


def told(store: Store, key: str) -> dict[str, Any] | None:
    """Return what ``distil.json`` tells beside the checksums of the other two files, which it always has."""
    info = store.set_info(key)
    if info is not None:
        assert set(info.pop("files")) == {"manifest.json", "tensors.safetensors"}
    return info


def record(key: str, accuracy: float | list[float] = 0.5, **changes: Any) -> Record:
    return make_record(accuracy, key=key, distil_key="d", **changes)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(record("b", [1 / 3]))
    store.write(record("a"))
    found, warnings = store.read_all()
    assert list(found) == ["a", "b"]
    assert found["b"] == record("b", [1 / 3])
    assert not warnings
    assert not list(store.records.glob(".*"))  # no scratch file is left


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1}', "\x00\xff", '{"schema": 1, "status": "ok", "cell": {}}'])
def test_a_corrupt_record_is_set_aside_and_named(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(record("good"))
    store.record_file("bad").write_text(text)
    found, (warning,) = store.read_all()
    assert list(found) == ["good"]
    assert "bad.json" in warning
    assert (store.records / "bad.json.corrupt").read_text() == text
    assert store.read_all()[1] == []


def test_a_record_under_anothers_name_is_corrupt(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.record_file("b").write_text(record("a").to_json())
    assert "is the record of a" in store.read_all()[1][0]


def test_looking_alone_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.record_file("bad").write_text("{")
    assert "ignored" in store.read_all(set_aside=False)[1][0]
    assert store.record_file("bad").is_file()


def test_a_set_is_complete_when_its_last_file_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = make_set(store, "d", seconds=1)
    assert told(store, "d") == {"seconds": 1}
    assert store.set_damage("d") == ""
    listed = json.loads((folder / "distil.json").read_text())["files"]
    assert listed["manifest.json"]["bytes"] == (folder / "manifest.json").stat().st_size
    assert listed["tensors.safetensors"]["sha256"] == hashlib.sha256((folder / "tensors.safetensors").read_bytes()).hexdigest()
    store.unfinish_set("d")
    assert (store.set_info("d"), store.set_damage("d")) == (None, ""), "one that was never finished is not damaged"
    assert (store.set_info("e"), store.set_damage("e")) == (None, "")


def noise(file: Path) -> None:
    """Other numbers of the same shapes, so that nothing but a checksum can tell."""
    tensors = {key: torch.rand_like(tensor) for key, tensor in load_file(file).items()}
    save_file(tensors, file)


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def become(kind: str, file: Path) -> None:
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "socket":
        with contextlib.chdir(file.parent), socket.socket(socket.AF_UNIX) as listening:  # the path of a socket is short
            listening.bind(file.name)
    else:
        file.symlink_to({"device": "/dev/zero", "dangling link": "/not/there", "loop": file}[kind])


KINDS = ("pipe", "folder", "socket", "device", "dangling link", "loop")
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "noise of the same shape": (lambda f: noise(f / "tensors.safetensors"), "tensors.safetensors is not what was written"),
    "cut short": (lambda f: os.truncate(f / "tensors.safetensors", 100), "tensors.safetensors is not what was written"),
    "no tensors": (lambda f: (f / "tensors.safetensors").unlink(), "tensors.safetensors is missing"),
    "an edited manifest": (lambda f: edit(f / "manifest.json", space="zca_kip"), "manifest.json is not what was written"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing"),
    "no checksums": (lambda f: (f / "distil.json").write_text('{"seconds": 1.0}'), "distil.json has no checksums"),
    "half of distil.json": (lambda f: os.truncate(f / "distil.json", 30), "distil.json cannot be read: it is no JSON"),
    "a text for seconds": (lambda f: edit(f / "distil.json", seconds="long"), "cannot be read: seconds is 'long'"),
    "no number of seconds": (lambda f: edit(f / "distil.json", seconds=float("nan")), "cannot be read: seconds is nan"),
    "deep brackets": (lambda f: (f / "distil.json").write_text("[" * 100_000), "cannot be read: it is no JSON: recursion limit"),
    "not UTF-8": (lambda f: (f / "distil.json").write_bytes(b"\xff\xfe"), "cannot be read: "),
    **{
        f"{kind} as {name}": ((lambda k, n: lambda f: become(k, f / n))(kind, name), name)
        for kind in KINDS
        for name in ("manifest.json", "tensors.safetensors", "distil.json")
    },
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
def test_a_set_that_is_not_what_was_made_counts_as_missing_and_can_be_made_again(
    tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    store = Store(tmp_path)
    folder = make_set(store, "d", seconds=1.0)
    damage(folder)
    assert store.set_info("d") is None
    assert words in store.set_damage("d")
    make_set(store, "d", seconds=2.0)
    assert (told(store, "d"), store.set_damage("d")) == ({"seconds": 2.0}, "")


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_in_the_place_of_a_record_is_set_aside_unopened(tmp_path: Path, kind: str) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(record("good"))
    store.record_file("bad").touch()
    become(kind, store.record_file("bad"))
    with pytest.raises(BenchError, match="bad.json is corrupt"):
        store.find("bad")
    found, (warning,) = store.read_all()
    assert list(found) == ["good"]
    assert "bad.json cannot be read" in warning
    store.write(record("bad"))
    assert list(store.read_all()[0]) == ["bad", "good"]


def test_records_of_an_earlier_version_share_one_warning(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(record("new"))
    for key in ("a", "b", "c"):
        store.record_file(key).write_text('{"schema": 1}')
    found, (warning,) = store.read_all()
    assert list(found) == ["new"]
    assert "3 records in" in warning
    assert "the first a.json, were made by an earlier version of the suite; they are set aside" in warning
    assert sorted(file.name for file in store.records.iterdir()) == ["a.json.corrupt", "b.json.corrupt", "c.json.corrupt", "new.json"]


def test_a_corrupt_record_that_is_asked_for_is_named_with_its_fault(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(record("abc"))
    edit(store.record_file("abc"), seconds={"judge": "long"})
    with pytest.raises(BenchError, match=r"abc.json is corrupt \(seconds.judge is 'long'; .*\); run its command again to replace it"):
        store.find("abc")


def test_a_key_is_found_by_its_first_digits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(record("abc1"))
    store.write(record("abd2"))
    assert store.find("abc").key == "abc1"
    for prefix in ("ab", "x", ""):
        with pytest.raises(BenchError, match="give the first digits"):
            store.find(prefix)


def test_an_out_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="--out"):
        Store(tmp_path / "file").prepare()


def test_a_record_never_holds_nan(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    with pytest.raises(ValueError, match="JSON"):
        store.write(record("a", scores={"final": {"test": [float("nan")]}}))
    store.record_file("a").write_text(json.dumps({**json.loads(record("a").to_json()), "scores": {"x": float("nan")}}))
    assert store.read_all()[1]


_HOLD = """
import sys, time
from pathlib import Path
from bench import PARAMETERIZATIONS
from bench.sweep.code_seen import remember_code
from bench.sweep.store import Store
with Store(Path(sys.argv[1])).claim("k"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_claim_is_held_by_one_process_and_ends_with_it(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    got = threading.Event()

    def take() -> None:
        with Store(tmp_path).claim("k"):
            got.set()

    with Store(tmp_path).claim("another key"):
        pass
    waiting = threading.Thread(target=take)
    waiting.start()
    assert not got.wait(0.5)
    holder.kill()  # no chance to let go in order
    holder.communicate()
    assert got.wait(10)
    waiting.join()


def test_a_set_that_another_version_of_its_decoder_wrote_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_set(Store(tmp_path), "abc")
    assert told(Store(tmp_path), "abc") == {}
    monkeypatch.setattr(PARAMETERIZATIONS["images"], "version", 99)
    assert (Store(tmp_path).set_info("abc"), Store(tmp_path).set_damage("abc")) == (None, "")


def test_every_runs_config_is_kept_in_order_of_time_and_the_newest_is_run_yaml(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for text in ("a: 1\n", "a: 2\n", "a: 2\n", "a: 1\n"):  # several in one second, and one said twice in a row
        store.keep_config(text)
    assert [file.read_text() for file in sorted((tmp_path / "runs").iterdir())] == ["a: 1\n", "a: 2\n", "a: 1\n"]
    assert (tmp_path / "run.yaml").read_text() == "a: 1\n"


@pytest.mark.parametrize("name", ["run.yaml", "code.json", "claims/k.lock"])
def test_a_folder_in_the_place_of_a_file_is_set_aside(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "of a user").mkdir(parents=True)
    store = Store(tmp_path)
    store.keep_config("a: 1\n")
    remember_code(store, [make_cell(code_hash="new")])
    with store.claim("k"):
        assert (tmp_path / name).is_file()
    assert (tmp_path / f"{name}.damaged" / "of a user").is_dir()


@pytest.mark.parametrize("name", ["runs", "claims", "logs"])
def test_a_file_in_the_place_of_a_folder_is_told_before_anything_runs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(BenchError, match="cannot be written: File exists"):
        Store(tmp_path).prepare()


def test_a_kept_config_that_cannot_be_read_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    os.mkfifo(tmp_path / "runs" / "9999.yaml")
    Store(tmp_path).keep_config("a: 1\n")
    (kept,) = [file for file in (tmp_path / "runs").iterdir() if file.is_file()]
    assert kept.read_text() == "a: 1\n"


def test_an_unfinished_set_is_kept_in_two_places_in_turn_so_that_one_is_always_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    distilled = DistilledSet(SPEC, Images(SPEC, count=2), TrainRecipe(steps=20))
    assert store.kept("k") is None
    places = []
    for step in (3, 5, 8):
        store.keep("k", distilled, {"outer_steps": step})
        place = store.kept("k")
        assert place is not None
        places.append((place, (store.set_info(place) or {})["outer_steps"]))
    assert places == [("k-kept-0", 3), ("k-kept-1", 5), ("k-kept-0", 8)]
    assert store.set_info("k") is None
    # Writing was broken off by the end of time: the one before is there.
    (store.set_folder("k-kept-0") / "distil.json").unlink()
    assert store.kept("k") == "k-kept-1"
    store.drop_kept("k")
    assert store.kept("k") is None
    assert not list((tmp_path / "sets").iterdir())
