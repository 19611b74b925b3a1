"""Products of parts: which fields they have, what is refused, and which of them are one cell."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from products import planned
from registries import restored_registries

import bench
from bench import FORMS, METHODS, OBJECTIVES, SELECTIONS, BenchError, Form, Objective, Spec, on_features
from bench.nn.spaces import SPACES
from bench.prerequisite_store import PrerequisiteStore
from bench.recipes import check_built, check_fields, load_rules, resolve_recipe
from bench.registry import RegistrationError
from bench.selection import checked
from bench.sweep.planning.planner import Planner

DIGITS = Spec("digits", 10, (1, 8, 8), tuple("0123456789"), mirror=False)


@pytest.fixture
def empty_room():
    with restored_registries() as restore:
        yield restore


def settled(name: str, fields: dict, ipc: str = "1"):
    method = planned(name, DIGITS, ipc, fields).method
    return method.identity(), method.values()


def test_products_of_the_same_parts_and_fields_are_one_cell():
    podd = settled("podd", {"form": "full"})
    assert podd == settled("rat_bptt", {}) == settled("rat_bptt", {"form": "lowres"}) == settled("rat_bptt", {"images": "subset"})
    assert settled("rat_bptt", {"form": "poster", "order": "identity"}) == settled("podd", {"order": "0-1-2-3-4-5-6-7-8-9"})
    assert settled("rat_bptt", {"window": 3}) != settled("rat_bptt", {})


def test_fields_of_parts_that_were_not_chosen_are_named_with_their_owner():
    podd = METHODS["podd"]
    with pytest.raises(BenchError, match="'tiles' is a field of form 'tiles', which is no part of this podd"):
        check_fields(podd, {"tiles": 4}, "test")
    with pytest.raises(BenchError, match="'window' is a field of objective 'bptt', which is no part of this random"):
        check_fields(METHODS["random"], {"window": 4}, "test")
    with pytest.raises(BenchError, match="podd has no field 'windov'; did you mean 'window'"):
        check_fields(podd, {"windov": 4}, "test")
    assert check_fields(podd, {"form": "tiles", "tiles": 4}, "test") == {"form": "tiles", "tiles": 4}


def test_unknown_parts_get_a_suggestion():
    with pytest.raises(BenchError, match="unknown form 'postre'; did you mean 'poster'"):
        check_fields(METHODS["rat_bptt"], {"form": "postre"}, "test")
    with pytest.raises(BenchError, match="unknown objective 'bpt'; did you mean 'bptt'"):
        check_fields(METHODS["rat_bptt"], {"objective": "bpt"}, "test")


@pytest.mark.parametrize("name", ["podd", "random"])
def test_bounded_crops_are_left_out_of_the_key_and_toroidal_ones_are_in_it(name):
    """Posters had bounded crops before they had the field, and keep their keys."""
    fields = {"order": "identity"} if name == "podd" else {"form": "mosaic"}
    bounded, toroidal = (planned(name, DIGITS, "1", {**fields, **crops}).method for crops in ({}, {"crops": "toroidal"}))
    assert bounded.values()["crops"] == "bounded"
    assert "crops" in bounded.unkeyed_fields()
    assert "crops" not in toroidal.unkeyed_fields()
    assert bounded.unkeyed_fields() - {"crops"} == toroidal.unkeyed_fields()
    assert toroidal.unkeyed_fields() >= (OBJECTIVES["bptt"].unkeyed if name == "podd" else set())


def test_no_weight_decay_is_left_out_of_the_key_and_some_is_in_it():
    sgd = {"student_optimizer": "sgd"}
    without, some = (planned("rat_bptt", DIGITS, "1", {**sgd, "student_weight_decay": decay}).method for decay in (0.0, 5e-4))
    assert without.unkeyed_fields() - some.unkeyed_fields() == {"student_weight_decay"}


def test_the_keys_of_posters_from_before_they_had_crops_stay(tmp_path):
    """Sets on a user's disk are found by them; whoever changes one on purpose raises a version and this number."""
    asked = ["podd[order=identity]", "random[form=mosaic]"]
    settings = bench.settings(methods=asked, budgets=["0.5"], seeds=[0], no_reference=True, effort=0.5)
    cells = Planner(settings, PrerequisiteStore(tmp_path)).plan().cells
    assert {planned.cell.label: planned.distil_key for planned in cells} == {
        "podd[order=identity]": "53498d4d38d10feccdfd3fc9",
        "random[form=mosaic]": "23428ce84fca27685e46821e",
    }


def test_images_is_another_name_of_form():
    assert check_fields(METHODS["random"], {"images": "tiles", "tiles": 2}, "test") == {"form": "tiles", "tiles": 2}


