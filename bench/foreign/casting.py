"""Which array of some files plays which part: images, labels, a learned rate; and what takes no part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data import Spec
from ..errors import BenchError, unknown_name
from .contents import Contents, NamedArray, names_of
from .options import Options
from .shapes import Shaped, shaped_images

_OPTIMIZER = re.compile(r"opt|optim|optimi[sz]er\w*|opt_state|exp_avg\w*|momentum\w*|mu|nu", re.IGNORECASE)
_SECOND = re.compile(r"ema\w*", re.IGNORECASE)
_LABEL = re.compile(r"label|target|(^|[._])(y|ys|y_\w+|\w+_y)$", re.IGNORECASE)
_RATE = re.compile(r"(^|[._])(\w*lr\w*|\w*learning_?rate\w*|alpha)$", re.IGNORECASE)


@dataclass(frozen=True)
class Cast:
    """The parts.

    Attributes:
        shaped: all images, of all files.
        image_names: the arrays they come from.
        labels: (n,) or (n, k), of all files; ``None`` if there are none.
        label_name: the arrays they come from.
        label_array: (C, h, w) label array of a poster.
        rate: learned learning rate.
        evidence: sentences.
        left_out: what takes no part, and why.
    """

    shaped: Shaped
    image_names: str
    labels: np.ndarray | None
    label_name: str
    label_array: np.ndarray | None
    rate: float | None
    evidence: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass
class _Casting:
    """Casts one release; what is not taken is noted in ``left_out``."""

    spec: Spec
    options: Options
    left_out: list[str] = field(default_factory=list)
    rates: list[NamedArray] = field(default_factory=list)

    def images_of(self, contents: Contents) -> tuple[list[tuple[NamedArray, Shaped]], list[NamedArray]]:
        """Split the arrays of a file into its images, one array at most, and those that may be labels."""
        candidates: list[tuple[NamedArray, Shaped]] = []
        others: list[NamedArray] = []
        for array in contents.arrays:
            shaped = shaped_images(array.values, self.spec, self.options.flat)
            if _lies_in(array, _OPTIMIZER) and array.name not in (self.options.images, self.options.label_array):
                self.left_out.append(f"{array.about} is state of an optimizer; it is not counted")
            elif array.values.size == 1 and not (array.values.ndim and _LABEL.search(array.name)):
                self._single(array)
            elif shaped is not None:
                candidates.append((array, shaped))
            else:
                others.append(array)
        return self._one_of(candidates, contents), others

    def _single(self, array: NamedArray) -> None:
        value = float(array.values.reshape(()))
        if _RATE.search(array.name) and 0 < value < np.inf:
            self.rates.append(array)
        else:
            self.left_out.append(f"{array.name} = {value:g} is a number beside the images; it is not used")

    def rate(self) -> NamedArray | None:
        """Return the learned rate, if there is one; several numbers may have the name of one.

        Raises:
            BenchError: they differ, and nobody said the rate.
        """
        if len({float(array.values.reshape(())) for array in self.rates}) > 1 and "lr" not in self.options.recipe:
            found = " and ".join(f"{array.name} = {float(array.values.reshape(())):g}" for array in self.rates)
            raise BenchError(f"several numbers could be the learned rate: {found}; say --recipe lr=..., which takes their place")
        return self.rates[0] if self.rates else None

    def _one_of(self, candidates: list[tuple[NamedArray, Shaped]], contents: Contents) -> list[tuple[NamedArray, Shaped]]:
        """Return the array that holds the images of a file: the one that was named, or the only one but for its copies."""
        if self.options.images and candidates:
            chosen = [each for each in candidates if each[0].name == self.options.images]
            for array, _ in candidates:
                if array.name != self.options.images and chosen:
                    self.left_out.append(f"{array.about} holds images, too; --images names others")
            if not chosen:
                raise unknown_name("array of images", self.options.images, {array.name for array, _ in candidates})
            return chosen
        kept: list[tuple[NamedArray, Shaped]] = []
        first_hand = [each for each in candidates if not _lies_in(each[0], _SECOND)]
        for each in first_hand or candidates:
            copy = next((array for array, _ in kept if np.array_equal(array.values, each[0].values)), None)
            if copy is None:
                kept.append(each)
            else:
                self.left_out.append(f"{each[0].about} is a second copy of {copy.name}; it is not counted")
        for array, _ in candidates if first_hand else ():
            if _lies_in(array, _SECOND):
                self.left_out.append(
                    f"{array.about} is a second copy, averaged along the way; it is not counted (--images {array.name} takes it)"
                )
        if len(kept) > 1:
            names = ", ".join(array.about for array, _ in kept)
            raise BenchError(
                f"several arrays of {contents.path.name} could be the images: {names}; say --images {kept[0][0].name}, for one"
            )
        return kept

    def labels_of(self, arrays: Sequence[NamedArray], images: int) -> NamedArray | None:
        """Return which array of a file holds labels, of so many images where the file has images, too."""
        fitting = [array for array in map(_squeezed, arrays) if array.values.ndim in (1, 2) and (not images or len(array.values) == images)]
        if self.options.label_array:
            named = [array for array in map(_squeezed, arrays) if array.name == self.options.label_array]
            self.leave_out(arrays, named)
            return named[0] if named else None
        hinted = [array for array in fitting if _LABEL.search(array.name)]
        numbered = [array for array in fitting if array.values.ndim == 2 or _is_whole(array.values)]
        chosen = self._first_hand(hinted or numbered)
        if len(chosen) > 1:
            raise BenchError(
                f"several arrays of {chosen[0].file} could be the labels: {', '.join(array.about for array in chosen)}; "
                f"say --label-array {chosen[0].name}, for one"
            )
        self.leave_out(arrays, chosen)
        return chosen[0] if chosen else None

    def _first_hand(self, candidates: list[NamedArray]) -> list[NamedArray]:
        """Leave out labels that are a copy of others."""
        kept: list[NamedArray] = []
        for array in [each for each in candidates if not _lies_in(each, _SECOND)] or candidates:
            if not any(np.array_equal(other.values, array.values) for other in kept):
                kept.append(array)
        return kept

    def leave_out(self, arrays: Sequence[NamedArray], used: Sequence[NamedArray] = ()) -> None:
        """Note which arrays take no part."""
        names = {array.name for array in used}
        self.left_out += [f"{array.about} is neither images nor labels; it is not used" for array in arrays if array.name not in names]


def cast_parts(release: Sequence[Contents], spec: Spec, options: Options) -> Cast:
    """Find images and labels in the files of one set, and join those of several files in the order in which these were given.

    Raises:
        BenchError: there are no images, several arrays could be the images, the labels or the rate, or parts do not fit together.
    """
    casting = _Casting(spec, options)
    images: list[tuple[NamedArray, Shaped]] = []
    labels: list[NamedArray] = []
    grids: list[NamedArray] = []
    for contents in release:
        own, others = casting.images_of(contents)
        images += own
        grids += [array for array in others if _is_label_grid(array, spec)]
        rest = [array for array in others if not _is_label_grid(array, spec)]
        found = casting.labels_of(rest, sum(len(shaped.images) for _, shaped in own if shaped.layout == "images"))
        labels += [found] if found is not None else []
    shaped = _joined(images, release, spec)
    if shaped.layout != "poster":
        casting.leave_out(grids)
        grids = []
    if len(grids) > 1:
        raise BenchError(f"{names_of(grids)} look like label arrays of posters, and one poster has at most one; give the files of one set")
    if options.label_array and not any(array.name == options.label_array for array in labels):
        raise unknown_name("array of labels", options.label_array, [array.name for contents in release for array in contents.arrays])
    joined = np.concatenate([array.values for array in labels]) if labels and _can_join(labels) else None
    if joined is not None and len(joined) != len(shaped.images) and shaped.layout == "images":
        raise BenchError(f"there are {len(shaped.images)} images and {len(joined)} labels ({names_of(labels)}); give all files of the set")
    rate = casting.rate()
    evidence = [f"learned rate: {rate.name} = {float(rate.values.reshape(())):g}"] if rate else []
    return Cast(
        shaped=shaped,
        image_names=names_of([array for array, _ in images]),
        labels=joined,
        label_name=names_of(labels),
        label_array=grids[0].values.reshape(grids[0].values.shape[-3:]) if grids else None,
        rate=float(rate.values.reshape(())) if rate else None,
        evidence=tuple(evidence),
        left_out=tuple(casting.left_out),
    )


def _joined(images: Sequence[tuple[NamedArray, Shaped]], release: Sequence[Contents], spec: Spec) -> Shaped:
    """Join the images of several files."""
    if not images:
        arrays = ", ".join(array.about for contents in release for array in contents.arrays[:20])
        shape = "x".join(map(str, spec.shape))
        raise BenchError(f"no array can be images of {shape}, as {spec.name} has them; found are {arrays}")
    shapes = {(shaped.layout, shaped.images.shape[1:], shaped.images.dtype.kind) for _, shaped in images}
    if len(shapes) > 1 or (len(images) > 1 and images[0][1].layout == "poster"):
        found = ", ".join(array.about for array, _ in images)
        raise BenchError(f"the images of several files do not fit together: {found}; give the files of one set")
    first = images[0][1]
    if len(images) == 1:
        return first
    joined = np.concatenate([shaped.images for _, shaped in images])
    each = ", ".join(f"{len(shaped.images)} of {array.file}" for array, shaped in images)
    return Shaped(first.layout, joined, f"{len(joined)} images joined: {each}; each {first.evidence}", first.question)


def _can_join(labels: Sequence[NamedArray]) -> bool:
    if len({array.values.shape[1:] for array in labels}) == 1:
        return True
    raise BenchError(
        f"the labels of several files do not fit together: {', '.join(array.about for array in labels)}; give the files of one set"
    )


def _lies_in(array: NamedArray, kind: re.Pattern[str]) -> bool:
    """Tell whether a part of the path to an array inside its file has such a name; how the file is called tells nothing."""
    return array.name != Path(array.file).stem and any(kind.fullmatch(part) for part in array.name.split("."))


def _squeezed(array: NamedArray) -> NamedArray:
    """Return a column of labels as a row of them."""
    values = array.values
    return NamedArray(array.name, values[:, 0], array.file) if values.ndim == 2 and values.shape[1] == 1 else array


def _is_whole(values: np.ndarray) -> bool:
    return values.dtype.kind in "bui" or bool((np.isfinite(values) & (values == np.floor(values))).all())


def _is_label_grid(array: NamedArray, spec: Spec) -> bool:
    """Tell whether an array may be the learned label array (C, h, w) of a poster."""
    shape = array.values.shape
    return (len(shape) == 4 and shape[:2] == (1, spec.classes)) or (len(shape) == 3 and shape[0] == spec.classes)
