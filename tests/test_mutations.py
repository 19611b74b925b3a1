"""Any one field, and any bytes, of the files of a real run are spoilt: only the suite's own errors and warnings come out."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bench
from bench import RejectedSet, load_dataset
from bench.cli.describe import describe_record
from bench.distilled import DistilledSet
from bench.prerequisite import Need
from bench.prerequisite_store import PrerequisiteStore, ensure
from bench.record import Record
from bench.report import render
from bench.report.curves import curves_csv, curves_markdown
from bench.report.details import details_page
from bench.report.leaderboard import leaderboard
from bench.report.sections import build_sections
from bench.sweep.store import Store

ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 0.5, -0.5, 2**63, 10**400, 1e300, -1e300, float("nan"), float("inf"),
    "", "text", "../../x", "a|b*[c]`<d>", "$x^{", "\x00\n\t", "é漢\U0001f600", "\ud800", [], {}, [[[]]], [None], {"a": None}, ["a"] * 1000,
)  # fmt: skip
DELETE = object()

Path_ = tuple[Any, ...]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The smallest run whose sets are images and a poster."""
    out = tmp_path_factory.mktemp("run") / "out"
    wanted = bench.settings(methods="random,podd", budgets=[0.3], seeds=1, students=2, effort=0.001, jobs=2, no_reference=True)
    assert bench.run_sweep(wanted, out=out).exit_code == 0
    return Store(out)


@pytest.fixture(scope="module")
def texts(run: Store) -> list[str]:
    """Its records, beside which something was published."""
    records = [Record.from_json(file.read_text()) for file in sorted(run.records.glob("*.json"))]
    for record in records:
        record.cell.published = [{"accuracy": 53.2, "spread": 0.7, "source": "a table"}, {"accuracy": 50.0, "source": "another"}]
    return [record.to_json() for record in records]