def test_a_part_is_named_once_and_by_a_word():
    with pytest.raises(BenchError, match="form is another name of a field that is set, too|images is another name"):
        check_fields(METHODS["random"], {"images": "tiles", "form": "full"}, "test")
    with pytest.raises(BenchError, match="form names a part, such as full, found 3"):
        check_fields(METHODS["rat_bptt"], {"form": 3}, "test")
    with pytest.raises(BenchError, match="objective names a part, such as bptt, found"):
        check_fields(METHODS["rat_bptt"], {"objective": None}, "test")


def test_another_objective_never_counts_as_tuned_by_this_one_s_rule(empty_room):
    @OBJECTIVES.register("still")
    @dataclass(frozen=True)
    class Still(Objective):
        """Nothing moves."""

        name: ClassVar[str] = "still"
        reference: ClassVar[str] = "a test"

        def begin(self, task, student, steps):
            raise NotImplementedError

    own = resolve_recipe(METHODS["rat_bptt"], "digits", 1.0)
    other = resolve_recipe(METHODS["rat_bptt"], "digits", 1.0, chosen={"form": "full", "objective": "still"})
    tiles = resolve_recipe(METHODS["rat_bptt"], "digits", 1.0, chosen={"form": "tiles", "objective": "bptt"})
    assert (own.tuned, other.tuned, tiles.tuned) == (True, False, False)
    assert "window" in own.values
    assert other.values == {"form": "full", "objective": "still"}
    subset = resolve_recipe(METHODS["rat_bptt"], "digits", 0.5, chosen={"form": "subset", "objective": "bptt"})
    assert subset.tuned


@pytest.mark.parametrize("name", ["podd", "rat_bptt", "random"])
def test_rules_name_parts_that_exist(name):
    for rule in load_rules(METHODS[name]):
        assert all(form in FORMS for form in rule.parts["form"])
        assert all(objective == "none" or objective in OBJECTIVES for objective in rule.parts["objective"])


def make_form(**annotations):
    kind = type(
        "Odd", (Form,), {"__annotations__": {"name": "ClassVar[str]", **annotations}, "name": "odd", **dict.fromkeys(annotations, 1)}
    )
    kind.plan = kind.empty = lambda *_: None
    return dataclass(frozen=True, kw_only=True)(kind)


@pytest.mark.parametrize(
    ("field", "owner"),
    [("window", "objective 'bptt'"), ("outer_lr", "outer loop"), ("augmentation", "student"), ("objective", "chooses a part")],
)
def test_a_name_that_parts_of_two_kinds_own_is_refused_when_they_register(empty_room, field, owner):
    with pytest.raises(RegistrationError, match=owner):
        FORMS.register("odd")(make_form(**{field: int}))
    assert "odd" not in FORMS


def test_alternatives_of_one_kind_may_share_a_name(empty_room):
    FORMS.register("odd")(make_form(tiles=int))
    assert "odd" in FORMS


def test_the_defaults_of_an_objective_stand_below_the_recipe():
    resolution = planned("rat_bptt", DIGITS, "1", {})
    assert (resolution.method.outer.outer_iterations, resolution.method.outer.clip) == (100_000, "corrected")
    assert planned("rat_bptt", DIGITS, "1", {}, recipes=True).method.outer.outer_iterations == 1600


def test_a_product_says_what_it_will_cost_and_how_many_images_it_shows():
    resolution = planned("rat_bptt", DIGITS, "1", {"student_steps": 7, "student_batch": 4})
    assert resolution.presented_examples == 28
    assert resolution.flops > 0
    assert planned("random", DIGITS, "1", {}).flops is None
    assert planned("random", DIGITS, "1", {}).outer_steps == 0
    assert resolution.network == "convnet-d2-w32"


def test_a_selection_without_an_objective_and_noise_alone_is_refused():
    from products import plan

    assert "stays noise" in plan("random", DIGITS, "1", {"init": "noise"}).reason


