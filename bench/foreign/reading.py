"""A released set as it can be understood: what is certain, what speaks for it, and what has to be said by somebody who knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..data import Spec
from ..errors import BenchError
from .casting import Cast, cast_parts
from .contents import finite_in_float32
from .labels import check_given, guess_labels
from .opening import Release
from .options import Options
from .pixel_space import contradiction, guess_space
from .questions import Question
from .real_pixels import RealPixels
from .shapes import Layout, guess_class_grid, guess_tiles

_POSTER_LABELS = ("fixed", "proportional")


@dataclass(frozen=True)
class Reading:
    """What some files are.

    Attributes:
        spec: the data set.
        release: the files.
        layout: ``images`` or ``poster``.
        images: (n, c, h, w) as stored; a poster has n = 1.
        labels: (n,) or (n, C) as stored, or ``None`` where they go by order or by geometry.
        label_array: (C, h, w) of a poster, or ``None``.
        options: everything that is known: what was said, and what the numbers say beyond doubt.
        rate: learned learning rate, or ``None``.
        evidence: (about what, sentence).
        left_out: what in the files takes no part.
        questions: what must be said before the set can be used.
        warnings: what speaks against something that was said.
    """

    spec: Spec
    release: Release
    layout: Layout
    images: np.ndarray
    labels: np.ndarray | None
    label_array: np.ndarray | None
    options: Options
    rate: float | None
    evidence: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]
    questions: tuple[Question, ...]
    warnings: tuple[str, ...]

    def pixels(self) -> int:
        """Return the stored pixels; a pixel of a colour image counts once."""
        return self.images.size // self.spec.channels

    def ipc(self) -> float:
        """Return the stored pixels in images per class."""
        return self.pixels() / (self.spec.classes * self.spec.height * self.spec.width)

    def require_settled(self) -> None:
        """Refuse to use a set of which something is not known.

        Raises:
            BenchError: with all questions and the options that answer them.
        """
        if self.questions:
            asked = "; ".join(question.sentence() for question in self.questions)
            raise BenchError(f"not everything about this set is known: {asked}")


class _Reader:
    """Collects evidence and questions while a release is read."""

    def __init__(self, release: Release, spec: Spec, options: Options, real: RealPixels | None) -> None:
        self.release, self.spec, self.options, self.real = release, spec, options, real
        self.evidence: list[tuple[str, str]] = []
        self.questions: list[Question] = []
        self.warnings: list[str] = []

    def read(self) -> Reading:
        cast = cast_parts(self.release.contents, self.spec, self.options)
        images = np.ascontiguousarray(cast.shaped.images)
        if not finite_in_float32(images):
            raise BenchError(
                f"the images {cast.image_names} hold numbers that are not finite (NaN or infinity); the set has diverged, or is damaged"
            )
        self.evidence.append(("images", f"{cast.image_names}: {cast.shaped.evidence}"))
        self.ask(cast.shaped.question)
        self.check_options(cast.shaped.layout)
        if cast.shaped.layout == "poster":
            labels = self.read_poster(images, cast)
        else:
            self.read_tiles(images)
            labels = self.read_labels(len(images), cast)
        self.read_space(images)
        self.evidence += [("recipe", said) for said in cast.evidence]
        return Reading(
            spec=self.spec,
            release=self.release,
            layout=cast.shaped.layout,
            images=images,
            labels=labels,
            label_array=cast.label_array,
            options=self.options,
            rate=cast.rate,
            evidence=tuple(self.evidence),
            left_out=(*cast.left_out, *(remark for contents in self.release.contents for remark in contents.remarks)),
            questions=tuple(self.questions),
            warnings=tuple(self.warnings),
        )

    def check_options(self, layout: Layout) -> None:
        """Refuse what was said of another kind of set: it would change nothing."""
        others, found = (("tiles", "flat"), "one poster") if layout == "poster" else (("patches", "class_grid", "crops"), "separate images")
        if said := [f"--{name.replace('_', '-')}" for name in others if getattr(self.options, name)]:
            raise BenchError(f"the files hold {found}, of which {' and '.join(said)} says nothing; leave it out, or give other files")

    def ask(self, question: Question | None) -> None:
        """Note a question, unless it was answered beforehand."""
        if question is not None and not getattr(self.options, question.option):
            self.questions.append(question)

    def read_tiles(self, images: np.ndarray) -> None:
        tiles, size = self.options.tiles, images.shape[2:]
        if tiles > 1 and (size[0] % tiles or size[1] % tiles):
            raise BenchError(
                f"images of {size[1]}x{size[0]} pixels cannot be cut into {tiles}x{tiles} tiles of one size; give another --tiles"
            )
        if tiles:
            self.evidence.append(("layout", f"{tiles}x{tiles} tiles in each image, as said"))
        elif size == self.spec.shape[1:]:
            said, question = guess_tiles(images)
            self.evidence += [("layout", said)] if said else []
            self.ask(question)

    def read_labels(self, count: int, cast: Cast) -> np.ndarray | None:
        """Return labels as they are stored, or made of an order that was said."""
        if self.release.folders:
            return self.read_folders(cast)
        if cast.labels is None or self.options.labels == "order":
            return self.read_order(count)
        guess = guess_labels(cast.labels, self.spec.classes, cast.label_name)
        self.evidence.append(("labels", f"{cast.label_name}: {guess.evidence}"))
        if self.options.labels:
            check_given(self.options.labels, guess, cast.labels)
        elif len(guess.plausible) == 1:
            self.options = replace(self.options, labels=guess.plausible[0])  # type: ignore[arg-type]
        self.ask(guess.question())
        return cast.labels

    def read_order(self, count: int) -> np.ndarray | None:
        """Return the classes of images that have no labels, which only somebody who knows can tell."""
        classes, order = self.spec.classes, self.options.order
        if self.options.labels not in ("", "order"):
            raise BenchError(
                f"there are no labels in these files that could be {self.options.labels}; give the file that has them, or --labels order"
            )
        if isinstance(order, tuple) and order and len(order) == count and count != classes:
            if max(order) >= classes:
                raise BenchError(f"the order names class {max(order)}, and {self.spec.name} has {classes}; correct --order")
            return np.array(order)
        if count % classes:
            asks = f"there are no labels, and {count} images do not go by order for {classes} classes"
            if order:
                raise BenchError(f"{asks}; say --order with the class of every image, or give the file that has the labels, too")
            self.ask(Question("order", asks, (), "0-0-1-..., the class of every image, or give the file that has the labels, too"))
            return None
        per_class = count // classes
        said = f"no labels: {per_class} of every class, class after class, if they go by order"
        self.evidence.append(("labels", said + (", as said" if self.options.labels else "")))
        self.ask(Question("labels", "there are no labels", ("order",)))
        return None if order in ("", "identity") else np.repeat(self.permutation(order), per_class)

    def permutation(self, order: tuple[int, ...] | str) -> np.ndarray:
        """Return a class order that was said, which names every class once."""
        found = tuple(range(self.spec.classes)) if isinstance(order, str) else order
        if sorted(found) != list(range(self.spec.classes)):
            raise BenchError(
                f"a class order must name each of the {self.spec.classes} classes once, found {len(found)} of them; correct --order"
            )
        return np.array(found)

    def read_folders(self, cast: Cast) -> np.ndarray:
        """Return the class of every picture, told by the name of its folder or by the order that was said."""
        names, classes = self.release.folders, self.spec.classes
        if self.options.labels not in ("", "ids"):
            raise BenchError(f"folders tell the class of every picture, so labels cannot be {self.options.labels}; leave out --labels")
        self.options = replace(self.options, labels="ids")
        known = {_letters(name): number for number, name in enumerate(self.spec.class_names)}
        digits = ["".join(filter(str.isdecimal, name)) for name in names]
        if self.options.order:
            order = self.options.order
            numbers = list(range(len(names))) if isinstance(order, str) else list(order)
            how = "in the order that was said"
        elif all(_letters(name) in known for name in names):
            numbers, how = [known[_letters(name)] for name in names], "named like the classes"
        elif all(digits) and len({int(each) for each in digits}) == len(names) and max(map(int, digits)) < classes:
            numbers, how = list(map(int, digits)), "numbered like the classes"
        else:
            numbers, how = list(range(len(names))), f"called {', '.join(names[:4])}, ..., which are not the classes of {self.spec.name}"
            self.ask(Question("order", "which folder is which class is not known", ("identity",)))
        if len(numbers) != len(names) or max(numbers) >= classes:
            raise BenchError(
                f"there are {len(names)} folders, and the order names {len(numbers)} of {classes} classes; give the class of every folder"
            )
        self.evidence.append(("labels", f"{len(names)} folders, {how}; covers {len(set(numbers))} of {classes} classes"))
        assert cast.labels is not None  # a folder of pictures comes with its numbers
        return np.array(numbers)[cast.labels]

    def read_poster(self, images: np.ndarray, cast: Cast) -> np.ndarray | None:
        """Ask for what no number of a poster tells: where its patches and classes lie. Return the labels of its patches, if it has any."""
        size, spec = images.shape[2:], self.spec
        if self.options.class_grid is None:
            grid = guess_class_grid((size[0], size[1]), spec.classes)
            self.options = replace(self.options, class_grid=grid)
            shape = f"{grid[0]}x{grid[1]}"
            self.evidence.append(
                (
                    "layout",
                    f"class grid {shape}: of the grids of {spec.classes} classes the one nearest in shape (--class-grid says another)",
                )
            )
        if self.options.patches is None:
            self.ask(Question("patches", "the patch grid of the poster is not in the file", (), "16x6 or what its authors say"))
        if not self.options.order:
            self.ask(
                Question("order", "the class order of the poster is not in the file", (), "0-8-5-... as its log says it, row after row")
            )
        else:
            self.permutation(self.options.order)
        return self.read_patch_labels(cast)

    def read_patch_labels(self, cast: Cast) -> np.ndarray | None:
        """Tell how patches are labelled: by an array under them, by where they lie, or by a row for each, which is returned."""
        rows = cast.labels if cast.labels is not None and cast.labels.shape[1:] == (self.spec.classes,) else None
        allowed: tuple[str, ...] = _POSTER_LABELS
        if cast.label_array is not None:
            if not finite_in_float32(cast.label_array):
                raise BenchError("the label array of the poster holds numbers that are not finite (NaN or infinity); get the set again")
            size = "x".join(map(str, cast.label_array.shape))
            self.evidence.append(("labels", f"a label array of {size}, of which every patch reads the part under it"))
            self.options = replace(self.options, labels=self.options.labels or "learned")
            allowed = ("learned",)
        elif rows is not None:
            guess = guess_labels(rows, self.spec.classes, cast.label_name)
            self.evidence.append(("labels", f"{cast.label_name}: {len(rows)} rows, which may be those of the patches: {guess.evidence}"))
            allowed = ("probabilities", *_POSTER_LABELS)
            self.ask(Question("labels", "whether these are the labels of the patches is not in the file", allowed))
        else:
            self.evidence.append(("labels", "no label array: labels follow from how much of each class area lies in a patch"))
            self.ask(Question("labels", "how a patch's label follows from its place is not in the file", allowed))
        if self.options.labels and self.options.labels not in allowed:
            raise BenchError(f"labels of a poster like this one cannot be {self.options.labels}; say --labels {' or '.join(allowed)}")
        if rows is None or self.options.labels != "probabilities":
            return None
        check_given("probabilities", guess, rows)
        return rows

    def read_space(self, images: np.ndarray) -> None:
        guess = guess_space(images, self.real)
        self.evidence += [("pixels", said) for said in guess.evidence]
        if self.options.space:
            if against := contradiction(self.options.space, images, guess):
                self.warnings.append(against)
        elif guess.certain:
            self.options = replace(self.options, space=guess.certain)
        self.ask(guess.question())


def read_release(release: Release, spec: Spec, options: Options, real: RealPixels | None = None) -> Reading:
    """Understand a release as a set of one data set, as far as its numbers and what was said allow.

    Args:
        release: the files.
        spec: the data set.
        options: what is known of it.
        real: images of the data set, to compare with.

    Raises:
        BenchError: it cannot be a set of this data set, or an option is not one that it allows.
    """
    return _Reader(release, spec, options, real).read()


def plausible_options(reading: Reading) -> Iterator[Options]:
    """Yield the options of every reading that answers all questions, likelier answers first.

    Raises:
        BenchError: a question has no answers that could be tried.
    """
    if unlisted := [question for question in reading.questions if not question.plausible]:
        raise BenchError(f"this set cannot be tried: {'; '.join(question.sentence() for question in unlisted)}")
    for answers in product(*(question.plausible for question in reading.questions)):
        yield replace(reading.options, **{q.option: answer for q, answer in zip(reading.questions, answers, strict=True)})


def _letters(name: str) -> str:
    """Return a class name as it can be compared: without case and separators."""
    return "".join(letter for letter in name.lower() if letter.isalnum())
