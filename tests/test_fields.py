"""Fields of parts that others wrote: what declares none that can be used is told so, and bounds written on a field hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from registries import restored_registries

from bench import METHODS, BenchError, registry
from bench.fields import hyperparameters
from bench.library import run_sweep, settings

HEAD = """
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field

from bench import (
    DATASETS, FORMS, METHODS, OBJECTIVES, PARAMETERIZATIONS, PREREQUISITES, SELECTIONS,
    DistilledSet, Form, Method, Objective, Parameterization, Prerequisite, Task, TrainRecipe,
)
from bench.decoders.images import Images
"""

METHOD = """
@METHODS.register("mine")
@dataclass(frozen=True, kw_only=True)
class Mine(Method):
    name: ClassVar[str] = "mine"
    reference: ClassVar[str] = "a test"
    FIELDS

    def distill(self, task):
        return DistilledSet(task.spec, Images(task.spec, task.spec.classes), TrainRecipe(steps=2))
"""


@pytest.fixture(autouse=True)
def _empty_room() -> Iterator[None]:
    with restored_registries():
        yield


def written(folder: Path, text: str) -> str:
    file = folder / "mine.py"
    file.write_text(HEAD + text.replace("FIELDS", ""))
    return str(file)


def plan(folder: Path, text: str, methods: str = "mine", **more: Any) -> Any:
    """Plan one cell of a plugin."""
    given = settings(methods=methods, budgets=1, seeds=1, students=1, no_reference=True, plugin=[written(folder, text)], **more)
    return run_sweep(given, out=folder / "out", dry_run=True).plan.cells


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("@METHODS.register('odd')\ndef odd(task): ...", "method 'odd' of .* is no class Name.Method., so it is no method; derive it"),
        ("METHODS.register('odd')(3)", "is no class Name.Method."),
        ("@METHODS.register('odd')\nclass Odd:\n    def distill(self, task): ...", "is no class Odd.Method."),
        ("@METHODS.register('odd')\n@dataclass(frozen=True)\nclass Odd(Method):\n    name = 'odd'", "lacks distill.., which every method"),
        (METHOD.replace('name: ClassVar[str] = "mine"', "name = 'other'"), "has the name 'other'; let both agree: name = 'mine'"),
        (METHOD.replace('name: ClassVar[str] = "mine"', ""), "has the name None; let both agree"),
        ("@FORMS.register('odd')\n@dataclass(frozen=True)\nclass Odd(Method):\n    name = 'odd'", "is no class Odd.Form."),
        ("@FORMS.register('odd')\nclass Odd(Form):\n    name = 'odd'", "lacks empty.., which every form has"),
        ("@OBJECTIVES.register('odd')\nclass Odd(Objective):\n    name = 'odd'", "lacks begin.., which every objective has"),
        ("@PREREQUISITES.register('odd')\nclass Odd(Prerequisite):\n    name = 'odd'", "lacks build.., which every prerequisite has"),
        ("@PARAMETERIZATIONS.register('odd')\nclass Odd(torch.nn.Module):\n    name = 'odd'", "is no class Odd.Parameterization."),
        ("SELECTIONS.register('odd')([1, 2])", "selection 'odd' of .* is a list; register a function"),
        ("DATASETS.register('odd')('a text')", "data set 'odd' of .* is a str; register a function"),
        ("METHODS.register(3)(Method)", "method '3' of .* cannot be typed"),
    ],
)
def test_what_is_of_another_kind_is_refused_when_it_registers(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BenchError, match=f"plugin file .*mine.py' does not load: .*{complaint}"):
        registry.load_plugin_file(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            METHOD.replace("@dataclass(frozen=True, kw_only=True)", ""),
            "'mine' is no frozen dataclass; write @dataclass.frozen=True.",
        ),
        (METHOD.replace("frozen=True, ", ""), "method 'mine' is no frozen dataclass"),
        (METHOD.replace("FIELDS", "size: object = object()"), "the default of field 'size' of method 'mine' cannot be <object .*no plain"),
        (
            METHOD.replace("FIELDS", "size: Any = float('nan')"),
            "the default of field 'size' .* cannot be nan: it must be finite",
        ),
        (METHOD.replace("FIELDS", "size: torch.Tensor = None"), "method 'mine': a field of type .*Tensor.* cannot be set from outside"),
        (
            METHOD.replace("FIELDS", "size: int = 'x'"),
            "the default of field 'size' .* cannot be 'x': it should be a whole number",
        ),
        (METHOD.replace("FIELDS", "size: Annotated[int, Field(ge=1)] = 0"), "the default of field 'size' .* cannot be 0: .* equal to 1"),
        (METHOD.replace("FIELDS", "size: 'NoSuchType' = 1"), "the types of the fields of method 'mine' cannot be read .NameError"),
        (METHOD.replace("FIELDS", "size: int"), "method 'mine' does not accept these hyper-parameters: .*size"),
        (
            METHOD.replace("FIELDS", "") + "\n@METHODS.register('yours')\nclass Yours(Mine):\n    name = 'yours'\n    size: int = 1\n",
            "'size' of method 'yours' is no field of it; write @dataclass.frozen=True. above its class Yours",
        ),
    ],
)
def test_a_class_whose_fields_cannot_be_used_is_refused_while_planning(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BenchError, match=complaint):
        plan(tmp_path, text, "yours" if "yours" in text else "mine")


def test_a_field_without_a_type_is_no_field(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="mine has no field 'size'"):
        plan(tmp_path, METHOD.replace("FIELDS", "size = 3"), "mine[size=4]")


BOUNDED = METHOD.replace(
    "FIELDS",
    "size: Annotated[int, Field(ge=1, le=9)] = 5\n    share: Annotated[float, Field(gt=0, le=1)] = 1.0\n    kind: Literal['a', 'b'] = 'a'",
)


@pytest.mark.parametrize(
    ("brackets", "complaint"),
    [
        ("size=0", "method 'mine.size=0.': field 'size' cannot be 0: it should be greater than or equal to 1"),
        ("size=[9,10]", "field 'size' cannot be 10: it should be less than or equal to 9"),
        ("share=0", "field 'share' cannot be 0: it should be greater than 0"),
        ("share=.nan", "field 'share' cannot be nan: it must be finite"),
        ("kind=c", "field 'kind' cannot be 'c': it should be 'a' or 'b'"),
    ],
)
def test_bounds_written_on_a_plain_method_are_kept(tmp_path: Path, brackets: str, complaint: str) -> None:
    with pytest.raises(BenchError, match=complaint):
        plan(tmp_path, BOUNDED, f"mine[{brackets}]")


def test_bounds_are_kept_in_recipe_files_and_set(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="set 'mine': field 'size' cannot be 10"):
        plan(tmp_path, BOUNDED, set={"mine": {"size": 10}})
    (tmp_path / "mine.yaml").write_text("- {set: {share: 2}, source: nowhere}\n")
    with pytest.raises(BenchError, match="mine.yaml rule 1: field 'share' cannot be 2: it should be less than or equal to 1"):
        plan(tmp_path, BOUNDED)


def test_a_value_within_its_bounds_is_planned_with_its_declared_type(tmp_path: Path) -> None:
    (cell,) = plan(tmp_path, BOUNDED, "mine[size=9,share=1,kind=b]")
    assert cell.cell.fields == {"size": 9, "share": 1.0, "kind": "b"}


def test_bounds_stay_in_the_type_of_a_hyper_parameter(tmp_path: Path) -> None:
    registry.load_plugin_file(written(tmp_path, BOUNDED))
    size = METHODS["mine"].legal({})["size"]
    assert "Ge(ge=1)" in str(size.type)
    assert (size.default, size.owner) == (5, "method 'mine'")
    assert hyperparameters(METHODS["mine"], "method 'mine'") == METHODS["mine"].legal({})


TUPLES = METHOD.replace(
    "FIELDS",
    "sizes: tuple[int, int] = (1, 2)\n    words: tuple[str, ...] = ('a',)\n    pairs: tuple[tuple[int, int], ...] = ()\n"
    "    maybe: tuple[int, int] | None = None\n    either: tuple[int, int] | str = 'auto'",
)


@pytest.mark.parametrize(
    ("brackets", "fields"),
    [
        ("sizes='[4,6]'", {"sizes": [4, 6]}),
        ('sizes="[4, 6]"', {"sizes": [4, 6]}),
        ("sizes='(4,6)'", {"sizes": [4, 6]}),
        ("sizes=(4,6)", {"sizes": [4, 6]}),
        ("sizes=[[4,6]]", {"sizes": [4, 6]}),
        ("words=(x,y,z)", {"words": ["x", "y", "z"]}),
        ("words=\"['a,b','1']\"", {"words": ["a,b", "1"]}),
        ("words=('1',two)", {"words": ["1", "two"]}),
        ("words=()", {"words": []}),
        ("pairs=([1,2],[3,4])", {"pairs": [[1, 2], [3, 4]]}),
        ("maybe=(8,8)", {"maybe": [8, 8]}),
        ("maybe=null", {"maybe": None}),
        ("either=[[8,8]]", {"either": [8, 8]}),
        ("either='(8,8)'", {"either": "(8,8)"}),
    ],
)
def test_a_tuple_is_typed_in_brackets_and_its_label_can_be_typed_again(tmp_path: Path, brackets: str, fields: dict[str, Any]) -> None:
    (cell,) = plan(tmp_path, TUPLES, f"mine[{brackets}]")
    assert cell.cell.fields.items() >= fields.items()
    (again,) = plan(tmp_path, TUPLES, cell.cell.label)
    assert (again.key, again.cell.label) == (cell.key, cell.cell.label)


def test_a_grid_of_tuples_is_one_cell_for_each(tmp_path: Path) -> None:
    for brackets in ("sizes=[[4,6],[8,8]]", "sizes=[(4,6),(8,8)]", "sizes=['[4,6]','[8,8]']"):
        cells = plan(tmp_path, TUPLES, f"mine[{brackets}]")
        assert [cell.cell.fields["sizes"] for cell in cells] == [[4, 6], [8, 8]]
        again = plan(tmp_path, TUPLES, ",".join(cell.cell.label for cell in cells))
        assert [cell.key for cell in again] == [cell.key for cell in cells]


@pytest.mark.parametrize("field", ["sizes", "words", "maybe"])
def test_an_element_for_a_tuple_says_how_a_tuple_is_written(tmp_path: Path, field: str) -> None:
    with pytest.raises(BenchError, match=rf"field '{field}' cannot be 4: .*; a list in brackets is a grid, so write a tuple like \(4,6\)"):
        plan(tmp_path, TUPLES, f"mine[{field}=[4,6]]")


def test_a_tuple_of_set_is_shown_so_that_it_can_be_typed_again(tmp_path: Path) -> None:
    (cell,) = plan(tmp_path, TUPLES, set={"mine": {"sizes": [4, 6], "words": ["a,b", "c"]}})
    assert cell.cell.label == 'mine[sizes=[[4,6]],words=[["a,b","c"]]]'
    (again,) = plan(tmp_path, TUPLES, cell.cell.label)
    assert again.key == cell.key
