"""The page of a data set: everything behind each number, in tables that fit."""

from __future__ import annotations

import re

from report.records import full_data, make_cell, make_record, only, protocol, reference, seeds

from bench.report.details import details_page
from bench.report.sections import build_sections

BEST = [0.80, 0.82, 0.84]


def tables(records) -> dict[str, list[dict[str, str]]]:
    """Return heading -> rows of the tables of a page with one section."""
    found: dict[str, list[dict[str, str]]] = {}
    for part in details_page([only(records)]).split("\n### ")[1:]:
        heading, *lines = part.splitlines()
        cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]
        if cells:
            found[heading] = [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
    return found


def test_scores_show_gain_and_every_selection_rule():
    ours, theirs = tables([*seeds(BEST), *reference("tiles", [0.6, 0.62, 0.61])])["Scores"]
    # differences 20, 20 and 23 points: deviation 1.732, standard error 1, t(2, 97.5 %) = 4.303
    assert ours == {
        "method": "`podd`",
        "budget": "1 IPC",
        "accuracy": "82.0 ± 5.0",
        "n": "3 × 2",
        "over random": "+21.0 ± 4.3",
        "at 8 bit": "81.5",
        "test-best (optimistic)": "85.0",
    }
    assert theirs["over random"] == "0.0"


def test_storage_and_cost():
    found = tables(seeds(BEST))
    (stored,), (cost,) = found["What a set stores"], found["Cost and origin"]
    assert (stored["used px"], stored["px with labels"], stored["effective IPC"]) == ("636 (4 unused)", "736", "0.9938")
    assert (stored["label numbers"], stored["other numbers"], stored["bytes"]) == ("100", "0", "4,096")
    assert (cost["outer steps"], cost["distil time"], cost["judge time"], cost["tuning trials"]) == ("100", "1.5 min", "5.0 s", "12")


def test_a_column_that_nobody_fills_is_left_out():
    assert "val-selected" not in tables(seeds(BEST))["Scores"][0]
    records = seeds(BEST)
    for record in records:
        record.scores["val_selected"] = {"step": 50, "test": [0.7, 0.7], "val": [0.7, 0.7]}
    assert tables(records)["Scores"][0]["val-selected"] == "70.0"


def test_charged_labels_are_shown_where_there_are_some():
    records = seeds(BEST)
    for record in records:
        record.audit["charged_labels"] = 60
    assert tables(records)["What a set stores"][0]["label numbers"] == "100 (60 charged)"


def test_no_table_has_more_than_eight_columns():
    records = [*seeds(BEST, tuned=False, external="CLIP", notes=["a note"]), *reference("tiles", [0.6, 0.62, 0.61]), full_data()]
    for record in records:
        record.scores["val_selected"] = {"step": 50, "test": [0.7, 0.7], "val": [0.7, 0.7]}
        record.cell.published = [{"accuracy": 49.1, "source": "table 1"}]
        record.pictures = ["pictures/a.png"]
    found = tables(records)
    assert len(found) == 4
    assert max(len(row) for rows in found.values() for row in rows) == 8


def test_marks_and_why_a_row_is_not_ranked_and_what_was_published_stand_together():
    records = seeds(BEST[:2], tuned=False)
    records[0].cell.published = [{"accuracy": 49.1, "spread": 0.6, "source": "table 1"}, {"accuracy": 50, "source": "table 2"}]
    (row,) = tables(records)["Marks and published numbers"]
    assert (row["marks"], row["not ranked"], row["published"]) == ("¶ untuned", "untuned, 2 seeds", "49.1 ± 0.6 (table 1); 50 (table 2)")
    assert "Marks and published numbers" not in tables(seeds(BEST))


def test_what_has_no_score_shows_its_status():
    records = [*seeds(BEST), make_record(status="refused", reason="no", cell=make_cell("mtt"))]
    assert [row["accuracy"] for row in tables(records)["Scores"]] == ["82.0 ± 5.0", "refused"]


def test_every_number_leads_to_its_record_files():
    records = seeds(BEST)
    links = tables(records)["Cost and origin"][0]["records by seed"]
    assert re.findall(r"\[(\d)\]\((\S+)\)", links) == [(str(r.cell.seed), f"../records/{r.key}.json") for r in records]


def test_the_picture_of_the_set_is_linked():
    records = seeds(BEST)
    records[0].pictures = ["pictures/a b.png"]
    assert tables(records)["Cost and origin"][0]["set"] == "[picture](../pictures/a%20b.png)"


def test_notes_name_their_rows_and_the_environment():
    note = "order=auto fell back to features"
    text = details_page([only(seeds(BEST, notes=[note]))]).split("### Notes")[1]
    assert f"- podd: {note}" in text
    assert "- Made with device cpu, threads 1, torch 2.14.0." in text


def test_a_page_has_all_sections_of_a_data_set():
    sections = build_sections([*seeds(BEST), *seeds(BEST, protocol=protocol("common-v1"))])
    titles = ["digits · common-v1 · split dev", "digits · native-v1 · split dev"]
    assert re.findall(r"^## (.+)$", details_page(sections), re.MULTILINE) == titles