#: A value that no part takes, and the bound that the sentence names.
OUT_OF_BOUNDS = [
    ("init", "randm", "unknown selection 'randm'; did you mean 'random'.*available: .*noise, normal, random, real"),
    ("feature_seeds", 0, "greater than or equal to 1"),
    ("space", "nope", "unknown pixel space 'nope' .available: auto, standard, zca_frepo, zca_kip, zca_kornia"),
    ("network", "nope", "unknown network 'nope'; networks are called convnet-d"),
    ("augmentation", "flp", "unknown augmentation 'flp' in 'flp'; join some of color, crop"),
    ("student_optimizer", "lion", "it should be 'adam' or 'sgd'"),
    ("student_lr", -1.0, "greater than or equal to 0"),
    ("student_momentum", -0.1, "greater than or equal to 0"),
    ("student_schedule", "never", "it should be 'constant', 'step', 'cosine' or 'warmup_cosine'"),
    ("student_weight_decay", -1e-4, "greater than or equal to 0"),
    ("student_steps", 0, "greater than or equal to 1"),
    ("student_steps", 10**7, "less than or equal to 1000000"),
    ("student_batch", -3, "greater than or equal to 0"),
    ("student_loss", "hinge", "it should be 'cross_entropy' or 'mse'"),
    ("outer_iterations", 0, "greater than or equal to 1"),
    ("outer_optimizer", "lion", "it should be 'adam' or 'sgd'"),
    ("outer_lr", -1, "greater than or equal to 0"),
    ("label_lr", -1e-9, "greater than or equal to 0"),
    ("outer_momentum", -1, "greater than or equal to 0"),
    ("outer_schedule", "step", "it should be 'constant' or 'cosine'"),
    ("average", 1.5, "less than or equal to 1"),
    ("clip", "hard", "it should be 'corrected', 'official' or 'off'"),
    ("window", 0, "greater than or equal to 1"),
    ("totwindow", 0, "greater than or equal to 1"),
    ("minwindow", -1, "greater than or equal to 0"),
    ("curriculum", "backward", "it should be 'random', 'fixed', 'forward' or 'length'"),
    ("epsilon", "keras", "it should be 'torch' or 'higher'"),
    ("real_batch", 0, "greater than or equal to 1"),
    ("networks_per_step", 0, "greater than or equal to 1"),
    ("engine", "steam", "it should be 'auto', 'plain'"),
    ("precision", "int8", "it should be 'float32', 'tf32' or 'bf16'"),
    ("labels", "soft", "it should be 'fixed', 'proportional', 'learned' or 'teacher'"),
    ("crops", "spherical", "it should be 'bounded' or 'toroidal'"),
    ("patches", "16", "write width x height"),
    ("overlap", 1.0, "write shares from 0 to below 1"),
    ("label_cells", 0, "greater than or equal to 1"),
    ("poster", "9" * 5000 + "x1", "write width x height"),
    ("order", "clever", "an order is auto, identity, random, features, clip, or all classes joined by dashes"),
    ("clip_model", 3, "it should be a text"),
    ("clip_weights", False, "it should be a text"),
    ("clip_prompt", "{} and {}", "write a short text in which {} stands for the name of a class"),
    ("clip_embedding", "tokens", "it should be 'pooled' or 'hidden_states'"),
    ("clip_names", "ship", "write class=words, joined by commas"),
    ("window", 10**400, "less than or equal to 1000000"),
    ("outer_lr", 10**400, "must be finite"),
    ("student_lr", "fast", "it should be a number"),
]


@pytest.mark.parametrize(("field", "value", "bound"), OUT_OF_BOUNDS)
def test_a_value_out_of_bounds_is_refused_with_field_value_and_bound(field, value, bound):
    with pytest.raises(BenchError, match=f"test: field '{field}' cannot be .*{bound}"):
        check_fields(METHODS["podd"], {field: value}, "test")


def test_every_field_has_a_bound():
    """Texts that name something are looked up, numbers have limits; only names of files and models are free."""
    free = {"clip_model", "clip_weights"}
    tried = {field for field, _, _ in OUT_OF_BOUNDS} | free
    assert set(METHODS["podd"].legal({})) - {"form", "objective"} == tried
    with pytest.raises(BenchError, match="field 'tiles' cannot be 0: it should be greater than or equal to 1"):
        check_fields(METHODS["random"], {"form": "tiles", "tiles": 0}, "test")


OUT_OF_BOUNDS_OF_MATCHING = [
    ("class_batch", 0, "greater than or equal to 1"),
    ("distilled_batch", -1, "greater than or equal to 0"),
    ("siamese", "flp", "unknown augmentation 'flp'"),
    ("distance", "far", "it should be 'cosine', 'squared' or 'absolute'"),
    ("layers", "all", "it should be 'weights' or 'convolutions'"),
    ("network_updates", 0, "greater than or equal to 1"),
    ("network_steps", -1, "greater than or equal to 0"),
    ("network_data", "fake", "it should be 'distilled' or 'real'"),
    ("network_batch", 0, "greater than or equal to 1"),
    ("network_lr", -1, "greater than or equal to 0"),
    ("network_momentum", -1, "greater than or equal to 0"),
    ("network_weight_decay", -1, "greater than or equal to 0"),
    ("network_cutmix", 1.5, "less than or equal to 1"),
    ("network_augmentation", "flp", "unknown augmentation 'flp'"),
    ("engine", "steam", "it should be 'auto', "),
]


