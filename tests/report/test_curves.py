"""The CSV that scripts read, and the table beside it."""

from __future__ import annotations

import csv
import io

import pytest
from report.records import full_data, make_cell, make_record, only, reference, seeds, with_tensors

from bench.report.curves import curves_csv, curves_markdown
from bench.report.sections import build_sections

PROMISED = (
    "dataset, protocol, method, variant, budget_ipc, budget_px, used_px, effective_ipc, status, accuracy, accuracy_lo, accuracy_hi, "
    "accuracy_final, accuracy_test_best, gain_over_random, n_distill, n_students, arch, width, split, n_test, val_accuracy, "
    "accuracy_8bit, px_equiv, presented_examples, outer_steps, tuning_trials, external, image_numbers, label_numbers, other_numbers, "
    "bytes, distill_seconds, judge_seconds, effort, notes, px_with_labels, kind, published, published_source"
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
        "px_with_labels": "736", "kind": "contestant", "published": "", "published_source": "",
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
    assert float(rows_of(records)[0]["accuracy"]) == section.table_rows[0].accuracy


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


def test_names_of_one_cell_are_one_row_that_lists_them():
    (row,) = rows_of(reference("lowres", [0.5, 0.6], aliases=["random[images=tiles]"]))
    assert row["notes"] == "also random[images=tiles]"


def test_the_full_data_is_a_row_without_a_budget_and_kind_says_what_a_row_is():
    budget = {"requested": "full", "pixels": 51200, "ipc": 80.0}
    rows = rows_of([*seeds([0.5]), *reference("tiles", [0.3]), full_data(0.97, budget=budget)])
    assert [row["kind"] for row in rows] == ["contestant", "reference", "full_data"]
    assert (rows[-1]["method"], rows[-1]["budget_px"], rows[-1]["budget_ipc"], rows[-1]["used_px"]) == ("full-data", "", "", "")
    assert float(rows[-1]["accuracy"]) == pytest.approx(0.97)


def test_a_row_that_lacks_a_seed_is_partial_and_says_how_many_it_has():
    (row,) = rows_of([*seeds([0.5, 0.6]), make_record(status="oom", reason="out of memory", cell=make_cell(seed=2), log="")])
    assert (row["status"], row["n_distill"]) == ("partial", "2")
    assert row["notes"] == "2 of 3 seeds; oom, seed 2 of podd: out of memory"


def test_seeds_of_the_same_set_are_one_distillation_without_an_interval():
    (row,) = rows_of(with_tensors(seeds([0.5, 0.6, 0.7]), "a", "a", "a"))
    assert (row["n_distill"], row["n_students"], row["accuracy_lo"], row["accuracy_hi"]) == ("1", "6", "", "")
    assert row["notes"] == "same set for 3 seeds"


def test_two_seeds_have_no_interval():
    (row,) = rows_of(seeds([0.5, 0.6]))
    assert (row["n_distill"], row["accuracy_lo"], row["accuracy_hi"]) == ("2", "", "")


def test_published_numbers_are_fractions_like_ours_with_their_source():
    records = seeds([0.5])
    records[0].cell.published = [{"accuracy": 49.1, "spread": 0.6, "source": "table 1"}, {"accuracy": 50, "source": "table 2"}]
    (row,) = rows_of(records)
    assert (float(row["published"]), row["published_source"]) == (pytest.approx(0.491), "table 1")


def test_full_data_that_are_no_ceiling_say_so():
    row = rows_of([*seeds([0.8]), full_data(0.6)])[-1]
    assert row["notes"] == "not a ceiling: podd lies above it"


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
    assert only(records).table_rows[0].gain == pytest.approx(0.25)
    assert cells[0][3:5] == ["192", "4"]  # granted, and not used
    assert cells[0][6] == "+25.0"


def test_the_markdown_marks_full_data_at_another_effort():
    (line,) = [line for line in curves_markdown(build_sections([full_data(0.6, effort=0.01)])).splitlines() if "full-data" in line]
    assert [cell.strip() for cell in line.split("|")][-2] == "†"


def test_the_markdown_without_records_says_so():
    assert "There are no records yet." in curves_markdown([])
