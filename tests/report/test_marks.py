"""Marks and footnotes."""

from __future__ import annotations

import pytest
from report.records import make_cell, make_record, only, reference, row_of, seeds, with_tensors

from bench.report.marks import MEANINGS, footnote, footnotes, legend, marks_of, missing

THREE = [0.5, 0.6, 0.7]


def test_a_tuned_row_of_full_effort_and_several_seeds_has_no_mark():
    assert marks_of(row_of(seeds(THREE))) == {}
    assert legend([row_of(seeds(THREE))]) == []


@pytest.mark.parametrize(
    ("changes", "symbol", "word"),
    [
        ({"effort": 0.01}, "†", "effort 0.01"),
        ({"adapted": "lowres"}, "§", "lowres"),
        ({"tuned": False}, "¶", "untuned"),
        ({"external": "CLIP text embeddings"}, "◊", "CLIP text embeddings"),
        ({"unofficial": True}, "∥", "unofficial copy"),
    ],
)
def test_each_mark_shows_and_is_explained(changes, symbol, word):
    marked = row_of(seeds(THREE, **changes))
    assert marks_of(marked) == {symbol: word}
    (explained,) = legend([marked, row_of(seeds(THREE))])
    assert explained.startswith(f"{symbol} {MEANINGS[symbol]}")


def test_the_legend_says_which_effort_adaptation_and_outside_information():
    rows = [row_of(seeds(THREE, effort=0.01, adapted="lowres", external="CLIP")), row_of(seeds(THREE, effort=0.1, adapted="subset"))]
    text = "\n".join(legend(rows))
    for words in ("(effort 0.01; effort 0.1)", "(lowres; subset)", "(CLIP)"):
        assert words in text


def test_single_seed_is_marked_also_where_the_others_failed():
    failed = [make_record(status="failed", cell=make_cell(seed=seed)) for seed in (1, 2)]
    assert "‡" in marks_of(row_of(seeds([0.5])))
    assert "‡" in marks_of(row_of([*seeds([0.5]), *failed]))
    assert "‡" not in marks_of(row_of(seeds([0.5, 0.6])))


def test_a_row_is_stale_if_any_of_its_records_is():
    records = seeds(THREE)
    assert marks_of(row_of(records, stale={records[1].key})) == {"(stale)": "stale"}
    assert marks_of(row_of(records, stale={"another"})) == {}


def test_copies_name_their_original():
    records = [*reference("tiles", THREE, ipc=0.3), *reference("lowres", THREE, aliases=["random[images=tiles]"])]
    (copy,) = only(records).copies.itertuples()
    assert marks_of(copy) == {"(=)": "same as random[images=lowres]"}


def test_seeds_of_the_same_bytes_are_marked():
    assert marks_of(row_of(with_tensors(seeds(THREE), "a", "a", "a"))) == {"(same set)": "same set for 3 seeds"}


def test_a_refusal_carries_no_mark_on_how_its_number_came_about():
    assert marks_of(row_of([make_record(status="refused", reason="no", cell=make_cell(tuned=False, adapted="subset"))])) == {}


def test_equal_texts_share_a_number_and_no_text_has_none():
    notes: dict[str, int] = {}
    assert [footnote(text, notes) for text in ("a", "b | c", "", "a")] == ["¹", "²", "", "¹"]
    assert footnotes(notes) == ["¹ a", "² b \\| c"]
    assert footnote("z", {"z": 120}) == "¹²⁰"


def test_refusals_of_one_reason_share_a_text():
    refused = [row_of([make_record(status="refused", reason="needs 1 IPC", cell=make_cell(ipc=ipc))]) for ipc in (0.3, 0.5)]
    assert [missing(row) for row in refused] == ["refused: needs 1 IPC"] * 2


@pytest.mark.parametrize("status", ["rejected", "failed", "timeout", "oom", "interrupted"])
def test_failures_show_status_reason_seed_and_log(status):
    record = make_record(status=status, reason="it went | wrong", cell=make_cell(seed=2), log="logs/abc.log")
    assert missing(row_of([record])) == f"{status}, seed 2 of podd: it went | wrong (log: logs/abc.log)"


def test_a_partly_failed_row_says_which_seeds_are_missing():
    broken = [make_record(status="oom", reason="out of memory", cell=make_cell(seed=seed), log="") for seed in (1, 3)]
    assert missing(row_of([*seeds([0.5]), *broken])) == "oom, seeds 1, 3 of podd: out of memory"
    assert missing(row_of(seeds(THREE))) == ""


def test_a_long_reason_is_cut():
    assert len(missing(row_of([make_record(status="failed", reason="x" * 5000)]))) < 450


def test_a_record_that_is_ok_without_a_score_says_so():
    assert "the record holds no score" in missing(row_of([make_record(scores={})]))
