"""The leaderboard as a reader meets it."""

from __future__ import annotations

import re

from report.records import full_data, make_cell, make_record, reference, seeds

from bench.report.leaderboard import leaderboard
from bench.report.sections import build_sections

BEST = [0.80, 0.82, 0.84]


def text_of(records, warnings=()) -> str:
    sections = build_sections(records)
    return leaderboard(sections, warnings, [""] * len(sections))


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
    return {cells[0]: cells[1:] for cells in tables(text_of(records))[0][2:]}


def details(records) -> list[dict[str, str]]:
    header, _, *rows = tables(text_of(records))[1]
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
    assert tables(text)[0][0] == ["method", "0.3 IPC (192 px)", "1 IPC (640 px)"]
    assert tables(text)[0][2][:2] == ["`podd`", ""]
    assert "An empty square was not run." in text


def test_references_stand_in_their_own_block_below_the_contestants():
    names = list(main_table([*reference("tiles", BEST), *seeds([0.1, 0.2, 0.3])]))
    assert names == ["`podd`", "*references: real images at equal pixels*", "`random[images=tiles]`"]


def test_n_is_said_once_where_it_is_uniform_and_per_cell_where_not():
    assert "n = 3 × 2 (distillations × students of each)" in text_of(seeds(BEST))
    mixed = main_table([*seeds(BEST), *seeds([0.5, 0.6], "other")])
    assert mixed["`podd`"] == ["**82.0 ± 5.0** (3 × 2)"]
    assert mixed["`other`"][0].endswith("(2 × 2)")


def test_the_header_says_test_size_its_error_and_the_full_data():
    text = text_of([*seeds([0.5, 0.5, 0.5]), full_data(0.97)])
    assert "400 test images: their own standard error (2.5 points at 50.0 %" in text
    assert "Full data: 97.0 ± 12.7 (2 students trained on all training images)." in text


def test_full_data_that_failed_says_why():
    text = text_of([*seeds(BEST), make_record(status="oom", reason="too big", cell=full_data().cell, audit={}, log="")])
    assert "Full data: not known (oom, seed 0 of full-data: too big)." in text


def test_reduced_effort_shows_in_the_name_and_at_the_number():
    table = main_table([*seeds(BEST), *seeds([0.9, 0.91, 0.92], effort=0.01)])
    assert table["`podd`"] == ["**82.0 ± 5.0**"]
    (cell,) = table["`podd` at effort 0.01 †"]
    assert "**" not in cell
    assert cell.endswith("†")


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
    assert main_table(records)["`podd`"] == ["81.0 ± 12.7 ¹"]


def test_nothing_bold_is_explained():
    assert "Nothing is bold" in text_of(seeds([0.5]))


def test_details_show_gain_storage_and_every_selection_rule():
    rows = details([*seeds(BEST), *reference("tiles", [0.6, 0.62, 0.61])])
    ours = rows[0]
    # differences 20, 20 and 23 points: deviation 1.732, standard error 1, t(2, 97.5 %) = 4.303
    assert ours["gain over random"] == "+21.0 ± 4.3"
    assert (ours["used px"], ours["effective IPC"], ours["label numbers"], ours["bytes"]) == ("636", "0.9938", "100", "4,096")
    assert (ours["unused px"], ours["px with labels"]) == ("4", "736")
    assert ours["accuracy at 8 bit"] == "81.5 ± 5.0"
    assert ours["test-best (optimistic)"] == "85.0 ± 5.0"
    assert ours["distil time"] == "1.5 min"
    assert ours["n"] == "3 × 2"
    assert rows[1]["gain over random"] == "0.0"


def test_a_column_that_nobody_fills_is_left_out():
    assert "val-selected" not in details(seeds(BEST))[0]
    records = seeds(BEST)
    for record in records:
        record.scores["val_selected"] = {"step": 50, "test": [0.7, 0.7], "val": [0.7, 0.7]}
    assert details(records)[0]["val-selected"] == "70.0 ± 0.0"


def test_charged_labels_are_shown_where_there_are_some():
    assert "charged labels" not in details(seeds(BEST))[0]
    records = seeds(BEST)
    for record in records:
        record.audit["charged_labels"] = 60
    assert details(records)[0]["charged labels"] == "60"


def test_another_network_is_another_table_with_its_name_in_the_title():
    text = text_of([*seeds(BEST, network="convnet-d2-w32"), *seeds(BEST[:2], network="convnet-d3-w32")])
    titles = ["digits · native-v1 · split dev", "digits · native-v1 · split dev · convnet-d3-w32"]
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == titles


def test_every_number_leads_to_its_record_files():
    records = seeds(BEST)
    links = details(records)[0]["records by seed"]
    assert re.findall(r"\[(\d)\]\((\S+)\)", links) == [(str(r.cell.seed), f"records/{r.key}.json") for r in records]


def test_the_picture_of_the_set_is_linked():
    records = seeds(BEST)
    records[0].pictures = ["pictures/a b.png"]
    assert details(records)[0]["set"] == "[picture](pictures/a%20b.png)"


def test_a_pipe_in_a_name_or_reason_breaks_no_table():
    records = [*seeds(BEST, variant="order=a|b"), make_record(status="failed", reason="x | y", cell=make_cell("other"))]
    for table in tables(text_of(records)):
        assert len({len(row) for row in table}) == 1
    assert "`podd[order=a\\|b]`" in main_table(records)


def test_notes_name_their_rows():
    note = "order=auto fell back to features"
    assert f"- podd: {note}" in text_of(seeds(BEST, notes=[note])).split("### Notes")[1]


def test_a_copy_is_shown_with_its_mark():
    table = main_table(reference("lowres", BEST, aliases=["random[images=tiles]"]))
    assert table["`random[images=tiles]`"] == ["**82.0 ± 5.0** (=)"]


def test_two_protocols_are_two_tables():
    other = {"name": "common-v1", "hash": "h2"}
    text = text_of([*seeds(BEST), *seeds([0.5, 0.6, 0.7], protocol=other)])
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["digits · common-v1 · split dev", "digits · native-v1 · split dev"]


def test_mixed_environments_are_warned_of_in_their_table():
    records = seeds(BEST)
    records[0].environment = {"torch": "2.13.0", "device": "cpu", "threads": 1}
    assert "**Mixed environments in this table** (torch: 2.13.0, 2.14.0)" in text_of(records)
    assert "Mixed" not in text_of(seeds(BEST))
