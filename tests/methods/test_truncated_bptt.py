"""The outer loop: clipping, windows, resuming, and what it may change."""

import math
from dataclasses import replace

import pytest
import torch

from bench import BudgetRequest, Task
from bench.decoders.images import Images
from bench.decoders.poster import Poster
from bench.methods._outer_loop import NormClip, OuterAdam
from bench.methods.objectives.bptt import TruncatedBPTTLoop
from bench.methods.podd import PoDD
from bench.methods.rat_bptt import RatBPTT
from bench.nn.spaces import fit_space
from bench.recipes import resolve_recipe

SHORT = {"outer_iterations": 4, "window": 2, "totwindow": 4, "real_batch": 32, "student_steps": 2, "network": "convnet-d2-w4"}


def task_for(digits, budget="1", **options) -> Task:
    resolved = BudgetRequest.parse(budget).resolve(10, 8, 8)
    return Task(digits.spec, digits.train, resolved, 0, "test key", lambda name: fit_space(name, digits.train), **options)


@pytest.mark.parametrize(("mode", "factor"), [("corrected", 0.2), ("official", 0.38), ("off", 1.0)])
def test_an_outlier_is_clipped_at_the_mode_s_threshold(mode, factor):
    clip = NormClip(mode)
    assert [clip.factor(1.0), clip.factor(1.0)] == pytest.approx([1.0, 1.0])
    # corrected: 2·1 = 2 of 10; official: 2·(0.9·1 + 0.1·10) = 3.8 of 10
    assert clip.factor(10.0) == pytest.approx(factor, rel=1e-5)


def test_an_outlier_inflates_the_running_norm_less_when_corrected():
    norms = {}
    for mode in ("corrected", "official"):
        norms[mode] = NormClip(mode)
        for norm in (1.0, 100.0):
            norms[mode].factor(norm)
    assert norms["corrected"].running == pytest.approx(0.9 + 0.1 * 2.0)
    assert norms["official"].running == pytest.approx(0.9 + 10.0)


def test_outer_adam_is_torchs_adam():
    generator = torch.Generator().manual_seed(1)
    mine = {"x": torch.randn(6, generator=generator)}
    parameter = torch.nn.Parameter(mine["x"].clone())
    reference, adam = torch.optim.Adam([parameter], lr=0.03), OuterAdam()
    for _ in range(4):
        parameter.grad = torch.randn(6, generator=generator)
        adam.step(mine, {"x": parameter.grad.clone()}, {"x": 0.03})
        reference.step()
    assert torch.allclose(mine["x"], parameter.detach(), atol=1e-6)


@pytest.mark.parametrize(
    ("curriculum", "expected"), [("random", {(p, 3) for p in range(1, 8)}), ("fixed", {(7, 3)}), ("length", {(0, w) for w in range(3, 11)})]
)
def test_windows_of_each_curriculum(digits, curriculum, expected):
    method = RatBPTT(**(SHORT | {"window": 3, "totwindow": 10, "minwindow": 1, "curriculum": curriculum})).settle(digits.spec)
    loop = TruncatedBPTTLoop(method, task_for(digits), Images(digits.spec, 10))
    assert {loop._draw_window() for _ in range(300)} == expected


def test_the_forward_curriculum_moves_from_the_first_to_the_last_start(digits):
    method = RatBPTT(**(SHORT | {"window": 2, "totwindow": 8, "curriculum": "forward"})).settle(digits.spec)
    loop = TruncatedBPTTLoop(method, task_for(digits), Images(digits.spec, 10))
    starts = []
    for step in range(loop.total):
        loop.done = step
        starts.append(loop._draw_window()[0])
    assert starts == [0, 2, 4, 6]


def run(method, task):
    return method.distill(task).parameterization.state_dict()


METHODS_AND_BUDGETS = [
    (RatBPTT(**SHORT), "1"),
    (RatBPTT(**SHORT, labels="learned"), "1"),
    (RatBPTT(**SHORT, average=0.5, outer_schedule="cosine"), "0.5"),
    (PoDD(**SHORT, order="random", inner_batch=8), "0.5"),
    (PoDD(**SHORT, order="0-1-2-3-4-5-6-7-8-9", labels="learned"), "0.3"),
]


@pytest.mark.parametrize(("method", "budget"), METHODS_AND_BUDGETS)
def test_a_resumed_run_gives_the_same_bytes(digits, method, budget):
    states = []
    whole = run(method, task_for(digits, budget, on_checkpoint=lambda s: states.append({k: t.clone() for k, t in s.items()})))
    assert len(states) == 4
    resumed = run(method, task_for(digits, budget, resume_from=states[1]))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.parametrize(("method", "budget"), METHODS_AND_BUDGETS)
def test_equal_keys_give_equal_bytes_and_the_set_moves(digits, method, budget):
    one, other = run(method, task_for(digits, budget)), run(method, task_for(digits, budget))
    start = run(replace(method, outer_lr=0.0, label_lr=0.0, average=0.0), task_for(digits, budget))
    assert all(torch.equal(one[key], other[key]) for key in one)
    image = next(iter(one))
    assert not torch.equal(one[image], start[image])


def test_learned_labels_never_become_negative(digits):
    labels = run(RatBPTT(**SHORT, labels="learned", label_lr=0.7), task_for(digits))["labels"]
    assert float(labels.min()) == 0.0
    assert float(labels.max()) > 0.5


