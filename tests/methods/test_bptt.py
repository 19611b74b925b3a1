"""Truncated BPTT: its windows, where its tensors are, and that it learns."""

import pytest
import torch
from products import plan, planned, task_for

from bench import Batch, Refusal, Resolution
from bench.decoders.images import Images
from bench.decoders.poster import Poster
from bench.methods.objectives import bptt
from bench.methods.objectives.bptt import TruncatedBPTTRun
from bench.nn.convnet import library
from bench.nn.networks import build_network, flops_per_image, forward, initial_parameters
from bench.nn.spaces import fit_space
from bench.nn.training import StudentStreams, predict, train_students

SHORT = {"outer_iterations": 4, "window": 2, "totwindow": 4, "real_batch": 32, "student_steps": 2, "network": "convnet-d2-w4"}
EXPLICIT = "0-1-2-3-4-5-6-7-8-9"


def run_of(digits, fields, name="rat_bptt", **options) -> TruncatedBPTTRun:
    resolution = planned(name, digits.spec, "1", SHORT | fields)
    method = resolution.method
    return method.objective.begin(task_for(digits, resolution, **options), method.student, 4)


@pytest.mark.parametrize(
    ("curriculum", "expected"), [("random", {(p, 3) for p in range(1, 8)}), ("fixed", {(7, 3)}), ("length", {(0, w) for w in range(3, 11)})]
)
def test_windows_of_each_curriculum(digits, curriculum, expected):
    run = run_of(digits, {"window": 3, "totwindow": 10, "minwindow": 1, "curriculum": curriculum})
    assert {run.draw_window(0.0) for _ in range(300)} == expected


def test_the_forward_curriculum_moves_from_the_first_to_the_last_start(digits):
    run = run_of(digits, {"window": 2, "totwindow": 8, "curriculum": "forward"})
    assert [run.draw_window(step / 3)[0] for step in range(4)] == [0, 2, 4, 6]


@pytest.mark.parametrize("name", ["rat_bptt", "podd"])
@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"window": 20, "totwindow": 10}, "do not fit into totwindow 10"),
        ({"student_schedule": "cosine"}, "unrolls a constant rate, asked for cosine"),
        ({"student_weight_decay": 1e-3}, "unrolls Adam without weight decay"),
    ],
)
def test_hyper_parameters_that_cannot_work_are_refused(digits, name, fields, sentence):
    answer = plan(name, digits.spec, "1", fields)
    assert isinstance(answer, Refusal)
    assert sentence in answer.reason


@pytest.mark.parametrize(
    "fields",
    [
        {"student_lr": 0.02},
        {"student_optimizer": "sgd", "student_lr": 0.02, "student_momentum": 0.9},
        {"student_optimizer": "sgd", "student_lr": 0.02, "student_momentum": 0.0, "student_weight_decay": 0.1},
    ],
    ids=["adam", "sgd with momentum", "sgd with decay"],
)
def test_what_is_unrolled_is_how_a_judged_student_is_trained(digits, fields):
    """From the same start, after five steps on all images, the loop's student and the trainer's say the same of real images.

    They are compared by what they say: the bias before a norm has no gradient but rounding noise, which Adam blows up.
    """
    run = run_of(digits, {"augmentation": "none", "engine": "generic", "student_steps": 5, **fields})
    stored = Images(digits.spec, 10)
    stored.write(torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(10))
    batch = Batch(*(part.detach() for part in (stored.decode().images, stored.decode().labels)))
    streams = StudentStreams(("unrolled as trained",))
    (trained,) = train_students(run.network, batch, run.student.recipe(10), [streams], [5])[5]
    engine = run._engine(10)
    state = engine.start([initial_parameters(run.network, streams.generator("init"))], run.inner)
    for inner in run._inner_batches(stored, 5, attached=False):
        state = engine.advance(state, inner, run.inner)
    real = run.real.take(torch.arange(50)).images
    mine, other = (forward(run.network, parameters, real) for parameters in (engine.layout.unflatten(state.theta[0]), trained))
    assert torch.allclose(mine, other, atol=1e-4)
    untrained = forward(run.network, initial_parameters(run.network, streams.generator("init")), real)
    assert float((mine - untrained).abs().max()) > 0.05


@pytest.mark.parametrize("engine", ["generic", "eager", "cpp"])
def test_every_engine_gives_the_gradient_of_a_student_that_is_trained_by_sgd(digits, engine):
    if engine == "cpp" and library.load()[0] is None:
        pytest.skip(library.load()[1])
    sgd = {"student_optimizer": "sgd", "student_lr": 0.02, "student_momentum": 0.9, "student_weight_decay": 1e-3}
    stored = Images(digits.spec, 10)
    stored.write(torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(10))
    plain, found = (run_of(digits, {**sgd, "engine": name}).gradient(stored, 0.0) for name in ("plain", engine))
    assert found.loss == pytest.approx(plain.loss, rel=1e-5)
    assert torch.allclose(found.gradients["images"], plain.gradients["images"], rtol=1e-3, atol=1e-6)
    assert float(plain.gradients["images"].abs().max()) > 1e-4


