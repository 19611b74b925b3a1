"""Prerequisites: built once whoever asks, checked, gone on from, and never changed by those who read them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from registries import restored_registries

from bench import BenchError, RejectedSet
from bench.prerequisite import Need
from bench.prerequisite_store import Built, PrerequisiteStore, ensure, opener, resolve

PLUGIN = Path(__file__).parent / "plugins" / "toy_prerequisites.py"
CPU = torch.device("cpu")


def load_plugin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("toy_prerequisites", PLUGIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toy() -> Iterator[ModuleType]:
    with restored_registries():
        yield load_plugin()


@pytest.fixture
def store(tmp_path: Path) -> PrerequisiteStore:
    return PrerequisiteStore(tmp_path / "prerequisites")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    file = tmp_path / "ledger"
    file.touch()
    return file


def steps(ledger: Path, seed: int = 0, **config: Any) -> Need:
    return Need("toy_steps", {"ledger": str(ledger), **config}, seed)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_it_is_built_once_and_lists_what_it_is(toy, store, ledger):
    told: list[tuple[int, int]] = []
    first = ensure(steps(ledger), toy.toy_dataset(), store, CPU, lambda step, total, _: told.append((step, total)))
    again = ensure(steps(ledger), toy.toy_dataset(), PrerequisiteStore(store.folder), CPU)
    assert ledger.read_text() == "0 0\n0 1\n0 2\n"
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert (first.fresh, again.fresh) == (True, False)
    assert first.path == again.path == store.folder / first.key
    assert first.seconds == again.seconds
    manifest = json.loads((first.path / "manifest.json").read_text())
    assert manifest["config"] == {"ledger": str(ledger), "steps": 3, "scale": 1.0, "pause": 0.0, "sizes": [1, 2], "opens": ""}
    assert (manifest["name"], manifest["version"], manifest["seed"], manifest["device"]) == ("toy_steps", 1, 0, "cpu")
    assert manifest["data"] == toy.toy_dataset().fingerprint()
    assert sorted(manifest["files"]) == ["steps/0.txt", "steps/1.txt", "steps/2.txt"]
    assert not list(store.folder.glob(".building-*"))


def test_config_seed_data_and_version_make_another_key(toy, ledger, monkeypatch):
    def key(need: Need, data: str = "data") -> str:
        return resolve(need).key(need.seed, data)

    plain = key(steps(ledger))
    assert key(steps(ledger, steps=3)) == plain, "a default that is written out changes nothing"
    others = [key(steps(ledger, steps=4)), key(steps(ledger, seed=1)), key(steps(ledger), "other data")]
    monkeypatch.setattr(toy.ToySteps, "version", 2)
    others.append(key(steps(ledger)))
    assert len({plain, *others}) == 5


def test_seeds_give_different_numbers_and_equal_ones_equal_numbers(toy, store, ledger, tmp_path):
    dataset = toy.toy_dataset()
    zero, one = (contents(ensure(steps(ledger, seed), dataset, store, CPU).path) for seed in (0, 1))
    elsewhere = contents(ensure(steps(ledger), dataset, PrerequisiteStore(tmp_path / "elsewhere"), CPU).path)
    assert zero["steps/0.txt"] != one["steps/0.txt"]
    assert {name: zero[name] for name in zero if name != "manifest.json"} == {
        name: elsewhere[name] for name in zero if name != "manifest.json"
    }


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"stepz": 3}, "has no field 'stepz'; did you mean 'steps'"),
        ({"steps": "three"}, "field 'steps' cannot be 'three'"),
        ({"steps": 3.5}, "field 'steps' cannot be 3.5"),
        ({"scale": {1}}, "field 'scale' cannot be .*: it is no plain number"),
        ({"scale": float("nan")}, "field 'scale' cannot be nan: it must be finite"),
    ],
)
def test_a_wrong_config_is_refused_in_a_sentence(toy, config, words):
    with pytest.raises(BenchError, match=words):
        resolve(Need("toy_steps", config))


def test_an_unknown_name_is_refused_with_the_closest(toy):
    with pytest.raises(BenchError, match="unknown prerequisite 'toy_step'; did you mean 'toy_steps'"):
        resolve(Need("toy_step"))


def test_json_types_are_read_as_declared(toy):
    builder = resolve(Need("toy_steps", {"scale": 2, "sizes": [3]}))
    assert (builder.scale, type(builder.scale), builder.sizes) == (2.0, float, (3,))


RIVAL = """
import importlib.util, sys, torch
from pathlib import Path
spec = importlib.util.spec_from_file_location("toy_prerequisites", sys.argv[1])
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
from bench.prerequisite import Need
from bench.prerequisite_store import PrerequisiteStore, ensure
need = Need("toy_steps", {"ledger": sys.argv[3], "pause": 0.2, "steps": int(sys.argv[4])})
Path(sys.argv[5]).touch()
while not Path(sys.argv[6]).exists():
    pass
