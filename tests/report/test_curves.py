"""The CSV that scripts read, and the table beside it."""

from __future__ import annotations

import csv
import io

import pytest
from report.records import full_data, make_cell, make_record, reference, seeds

from bench.report.curves import curves_csv, curves_markdown
from bench.report.ranking import gain_over_random
from bench.report.sections import build_sections

PROMISED = (
    "dataset, protocol, method, variant, budget_ipc, budget_px, used_px, effective_ipc, status, accuracy, accuracy_lo, accuracy_hi, "
    "accuracy_final, accuracy_test_best, gain_over_random, n_distill, n_students, arch, width, split, n_test, val_accuracy, "
    "accuracy_8bit, px_equiv, presented_examples, outer_steps, tuning_trials, external, image_numbers, label_numbers, other_numbers, "
    "bytes, distill_seconds, judge_seconds, effort, notes, px_with_labels"
)
COLUMNS = PROMISED.split(", ")


def rows_of(records) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(curves_csv(build_sections(records)))))


def test_columns_are_the_promised_ones_in_order():
    assert curves_csv([]).strip().split(",") == COLUMNS
    assert list(rows_of(seeds([0.5]))[0]) == COLUMNS


def test_a_row_holds_what_the_records_hold():
    row = rows_of([*seeds([0.5, 0.6, 0.7], variant="order=random"), *reference("tiles", [0.3, 0.4, 0.5])])[0]
    expected = {
        "dataset": "digits", "protocol": "native-v1", "split": "dev", "method": "podd", "variant": "order=random", "status": "ok",
        "budget_ipc": "1", "budget_px": "640", "used_px": "636", "px_equiv": "636", "effective_ipc": "0.99375",
        "n_distill": "3", "n_students": "2", "n_test": "400", "arch": "convnet-d2", "width": "32", "presented_examples": "25600",
        "outer_steps": "100", "tuning_trials": "12", "external": "", "image_numbers": "636", "label_numbers": "100",
        "other_numbers": "0", "bytes": "4096", "distill_seconds": "90", "judge_seconds": "5", "effort": "1", "notes": "",
        "px_with_labels": "736",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    numbers = {
        "accuracy": 0.6, "accuracy_final": 0.6, "accuracy_test_best": 0.63, "accuracy_8bit": 0.595, "val_accuracy": 0.58,
        "gain_over_random": 0.2,
    }  # fmt: skip
    assert {name: float(row[name]) for name in numbers} == pytest.approx(numbers)
    assert 0 <= float(row["accuracy_lo"]) < 0.6 < float(row["accuracy_hi"]) <= 1


def test_accuracies_keep_all_their_digits():
    records = seeds([[1 / 3], [2 / 7]])
    (section,) = build_sections(records)
    assert float(rows_of(records)[0]["accuracy"]) == section.rows()[0].final.mean


def test_what_did_not_run_through_is_there_without_numbers():
    row = rows_of([make_record(status="refused", reason="needs | whole images", cell=make_cell("mtt"))])[0]
    assert row["status"] == "refused"
    assert row["notes"] == "refused: needs | whole images"
    assert not any(row[name] for name in row if name.startswith("accuracy") or name in ("gain_over_random", "n_distill", "used_px"))


def test_a_rejected_set_still_shows_what_it_stored():
    record = make_record(status="rejected", reason="641 px, granted are 640 px", audit={"pixels": 641})
    assert rows_of([record])[0]["used_px"] == "641"


def test_marks_stand_in_the_notes():
    (row,) = rows_of(seeds([0.5], effort=0.01, tuned=False, adapted="lowres", notes=["a note"]))
    assert row["notes"] == "effort 0.01; single seed; lowres; untuned; a note"


def test_a_copy_names_its_original():
    rows = {row["variant"]: row for row in rows_of(reference("lowres", [0.5, 0.6], aliases=["random[images=tiles]"]))}
    assert rows["images=tiles"]["notes"] == "same as random[images=lowres]"
    assert rows["images=tiles"]["accuracy"] == rows["images=lowres"]["accuracy"]


def test_the_full_data_is_a_row_without_a_budget():
    row = rows_of([*seeds([0.5]), full_data(0.97)])[-1]
    assert (row["method"], row["budget_px"], row["used_px"]) == ("full-data", "", "")
    assert float(row["accuracy"]) == pytest.approx(0.97)


def test_commas_and_quotes_survive():
    assert rows_of(seeds([0.5], variant='a=1,b="x"'))[0]["variant"] == 'a=1,b="x"'


def test_the_markdown_lists_each_curve_by_used_pixels():
    records = [*seeds([0.8, 0.8], ipc=1), *seeds([0.5, 0.5], ipc=0.3), *reference("tiles", [0.25, 0.25], ipc=0.3), full_data(0.97)]
    records.append(make_record(status="refused", cell=make_cell("mtt")))
    lines = [line for line in curves_markdown(build_sections(records)).splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [(row[0], row[1]) for row in cells] == [
        ("`podd`", "188"),
        ("`podd`", "636"),
        ("`random[images=tiles]`", "188"),
        ("`full-data`", "all"),
    ]
    (section,) = build_sections(records)
    assert gain_over_random(section, section.at(192)[0]).difference == pytest.approx(0.25)
    assert cells[0][3:5] == ["192", "4"]  # granted, and not used
    assert cells[0][6] == "+25.0"


def test_the_markdown_marks_full_data_at_another_effort():
    (line,) = [line for line in curves_markdown(build_sections([full_data(0.6, effort=0.01)])).splitlines() if "full-data" in line]
    assert [cell.strip() for cell in line.split("|")][-2] == "†"


def test_the_markdown_without_records_says_so():
    assert "There are no records yet." in curves_markdown([])