def test_a_non_finite_step_is_skipped(digits):
    method = RatBPTT(**SHORT).settle(digits.spec)
    stored = Images(digits.spec, 10)
    loop = TruncatedBPTTLoop(method, task_for(digits), stored)
    (batch,) = loop._inner_batches(1, attached=True)
    loop._descend([batch], [torch.full_like(batch.images, math.nan)], [None])
    assert float(stored.images.detach().abs().sum()) == 0.0
    assert loop.outer.steps == 0


def test_effort_scales_outer_steps_only(digits):
    seen = []
    task = task_for(digits, effort=0.5, on_report=lambda step, total, scalars: seen.append((step, total)))
    RatBPTT(**SHORT).distill(task)
    assert seen == [(1, 2), (2, 2)]


def test_windows_that_do_not_fit_are_refused(digits):
    budget = BudgetRequest.parse("1").resolve(10, 8, 8)
    assert "do not fit into totwindow 10" in RatBPTT(window=20, totwindow=10).refuses(digits.spec, budget)
    assert "do not fit into totwindow 10" in PoDD(window=20, totwindow=10).refuses(digits.spec, budget)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [RatBPTT, PoDD])
def test_the_objective_beats_random_selection_on_real_digits(digits, kind):
    """A short run is already far ahead of random images of the same pixels, on validation images."""
    from bench.methods.random import Random
    from bench.nn.networks import build_network
    from bench.nn.students import StudentStreams, predict, train_students

    def accuracy(method):
        distilled = method.distill(task_for(digits))
        space = fit_space(distilled.space, digits.train)
        data = distilled.parameterization.decode()
        images = data.images.detach() if distilled.coordinates == "space" else space.transform(data.images.detach())
        network = build_network("convnet-d2-w32", digits.spec)
        streams = [StudentStreams(("objective test", repeat)) for repeat in range(3)]
        steps = distilled.recipe.steps
        students = train_students(network, type(data)(images, data.labels.detach()), distilled.recipe, streams, [steps])[steps]
        return float((predict(network, students, space.transform(digits.val.unit_images())) == digits.val.labels).float().mean())

    budget = BudgetRequest.parse("1").resolve(10, 8, 8)
    fields = resolve_recipe(kind, "digits", budget.ipc).values | {"outer_iterations": 150}
    extra = {"order": "0-1-2-3-4-5-6-7-8-9"} if kind is PoDD else {}
    random = Random(**resolve_recipe(Random, "digits", budget.ipc).values)
    assert accuracy(kind(**fields, **extra)) > accuracy(random) + 0.05


@pytest.mark.parametrize("inner_batch", [0, 4])
@pytest.mark.parametrize("augmentation", ["rotate", "color_crop_cutout_flip_scale_rotate"])
@pytest.mark.parametrize("method", [RatBPTT, PoDD])
def test_everything_a_step_touches_is_on_the_task_s_device(digits, method, augmentation, inner_batch):
    """On PyTorch's device without contents, which refuses to mix with the host as a GPU does."""
    fields = SHORT | {"augmentation": augmentation, "inner_batch": inner_batch}
    task = task_for(digits, device=torch.device("meta"))
    made = method(**fields).settle(digits.spec)
    if isinstance(made, PoDD):
        stored = Poster(digits.spec, made.layout(digits.spec, task.budget), range(10), "learned", made.label_cells)
    else:
        stored = Images(digits.spec, 10, (8, 8), "soft")
    loop = TruncatedBPTTLoop(made, task, stored)
    for _ in range(6):  # an augmentation draws one operation per batch
        batches = list(loop._inner_batches(2, attached=True))
        real = loop._outer_loss()
        inside = [real.images, real.labels, *(b.images for b in batches), *(b.labels for b in batches)]
        assert {tensor.device.type for tensor in inside} == {"meta"}
        roots = [t for b in batches for t in (b.images, b.labels)]
        flowing = torch.autograd.grad(roots, list(loop._trained().values()), [torch.zeros_like(t) for t in roots])
        assert {tensor.device.type for tensor in flowing} == {"meta"}


def saved_after_two_steps(digits, method):
    """Return the checkpoint of a run on the CPU that was stopped in the second half, where iterates are averaged."""
    states = []
    stored = Images(digits.spec, 10, (8, 8), "soft")
    loop = TruncatedBPTTLoop(
        method, task_for(digits, on_checkpoint=lambda state: states.append({k: v.clone() for k, v in state.items()})), stored
    )
    loop.run()
    return states[-2]


def test_a_run_goes_on_on_another_device(digits):
    """Checkpoints are files and come back to the host; what goes on from them is on the task's device."""
    method = RatBPTT(**(SHORT | {"average": 0.75})).settle(digits.spec)
    saved = saved_after_two_steps(digits, method)
    loop = TruncatedBPTTLoop(
        method, task_for(digits, device=torch.device("meta"), resume_from=saved), Images(digits.spec, 10, (8, 8), "soft")
    )
    loop._resume()
    assert loop.done == 3
    loop.outer.step(loop._trained(), {key: torch.zeros_like(t) for key, t in loop._trained().items()}, dict.fromkeys(loop._trained(), 0.1))
    moments = [t for pair in loop.outer.moments.values() for t in pair]
    assert {t.device.type for t in (*moments, *loop.average.values())} == {"meta"}
    assert len(moments) == 4


@pytest.mark.parametrize(("precision", "done"), [("float32", 3), ("bf16", 0)])
def test_a_run_is_not_finished_in_another_precision(digits, precision, done):
    method = RatBPTT(**SHORT).settle(digits.spec)
    other = replace(method, precision=precision)
    loop = TruncatedBPTTLoop(
        other, task_for(digits, resume_from=saved_after_two_steps(digits, method)), Images(digits.spec, 10, (8, 8), "soft")
    )
    loop._resume()
    assert loop.done == done
