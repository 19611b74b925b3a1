"""Hyper-parameters: class default < rules of the recipe file < ``--config`` < ``--set`` < brackets."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from .errors import BenchError, cut, did_you_mean, shorten
from .record_parts import Reported
from .schema import in_words
from .yaml_text import read_yaml_file

if TYPE_CHECKING:
    from .method import Method

_MOST_IPC = 1e9


_REPORTED = TypeAdapter(Reported)


@dataclass(frozen=True)
class Rule:
    """One entry of a recipe file: when it applies, what it sets or what was published, and where the numbers come from.

    Attributes:
        dataset: exact name, or ``None`` for any.
        ipc: closed range of images per class, or ``None`` for any.
        set: field -> value.
        source: where the values come from (a paper's table, ``tuned on val``, ...).
        trials: how many settings were tried on val to find them; ``None`` for values that somebody else has published.
        parts: kind of part (``form``, ``objective``) -> names for which the rule holds; by default the method's own, so
            that another objective never counts as tuned by this one's rule.
        published: what the method reached elsewhere, to stand beside what it reaches here; such a rule sets nothing.
    """

    dataset: str | None
    ipc: tuple[float, float] | None
    set: Mapping[str, Any]
    source: str
    trials: int | None = None
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    published: Reported | None = None

    @property
    def tuned(self) -> bool:
        """Whether somebody tuned the values: here on val, or whoever published them; ``trials: 0`` says that nobody did."""
        return self.published is None and self.trials != 0

    def matches(self, dataset: str, ipc: float, chosen: Mapping[str, Any] | None = None) -> bool:
        """Tell whether the rule applies to a data set at a number of images per class with the chosen parts."""
        in_range = self.ipc is None or self.ipc[0] - 1e-9 <= ipc <= self.ipc[1] + 1e-9
        fitting = all((chosen or {}).get(axis) in names for axis, names in self.parts.items())
        return in_range and fitting and self.dataset in (None, dataset)


@dataclass(frozen=True)
class ResolvedRecipe:
    """The hyper-parameters of one method on one data set at one budget.

    Attributes:
        values: field -> value, only those that differ from the class's own defaults or were set explicitly.
        sources: the ``source`` of every rule that applied.
        tuned: whether somebody tuned the values of any rule that applied; otherwise the row is marked untuned.
        trials: settings tried on val for these rules.
        published: what was published for this data set and budget: ``accuracy`` and maybe ``spread`` in per cent, and
            ``source``.
    """

    values: dict[str, Any]
    sources: tuple[str, ...]
    tuned: bool
    trials: int
    published: tuple[dict[str, Any], ...] = ()


def recipe_path(method: type) -> Path:
    """Return where the recipe file of a method belongs: ``recipes.yaml`` in its folder, ``<module>.yaml`` beside its file."""
    module = Path(inspect.getfile(method))
    return module.parent / "recipes.yaml" if module.name == "__init__.py" else module.with_suffix(".yaml")


def recipe_file(method: type) -> Path | None:
    """Return the recipe file of a method, or ``None`` if it has none."""
    candidate = recipe_path(method)
    return candidate if candidate.is_file() else None


def load_rules(method: type[Method]) -> tuple[Rule, ...]:
    """Read and check the recipe file of a method class.

    Raises:
        BenchError: a rule has an unknown key, or sets a field that the method lacks or a value of the wrong type.
    """
    file = recipe_file(method)
    if file is None:
        return ()
    raw = read_yaml_file(file, "recipe file") or []
    if not isinstance(raw, list):
        raise BenchError(f"{file} must be a list of rules, found {type(raw).__name__}")
    return tuple(_read_rule(entry, method, f"{file.name} rule {number}") for number, entry in enumerate(raw, start=1))


def _read_rule(entry: Any, method: type[Method], where: str) -> Rule:
    if not isinstance(entry, dict):
        raise BenchError(f"{where} must be a mapping with when, set and source, found {type(entry).__name__}")
    _known_keys(entry, ("when", "set", "published", "source", "trials"), where)
    when, values = entry.get("when") or {}, entry.get("set") or {}
    if not isinstance(when, dict) or not isinstance(values, dict):
        raise BenchError(f"{where}: when and set must be mappings, found {shorten(when)} and {shorten(values)}")
    _known_keys(when, ("dataset", "ipc", *method.axes), f"{where}, when")
    if not isinstance(when.get("dataset"), (str, type(None))):
        raise BenchError(f"{where}: dataset must be one name, found {shorten(when['dataset'])}; write one rule per data set")
    if not isinstance(entry.get("source"), str):
        raise BenchError(f"{where} needs a source: say where its values come from")
    trials = entry.get("trials")
    if trials is not None and (type(trials) is not int or trials < 0):
        raise BenchError(f"{where}: trials must be a whole number of at least 0, found {shorten(trials)}")
    published = _read_published(entry, where) if "published" in entry else None
    parts = {axis: _read_parts(when.get(axis), axis, method, where) for axis in method.axes}
    for combination in itertools.product(*parts.values()):
        try:
            method.legal(dict(zip(parts, combination, strict=True)))
        except BenchError as error:
            raise BenchError(f"{where}: {error}") from error
        checked = check_fields(method, values, where, dict(zip(parts, combination, strict=True)))
    return Rule(when.get("dataset"), _read_range(when.get("ipc"), where), checked, entry["source"], trials, parts, published)


def _read_published(entry: Mapping[str, Any], where: str) -> Reported:
    """Return what an entry says of a published number, which belongs to one data set at one budget."""
    when = entry.get("when") or {}
    if entry.get("set") or "trials" in entry:
        raise BenchError(f"{where}: an entry with a published number sets nothing; write set and trials in one of its own")
    if not isinstance(when.get("dataset"), str) or type(when.get("ipc")) not in (int, float):
        raise BenchError(f"{where}: a published number needs a data set and one number of images per class in when, found {shorten(when)}")
    try:
        return _REPORTED.validate_python(entry["published"])
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, ("published", *problem["loc"])))
        raise BenchError(
            f"{where}: {place} is wrong: {in_words(problem['msg'])}; write it like {{accuracy: 53.2, spread: 0.7}}, in per cent"
        ) from error


def _read_parts(named: Any, axis: str, method: type[Method], where: str) -> tuple[str, ...]:
    """Return the parts of one kind for which a rule holds."""
    if named is None:
        return tuple(dict.fromkeys(str(choice[axis]) for choice in method.candidates({})))
    names = named if isinstance(named, list) else [named]
    if not names or not all(isinstance(name, str) for name in names):
        raise BenchError(f"{where}: {axis} must be a name or a list of names, found {shorten(named)}")
    return tuple(names)


def _read_range(ipc: Any, where: str) -> tuple[float, float] | None:
    if ipc is None:
        return None
    bounds = ipc if isinstance(ipc, list) else [ipc, ipc]
    if len(bounds) != 2 or not all(type(b) in (int, float) for b in bounds) or not 0 <= bounds[0] <= bounds[1] <= _MOST_IPC:
        raise BenchError(f"{where}: ipc must be a number or a closed range [low, high] from 0 to {_MOST_IPC:g}, found {shorten(ipc)}")
    return float(bounds[0]), float(bounds[1])


def _known_keys(mapping: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in mapping:
        if key not in known:
            raise BenchError(f"{where} has the unknown key {shorten(str(key))}{did_you_mean(str(key), known)} (known: {', '.join(known)})")


def check_fields(method: type[Method], values: Mapping[str, Any], where: str, chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check names, types and bounds of hyper-parameters against the fields of a method and return them converted.

    Args:
        method: the method's class.
        values: field -> value; aliases are replaced by the names they stand for.
        where: begins the message.
        chosen: parts the method is made of, where ``values`` do not say.

    Raises:
        BenchError: unknown field (with the closest name, and the part it belongs to), or a value that does not fit it.
    """
    values = check_parts(method, values, where)
    known = method.legal({**(chosen or {}), **{axis: values[axis] for axis in method.axes if axis in values}})
    checked = {}
    for key, value in values.items():
        if key not in known:
            raise BenchError(f"{where}: {_not_a_field(method, str(key), known)}")
        checked[key] = known[key].read(value, f"{where}: field '{key}'")
    return checked


def check_parts(method: type[Method], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Replace aliases by the names they stand for, and see that the fields that choose parts hold names.

    Raises:
        BenchError: a field is set under two names, or a part is chosen by something else than a name.
    """
    named: dict[str, Any] = {}
    for key, value in values.items():
        name = method.aliases.get(key, key)
        if name in named:
            raise BenchError(f"{where}: {key} is another name of a field that is set, too ({name}); set it once")
        if name in method.axes and not isinstance(value, str):
            raise BenchError(f"{where}: {key} names a part, such as {method.candidates({})[0][name]}, found {shorten(value)}")
        named[name] = value
    return named


def _not_a_field(method: type[Method], key: str, known: Mapping[str, Any]) -> str:
    if home := method.belongs_to(key):
        return f"'{key}' is a field of {home}, which is no part of this {method.name}"
    return f"{method.name} has no field '{cut(key)}'{did_you_mean(key, known)} (fields: {', '.join(known)})"


def check_built(method: Method, where: str) -> None:
    """Check all fields of a method that is put together: defaults of its parts may contradict the bounds of others.

    Raises:
        BenchError: a value does not fit its field; begins with ``where``.
    """
    known = type(method).legal(method.parts())
    for key, value in method.values().items():
        if key in known:
            known[key].read(value, f"{where}: field '{key}'")


def resolve_recipe(
    method: type[Method],
    dataset: str,
    ipc: float,
    *overrides: Mapping[str, Any],
    chosen: Mapping[str, Any] | None = None,
    rules: Sequence[Rule] | None = None,
) -> ResolvedRecipe:
    """Stack the rules that match and then the overrides (config, ``--set``, brackets), later ones winning.

    Args:
        method: the method's class.
        dataset: registered name.
        ipc: granted images per class.
        overrides: layers of explicit fields.
        chosen: one of ``method.candidates``: the parts it is made of. By default the first of its own.
        rules: those of the method's file, for a caller that has read them.

    Raises:
        BenchError: an unknown field or a value of the wrong type anywhere.
    """
    parts = dict(method.candidates({})[0] if chosen is None else chosen)
    values: dict[str, Any] = {}
    fitting = [rule for rule in (load_rules(method) if rules is None else rules) if rule.matches(dataset, ipc, parts)]
    published = tuple({**rule.published, "source": rule.source} for rule in fitting if rule.published)
    setting = [rule for rule in fitting if rule.published is None]
    for rule in setting:
        values.update(rule.set)
    for layer in overrides:
        values.update(check_fields(method, layer, f"method '{method.name}'", parts))
    return ResolvedRecipe(
        values={**values, **parts},
        sources=tuple(rule.source for rule in setting),
        tuned=any(rule.tuned for rule in setting),
        trials=sum(rule.trials or 0 for rule in setting),
        published=published,
    )