print(ensure(need, toy.toy_dataset(), PrerequisiteStore(Path(sys.argv[2])), torch.device("cpu")).fresh)
"""


def rival(store: PrerequisiteStore, ledger: Path, number: int, count: int = 3) -> subprocess.Popen[str]:
    home = Path(__file__).parents[1]
    words = [PLUGIN, store.folder, ledger, count, ledger.with_name(f"ready-{number}"), ledger.with_name("go")]
    environment = {**os.environ, "PYTHONPATH": str(home)}
    return subprocess.Popen([sys.executable, "-P", "-c", RIVAL, *map(str, words)], stdout=subprocess.PIPE, text=True, env=environment)


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_two_processes_that_want_one_build_it_once(toy, store, ledger):
    rivals = [rival(store, ledger, number) for number in range(2)]
    wait_for(lambda: len(list(ledger.parent.glob("ready-*"))) == 2)
    ledger.with_name("go").touch()
    answers = [process.communicate(timeout=60)[0].strip() for process in rivals]
    assert sorted(answers) == ["False", "True"]
    assert ledger.read_text() == "0 0\n0 1\n0 2\n"


def test_a_killed_build_lets_the_next_one_go_on(toy, store, ledger):
    ledger.with_name("go").touch()
    process = rival(store, ledger, 0, count=12)
    wait_for(lambda: "0 1\n" in ledger.read_text())
    process.kill()
    process.communicate()
    done = len(ledger.read_text().splitlines())
    assert done < 12
    need = steps(ledger, pause=0.2, steps=12)
    assert store.find(resolve(need).key(0, toy.toy_dataset().fingerprint())) is None
    assert ensure(need, toy.toy_dataset(), store, CPU).fresh
    taken = ledger.read_text().splitlines()
    assert sorted(set(taken)) == sorted(f"0 {step}" for step in range(12))
    assert len(taken) <= 13, "only the step that was cut off may be taken again"


def test_an_interrupted_build_goes_on_in_its_folder_and_counts_the_time_of_both(toy, store, ledger):
    store.folder.mkdir()
    (store.folder / "break").touch()
    need = steps(ledger, pause=0.1)
    with pytest.raises(RuntimeError, match="the power went out"):
        ensure(need, toy.toy_dataset(), store, CPU)
    (store.folder / "break").unlink()
    assert ledger.read_text() == "0 0\n0 1\n"
    built = ensure(need, toy.toy_dataset(), store, CPU)
    assert ledger.read_text() == "0 0\n0 1\n0 2\n"
    assert built.seconds > 0.35  # four pauses; the second run alone took one
    assert {file.name for file in store.folder.iterdir()} <= {built.key, f"{built.key}.lock"}


def flip_a_byte(folder: Path) -> None:
    file = folder / "steps" / "1.txt"
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)


def cut_short(folder: Path) -> None:
    file = folder / "steps" / "1.txt"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-2])


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def garble_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").chmod(0o644)
    (folder / "manifest.json").write_text('{"schema": 1, "files": ')


def lose_a_file(folder: Path) -> None:
    (folder / "steps" / "2.txt").unlink()


def edit_the_manifest(**changes: Any) -> Any:
    def edit(folder: Path) -> None:
        file = folder / "manifest.json"
        file.chmod(0o644)
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return edit


def write_zeros(folder: Path) -> None:
    """Numbers of the same length, so that nothing but a checksum can tell."""
    file = folder / "steps" / "1.txt"
    file.chmod(0o644)
    file.write_bytes(b"0" * file.stat().st_size)


def become(kind: str, *inside: str) -> Any:
    """Return what puts something else in the place of the folder, or of a file inside it."""

    def change(folder: Path) -> None:
        place = folder.joinpath(*inside)
        place.rename(folder.parent / "taken away")
        if kind == "pipe":
            os.mkfifo(place)
        elif kind == "file":
            place.write_text("noise")
        elif kind == "folder":
            place.mkdir()
        else:
            place.symlink_to({"dangling link": "/not/there", "device": "/dev/zero", "loop": place}[kind])

    return change


LISTED = {"bytes": 1, "sha256": "0" * 64}
DAMAGES = {
    "a byte": flip_a_byte,
    "cut short": cut_short,
    "zeros": write_zeros,
    "no manifest": lose_the_manifest,
    "half a manifest": garble_the_manifest,
    "no file": lose_a_file,
    "files null": edit_the_manifest(files=None),
    "no files listed": edit_the_manifest(files={}),
    "seconds a text": edit_the_manifest(seconds="long"),
    "seconds no number": edit_the_manifest(seconds=float("nan")),
    "another key": edit_the_manifest(key="other"),
    "surplus": edit_the_manifest(more=1),
    "a file outside": edit_the_manifest(files={"../../ledger": LISTED}),
    "a file of the system": edit_the_manifest(files={"/dev/zero": LISTED}),
    "a NUL": edit_the_manifest(files={"a\x00b": LISTED}),
    **{f"{kind} as folder": become(kind) for kind in ("pipe", "file", "dangling link", "device", "loop")},
    **{f"{kind} as manifest": become(kind, "manifest.json") for kind in ("pipe", "folder", "dangling link", "device", "loop")},
    **{f"{kind} as a file": become(kind, "steps", "1.txt") for kind in ("pipe", "folder", "dangling link", "device", "loop")},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_one_is_built_again_with_a_warning(toy, store, ledger, damage):
    built: Built = ensure(steps(ledger), toy.toy_dataset(), store, CPU)
    whole = {name: text for name, text in contents(built.path).items() if name != "manifest.json"}
    damage(built.path)
    assert store.find(built.key) is None
    again = ensure(steps(ledger), toy.toy_dataset(), store, CPU)
    assert again.fresh
    assert {name: text for name, text in contents(again.path).items() if name != "manifest.json"} == whole
    (warning,) = store.warnings
    assert str(built.path) in warning
    assert "is damaged" in warning
    assert os.path.lexists(store.folder / f"{built.key}.damaged"), "the old files are kept to be looked at"
    assert ensure(steps(ledger), toy.toy_dataset(), store, CPU).fresh is False


@pytest.mark.parametrize("kind", ["pipe", "file", "folder", "dangling link", "device", "loop"])
@pytest.mark.parametrize("name", [".building-{}", ".building-{}.seconds", "{}.lock", "{}.damaged"])
def test_whatever_lies_in_its_way_it_is_built(toy, store, ledger, kind, name):
    """A folder where it is built, and a file where its lock is, are what the suite puts there."""
    key = resolve(steps(ledger)).key(0, toy.toy_dataset().fingerprint())
    place = store.folder / name.format(key)
    place.parent.mkdir()
    place.touch()
    become(kind, place.name)(store.folder)
    assert ensure(steps(ledger), toy.toy_dataset(), store, CPU).fresh
    assert store.find(key) == store.folder / key


@pytest.mark.parametrize("noted", ["nan", "inf", "-5", "long", ""])
def test_nonsense_about_an_earlier_build_is_not_counted(toy, store, ledger, noted):
    key = resolve(steps(ledger)).key(0, toy.toy_dataset().fingerprint())
    store.folder.mkdir()
    (store.folder / f".building-{key}.seconds").write_text(noted)
    assert 0 <= ensure(steps(ledger), toy.toy_dataset(), store, CPU).seconds < 60


def test_nothing_is_hashed_twice_in_one_process(toy, store, ledger, monkeypatch):
    built = ensure(steps(ledger), toy.toy_dataset(), store, CPU)

    def refuse(*_: object) -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr("bench.files.hashlib.file_digest", refuse)
    assert PrerequisiteStore(store.folder).find(built.key) == built.path


def test_its_files_are_read_only_and_its_folder_can_be_deleted(toy, store, ledger):
    built = ensure(steps(ledger), toy.toy_dataset(), store, CPU)
    assert {file.stat().st_mode & 0o777 for file in built.path.rglob("*") if file.is_file()} == {0o444}
    assert built.path.stat().st_mode & 0o200


def test_a_dry_run_reads_what_is_there_builds_elsewhere_and_changes_nothing(toy, store, ledger, tmp_path):
    known = ensure(steps(ledger), toy.toy_dataset(), store, CPU)
    damaged = ensure(steps(ledger, seed=1), toy.toy_dataset(), store, CPU)
    flip_a_byte(damaged.path)
    before = contents(store.folder)
    dry = PrerequisiteStore(tmp_path / "scratch", look_first=store.folder)
    assert ensure(steps(ledger), toy.toy_dataset(), dry, CPU).path == known.path
    rebuilt, other = (ensure(steps(ledger, seed=seed), toy.toy_dataset(), dry, CPU) for seed in (1, 2))
    assert {rebuilt.path.parent, other.path.parent} == {tmp_path / "scratch"}
    assert ensure(steps(ledger, seed=2), toy.toy_dataset(), dry, CPU).fresh is False
    assert contents(store.folder) == before
    assert len(dry.warnings) == 1


def test_what_was_not_announced_cannot_be_opened_even_if_it_is_there(toy, store, ledger):
    dataset = toy.toy_dataset()
    announced, other = steps(ledger), steps(ledger, seed=1)
    built = ensure(announced, dataset, store, CPU)
    ensure(other, dataset, store, CPU)
    find = opener((announced,), store, dataset.fingerprint())
    assert find(steps(ledger, steps=3)) == built.path
    with pytest.raises(LookupError, match="prerequisite 'toy_steps' was not announced"):
        find(other)


def test_what_was_announced_and_is_gone_says_what_to_do(toy, store, ledger):
    find = opener((steps(ledger),), store, "data")
    with pytest.raises(BenchError, match="is missing or damaged .* run the command again"):
        find(steps(ledger))


def test_what_it_needs_is_built_before(toy, store, ledger):
    built = ensure(Need("toy_sum", {"ledger": str(ledger)}, 5), toy.toy_dataset(), store, CPU)
    assert ledger.read_text() == "5 0\n5 1\n5 2\n"
    inner = ensure(steps(ledger, seed=5), toy.toy_dataset(), store, CPU)
    assert not inner.fresh
    numbers = [float((inner.path / "steps" / f"{step}.txt").read_text()) for step in range(3)]
    assert float((built.path / "sum.txt").read_text()) == sum(numbers)


def test_a_builder_opens_only_what_it_announces(toy, store, ledger):
    ensure(steps(ledger, seed=1), toy.toy_dataset(), store, CPU)
    with pytest.raises(LookupError, match="was not announced"):
        ensure(Need("toy_sum", {"ledger": str(ledger), "peeks": True}), toy.toy_dataset(), store, CPU)


def test_the_files_of_the_data_set_are_closed_to_a_builder(toy, store, ledger, tmp_path):
    secret = tmp_path / "test_images.npy"
    secret.write_bytes(b"test")
    with pytest.raises(RejectedSet, match="prerequisite 'toy_steps' opened .*test_images.npy, which is closed to it"):
        ensure(steps(ledger, opens=str(secret)), toy.toy_dataset(files=[secret]), store, CPU)
    assert ledger.read_text() == ""


def test_a_builder_that_writes_nothing_is_told_so(toy, store):
    with pytest.raises(RuntimeError, match="prerequisite 'toy_nothing' wrote no file"):
        ensure(Need("toy_nothing"), toy.toy_dataset(), store, CPU)


def test_what_was_built_before_its_builder_wrote_a_file_is_built_again(toy, store, ledger, monkeypatch):
    before = ensure(steps(ledger, steps=1), toy.toy_dataset(), store, CPU)
    kept = contents(before.path)
    monkeypatch.setattr(toy.ToySteps, "writes", ("more.txt",))
    find = opener((steps(ledger, steps=1),), PrerequisiteStore(store.folder), toy.toy_dataset().fingerprint())
    with pytest.raises(BenchError, match="is missing or damaged in .*; run the command again to build it"):
        find(steps(ledger, steps=1))
    plain = toy.ToySteps.build

    def build_more(self: Any, workshop: Any) -> None:
        plain(self, workshop)
        (workshop.folder / "more.txt").write_text("more")

    monkeypatch.setattr(toy.ToySteps, "build", build_more)
    again = ensure(steps(ledger, steps=1), toy.toy_dataset(), store, CPU)
    assert (again.fresh, again.key) == (True, before.key)
    assert contents(again.path)["steps/0.txt"] == kept["steps/0.txt"]
    assert "more.txt is not among its files: it was built before there was such a file" in store.warnings[0]
    assert not ensure(steps(ledger, steps=1), toy.toy_dataset(), PrerequisiteStore(store.folder), CPU).fresh


def test_a_builder_that_does_not_write_what_it_says_is_an_error(toy, store, ledger, monkeypatch):
    monkeypatch.setattr(toy.ToySteps, "writes", ("more.txt",))
    with pytest.raises(RuntimeError, match="prerequisite 'toy_steps' did not write more.txt, which it says it writes"):
        ensure(steps(ledger), toy.toy_dataset(), store, CPU)
