"""What stands side by side, and what never does."""

from __future__ import annotations

import random

import pytest
from report.records import full_data, make_cell, make_record, protocol, reference, seeds

from bench.report.sections import build_sections


def only(records):
    (section,) = build_sections(records)
    return section


def labels(section):
    return [line.label for line in section.lines]


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
    assert all(section.rows()[0].final.n_distil == 2 for section in sections)
    assert len({section.title for section in sections}) == 2
    assert len({section.slug for section in sections}) == 2


def test_file_names_are_short_where_nothing_clashes():
    assert only(seeds([0.5])).slug == "digits-native-v1"
    assert only(seeds([0.5], split="paper")).slug == "digits-native-v1-paper"


def test_only_the_unusual_network_is_in_names():
    records = [*seeds([0.5, 0.6, 0.7]), *seeds([0.8, 0.9], network="convnet-d3-w32"), full_data(network="convnet-d3-w32")]
    usual, other = build_sections(records)
    # convnet-d2-w32 stands in ``training`` of these records; three of each, so the first by name is the usual one.
    assert (usual.network, usual.slug, usual.title) == ("convnet-d2-w32", "digits-native-v1", "digits · native-v1 · split dev")
    assert (other.network, other.slug) == ("convnet-d3-w32", "digits-native-v1-convnet-d3-w32")
    assert other.title == "digits · native-v1 · split dev · convnet-d3-w32"
    assert usual.full_data is None
    assert other.full_data is not None
    more = make_record(0.5, cell=make_cell("b", network="convnet-d3-w32"))
    assert [section.network for section in build_sections([*records, more])] == ["convnet-d3-w32", "convnet-d2-w32"]


def test_one_network_per_protocol_needs_no_names():
    other = protocol("common-v1")
    sections = build_sections([*seeds([0.5, 0.6]), *seeds([0.5], protocol=other, network="convnet-d3-w32")])
    assert [section.slug for section in sections] == ["digits-common-v1", "digits-native-v1"]


def test_a_planned_network_counts_more_than_the_trained_one():
    assert only(seeds([0.5], network="convnet-d3-w32")).network == "convnet-d3-w32"


def test_references_of_another_network_are_nobodys_rivals():
    usual, other = build_sections([*seeds([0.5, 0.6, 0.7]), *reference("tiles", [0.9, 0.8], network="convnet-d3-w32")])
    assert usual.strongest_reference(640) is None
    assert other.strongest_reference(640) is not None


def test_what_failed_before_a_network_was_known_stands_with_the_usual_one():
    section = only([*seeds([0.5]), make_record(status="failed", cell=make_cell("b"))])
    assert sorted(labels(section)) == ["b", "podd"]


def test_a_score_of_an_unknown_network_is_compared_with_nothing():
    usual, unknown = build_sections([*seeds([0.5]), make_record(0.9, cell=make_cell("b"), training={})])
    assert labels(usual) == ["podd"]
    assert (labels(unknown), unknown.slug) == (["b"], "digits-native-v1-network_not_recorded")


def test_efforts_are_separate_lines():
    section = only([*seeds([0.8]), *seeds([0.6], effort=0.01)])
    assert [line.first.effort for line in section.lines] == [1.0, 0.01]


def test_budgets_are_the_columns_of_one_line():
    section = only([*seeds([0.5], ipc=0.3), *seeds([0.8], ipc=1)])
    assert section.budgets == (192, 640)
    assert len(section.lines) == 1


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


def test_an_alias_is_a_line_of_its_own_that_is_marked_as_the_same_cell():
    records = reference("lowres", [0.5, 0.6], aliases=["random[images=tiles]", "random[images=subset]"])
    section = only(records)
    assert sorted(labels(section)) == ["random[images=lowres]", "random[images=subset]", "random[images=tiles]"]
    same = {line.label: line.first.same_as for line in section.lines}
    assert same == {
        "random[images=lowres]": "",
        "random[images=subset]": "random[images=lowres]",
        "random[images=tiles]": "random[images=lowres]",
    }
    assert len({line.first.identity for line in section.lines}) == 1


