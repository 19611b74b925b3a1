"""The published settings: recipes fix the posters of 0.9 images per class, and the audit counts their pixels."""

import pytest
import torch

from bench import BudgetRequest, DistilledSet, Spec, TrainRecipe
from bench.decoders.poster import Poster
from bench.judge.audit import audit
from bench.methods.podd import PoDD
from bench.recipes import resolve_recipe
from bench.seeding import stream

POSTERS = [
    ("cifar10", 10, 32, 153, 60, 9_180, (5, 2), 96),
    ("cifar100", 100, 32, 303, 303, 91_809, (10, 10), 400),
    pytest.param("cub200", 200, 32, 610, 302, 184_220, (20, 10), 1800, marks=pytest.mark.slow),
    pytest.param("tiny_imagenet", 200, 64, 1211, 608, 736_288, (20, 10), 800, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "classes", "side", "width", "height", "pixels", "class_grid", "patches"), POSTERS)
def test_published_posters_are_fixed_by_recipes_and_audit_as_published(name, classes, side, width, height, pixels, class_grid, patches):
    spec = Spec(name, classes, (3, side, side), tuple(map(str, range(classes))))
    budget = BudgetRequest.parse("0.9").resolve(classes, side, side)
    method = PoDD(**resolve_recipe(PoDD, name, budget.ipc).values)
    assert method.refuses(spec, budget) is None
    layout = method.layout(spec, budget)
    assert layout.size == (height, width)
    assert layout.class_grid == class_grid
    assert len(layout.patches()) == patches
    poster = Poster(spec, layout, range(classes), method.labels)
    with torch.no_grad():
        poster.poster.copy_(torch.randn(poster.poster.shape, generator=stream("published poster", name)))
    counts = audit(DistilledSet(spec, poster, TrainRecipe()), budget)
    assert counts["pixels"] == pixels <= budget.pixels
    assert counts["images"] == patches
    assert counts["label_numbers"] == (0 if method.labels == "fixed" else classes * classes)
