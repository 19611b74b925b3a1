"""What a tuner draws: within what is declared, each setting once, more of them beginning with fewer."""

from __future__ import annotations

import math

import pytest

from bench import METHODS, BenchError, Between, OneOf, registry
from bench.fields import Hyperparameter
from bench.search import draw_settings

registry.discover()


def test_rates_are_drawn_evenly_on_a_logarithmic_axis() -> None:
    rates = [setting["lr"] for setting in draw_settings({"lr": Between(1e-3, 1e-1)}, 200, seed=0)]
    assert all(1e-3 <= rate <= 1e-1 for rate in rates)
    assert 80 < sum(rate < 1e-2 for rate in rates) < 120
    assert all(rate == float(f"{rate:.2g}") for rate in rates)


def test_more_settings_begin_with_fewer_and_another_seed_gives_others() -> None:
    for space in ({"lr": Between(1e-3, 1e-1), "steps": OneOf(1, 2)}, {"steps": OneOf(*range(9)), "size": OneOf(*range(9))}):
        few, many = draw_settings(space, 4, seed=3), draw_settings(space, 9, seed=3)
        assert many[:4] == few
        assert draw_settings(space, 4, seed=4) != few


def test_a_choice_is_tried_once_and_a_small_space_to_its_end() -> None:
    drawn = draw_settings({"steps": OneOf(1, 2), "size": OneOf("a", "b", "c")}, 50, seed=0)
    assert sorted((s["steps"], s["size"]) for s in drawn) == [(a, b) for a in (1, 2) for b in "abc"]


def test_drawing_leaves_the_global_generators_alone() -> None:
    import random

    import numpy as np

    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002 - what must not be touched
    draw_settings({"lr": Between(1e-3, 1e-1)}, 5, seed=0)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_an_empty_space_is_told() -> None:
    with pytest.raises(BenchError, match="there is nothing to search: declare search"):
        draw_settings({}, 3, seed=0)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_a_range_that_cannot_be_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="a range to search goes from a number above 0"):
        Between(*bounds)


def test_a_choice_needs_a_value() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        OneOf()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "imported"])
def test_every_method_declares_what_may_be_tried_and_its_fields_take_it(name: str) -> None:
    legal = METHODS[name].legal({})
    space = METHODS[name].search_space({})
    assert "student_lr" in space
    for field, search in space.items():
        kind: Hyperparameter = legal[field]
        for value in search.values if isinstance(search, OneOf) else (search.low, search.high):
            kind.read(value, field)
    assert "student_lr" not in METHODS[name].search_space({"student_lr": 0.1})


def test_the_more_particular_part_says_what_is_tried() -> None:
    assert METHODS["dm"].search_space({})["outer_lr"] == Between(0.1, 30.0)
    assert METHODS["podd"].search_space({"objective": "dm"})["outer_lr"] == Between(0.1, 30.0)
    assert METHODS["podd"].search_space({})["outer_lr"] == Between(1e-3, 1e-1)
    assert "outer_lr" not in METHODS["random"].search_space({})
    assert "tiles" in METHODS["random"].search_space({"form": "tiles"})
    assert "tiles" not in METHODS["random"].search_space({})
    assert "window" in METHODS["rat_bptt"].search_space({})
    assert "window" not in METHODS["rtp"].search_space({})
