"""The leaderboard as a reader meets it."""

from __future__ import annotations

import re

from report.records import full_data, make_cell, make_record, reference, seeds, with_tensors

from bench.report.leaderboard import leaderboard
from bench.report.sections import build_sections

BEST = [0.80, 0.82, 0.84]


def text_of(records, warnings=()) -> str:
    sections = build_sections(records)
    return leaderboard(sections, warnings)


def tables(text: str) -> list[list[list[str]]]:
    """Parse every Markdown table: tables of rows of cells."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def main_table(records) -> dict[str, list[str]]:
    (table,) = [table for table in tables(text_of(records)) if table[0][0] == "method"]
    return {cells[0]: cells[1:] for cells in table[2:]}


def first_places(records) -> list[dict[str, str]]:
    header, _, *rows = next(table for table in tables(text_of(records)) if table[0][0] == "budget")
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_no_records_yet():
    text = text_of([])
    assert "There are no records yet." in text
    assert tables(text) == []


def test_warnings_stand_at_the_top():
    text = text_of(seeds(BEST), ["records/x.json is corrupt"])
    assert text.index("records/x.json is corrupt") < text.index("## digits")


def test_mean_interval_and_bold():
    assert main_table([*seeds(BEST), *seeds([0.5, 0.5, 0.5], "loser")]) == {"`podd`": ["**82.0 ± 5.0**"], "`loser`": ["50.0 ± 0.0"]}


def test_methods_are_rows_budgets_columns_and_what_was_not_run_is_empty():
    text = text_of([*seeds(BEST), *seeds(BEST, "other", ipc=0.3)])
    assert tables(text)[1][0] == ["method", "0.3 IPC (192 px)", "1 IPC (640 px)"]
    assert tables(text)[1][2][:2] == ["`podd`", ""]
    assert "An empty square was not run." in text


def test_references_stand_in_their_own_block_below_the_contestants():
    names = list(main_table([*reference("tiles", BEST), *seeds([0.1, 0.2, 0.3])]))
    assert names == ["`podd`", "*real images at equal pixels*", "`random[images=tiles]`"]


def test_n_is_said_once_where_it_is_uniform_and_per_cell_where_not():
    assert "n = 3 × 2 (distillations × students of each)" in text_of(seeds(BEST))
    mixed = main_table([*seeds(BEST), *seeds([0.5, 0.6], "other")])
    assert mixed["`podd`"] == ["**82.0 ± 5.0** (3 × 2)"]
    assert mixed["`other`"][0].endswith("(2 × 2)")


def test_the_header_says_test_size_its_error_and_the_full_data():
    text = text_of([*seeds([0.5, 0.5, 0.5]), full_data(0.97)])
    assert "400 test images: their own standard error (2.5 points at 50.0 %" in text
    assert "Full data: 97.0 (2 students trained on all training images)." in text


def test_full_data_that_failed_says_why():
    text = text_of([*seeds(BEST), make_record(status="oom", reason="too big", cell=full_data().cell, audit={}, log="")])
    assert "Full data: not known (oom, seed 0 of full-data: too big)." in text


def test_full_data_that_are_no_ceiling_say_so():
    assert "**Not a ceiling**: podd lies above it." in text_of([*seeds(BEST), full_data(0.6)])
    assert "**Not a ceiling**: shortened to effort 0.05." in text_of([*seeds(BEST), full_data(0.97, effort=0.05)])
    assert "ceiling" not in text_of([*seeds(BEST), full_data(0.97)])


def test_reduced_effort_shows_in_the_name_with_what_follows_from_it():
    table = main_table([*seeds(BEST), *seeds([0.9, 0.91, 0.92], effort=0.01)])
    assert table == {"`podd`": ["**82.0 ± 5.0**"], "`podd` † effort 0.01, not ranked": ["91.0 ± 2.5"]}


def test_a_number_above_a_bold_one_says_beside_it_why_it_is_not_bold():
    table = main_table([*seeds(BEST), *seeds([0.9, 0.91, 0.92], "untuned", tuned=False), *seeds([0.9, 0.91], "two")])
    assert table["`untuned`"] == ["91.0 ± 2.5 (3 × 2) ¶ *not ranked: untuned*"]
    assert table["`two`"] == ["90.5 (90.0, 91.0) (2 × 2) *not ranked: 2 seeds*"]


def test_nothing_speaks_of_intervals_where_there_are_none():
    assert "n = 1 × 1 (distillations × students of each)." in text_of([make_record([0.5])])
    assert "±" not in text_of([make_record([0.5])])
    assert "below 3 distillations there is none" in text_of([*seeds(BEST), *seeds([0.5, 0.6], "two")])


def test_the_first_two_contestants_of_a_budget_and_what_the_first_cost():
    records = [*seeds(BEST), *seeds([0.60, 0.61, 0.65], "second"), *seeds([0.1, 0.2, 0.3], "third"), *reference("tiles", [0.3, 0.32, 0.34])]
    (row,) = first_places(records)
    # Differences to the second are 20, 21 and 19 points: deviation 1, standard error 0.577, t = 34.6; Holm doubles p = 0.00083.
    assert row == {
        "budget": "1 IPC",
        "first": "`podd`",
        "ahead of": "`second`",
        "by": "+20.0 ± 2.5",
        "significant": "yes, p = 0.0017",
        "over random": "+50.0 ± 0.0",
        "one set takes": "1.5 min",
    }


def test_what_is_not_told_apart_is_not_significant():
    (row,) = first_places([*seeds(BEST), *seeds([0.79, 0.83, 0.82], "close")])
    assert row["significant"].startswith("no, p = 0.")
    (row,) = first_places([*seeds(BEST[:2]), *seeds([0.5, 0.6], "other")])
    assert row["significant"] == "too few seeds"


def test_who_may_not_be_ranked_is_first_only_where_nobody_may_and_says_why():
    records = [*seeds(BEST), *seeds([0.9, 0.91, 0.92], "short", effort=0.01), *seeds([0.9, 0.91, 0.92], "other", ipc=0.3, effort=0.01)]
    assert [row["first"] for row in first_places(records)] == ["`other` (effort 0.01)", "`podd`"]


def test_there_are_no_first_places_without_a_score_of_a_contestant():
    for records in (reference("tiles", BEST), [make_record(status="failed")]):
        assert not any(table[0][0] == "budget" for table in tables(text_of(records)))


def test_tables_fit_the_page_however_many_budgets_there_are():
    records = []
    for ipc in (0.1, 0.3, 0.5, 1, 3, 5, 10, 20, 50):
        records += [
            *seeds(BEST, ipc=ipc),
            *seeds([0.9, 0.91], "a_rather_long_name", ipc=ipc, variant="window=20,order=random", tuned=False),
        ]
        records += reference("tiles", [0.3, 0.31, 0.33], ipc=ipc)
    text = text_of(records)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert max(len(line) for line in lines) <= 120
    found = [table for table in tables(text) if table[0][0] == "method"]
    assert [name for table in found for name in table[0][1:]] == [
        *("0.1 IPC (64 px)", "0.3 IPC (192 px)", "0.5 IPC (320 px)", "1 IPC (640 px)", "3 IPC (1,920 px)"),
        *("5 IPC (3,200 px)", "10 IPC (6,400 px)", "20 IPC (12,800 px)", "50 IPC (32,000 px)"),
    ]
    assert all(len(table) == 6 for table in found)


def test_a_name_too_long_for_the_page_is_cut_and_whole_in_a_footnote():
    text = text_of(seeds(BEST, variant="window=20," * 12))
    assert main_table(seeds(BEST, variant="window=20," * 12)) == {"`podd[window=20,window=20,window=20,wind…` ¹": ["**82.0 ± 5.0**"]}
    assert f"- ¹ podd\\[{'window=20,' * 12}]" in text


def test_only_marks_in_use_are_explained():
    text = text_of([*seeds(BEST), *seeds([0.5], "other", tuned=False)])
    assert "\n- ‡ single seed" in text
    assert "\n- ¶ untuned" in text
    assert not re.search(r"^- [†§◊∥]", text, re.MULTILINE)


def test_refusals_and_failures_are_footnoted_dashes():
    records = [
        *seeds(BEST),
        *[make_record(status="refused", reason="needs whole images", cell=make_cell("a", seed=seed)) for seed in range(3)],
        make_record(status="timeout", reason="took longer than 90 s", cell=make_cell("b"), log="logs/b.log"),
    ]
    text, table = text_of(records), main_table(records)
    assert table["`a`"] == ["— ¹"]
    assert table["`b`"] == ["— timeout ²"]
    assert "\n- ¹ refused: needs whole images\n" in text
    assert "\n- ² timeout, seed 0 of b: took longer than 90 s (log: logs/b.log)\n" in text


def test_a_partly_failed_row_keeps_its_number_and_gets_a_footnote():
    records = [*seeds([0.8, 0.82]), make_record(status="oom", reason="out of memory", cell=make_cell(seed=2))]
    assert main_table(records)["`podd`"] == ["81.0 (80.0, 82.0) ¹"]


def test_nothing_bold_is_explained():
    assert "Nothing is bold" in text_of(seeds([0.5]))


def test_another_network_is_another_table_with_its_name_in_the_title():
    text = text_of([*seeds(BEST, network="convnet-d2-w32"), *seeds(BEST[:2], network="convnet-d3-w32")])
    titles = ["digits · native-v1 · split dev", "digits · native-v1 · split dev · convnet-d3-w32"]
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == titles


def test_a_pipe_in_a_name_or_reason_breaks_no_table():
    records = [*seeds(BEST, variant="order=a|b"), make_record(status="failed", reason="x | y", cell=make_cell("other"))]
    for table in tables(text_of(records)):
        assert len({len(row) for row in table}) == 1
    assert "`podd[order=a\\|b]`" in main_table(records)


def test_names_of_one_cell_are_one_line_and_a_sentence():
    records = reference("lowres", BEST, aliases=["random[images=tiles]"])
    assert list(main_table(records)) == ["*real images at equal pixels*", "`random[images=lowres]`"]
    assert "- `random[images=tiles]` is the same cell as `random[images=lowres]` at 1 IPC (640 px)." in text_of(records)


def test_a_line_that_comes_to_another_cell_at_one_budget_shows_it_with_its_mark():
    records = [*reference("tiles", [0.3, 0.31, 0.33], ipc=0.3), *reference("lowres", BEST, aliases=["random[images=tiles]"])]
    assert main_table(records)["`random[images=tiles]`"] == ["**31.3 ± 3.8**", "**82.0 ± 5.0** (=)"]


def test_seeds_of_one_set_are_n_1_and_marked():
    table = main_table(with_tensors(seeds(BEST), "a", "a", "a"))
    assert table == {"`podd`": ["**82.0** (same set)"]}
    assert "n = 1 × 6" in text_of(with_tensors(seeds(BEST), "a", "a", "a"))


def test_two_protocols_are_two_tables():
    other = {"name": "common-v1", "hash": "h2"}
    text = text_of([*seeds(BEST), *seeds([0.5, 0.6, 0.7], protocol=other)])
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["digits · common-v1 · split dev", "digits · native-v1 · split dev"]


def test_mixed_environments_are_warned_of_in_their_table():
    records = seeds(BEST)
    records[0].environment = {"torch": "2.13.0", "device": "cpu", "threads": 1}
    assert "**Mixed environments in this table** (torch: 2.13.0, 2.14.0)" in text_of(records)
    assert "Mixed" not in text_of(seeds(BEST))


def test_details_are_linked():
    assert "[details](details/digits.md)" in text_of(seeds(BEST))