def test_an_alias_fills_the_squares_in_which_the_form_does_not_run_itself():
    records = [*reference("tiles", [0.4], ipc=0.3), *reference("lowres", [0.6], ipc=1, aliases=["random[images=tiles]"])]
    tiles = next(line for line in only(records).lines if line.label == "random[images=tiles]")
    assert [bool(tiles.rows[px].same_as) for px in (192, 640)] == [False, True]
    assert not tiles.is_copy


def test_seeds_of_one_cell_stay_together_whichever_name_each_was_run_under():
    first = make_record(0.5, cell=make_cell(seed=0, variant="window=20", fields={"window": 20}))
    second = make_record(0.6, cell=make_cell(seed=1, variant="", fields={"window": 20}))
    section = only([first, second])
    assert labels(section) == ["podd", "podd[window=20]"]
    assert all(line.first.final.n_distil == 2 for line in section.lines)


def test_records_of_a_changed_recipe_are_never_averaged_and_the_newest_keeps_the_name():
    old = seeds([0.5, 0.52], fields={"window": 10, "lr": 0.1})
    new = seeds([0.7, 0.72], fields={"window": 20, "lr": 0.1})
    for record in new:
        record.started = "2026-02-01T00:00:00Z"
    found = {line.label: line.first.final.mean for line in only([*new, *old]).lines}
    assert found == {"podd": pytest.approx(0.71), "podd[window=10]": pytest.approx(0.51)}


def test_a_name_made_for_an_old_recipe_never_hides_a_typed_one():
    records = [
        *seeds([0.5], fields={"window": 10}),
        make_record(0.7, cell=make_cell(fields={"window": 20}), started="2026-02-01T00:00:00Z"),
        make_record(0.6, cell=make_cell(variant="window=10", fields={"window": 10, "lr": 3})),
    ]
    assert sorted(line.first.final.mean for line in only(records).lines) == pytest.approx([0.5, 0.6, 0.7])


def test_another_version_of_a_method_is_another_row():
    old, new = seeds([0.5], method_version=1), seeds([0.7], method_version=2)
    new[0].started = "2026-02-01T00:00:00Z"
    assert sorted(labels(only([*old, *new]))) == ["podd", "podd[method_version=1]"]


def test_rows_of_older_code_are_stale():
    old, new = seeds([0.5], ipc=0.3, code_hash="old"), seeds([0.7], ipc=1, code_hash="new")
    new[0].started = "2026-02-01T00:00:00Z"
    rows = only([*old, *new]).rows()
    assert [row.stale for row in rows] == [True, False]


def test_a_reference_entered_as_a_contestant_elsewhere_stays_a_reference():
    records = [*reference("tiles", [0.4], ipc=0.3), *reference("tiles", [0.6], ipc=1, kind="contestant")]
    section = only(records)
    assert len(section.references()) == 1
    assert section.contestants() == []


def test_the_strongest_reference_is_that_of_the_same_budget():
    records = [
        *reference("tiles", [0.4], ipc=0.3),
        *reference("lowres", [0.3], ipc=0.3),
        *reference("lowres", [0.9], ipc=1),
    ]
    section = only(records)
    assert section.strongest_reference(192).label == "random[images=tiles]"
    assert section.strongest_reference(640).label == "random[images=lowres]"
    assert section.strongest_reference(320) is None


def test_the_full_data_is_no_line_and_the_one_of_most_effort_counts():
    section = only([*seeds([0.5]), full_data(0.8, effort=0.1), full_data(0.97)])
    assert labels(section) == ["podd"]
    assert section.full_data.final.mean == pytest.approx(0.97)


def test_the_order_of_records_does_not_matter():
    records = [*seeds([0.5, 0.6]), *seeds([0.7], "b"), *reference("tiles", [0.3, 0.4], aliases=["random[images=mosaic]"]), full_data()]
    expected = [(row.label, row.final.mean, row.same_as) for row in only(records).rows()]
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert [(row.label, row.final.mean, row.same_as) for row in only(records).rows()] == expected