def paths(value: Any, above: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every value inside, containers as well; of a list, its first and its last item."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if not isinstance(key, int) or key in (0, len(value) - 1):
            yield (*above, key)
            yield from paths(item, (*above, key))


def spoilt(value: Any, path: Path_, odd: Any) -> Any:
    """Return a copy in which one value is another one, or gone."""
    changed = inner = copy.deepcopy(value)
    for key in path[:-1]:
        inner = inner[key]
    if odd is DELETE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = odd
    return changed


def all_spoilt(text: str) -> Iterator[str]:
    raw = json.loads(text)
    for path in paths(raw):
        for odd in (*ODD, DELETE):
            yield json.dumps(spoilt(raw, path, odd))


def said_by(action: Callable[[], object], kind: type[Exception]) -> str:
    """Return what an action says when it refuses, and nothing if it does not; any other error is one of the test."""
    try:
        action()
    except kind as error:
        return str(error) or "nothing"
    return ""


def readable(text: str) -> Record | None:
    said = said_by(lambda: Record.from_json(text), ValueError)
    assert said != "nothing"
    assert len(said) < 500
    return None if said else Record.from_json(text)


def tell(record: Record, store: Store) -> None:
    """Everything that is written about a record but its plots, which take a while."""
    assert describe_record(record, store, "ddbench")
    assert Record.from_json(record.to_json()) == record
    sections = build_sections([record])
    assert leaderboard(sections, [])
    assert details_page(sections)
    assert curves_markdown(sections)
    assert curves_csv(sections)


def test_a_record_with_one_wrong_field_is_refused_with_a_sentence_or_can_be_told(run: Store, texts: list[str]) -> None:
    accepted = refused = 0
    for number, text in enumerate(all_spoilt(texts[0])):
        if (record := readable(text)) is None:
            refused += 1
            continue
        accepted += 1
        if number % 41 == 0:  # all of them take some minutes
            tell(record, run)
    assert refused > accepted > 100


@pytest.mark.filterwarnings("ignore:Glyph")  # matplotlib's, of a character that its font has not
@pytest.mark.parametrize("odd", [text for text in ODD if isinstance(text, str) and text not in ("\ud800", "\x00\n\t")])
def test_odd_texts_render(texts: list[str], odd: str, tmp_path: Path) -> None:
    """In every place where a record may hold any text."""
    free = [("cell", name) for name in ("variant", "adapted", "external", "network", "code_hash", "reference")]
    raw = json.loads(texts[0])
    for path in [
        *free,
        ("cell", "notes"),
        ("cell", "aliases"),
        ("cell", "fields", "space"),
        ("environment", "cpu"),
        ("started",),
        ("reason",),
    ]:
        raw = spoilt(raw, path, [odd] if path[-1] in ("notes", "aliases") else odd)
    record = readable(json.dumps(raw))
    assert record is not None
    render([record], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.filterwarnings("ignore:Glyph")
@given(data=st.data())
def test_whatever_is_accepted_renders(run: Store, texts: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    raw = json.loads(data.draw(st.sampled_from(texts)))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(paths(raw))))
        raw = spoilt(raw, path, data.draw(st.sampled_from(ODD) | st.floats() | st.integers() | st.text()))
    if (record := readable(json.dumps(raw))) is not None:
        out = tmp_path_factory.mktemp("report")
        render([record, *(Record.from_json(text) for text in texts)], out)
        assert (out / "leaderboard.md").is_file()
        assert not list(out.parent.glob("*.md"))


@given(data=st.data())
def test_any_bytes_are_a_record_or_set_aside(run: Store, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("bytes"))
    store.prepare()
    file = sorted(run.records.glob("*.json"))[0]
    store.record_file(file.stem).write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    found, warnings = store.read_all()
    assert len(found) + len(warnings) == 1
    for record in found.values():
        tell(record, store)


def damaged_bytes(content: bytes) -> st.SearchStrategy[bytes]:
    """Cut short, doubled, a byte changed, a stretch replaced, or something else altogether."""
    place = st.integers(0, len(content) - 1)
    return st.one_of(
        st.binary(max_size=200),
        place.map(lambda at: content[:at]),
        st.just(content + content),
        st.tuples(place, st.integers(0, 255)).map(lambda p: content[: p[0]] + bytes([p[1]]) + content[p[0] + 1 :]),
        st.tuples(place, st.binary(max_size=40)).map(lambda p: content[: p[0]] + p[1] + content[p[0] + len(p[1]) :]),
    )


def sets(store: Store) -> list[Path]:
    return sorted(path.parent for path in store.out.glob("sets/*/distil.json"))


def test_a_manifest_with_one_wrong_field_is_rejected_with_a_sentence_or_loads(run: Store, tmp_path: Path) -> None:
    spec = load_dataset("digits").spec
    for number, folder in enumerate(sets(run)):
        copied = tmp_path / str(number)
        shutil.copytree(folder, copied)
        rejected = 0
        for text in all_spoilt((folder / "manifest.json").read_text()):
            (copied / "manifest.json").write_text(text)
            said = said_by(lambda: DistilledSet.load(copied, spec).parameterization.decode(), RejectedSet)  # noqa: B023 - called at once
            assert said != "nothing"
            rejected += bool(said)
        assert rejected > 300


@pytest.mark.parametrize("name", ["manifest.json", "tensors.safetensors"])
@given(data=st.data())
def test_any_bytes_in_a_set_are_rejected_or_load(
    run: Store, name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("set") / "set"
    shutil.copytree(data.draw(st.sampled_from(sets(run))), folder)
    (folder / name).write_bytes(data.draw(damaged_bytes((folder / name).read_bytes())))
    assert said_by(lambda: DistilledSet.load(folder, load_dataset("digits").spec), RejectedSet) != "nothing"


def test_a_set_whose_distil_json_has_one_wrong_field_is_whole_or_damaged(run: Store, tmp_path: Path) -> None:
    folder = sets(run)[0]
    store = Store(tmp_path)
    shutil.copytree(folder, store.set_folder("d"))
    damaged = 0
    for text in all_spoilt((folder / "distil.json").read_text()):
        (store.set_folder("d") / "distil.json").write_text(text)
        info, damage = store.set_info("d"), store.set_damage("d")
        assert (info is None) == bool(damage)
        damaged += bool(damage)
        if info is not None:
            kept = {name: value for name, value in info.items() if name not in ("code_hash", "environment")}
            record = next(iter(run.read_all()[0].values()))
            record.distil = kept
            assert Record.from_json(record.to_json()).distil == kept
    assert damaged > 300


def test_a_prerequisite_whose_manifest_has_one_wrong_field_is_found_or_missing(tmp_path: Path) -> None:
    store = PrerequisiteStore(tmp_path)
    digits = load_dataset("digits")
    built = ensure(Need("space", {"space": "standard"}), digits, store)
    file = built.path / "manifest.json"
    whole = file.read_text()
    file.chmod(0o644)
    missing = 0
    for text in all_spoilt(whole):
        file.write_text(text)
        store.warnings.clear()
        if store.find(built.key) is None:
            missing += 1
            assert len(store.warnings) == 1
        else:
            assert store.manifest(built.path)["seconds"] >= 0
    assert missing > 200
