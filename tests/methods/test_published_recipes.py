"""The published settings: recipes fix the posters of 0.9 images per class, and the audit counts their pixels."""

import pytest
import torch
from products import granted, planned

from bench import DistilledSet, FormPlan, Spec, TrainRecipe
from bench.judge.audit import audit
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
    found = planned("podd", spec, "0.9", {"order": "identity"}, recipes=True)
    geometry, form = found.plan["geometry"], found.method.form
    assert tuple(geometry["size"]) == (height, width)
    assert tuple(geometry["class_grid"]) == class_grid
    assert found.plan["images"] == patches
    budget = granted("0.9", spec)
    poster = form.empty(spec, FormPlan(form, patches, geometry))
    with torch.no_grad():
        poster.poster.copy_(torch.randn(poster.poster.shape, generator=stream("published poster", name)))
    counts = audit(DistilledSet(spec, poster, TrainRecipe()), budget)
    assert counts["pixels"] == pixels <= budget.pixels
    assert counts["images"] == patches
    assert counts["label_numbers"] == (0 if form.labels == "fixed" else classes * classes)
