"""Who may import whom, read from the source: nouns <- nn <- judge <- sweep <- contract; report reads records; cli on top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import DATASETS, METHODS, registry

registry.discover()
ROOT = Path(__file__).parent.parent
TOP = ("bench.cli", "bench.library", "bench.__main__")  # what sits on everything else
NOUNS = tuple(f"bench.{file.stem}" for file in (ROOT / "bench").glob("*.py") if f"bench.{file.stem}" not in TOP)
FAMILIES = ("forms", "objectives", "selections", "prerequisites")
FORBIDDEN_NAMES = ("utils", "util", "misc", "helpers", "common", "base")


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def imports(file: Path, lazy: bool = True) -> Iterator[str]:
    """Yield the full name of every module that ``file`` imports; those for type checkers alone are left out.

    Args:
        file: a source file of the project.
        lazy: whether imports inside functions count.
    """
    package = module_name(file) if file.name == "__init__.py" else module_name(file).rpartition(".")[0]
    for node in _nodes(ast.parse(file.read_text(encoding="utf-8")), lazy):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                submodule = ROOT / f"{base}.{alias.name}".replace(".", "/")
                is_module = submodule.with_suffix(".py").is_file() or submodule.is_dir()
                yield f"{base}.{alias.name}" if is_module and base.split(".")[0] in ("bench", "methods", "datasets") else base


def _nodes(tree: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not lazy:
            continue
        yield node
        yield from _nodes(node, lazy)


def own(names: Iterator[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] in ("bench", "methods", "datasets", "run_bench")}


def layer(module: str) -> str:
    if module.startswith(TOP):
        return "top"
    part = module.split(".")[1] if "." in module else ""
    return part if part in ("nn", "decoders", "judge", "foreign", "sweep", "tuning", "contract", "report") else "nouns"


BELOW = {
    "nouns": {"nouns"},
    "nn": {"nouns", "nn"},
    "decoders": {"nouns", "decoders"},
    "judge": {"nouns", "nn", "judge"},
    "foreign": {"nouns", "nn", "decoders", "foreign"},
    "sweep": {"nouns", "nn", "judge", "sweep"},
    "tuning": {"nouns", "nn", "judge", "sweep", "tuning"},
    "contract": {"nouns", "nn", "judge", "sweep", "contract"},
    "report": {"report"},
    "top": {"nouns", "nn", "judge", "sweep", "foreign", "tuning", "contract", "report", "top"},
}
REPORT_READS = {"bench.record", "bench.errors", "bench.keys", "bench.budget", "bench.files"}


@pytest.mark.parametrize("file", sources("bench"), ids=module_name)
def test_bench_imports_only_what_lies_below(file: Path) -> None:
    mine = layer(module_name(file))
    for name in own(imports(file)):
        assert name.split(".")[0] == "bench", f"{module_name(file)} imports the plugin {name}"
        if mine == "report" and name in REPORT_READS:
            continue
        # Plugins are met through their import homes by the registry alone.
        assert layer(name) in BELOW[mine], f"{module_name(file)} ({mine}) imports {name} ({layer(name)})"


@pytest.mark.parametrize("file", sources("bench/report"), ids=module_name)
def test_reports_need_no_torch(file: Path) -> None:
    assert not [name for name in imports(file) if name.split(".")[0] in ("torch", "torchvision", "safetensors")]


def test_nothing_is_imported_in_a_circle() -> None:
    graph = {module_name(file): own(imports(file, lazy=False)) for folder in ("bench", "methods", "datasets") for file in sources(folder)}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"import cycle: {' -> '.join((*path[path.index(module) :], module))}"
        if module in done:
            return
        for name in sorted(graph.get(module, ())):
            # A package and its own modules may know each other: the package's __init__ lists public names.
            if name != module and not module.startswith(f"{name}."):
                visit(name, (*path, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("file", sources("methods") + sources("datasets"), ids=module_name)
def test_plugins_import_the_host_and_shared_parts_only(file: Path) -> None:
    module = module_name(file)
    folder, mine = module.split(".")[:2]
    for name in own(imports(file)):
        parts = name.split(".")
        if parts[0] == "bench":
            assert layer(name) in ("nouns", "nn", "decoders"), f"{module} imports {name}"
            assert parts[1:2] not in (["methods"], ["datasets"]), f"{module} imports {name} by its full name"
        else:
            assert parts[0] == folder, f"{module} imports {name}; methods and data sets do not know each other"
            shared_or_own = len(parts) < 2 or parts[1].startswith("_") or parts[1] in (mine, *FAMILIES)
            assert shared_or_own, f"{module} imports {name}; parts that methods share start with an underscore"


@pytest.mark.parametrize("folder", ["methods", "datasets"])
def test_the_plugin_folders_cannot_shadow_installed_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("file", sources("bench"), ids=module_name)
def test_bench_names_no_plugin(file: Path) -> None:
    """Code may not depend on a plugin's name; examples in sentences and docstrings may show one."""
    names = {*METHODS, *DATASETS} - {"random"}  # "random" is an English word, too
    tree = ast.parse(file.read_text(encoding="utf-8"))
    sentences = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in sentences and " " not in node.value:
            assert node.value not in names, f"{file.name}:{node.lineno} names the plugin {node.value}"


@pytest.mark.parametrize("file", [*sources("bench"), *sources("methods"), *sources("datasets")], ids=module_name)
def test_files_have_one_idea_and_a_name_for_it(file: Path) -> None:
    assert file.stem not in FORBIDDEN_NAMES
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), "every module begins with a docstring"


def test_no_two_public_classes_share_a_name() -> None:
    """Who reads a class's name in a signature or an error has to know which one is meant."""
    homes: dict[str, list[str]] = {}
    for folder in ("bench", "methods", "datasets"):
        for file in sources(folder):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(f"{module_name(file)}:{node.lineno}")
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}
