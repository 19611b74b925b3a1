"""One learnable image for the whole data set, read as overlapping patches (PoDD, Shul et al. 2024, arXiv 2403.12040)."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field

from bench import FORMS, BenchError, Between, FormPlan, Need, OneOf, Parameterization, PlanContext, Refusal, Spec
from bench.decoders.poster import Crops, PatchLabels, Poster
from bench.decoders.poster_layout import PosterLayout
from bench.errors import shorten
from bench.search import Search
from bench.seeding import stream
from bench.selection import feature_seed

from ..prerequisites._clip import CLIP_MODEL, OPENAI, ClipReading, Embedding, clip_weights_at_hand, download_clip_weights, readable_names
from ..prerequisites.class_distances import distances_by_clip, distances_by_features, read_distances
from ._class_order import greedy_order, similarity_table
from ._poster_size import parse_overlap, parse_size, plan_layout
from ._teacher import TEACHER, TaughtForm


def _readable_size(text: str) -> str:
    parse_size(text)
    return text


def _readable_overlap(text: str | float) -> str | float:
    parse_overlap(text)
    return text


def _readable_prompt(text: str) -> str:
    if text.count("{}") != 1 or len(text) > 200:
        raise BenchError("write a short text in which {} stands for the name of a class, e.g. 'a photo of a {}'")
    return text


def _readable_names(text: str) -> str:
    readable_names(text)
    return text


def _readable_order(text: str) -> str:
    parts = text.split("-")
    if text not in ORDERS and not (len(parts) <= 100_000 and all(part.isdecimal() and len(part) < 10 for part in parts)):
        raise BenchError(f"an order is {', '.join(ORDERS)}, or all classes joined by dashes, e.g. 3-1-0-2")
    return text


#: Names of class orders, beside explicit ones.
ORDERS = ("auto", "identity", "random", "features", "clip")
Size = Annotated[str, AfterValidator(_readable_size)]


#: What a form asks of the decoder for each of its ``labels``.
_STORED: dict[str, PatchLabels] = {"fixed": "fixed", "proportional": "proportional", "learned": "learned", TEACHER: "probabilities"}
Labels = Literal["fixed", "proportional", "learned", "teacher"]


@dataclass(frozen=True, kw_only=True)
class PatchedPoster(TaughtForm):
    """What posters share: their patches and the labels of these.

    Attributes:
        patches: patch grid, columns x rows, e.g. ``16x6``; ``auto`` follows ``overlap``. Clamped to distinct positions,
            and grown until every pixel lies in a patch.
        overlap: share of its width and height that a patch has in common with the next one, columns x rows, so that the
            grid grows with the poster. The default is the density of PoDD's CIFAR-10 poster.
        crops: ``bounded`` patches stay inside the poster, so that pixels at its edges lie in fewer of them; ``toroidal``
            ones go on at the opposite edge, and every pixel lies in equally many (but for one a side).
        labels: ``fixed``, ``proportional`` or ``learned`` (PoDDL), see ``bench.decoders.poster``; ``teacher`` stores what
            the feature network makes of every patch of the filled poster, a row of probabilities each, which stay as they are.
        label_cells: cells per class and side of learned labels.
        poster: size fixed by a recipe, width x height, e.g. ``153x60``; ``auto`` follows the size rule.
    """

    search: ClassVar[Mapping[str, Search | None]] = {"overlap": OneOf(0.5, 0.67, 0.8)}

    patches: Size = "auto"
    overlap: Annotated[str | float, AfterValidator(_readable_overlap)] = "0.747x0.825"
    crops: Crops = "bounded"
    labels: Labels = "fixed"
    label_cells: Annotated[int, Field(ge=1, le=1000)] = 1
    poster: Size = "auto"

    def unkeyed(self) -> frozenset[str]:
        """Leave bounded crops out of the key: it is older than the field."""
        return super().unkeyed() | ({"crops"} if self.crops == "bounded" else frozenset())

    def layout(self, context: PlanContext) -> PosterLayout | Refusal:
        """Return where everything lies."""
        spec, budget, name = context.spec, context.budget, type(self).name
        if refusal := self.untaught():
            return refusal
        size, need = parse_size(self.poster), spec.height * spec.width
        if size and (size[0] < spec.height or size[1] < spec.width):
            return Refusal(f"poster={self.poster} is smaller than one patch of {spec.width}x{spec.height} px")
        found = self._laid_out(size[0] * size[1], spec) if size else self._largest(context)
        if size and size[0] * size[1] > (left := self._room(found, context)):
            return Refusal(f"poster={self.poster} has {size[0] * size[1]} px, the budget {budget.requested} leaves {left} for it")
        if found is None:
            left = self._room(self._laid_out(need, spec), context)
            fewer = "; ask for fewer patches, as each stores labels" if self.taught and left < need <= budget.pixels else ""
            return Refusal(
                f"a {name} needs one patch of {need} px on {spec.name}, the budget {budget.requested} leaves {left} for it{fewer}"
            )
        return found

    def _laid_out(self, pixels: int, spec: Spec) -> PosterLayout | None:
        """Return the layout of a poster of so many pixels, or ``None`` if not even one patch fits."""
        # A size is read as (height, width), a patch grid counts (columns, rows); hence the reversal below.
        grid, overlap, size = parse_size(self.patches), parse_overlap(self.overlap), parse_size(self.poster)
        patch = (spec.height, spec.width)
        return plan_layout(pixels, spec.classes, patch, grid and grid[::-1], overlap, size, self.crops == "toroidal")

    def _room(self, layout: PosterLayout | None, context: PlanContext) -> int:
        """Return the pixels that are left beside the labels of a layout; without one, beside those of a single patch."""
        classes, numbers = context.spec.classes, 0
        if self.labels == "learned":
            numbers = (classes * self.label_cells) ** 2
        elif self.taught:
            numbers = classes * (math.prod(layout.patch_grid) if layout else 1)
        return context.budget.pixels_beside_labels(numbers, context.spec.channels)

    def _largest(self, context: PlanContext) -> PosterLayout | None:
        """Return the layout of the largest poster that fits beside its labels.

        Where every patch has a label, a larger poster has more of them: the largest is then looked for between one patch and
        the budget, by halving. Rounding lets a patch come and go along the way, so a poster that is larger by a few pixels may
        be missed.
        """
        spec, budget = context.spec, context.budget
        if not self.taught:
            return self._laid_out(self._room(None, context), spec)

        def dear(pixels: int) -> bool:
            found = self._laid_out(pixels, spec)
            return found is not None and math.prod(found.size) > self._room(found, context)

        candidates = range(spec.height * spec.width, budget.pixels + 1)
        affordable = bisect_left(candidates, True, key=dear)
        return self._laid_out(candidates[affordable - 1], spec) if affordable else None

    def planned(self, layout: PosterLayout, order: list[int], **more: Any) -> FormPlan:
        """Return the plan of a layout and a class order."""
        geometry = {"size": layout.size, "patch_grid": layout.patch_grid, "class_grid": layout.class_grid, "order": order}
        plain = {key: [int(v) for v in value] for key, value in geometry.items()}
        return FormPlan(self, len(layout.patches()), plain, **more)

    def empty(self, spec: Spec, plan: FormPlan) -> Parameterization:
        """Make the poster, all zero."""
        size, patch_grid, class_grid = (_pair(plan.geometry[key]) for key in ("size", "patch_grid", "class_grid"))
        layout = PosterLayout(size, (spec.height, spec.width), patch_grid, class_grid, self.crops == "toroidal")
        return Poster(spec, layout, plan.geometry["order"], _STORED[self.labels], self.label_cells)


def _pair(numbers: Any) -> tuple[int, int]:
    first, second = numbers
    return int(first), int(second)


@FORMS.register("poster")
@dataclass(frozen=True, kw_only=True)
class OrderedPoster(PatchedPoster):
    """A poster whose class areas fade into each other, similar classes side by side.

    Attributes:
        order: ``auto`` (clip, or features where no CLIP weights are at hand), ``identity``, ``random``, ``features``,
            ``clip``, or the classes row after row joined by dashes, e.g. ``3-1-0-2``.
        clip_model: open_clip's name of the text encoder; the OpenAI weights need a quickgelu variant.
        clip_weights: CLIP checkpoint for ``order=clip``: a path, or open_clip's name of weights of that model, which are
            read from its own cache and downloaded into it where ``order=clip`` is asked for and downloads are allowed.
        clip_prompt: what the text encoder reads; ``{}`` stands for the name of a class.
        clip_embedding: ``pooled``, as CLIP was trained, or ``hidden_states`` of all positions, as PoDD's authors have it.
        clip_names: other words for some classes, ``ship=boat,keyboard=computer keyboard``.
    """

    name: ClassVar[str] = "poster"
    search: ClassVar[Mapping[str, Search | None]] = {
        **PatchedPoster.search,
        "labels": OneOf("fixed", "proportional", "learned"),
        "label_lr": Between(1e-3, 1e-1),
    }

    order: Annotated[str, AfterValidator(_readable_order)] = "auto"
    clip_model: str = CLIP_MODEL
    clip_weights: str = OPENAI
    clip_prompt: Annotated[str, AfterValidator(_readable_prompt)] = ClipReading.prompt
    clip_embedding: Embedding = ClipReading.embedding
    clip_names: Annotated[str, AfterValidator(_readable_names)] = ClipReading.names

    def unkeyed(self) -> frozenset[str]:
        """Leave out how CLIP is asked: planning uses it up, and what comes of it is the class order."""
        return super().unkeyed() | {"clip_prompt", "clip_embedding", "clip_names"}

    def plan(self, context: PlanContext) -> FormPlan | Refusal:
        """Settle size, grids and class order."""
        layout = self.layout(context)
        if isinstance(layout, Refusal):
            return layout
        source, notes = self._source()
        order, similarity = self._class_order(source, layout.class_grid, context)
        notes += (f"class order from {self._described(source)}", *similarity)
        if layout.distinct_areas() < context.spec.classes:
            notes += (f"only {layout.distinct_areas()} of {context.spec.classes} class areas lie at different positions",)
        # An order that is the same for every seed goes into the fields, so that equal orders are equal cells. One that varies
        # keeps its name there, because the report groups a row's seeds by their fields.
        varies = source == "random" or (source == "features" and self.feature_seeds > 1)
        named = source if varies else "-".join(map(str, order))
        # How CLIP was asked has done its work: it stands in the order, and in the record's list of prerequisites.
        plain = ClipReading()
        form = replace(self, order=named, clip_prompt=plain.prompt, clip_embedding=plain.embedding, clip_names=plain.names)
        external = "CLIP text embeddings" if source == "clip" else ""
        return form.planned(layout, order, external=external, notes=notes)

    def _source(self) -> tuple[str, tuple[str, ...]]:
        if self.order != "auto":
            return self.order, ()
        if clip_weights_at_hand(self.clip_model, self.clip_weights):
            return "clip", ()
        return "features", ("no CLIP weights at hand, so order=auto uses class features of a small network trained on the training split",)

    def _described(self, source: str) -> str:
        return f"clip ({self.clip_model}, {self._reading().describe()})" if source == "clip" else source

    def _reading(self) -> ClipReading:
        return ClipReading(self.clip_prompt, self.clip_embedding, self.clip_names)

    def _class_order(self, source: str, class_grid: tuple[int, int], context: PlanContext) -> tuple[list[int], tuple[str, ...]]:
        """Turn an order's name into the class of every cell, row after row, and a note on how alike neighbours are.

        Raises:
            BenchError: an explicit order is not a permutation.
        """
        spec, (columns, rows) = context.spec, class_grid
        if source == "identity":
            return list(range(spec.classes)), ()
        if source == "random":
            return torch.randperm(spec.classes, generator=stream("class order", spec.name, context.seed)).tolist(), ()
        if source in ("features", "clip"):
            distance = read_distances(context.find(self._distances(source, context)))
            similar = ", ".join(f"{name} {value:.3f}" for name, value in similarity_table(distance, rows, columns).items())
            return greedy_order(distance, rows, columns), (f"mean similarity of neighbours on the {columns}x{rows} class grid: {similar}",)
        parts = source.split("-")
        if all(part.isdecimal() for part in parts) and sorted(map(int, parts)) == list(range(spec.classes)):
            return [int(part) for part in parts], ()
        raise BenchError(f"poster.order is {shorten(source)}; use {', '.join(ORDERS)}, or all {spec.classes} classes joined by dashes")

    def _distances(self, source: str, context: PlanContext) -> Need:
        if source == "features":
            return distances_by_features(feature_seed(context.seed, self.feature_seeds))
        if context.download and self.order == "clip":  # ``auto`` takes what is at hand
            download_clip_weights(self.clip_model, self.clip_weights)
        return distances_by_clip(context.spec, self.clip_model, self.clip_weights, self._reading())
