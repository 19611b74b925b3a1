"""Protocols: frozen by their hashes, named without torch, and with the right number of steps."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from bench import BenchError
from bench.judge.protocol import DESCRIPTIONS, PROTOCOLS, Protocol, get_protocol
from bench.keys import canonical_json, digest

# A released protocol is frozen. If one of these changes, undo the change, or give the new choices a new name.
HASHES = {
    "native-v1": "ff3c6802cee67449e28fd5bf",
    "common-v1": "9cd4ac3679334d565f821d4a",
    "dc-v1": "7fc8a96e43ba670e102b649d",
    "dsa-v1": "5c3148b5ac37e1f59c5d35fb",
    "mtt-v1": "d388aaf6c9d7dd8eabde1f27",
    "rat-v1": "5d54859773bbdb9743ac08e5",
    "frepo-v1": "9ae93c56fc8aca0e5d28bc99",
}
#: Of the JSON that lies in records of the oldest protocols, which kinds of choices that came later leave as it was.
JSON = {"native-v1": "7a4a03bd8dd65b1fe0c08ca8", "common-v1": "1e5c07ab1e24e191e36bb973"}


@pytest.mark.parametrize("name", sorted(HASHES))
def test_a_released_protocol_is_frozen(name: str) -> None:
    assert PROTOCOLS[name].students == 5
    assert PROTOCOLS[name].hash == HASHES[name]


@pytest.mark.parametrize("name", sorted(JSON))
def test_what_records_hold_of_a_released_protocol_is_frozen(name: str) -> None:
    assert digest(PROTOCOLS[name].as_json()) == JSON[name]


def test_every_protocol_is_described() -> None:
    assert set(DESCRIPTIONS) == set(PROTOCOLS)


def test_every_protocol_is_pinned() -> None:
    assert set(PROTOCOLS) == set(HASHES)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_json_holds_every_choice_and_the_hash(name: str) -> None:
    protocol = get_protocol(name)
    plain = protocol.as_json()
    assert plain["name"] == name
    assert plain["hash"] == protocol.hash
    assert json.loads(json.dumps(plain)) == plain
    assert canonical_json(plain)


def test_students_are_part_of_the_hash() -> None:
    assert get_protocol("native-v1", 3).hash != get_protocol("native-v1").hash
    assert get_protocol("native-v1", 5) == get_protocol("native-v1")


def test_a_nested_choice_changes_the_hash() -> None:
    protocol = get_protocol("common-v1")
    assert protocol.common is not None
    assert replace(protocol, common=replace(protocol.common, momentum=0.8)).hash != protocol.hash


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_protocol_comes_back_from_its_json(name: str) -> None:
    protocol = replace(get_protocol(name, 3), checkpoints=(0.5, 1.0), network="convnet-d1-w4")
    back = Protocol.from_json(json.loads(json.dumps(protocol.as_json())))
    assert back == protocol
    assert back.hash == protocol.hash


def test_choices_that_do_not_give_their_hash_are_refused() -> None:
    choices = get_protocol("native-v1").as_json()
    with pytest.raises(BenchError, match="does not have the choices of its hash ff3c6802cee67449e28fd5bf; start the run again"):
        Protocol.from_json({**choices, "students": 6})
    for strange in ({**choices, "temperature": 1.0}, {key: value for key, value in choices.items() if key != "common"}):
        with pytest.raises(BenchError, match="written by another version of the suite"):
            Protocol.from_json(strange)


def test_unknown_name() -> None:
    with pytest.raises(BenchError, match="did you mean 'native-v1'"):
        get_protocol("nativ-v1")


@pytest.mark.parametrize("students", [1, 1000])
def test_the_bounds_of_the_number_of_students_are_allowed(students: int) -> None:
    assert get_protocol("native-v1", students).students == students


@pytest.mark.parametrize("students", [0, -1, 1001])
def test_impossible_numbers_of_students(students: int) -> None:
    with pytest.raises(BenchError, match=f"{students} students"):
        get_protocol("native-v1", students)


def test_checkpoints() -> None:
    protocol = get_protocol("native-v1")
    assert protocol.steps_at(300) == [75, 150, 225, 300]
    assert protocol.steps_at(1) == [1]
    assert protocol.steps_at(2) == [1, 2]
    assert protocol.steps_at(10) == [2, 5, 8, 10]  # a quarter and three quarters are rounded to the nearest, halves to the even one
    assert protocol.steps_at(7) == [2, 4, 5, 7]
    assert protocol.steps_at(9) == [2, 4, 7, 9]
    for steps in range(1, 50):
        assert protocol.steps_at(steps)[-1] == steps
        assert len(protocol.steps_at(steps)) <= 4


def test_common_recipe_adds_up() -> None:
    common = get_protocol("common-v1").common
    assert common is not None
    assert common.steps * common.batch_size == common.presented_examples
    assert common.middle_lr == 0.01
    assert list(common.lr_grid) == sorted(common.lr_grid)


def test_protocols_need_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from bench.judge.protocol import PROTOCOLS; print(len(PROTOCOLS))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == str(len(PROTOCOLS))
