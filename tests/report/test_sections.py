"""What stands side by side, and what never does."""

from __future__ import annotations

import random

import pytest
from report.records import full_data, make_cell, make_record, only, protocol, reference, seeds

from bench.report.sections import build_sections


def labels(section):
    return list(dict.fromkeys(section.rows.sort_values("line").label))


def strongest(section, budget_px):
    """Return the reference that gains are measured against."""
    at = section.rows[(section.rows.budget_px == budget_px) & (section.rows.gain == 0)]
    return next(iter(at.label), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": protocol("common-v1")},
        {"protocol": protocol(students=7)},
        {"split": "paper"},
        {"dataset": "mnist"},
        {"data_hash": "another copy"},
        {"network": "convnet-d3-w32"},
    ],
)
def test_data_split_protocol_and_network_are_never_mixed(changes):
    sections = build_sections([*seeds([0.5, 0.6]), *seeds([0.7, 0.8], **changes)])
    assert len(sections) == 2
    assert all(section.table_rows[0].n_distill == 2 for section in sections)
    assert len({section.title for section in sections}) == 2
    assert len({section.plot for section in sections}) == 2


def test_file_names_are_short_where_nothing_clashes():
    assert only(seeds([0.5])).plot == "plots/digits-native-v1"
    assert only(seeds([0.5], split="paper")).plot == "plots/digits-native-v1-paper"


def test_only_the_unusual_network_is_in_names():
    records = [*seeds([0.5, 0.6, 0.7]), *seeds([0.8, 0.9], network="convnet-d3-w32"), full_data(network="convnet-d3-w32")]
    usual, other = build_sections(records)
    # convnet-d2-w32 stands in ``training`` of these records; three of each, so the first by name is the usual one.
    assert (usual.network, usual.plot, usual.title) == ("convnet-d2-w32", "plots/digits-native-v1", "digits · native-v1 · split dev")
    assert (other.network, other.plot) == ("convnet-d3-w32", "plots/digits-native-v1-convnet-d3-w32")
    assert other.title == "digits · native-v1 · split dev · convnet-d3-w32"
    assert usual.full_data is None
    assert other.full_data is not None
    more = make_record(0.5, cell=make_cell("b", network="convnet-d3-w32"))
    assert [section.network for section in build_sections([*records, more])] == ["convnet-d3-w32", "convnet-d2-w32"]


def test_one_network_per_protocol_needs_no_names():
    other = protocol("common-v1")
    sections = build_sections([*seeds([0.5, 0.6]), *seeds([0.5], protocol=other, network="convnet-d3-w32")])
    assert [section.plot for section in sections] == ["plots/digits-common-v1", "plots/digits-native-v1"]


def test_a_planned_network_counts_more_than_the_trained_one():
    assert only(seeds([0.5], network="convnet-d3-w32")).network == "convnet-d3-w32"


def test_references_of_another_network_are_nobodys_rivals():
    usual, other = build_sections([*seeds([0.5, 0.6, 0.7]), *reference("tiles", [0.9, 0.8], network="convnet-d3-w32")])
    assert strongest(usual, 640) is None
    assert strongest(other, 640) == "random[images=tiles]"


def test_what_failed_before_a_network_was_known_stands_with_the_usual_one():
    section = only([*seeds([0.5]), make_record(status="failed", cell=make_cell("b"))])
    assert sorted(labels(section)) == ["b", "podd"]


def test_a_score_of_an_unknown_network_is_compared_with_nothing():
    usual, unknown = build_sections([*seeds([0.5]), make_record(0.9, cell=make_cell("b"), training={})])
    assert labels(usual) == ["podd"]
    assert (labels(unknown), unknown.plot) == (["b"], "plots/digits-native-v1-network_not_recorded")


def test_efforts_are_separate_lines():
    section = only([*seeds([0.8]), *seeds([0.6], effort=0.01)])
    assert list(section.rows.sort_values("line").effort) == [1.0, 0.01]


def test_budgets_are_the_columns_of_one_line():
    section = only([*seeds([0.5], ipc=0.3), *seeds([0.8], ipc=1)])
    assert section.budgets == {192: 0.3, 640: 1.0}
    assert list(section.rows.line) == [0, 0]


def test_lines_are_ordered_by_the_largest_budget_then_by_name_with_references_last():
    section = only(
        [
            *reference("tiles", [0.9], ipc=1),
            *seeds([0.5], "b"),
            *seeds([0.5], "a"),
            *seeds([0.7], "c"),
            *seeds([0.9], "small_only", ipc=0.3),
            *seeds([0.8], "smaller_only", ipc=0.3),
        ]
    )
    assert labels(section) == ["c", "a", "b", "small_only", "smaller_only", "random[images=tiles]"]


def test_names_that_come_to_the_same_cell_are_one_row():
    section = only(reference("lowres", [0.5, 0.6], aliases=["random[images=tiles]", "random[images=subset]"]))
    assert labels(section) == ["random[images=lowres]"]
    assert section.table_rows[0].names == ["random[images=lowres]", "random[images=subset]", "random[images=tiles]"]
    assert len(section.copies) == 0