@pytest.mark.parametrize("batch", [0, 4])
@pytest.mark.parametrize("augmentation", ["rotate", "color_crop_cutout_flip_scale_rotate"])
@pytest.mark.parametrize("name", ["rat_bptt", "podd"])
def test_everything_a_step_touches_is_on_the_task_s_device(digits, name, augmentation, batch):
    """On PyTorch's device without contents, which refuses to mix with the host as a GPU does."""
    fields = {"augmentation": augmentation, "student_batch": batch, "labels": "learned"} | ({"order": EXPLICIT} if name == "podd" else {})
    run = run_of(digits, fields, name, device=torch.device("meta"))
    layout = Poster.from_config(
        {"size": [16, 40], "patch_grid": [7, 3], "class_grid": [5, 2], "order": range(10), "labels": "learned", "label_cells": 1},
        digits.spec,
    )
    stored = (layout if name == "podd" else Images(digits.spec, 10, (8, 8), "soft")).to("meta")
    for _ in range(6):  # an augmentation draws one operation per batch
        batches = list(run._inner_batches(stored, 2, attached=True))
        real = run._outer_loss()
        inside = [real.images, real.labels, *(b.images for b in batches), *(b.labels for b in batches)]
        assert {tensor.device.type for tensor in inside} == {"meta"}
        roots = [t for b in batches for t in (b.images, b.labels)]
        flowing = torch.autograd.grad(roots, list(stored.trained().values()), [torch.zeros_like(t) for t in roots])
        assert {tensor.device.type for tensor in flowing} == {"meta"}


@pytest.mark.parametrize("together", [1, 3 * 4 * 64])
def test_inner_batches_do_not_depend_on_how_many_are_decoded_at_once(digits, monkeypatch, together):
    """One step, or three, instead of all; and with a graph all at once, whatever the limit."""
    fields = {"augmentation": "rotate", "student_batch": 4}
    stored = Images(digits.spec, 10)
    stored.write(torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(10))
    expected = list(run_of(digits, fields)._inner_batches(stored, 7, attached=False))
    monkeypatch.setattr(bptt, "_TOGETHER", together)
    for attached in (False, True):
        found = list(run_of(digits, fields)._inner_batches(stored, 7, attached=attached))
        assert len(found) == len(expected) == 7
        assert all(torch.equal(one.images, other.images) for one, other in zip(found, expected, strict=True))
        assert all(torch.equal(one.labels, other.labels) for one, other in zip(found, expected, strict=True))
        assert {batch.images.requires_grad for batch in found} == {attached}


def test_an_inner_batch_has_each_image_once_and_another_choice_every_step(digits):
    stored = Images(digits.spec, 10)
    batches = list(run_of(digits, {"augmentation": "none", "student_batch": 4})._inner_batches(stored, 20, attached=False))
    chosen = [tuple(sorted(batch.labels.argmax(1).tolist())) for batch in batches]
    assert all(len(set(classes)) == 4 for classes in chosen)
    assert len(set(chosen)) > 10
    assert {label for classes in chosen for label in classes} == set(range(10))


def test_every_step_sees_the_whole_set_where_the_batch_is_as_large(digits):
    for size in (0, 10, 50):
        (batch,) = run_of(digits, {"augmentation": "none", "student_batch": size})._inner_batches(
            Images(digits.spec, 10), 1, attached=False
        )
        assert batch.labels.argmax(1).tolist() == list(range(10))


def test_the_real_batch_has_the_size_asked_for_and_is_augmented_as_the_student_s(digits):
    plain, rotated = (run_of(digits, {"real_batch": 16, "augmentation": name})._outer_loss() for name in ("none", "rotate"))
    assert plain.images.shape == (16, 1, 8, 8)
    assert torch.equal(plain.labels, rotated.labels)
    assert not torch.equal(plain.images, rotated.images)


def test_an_outer_step_costs_its_plain_and_its_differentiated_inner_steps_and_the_real_batch(digits):
    """Starts are uniform from 2 to 6 steps before a window of 4: 4 in the mean, at 2.9 passes; 8.8 in the window."""
    resolution = planned("rat_bptt", digits.spec, "1", SHORT | {"window": 4, "totwindow": 10, "minwindow": 2, "networks_per_step": 3})
    method = resolution.method
    forward_pass = flops_per_image(build_network("convnet-d2-w4", digits.spec), digits.spec)
    expected = 3 * forward_pass * (10 * (2.9 * 4 + 8.8 * 4) + 2.9 * 32)
    assert method.objective.flops(digits.spec, method.student, 10) == pytest.approx(expected)
    assert resolution.flops == pytest.approx(4 * expected)


def test_windows_may_fill_the_whole_training_and_no_more(digits):
    assert isinstance(plan("rat_bptt", digits.spec, "1", {"window": 8, "minwindow": 2, "totwindow": 10}), Resolution)
    assert isinstance(plan("rat_bptt", digits.spec, "1", {"window": 9, "minwindow": 2, "totwindow": 10}), Refusal)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rat_bptt", "podd"])
def test_the_objective_beats_random_selection_on_real_digits(digits, name):
    """A short run is already far ahead of random images of the same pixels, on validation images."""

    def accuracy(resolution):
        made = resolution.method.distill(task_for(digits, resolution))
        space = fit_space(made.space, digits.train)
        data = made.parameterization.decode()
        images = data.images.detach() if made.coordinates == "space" else space.transform(data.images.detach())
        network = build_network("convnet-d2-w32", digits.spec)
        streams = [StudentStreams(("objective test", repeat)) for repeat in range(3)]
        steps = made.recipe.steps
        students = train_students(network, type(data)(images, data.labels.detach()), made.recipe, streams, [steps])[steps]
        return float((predict(network, students, space.transform(digits.val.unit_images())) == digits.val.labels).float().mean())

    extra = {"order": EXPLICIT} if name == "podd" else {}
    learned = planned(name, digits.spec, "1", {"outer_iterations": 150, **extra}, recipes=True)
    assert accuracy(learned) > accuracy(planned("random", digits.spec, "1", recipes=True)) + 0.05
