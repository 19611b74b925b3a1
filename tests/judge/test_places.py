"""A plugin gets one verdict wherever it lies: given by ``--plugin``, or put into the suite's folder of methods."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from registries import restored_registries

import bench.methods
from bench import PARAMETERIZATIONS, Budget, Dataset, DistilledSet, RejectedSet, TrainRecipe, registry
from bench.judge.audit import audit
from bench.judge.decoding import load_closed
from bench.judge.ownership import SHARED_PARTS
from bench.registry import load_plugin_file

from .cheats import HONEST

METHODS = Path(bench.methods.__path__[0])
#: 160 numbers: more than a program needs in one place.
TABLE = f"TABLE = [{', '.join(str(k % 7 / 7)[:5] for k in range(160))}]"


@pytest.fixture(autouse=True)
def forget(plugins: None) -> Iterator[None]:
    modules = set(sys.modules)
    with restored_registries():
        yield
    for name in set(sys.modules) - modules:
        if "stash" in name or "placed" in name:
            del sys.modules[name]


Place = Callable[[str], None]


@pytest.fixture(params=["by --plugin", "in methods/"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Put a plugin's text into one of the two places and import it."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def put(text: str) -> None:
        file = folder / "placed.py"
        file.write_text(text.replace("NAME", "placed"))
        if request.param == "by --plugin":
            load_plugin_file(str(file))
        else:
            importlib.import_module("bench.methods.placed")

    if request.param == "in methods/":
        monkeypatch.setattr(bench.methods, "__path__", [str(METHODS), str(folder)])
    return put


def verdict(dataset: Dataset, folder: Path, budget: Budget) -> dict[str, object]:
    """Make a set of the plugin's decoder, and let it go the way of every set."""
    made = PARAMETERIZATIONS["placed"](dataset.spec, 4)
    with torch.no_grad():
        made.images.copy_(dataset.train.unit_images(torch.arange(4)))
    DistilledSet(dataset.spec, made, TrainRecipe()).save(folder)
    return audit(load_closed(folder, dataset.spec), budget)


def using(*lines: str) -> str:
    return HONEST.replace("# PRELUDE", "\n".join(lines))


HONEST_IMPORTS = {
    "nothing": (),
    "the product": ("from bench.methods._product import Product",),
    "the unroll": ("from bench.methods._unroll import InnerAdam", "from bench.methods._unroll.compiled import CompiledGradients"),
    "a method of the suite": ("from bench.methods.podd import PoDD",),
    "a form and an objective": ("from bench.methods.forms import poster", "from bench.methods.objectives.bptt import TruncatedBPTT"),
    "a decoder of the suite": ("from bench.decoders.images import Images",),
}


@pytest.mark.parametrize("imports", HONEST_IMPORTS)
def test_a_plugin_may_use_the_suites_own_parts_in_both_places(
    imports: str, place: Place, tmp_path: Path, bars: Dataset, budget: Budget
) -> None:
    place(using(*HONEST_IMPORTS[imports]))
    assert verdict(bars, tmp_path / "set", budget)["pixels"] == 4 * 64


def test_a_table_in_the_plugin_is_found_in_both_places(place: Place, tmp_path: Path, bars: Dataset, budget: Budget) -> None:
    place(using("from bench.methods._product import Product", TABLE))
    with pytest.raises(RejectedSet, match="holds more than 128 numbers"):
        verdict(bars, tmp_path / "set", budget)


#: Where a table may be put beside a plugin: file -> how the plugin imports it.
HELPERS = {
    "plugins/stash.py": "import stash",
    "plugins/stashes/inner/stash.py": "from stashes.inner import stash",
    "elsewhere/stash_elsewhere.py": "import stash_elsewhere",
    "methods/_stash.py": "from bench.methods import _stash",
    "methods/forms/_stash.py": "from bench.methods.forms import _stash",
    "methods/_unroll/stash.py": "from bench.methods._unroll import stash",
}


@pytest.mark.parametrize("where", HELPERS)
def test_a_table_in_a_helper_is_found_in_both_places(
    where: str, place: Place, tmp_path: Path, bars: Dataset, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / where
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'"""Numbers."""\n{TABLE}\n')
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    packages = {bench.methods: ".", importlib.import_module("bench.methods.forms"): "forms"}
    packages[importlib.import_module("bench.methods._unroll")] = "_unroll"
    for package, below in packages.items():
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "methods" / below)])
    place(using(HELPERS[where]))
    with pytest.raises(RejectedSet, match=r"stash\w* holds (more than 128|a literal of 160) numbers"):
        verdict(bars, tmp_path / "set", budget)


def test_a_helper_that_is_imported_only_to_decode_is_found_in_both_places(
    place: Place, tmp_path: Path, bars: Dataset, budget: Budget
) -> None:
    (tmp_path / "plugins" / "late_stash.py").write_text(f'"""Numbers."""\n{TABLE}\n')
    place(HONEST.replace("# DECODE", "import late_stash"))
    with pytest.raises(RejectedSet, match=r"late_stash holds (more than 128|a literal of 160) numbers"):
        verdict(bars, tmp_path / "set", budget)


def test_a_helper_without_program_text_is_refused_in_both_places(
    place: Place, tmp_path: Path, bars: Dataset, budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stash", types.ModuleType("stash"))
    place(using("import stash"))
    with pytest.raises(RejectedSet, match=re.escape("the program text of stash is not there")):
        verdict(bars, tmp_path / "set", budget)


def test_shared_parts_are_files_of_the_suite_and_whole() -> None:
    """A name without a file would vouch for whatever is dropped there; what shared parts import is shared, too."""
    registry.discover()
    for name in SHARED_PARTS:
        module = importlib.import_module(name)
        assert module.__file__ is not None
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                parents = (module.__package__ or "").split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])
                loaded = {base, *(f"{base}.{alias.name}" for alias in node.names)} & set(sys.modules)
                assert {one for one in loaded if "._" in one} <= SHARED_PARTS