@pytest.mark.parametrize(("field", "value", "bound"), OUT_OF_BOUNDS_OF_MATCHING)
def test_a_value_out_of_bounds_is_refused_by_objectives_that_match(field, value, bound):
    for name in ("dc", "dm"):
        if field in METHODS[name].legal({}):
            with pytest.raises(BenchError, match=f"test: field '{field}' cannot be .*{bound}"):
                check_fields(METHODS[name], {field: value}, "test")


def test_every_field_of_objectives_that_match_has_a_bound():
    own = {"dc": set(METHODS["dc"].legal({})), "dm": set(METHODS["dm"].legal({}))}
    tried = {field for field, _, _ in (*OUT_OF_BOUNDS_OF_MATCHING, *OUT_OF_BOUNDS)}
    assert (own["dc"] | own["dm"]) - {"form", "objective"} <= tried


def test_bounds_hold_for_what_a_part_says_of_others(empty_room):
    @OBJECTIVES.register("hasty")
    @dataclass(frozen=True)
    class Hasty(Objective):
        """Wants to go backwards."""

        name: ClassVar[str] = "hasty"
        reference: ClassVar[str] = "a test"
        outer_defaults: ClassVar[dict] = {"outer_lr": -1.0}

        def begin(self, task, student, steps):
            raise NotImplementedError

    method = METHODS["rat_bptt"].build({"form": "full", "objective": "hasty"})
    with pytest.raises(BenchError, match="a test: field 'outer_lr' cannot be -1.0: it should be greater than or equal to 0"):
        check_built(method, "a test")


def test_real_is_another_name_of_random():
    assert settled("random", {"init": "real"}) == settled("random", {"init": "random"}) == settled("random", {})


def test_a_selection_on_features_is_announced_for_every_form():
    resolution = planned("random", DIGITS, "1", {"init": "real"})
    assert resolution.needs == ()
    with restored_registries():

        @SELECTIONS.register("first")
        @on_features
        def first(features, labels, slots, generator):
            return slots

        for form in ("full", "tiles", "mosaic"):
            assert [need.name for need in planned("random", DIGITS, "1", {"form": form, "init": "first"}).needs] == ["features"]
        seeds = {planned("random", DIGITS, "1", {"init": "first", "feature_seeds": 2}, seed=s).needs[0].seed for s in range(4)}
        assert seeds == {0, 1}


@pytest.mark.parametrize(
    ("chosen", "complaint"),
    [
        (torch.tensor([0]), "returns 2 indices"),
        (torch.tensor([0.0, 1.0]), "returns 2 indices"),
        (torch.tensor([-1, 1]), "found -1 to 1"),
        (torch.tensor([0, 3]), "found 0 to 3"),
        (torch.tensor([1, 0]), "of another class"),
    ],
)
def test_a_selection_that_returns_something_else_is_an_error(chosen, complaint):
    with pytest.raises(ValueError, match=complaint):
        checked(chosen, torch.tensor([0, 1, 1]), torch.tensor([0, 1]))


def test_misspelt_defaults_of_an_objective_are_an_error(empty_room):
    @OBJECTIVES.register("hasty")
    @dataclass(frozen=True)
    class Hasty(Objective):
        """Cannot spell."""

        name: ClassVar[str] = "hasty"
        reference: ClassVar[str] = "a test"
        outer_defaults: ClassVar[dict] = {"outer_iteratons": 5}

        def begin(self, task, student, steps):
            raise NotImplementedError

    with pytest.raises(ValueError, match="unknown field 'outer_iteratons' in its outer_defaults; did you mean 'outer_iterations'"):
        METHODS["rat_bptt"].build({"form": "full", "objective": "hasty"})


@pytest.mark.parametrize(
    ("registry", "name", "complaint"),
    [
        (SELECTIONS, "real", "reserved"),
        (OBJECTIVES, "none", "reserved"),
        (FORMS, "a,b]", "cannot be typed"),
        (METHODS, "odd", "is no class Odd.Method."),
        (FORMS, "odd", "is no class Odd.Form."),
    ],
)
def test_what_could_never_be_chosen_is_refused_when_it_registers(empty_room, registry, name, complaint):
    class Odd:
        pass

    with pytest.raises(RegistrationError, match=complaint):
        registry.register(name)(Odd)
    assert name not in registry


def test_versions_of_all_that_decides_are_in_the_identity(monkeypatch):
    def identity():
        return str(settled("random", {"student_steps": 3})[0])

    before = {identity()}
    for owner in (FORMS["full"], SPACES["standard"], SELECTIONS["random"]):
        monkeypatch.setattr(owner, "version", 7, raising=False)
        before.add(identity())
    assert len(before) == 4
