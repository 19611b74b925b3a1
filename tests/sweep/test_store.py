from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench import PARAMETERIZATIONS, BenchError
from bench.record import Cell, Record
from bench.sweep.store import Store


def record(key: str, **changes: object) -> Record:
    cell = Cell("contestant", "toy", "0", "dev", "m", "", 1, {}, {"requested": "1", "pixels": 2, "ipc": 1.0}, 0, 1.0, {"name": "p"})
    return Record(key=key, distil_key="d", status="ok", cell=cell, **changes)  # type: ignore[arg-type]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(record("b", scores={"final": {"test": [1 / 3]}}))
    store.write(record("a"))
    found, warnings = store.read_all()
    assert list(found) == ["a", "b"]
    assert found["b"] == record("b", scores={"final": {"test": [1 / 3]}})
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
    folder = store.set_folder("d")
    folder.mkdir(parents=True)
    (folder / "distil.json").write_text('{"seconds": 1}')
    assert store.set_info("d") is None
    (folder / "manifest.json").write_text("{}")
    assert store.set_info("d") == {"seconds": 1}
    (folder / "distil.json").write_text('{"seco')
    assert store.set_info("d") is None


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


def test_a_set_that_another_version_of_its_decoder_wrote_is_made_again(tmp_path: Path) -> None:
    folder = Store(tmp_path).set_folder("abc")
    folder.mkdir(parents=True)
    (folder / "distil.json").write_text("{}")
    version = PARAMETERIZATIONS["images"].version
    for written, made in ((version, True), (version + 1, False)):
        (folder / "manifest.json").write_text(json.dumps({"parameterization": "images", "version": written}))
        assert (Store(tmp_path).set_info("abc") is not None) == made
