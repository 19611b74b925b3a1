"""PoDD: a whole data set on one poster, below one image per class.

Shul, Horwitz, Hoshen: "Distilling Datasets Into Less Than One Image", 2024, arXiv 2403.12040. PoDD = the poster
parameterization (``_parameterizations/poster.py``) x RaT-BPTT (``_objectives/truncated_bptt.py``) + a class order
(``ordering.py``).

What differs from the authors' code, and why:

1. Everything listed in ``rat_bptt.py``: outer steps are counted, the start is drawn every step, one Adam, corrected clip.
2. The patch grid is clamped to distinct positions; the official one counts coinciding patches several times.
3. The poster's size follows one rule, the largest poster of the class grid's aspect within the budget; the recipes fix
   the published sizes. The class grid is re-factored until class areas lie at different positions.
4. Class areas are drawn as unit-norm Gaussians, which is what their class-mean construction amounts to.
5. All rows of class areas are blended; theirs drops rows where the class grid is taller than wide.
6. Learned labels start with a cell for every class; their floor rule leaves up to 20 classes without. Normalising has
   a floor, so that clipped cells give a uniform label instead of NaN.
7. CLIP similarities use the pooled embedding of a prompt, not 77 mostly padded hidden states. Where no CLIP weights can
   be had, ``order=auto`` uses features of a small network trained on the training split, and the record says so.
8. Their evaluation picks the best poster and training length by accuracy on the training set; here both are fixed.

Stored: c·H·W image numbers; C·h_l·w_l label numbers for learned labels, none otherwise; the class order, a permutation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from bench import METHODS, BenchError, Budget, DistilledSet, PlanContext, Resolution, Spec, Task
from bench.decoders.poster import PatchLabels, Poster
from bench.decoders.poster_layout import PosterLayout, parse_patch_grid, parse_size, plan_layout

from .forms._class_order import greedy_order
from .objectives.bptt import TruncatedBPTT, TruncatedBPTTLoop
from .prerequisites.class_distances import CLIP_MODEL, class_distances, clip_weights_at_hand


@METHODS.register("podd")
@dataclass(frozen=True, kw_only=True)
class PoDD(TruncatedBPTT):
    """Poster dataset distillation.

    Attributes:
        patches: patch grid, columns x rows, clamped to distinct positions.
        labels: ``fixed``, ``proportional`` or ``learned`` (PoDDL), see ``Poster``.
        label_cells: cells per class and side of learned labels.
        order: ``auto`` (clip, or features where no CLIP weights are at hand), ``identity``, ``random``, ``features``,
            ``clip``, or the classes row after row joined by dashes, e.g. ``3-1-0-2``.
        clip_model: open_clip's name of the text encoder; the OpenAI weights need a quickgelu variant.
        clip_weights: CLIP checkpoint for ``order=clip``: a path, or ``openai`` for open_clip's own cache.
        poster: size fixed by a recipe, width x height, e.g. ``153x60``; ``auto`` follows the size rule.
        init: ``noise`` (faded unit-norm Gaussian areas, as the authors) or ``real`` (faded training images).
    """

    name: ClassVar[str] = "podd"
    version: ClassVar[int] = 1
    reference: ClassVar[str] = "Shul, Horwitz, Hoshen: Distilling Datasets Into Less Than One Image, 2024, arXiv 2403.12040"

    patches: str = "16x6"
    labels: PatchLabels = "fixed"
    label_cells: int = 1
    order: str = "auto"
    clip_model: str = CLIP_MODEL
    clip_weights: str = "openai"
    poster: str = "auto"
    init: Literal["noise", "real"] = "noise"

    def refuses(self, spec: Spec, budget: Budget) -> str | None:
        """Refuse budgets below one patch, a fixed poster that does not fit, and windows that contradict each other."""
        if sentence := self.inconsistency():
            return sentence
        if self.label_cells < 1:
            return f"label_cells is {self.label_cells}; learned labels need at least one cell per class"
        size = parse_size(self.poster, "podd.poster")
        if size and size[0] * size[1] > budget.pixels:
            return f"poster={self.poster} has {size[0] * size[1]} px, the budget {budget.requested} gives {budget.pixels}"
        if size and (size[0] < spec.height or size[1] < spec.width):
            return f"poster={self.poster} is smaller than one patch of {spec.width}x{spec.height} px"
        if self.layout(spec, budget) is None:
            need = spec.height * spec.width
            return f"a poster needs at least one patch of {need} px on {spec.name}, the budget {budget.requested} gives {budget.pixels}"
        return None

    def layout(self, spec: Spec, budget: Budget) -> PosterLayout | None:
        """Return the geometry for a budget, or ``None`` where not one patch fits.

        Raises:
            BenchError: ``patches`` or ``poster`` is not of the form 16x6.
        """
        grid = parse_patch_grid(self.patches, "podd")
        size = parse_size(self.poster, "podd.poster")
        return plan_layout(budget.pixels, spec.classes, (spec.height, spec.width), grid, size)

    def resolve(self, context: PlanContext) -> Resolution:
        """Settle ``auto`` choices and turn the class order into a permutation."""
        layout = self.layout(context.spec, context.budget)
        assert layout is not None  # refuses() was asked first
        source, notes = self._order_source()
        settled = self.settle(context.spec)
        if source != "random":  # a random order is drawn from the cell's own stream
            order = self._class_order(source, layout.class_grid, context)
            settled = replace(settled, order="-".join(map(str, order)))
        notes += (f"class order from {source}",)
        if layout.distinct_areas() < context.spec.classes:
            notes += (f"only {layout.distinct_areas()} of {context.spec.classes} class areas lie at different positions",)
        return Resolution(settled, external="CLIP text embeddings" if source == "clip" else "", notes=notes)

    def estimate_flops(self, spec: Spec, budget: Budget) -> float:
        """Estimate the floating-point operations of the full recipe."""
        return self.loop_flops(spec, self._patches_per_step(spec, budget))

    def presented_examples(self, spec: Spec, budget: Budget) -> int:
        """Return how many patches a student of the finished poster is shown."""
        return self.student_steps * self._patches_per_step(spec, budget)

    def _patches_per_step(self, spec: Spec, budget: Budget) -> int:
        layout = self.layout(spec, budget)
        count = layout.patch_grid[0] * layout.patch_grid[1] if layout else 0
        return min(self.inner_batch or count, count)

    def distill(self, task: Task) -> DistilledSet:
        """Initialise the poster, optimise it, and hand over the last iterate (or the average of the last ones)."""
        method = self.settle(task.spec)
        layout = method.layout(task.spec, task.budget)
        assert layout is not None
        poster = Poster(task.spec, layout, method._placed_classes(task), method.labels, method.label_cells)
        poster.write(method._areas(task), torch.arange(task.spec.classes))
        loop = TruncatedBPTTLoop(method, task, poster)
        loop.run()
        return DistilledSet(task.spec, poster, method.student_recipe(len(poster)), space=method.space, network=method.network)

    def _class_order(self, source: str, class_grid: tuple[int, int], context: PlanContext) -> list[int]:
        """Turn an order's name into the class of every cell, row after row.

        Raises:
            BenchError: the name is unknown, or an explicit order is not a permutation.
        """
        classes = context.spec.classes
        if source == "identity":
            return list(range(classes))
        if source in ("features", "clip"):
            clip = (self.clip_model, self.clip_weights) if source == "clip" else None
            distance = torch.tensor(class_distances(context, clip), dtype=torch.float64)
            return greedy_order(distance, rows=class_grid[1], columns=class_grid[0])
        parts = source.split("-")
        if all(part.isdecimal() for part in parts) and sorted(map(int, parts)) == list(range(classes)):
            return [int(part) for part in parts]
        raise BenchError(f"podd.order is '{source}'; use auto, identity, random, features, clip, or all {classes} classes joined by dashes")

    def _placed_classes(self, task: Task) -> list[int]:
        """Return the class of every area, row after row."""
        if self.order == "random":
            return [int(c) for c in torch.randperm(task.spec.classes, generator=task.generator("class order"))]
        return [int(c) for c in self.order.split("-")]

    def _areas(self, task: Task) -> torch.Tensor:
        """Draw the (C, c, h, w) class areas the poster starts from."""
        generator = task.generator("initial poster")
        if self.init == "real":
            members = [task.train.of_class(c) for c in range(task.spec.classes)]
            pick = torch.cat([m[torch.randint(len(m), (1,), generator=generator)] for m in members])
            return task.space(self.space).transform(task.train.unit_images(pick))
        noise = torch.randn(task.spec.classes, *task.spec.shape, generator=generator)
        return noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)

    def _order_source(self) -> tuple[str, tuple[str, ...]]:
        if self.order != "auto":
            return self.order, ()
        if clip_weights_at_hand(self.clip_model, self.clip_weights):
            return "clip", ()
        return "features", ("no CLIP weights at hand, so order=auto uses class features of a small network trained on the training split",)