def test_an_alias_fills_the_squares_in_which_the_form_does_not_run_itself():
    records = [*reference("tiles", [0.4], ipc=0.3), *reference("lowres", [0.6], ipc=1, aliases=["random[images=tiles]"])]
    section = only(records)
    (copy,) = section.copies.itertuples()
    assert (copy.label, copy.budget_px, copy.same_as, copy.accuracy) == ("random[images=tiles]", 640, "random[images=lowres]", 0.6)
    assert len(section.rows) == 2


def test_seeds_of_one_cell_stay_together_whichever_name_each_was_run_under():
    first = make_record(0.5, cell=make_cell(seed=0, variant="window=20", fields={"window": 20}))
    second = make_record(0.6, cell=make_cell(seed=1, variant="", fields={"window": 20}))
    (row,) = only([first, second]).table_rows
    assert (row.label, row.names, row.n_distill) == ("podd", ["podd", "podd[window=20]"], 2)


def test_records_of_a_changed_recipe_are_never_averaged_and_the_newest_keeps_the_name():
    old = seeds([0.5, 0.52], fields={"window": 10, "lr": 0.1})
    new = seeds([0.7, 0.72], fields={"window": 20, "lr": 0.1})
    for record in new:
        record.started = "2026-02-01T00:00:00Z"
    found = {row.label: row.accuracy for row in only([*new, *old]).table_rows}
    assert found == {"podd": pytest.approx(0.71), "podd[window=10]": pytest.approx(0.51)}


def test_a_name_made_for_an_old_recipe_never_hides_a_typed_one():
    records = [
        *seeds([0.5], fields={"window": 10}),
        make_record(0.7, cell=make_cell(fields={"window": 20}), started="2026-02-01T00:00:00Z"),
        make_record(0.6, cell=make_cell(variant="window=10", fields={"window": 10, "lr": 3})),
    ]
    assert sorted(row.accuracy for row in only(records).table_rows) == pytest.approx([0.5, 0.6, 0.7])


def test_of_two_records_of_one_cell_and_seed_the_newer_one_counts():
    # The versions of a method's parts are in its key, and not among its fields.
    old, new = make_record(0.5), make_record(0.7, key="another", started="2026-02-01T00:00:00Z")
    for records in ([old, new], [new, old]):
        assert [(row.accuracy, row.n_distill) for row in only(records).table_rows] == [(pytest.approx(0.7), 1)]


def test_another_version_of_a_method_is_another_row():
    old, new = seeds([0.5], method_version=1), seeds([0.7], method_version=2)
    new[0].started = "2026-02-01T00:00:00Z"
    assert sorted(labels(only([*old, *new]))) == ["podd", "podd[method_version=1]"]


def test_a_reference_entered_as_a_contestant_elsewhere_stays_a_reference():
    records = [*reference("tiles", [0.4], ipc=0.3), *reference("tiles", [0.6], ipc=1, kind="contestant")]
    section = only(records)
    assert list(section.rows.kind) == ["reference", "reference"]
    assert labels(section) == ["random[images=tiles]"]


def test_the_strongest_reference_is_that_of_the_same_budget():
    records = [
        *reference("tiles", [0.4], ipc=0.3),
        *reference("lowres", [0.3], ipc=0.3),
        *reference("lowres", [0.9], ipc=1),
    ]
    section = only(records)
    assert strongest(section, 192) == "random[images=tiles]"
    assert strongest(section, 640) == "random[images=lowres]"


def test_the_full_data_is_no_line_and_the_one_of_most_effort_counts():
    section = only([*seeds([0.5]), full_data(0.8, effort=0.1), full_data(0.97)])
    assert labels(section) == ["podd"]
    assert section.full_data.accuracy == pytest.approx(0.97)


def test_the_full_data_are_no_ceiling_where_a_row_lies_above_or_where_they_were_shortened():
    assert only([*seeds([0.5]), full_data(0.97)]).not_a_ceiling == ""
    assert only([*seeds([0.5]), full_data(0.97, effort=0.1)]).not_a_ceiling == "shortened to effort 0.1"
    assert only([*seeds([0.5]), *seeds([0.8], "b"), full_data(0.6)]).not_a_ceiling == "b lies above it"
    assert only([*seeds([0.5]), full_data(0.4, effort=0.1)]).not_a_ceiling == "shortened to effort 0.1, podd lies above it"
    assert only(seeds([0.5])).not_a_ceiling == ""


def test_the_order_of_records_does_not_matter():
    records = [*seeds([0.5, 0.6]), *seeds([0.7], "b"), *reference("tiles", [0.3, 0.4], aliases=["random[images=mosaic]"]), full_data()]
    expected = [(row.label, row.accuracy, row.line) for row in only(records).table_rows]
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert [(row.label, row.accuracy, row.line) for row in only(records).table_rows] == expected
