"""Every engine against the plain unroll in float64, and none worse than it in float32."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench import Batch, BenchError, Spec
from bench.decoders.poster import Poster
from bench.decoders.poster_layout import PosterLayout
from bench.methods._unroll import ExpertDistance, FlatLayout, InnerAdam, InnerSGD, RealBatchLoss, choose_engine
from bench.nn.augment import draw
from bench.nn.convnet import inductor, library
from bench.nn.networks import build_network, forward, initial_parameters
from bench.nn.training import soft_cross_entropy
from bench.seeding import stream

INNERS = {
    "adam, torch": InnerAdam(0.01),
    "adam, higher": InnerAdam(0.01, "higher"),
    "sgd": InnerSGD(0.05),
    "sgd, momentum and decay": InnerSGD(0.05, momentum=0.9, weight_decay=0.02),
}
ENGINES = {"generic": ("generic", 0), "eager, saved": ("eager", 1 << 30), "eager, recomputed": ("eager", 0)}
ENGINES |= {"eager, some saved": ("eager", 60_000), "cpp, saved": ("cpp", 1 << 30), "cpp, recomputed": ("cpp", 0)}

COMPILE = pytest.param("compile", marks=pytest.mark.slow)  # seconds for each shape


def spec_of(shape, classes=3) -> Spec:
    return Spec("tiny", classes, shape, tuple(str(c) for c in range(classes)), mirror=False)


def need(engine: str) -> None:
    if engine == "cpp" and library.load()[0] is None:
        pytest.skip(library.load()[1])
    if engine == "compile" and inductor.why_not(torch.device("cpu")):
        pytest.skip(inductor.why_not(torch.device("cpu")))


def problem(network, spec, steps, dtype=torch.float64, images=4, seed=3):
    """Draw parameters, batches whose labels do not sum to one and need a gradient, and a real batch."""
    generator = stream("test engines", seed)
    parameters = {key: value.to(dtype) for key, value in initial_parameters(network, generator).items()}
    batches = [
        Batch(
            torch.randn(images, *spec.shape, generator=generator, dtype=torch.float64).to(dtype),
            (torch.rand(images, spec.classes, generator=generator, dtype=torch.float64) * 1.7).to(dtype).requires_grad_(),
        )
        for _ in range(steps)
    ]
    real = RealBatchLoss(
        torch.randn(21, *spec.shape, generator=generator, dtype=torch.float64).to(dtype),
        nn.functional.one_hot(torch.randint(spec.classes, (21,), generator=generator), spec.classes).to(dtype),
    )
    return parameters, batches, real


def gradient(network, spec, engine, inner, drawn, outer=None, prefix=0, budget=1 << 30):
    parameters, batches, real = drawn
    dtype = next(iter(parameters.values())).dtype
    made = choose_engine(network, spec.shape, dtype=dtype, engine=engine, tape_budget=budget)
    state = made.start([parameters], inner)
    for batch in batches[:prefix]:
        state = made.advance(state, batch, inner)
    return made.window_gradient(state, batches[prefix:], inner, outer or real)


def differences(found, expected) -> dict[str, float]:
    worst = {"loss": abs(found.loss - expected.loss) / abs(expected.loss), "lr": abs(found.lr - expected.lr) / abs(expected.lr)}
    worst["theta"] = float((found.theta - expected.theta).norm() / expected.theta.norm())
    for name in ("images", "labels"):
        pairs = zip(getattr(found, name), getattr(expected, name), strict=True)
        worst[name] = max(float((mine - other).norm() / other.norm()) for mine, other in pairs)
    return worst


@pytest.mark.parametrize("inner", INNERS.values(), ids=INNERS)
@pytest.mark.parametrize(("engine", "budget"), ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize(("steps", "prefix"), [(1, 0), (2, 0), (7, 0), (4, 2)])
def test_engine_agrees_with_the_plain_unroll(engine, budget, inner, steps, prefix):
    need(engine)
    spec = spec_of((1, 8, 8))
    network = build_network("convnet-d2-w3", spec)
    drawn = problem(network, spec, steps)
    expected = gradient(network, spec, "plain", inner, drawn, prefix=prefix)
    found = gradient(network, spec, engine, inner, drawn, prefix=prefix, budget=budget)
    assert max(differences(found, expected).values()) < 1e-8


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("inner", INNERS.values(), ids=INNERS)
@pytest.mark.parametrize("steps", [1, 2, 4, 7, 12])
def test_states_that_are_taken_again_change_no_bit(engine, inner, steps):
    """The states of a long window of a large network are not all kept."""
    need(ENGINES[engine][0])
    spec = spec_of((1, 8, 8))
    network = build_network("convnet-d2-w4", spec)
    drawn = problem(network, spec, steps, torch.float32)
    made = choose_engine(network, spec.shape, dtype=torch.float32, engine=ENGINES[engine][0], tape_budget=ENGINES[engine][1])
    found = []
    for budget in (1 << 30, 0):
        sweep = replace(made, state_budget=budget)
        walk, _ = sweep._forwards(sweep.start([drawn[0]], inner), drawn[1], sweep.gradients.optimizer(inner))
        assert isinstance(walk, list) is bool(budget)
        found.append(sweep.window_gradient(sweep.start([drawn[0]], inner), drawn[1], inner, drawn[2]))
    kept, again = found
    assert (kept.loss, kept.lr) == (again.loss, again.lr)
    assert all(torch.equal(mine, other) for mine, other in zip(kept.images, again.images, strict=True))
    assert all(torch.equal(mine, other) for mine, other in zip(kept.labels, again.labels, strict=True))
    assert torch.equal(kept.theta, again.theta)


# A shape is compiled once per process, so that one test goes through everything that needs no other shape.
def test_engine_compile_agrees_with_the_plain_unroll():
    need("compile")
    spec = spec_of((1, 8, 8))
    network = build_network("convnet-d1-w3", spec)
    for inner in INNERS.values():
        drawn = problem(network, spec, 4)
        expected = gradient(network, spec, "plain", inner, drawn, prefix=1)
        for budget in (1 << 30, 10_000, 0):
            assert max(differences(gradient(network, spec, "compile", inner, drawn, prefix=1, budget=budget), expected).values()) < 1e-8


SHAPES = [((3, 32, 32), "convnet-d3-w5"), ((1, 28, 28), "convnet-d3-w16"), ((2, 13, 9), "convnet-d2-w20"), ((5, 7, 6), "convnet-d1-w33")]


@pytest.mark.parametrize(("shape", "name"), SHAPES, ids=[f"{name} {shape}" for shape, name in SHAPES])
@pytest.mark.parametrize("engine", ["generic", "eager", COMPILE, "cpp"])
def test_engine_agrees_on_every_kind_of_shape(engine, shape, name):
    need(engine)
    spec = spec_of(shape, 4)
    network = build_network(name, spec)
    drawn = problem(network, spec, 2, images=3)
    expected = gradient(network, spec, "plain", InnerAdam(0.01), drawn)
    assert max(differences(gradient(network, spec, engine, InnerAdam(0.01), drawn), expected).values()) < 1e-8


@pytest.mark.parametrize("engine", ["generic", "eager", COMPILE, "cpp"])
def test_distance_to_an_expert_with_a_learned_rate(engine):
    need(engine)
    spec = spec_of((1, 8, 8))
    network = build_network("convnet-d2-w4", spec)
    drawn = problem(network, spec, 5)
    start = FlatLayout.flatten(drawn[0])
    outer = ExpertDistance(start + 0.1 * torch.randn(start.shape, generator=stream("expert"), dtype=start.dtype), start)
    inner = InnerSGD(0.1, momentum=0.5)
    expected = gradient(network, spec, "plain", inner, drawn, outer)
    assert max(differences(gradient(network, spec, engine, inner, drawn, outer), expected).values()) < 1e-8


@pytest.mark.parametrize("engine", ["generic", "eager", "cpp"])
def test_any_function_of_the_final_parameters_can_be_the_outer_loss(engine):
    need(engine)
    spec = spec_of((1, 8, 8))
    network = build_network("convnet-d2-w4", spec)
    drawn = problem(network, spec, 2)

    def outer(parameters):
        return soft_cross_entropy(forward(network, parameters, drawn[2].images), drawn[2].labels)

    by_function = gradient(network, spec, engine, InnerAdam(0.01), drawn, outer)
    assert max(differences(by_function, gradient(network, spec, engine, InnerAdam(0.01), drawn)).values()) < 1e-10


@pytest.mark.parametrize("engine", ["generic", "eager", "cpp"])
def test_learning_rate_gradient_agrees_with_finite_differences(engine):
    need(engine)
    spec = spec_of((1, 8, 8))
    network = build_network("convnet-d2-w3", spec)
    drawn = problem(network, spec, 3)
    step = 1e-6
    values = [gradient(network, spec, "plain", InnerSGD(0.05 + sign * step, momentum=0.9), drawn).loss for sign in (1, -1)]
    found = gradient(network, spec, engine, InnerSGD(0.05, momentum=0.9), drawn)
    assert found.lr == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("engine", ["plain", "generic", "eager", "cpp"])
def test_augmentation_in_the_loop(engine):
    need(engine)
    spec = spec_of((3, 8, 8))
    network = build_network("convnet-d2-w4", spec)
    parameters, batches, real = problem(network, spec, 3)
    stored = batches[0].images.clone().requires_grad_()
    generator = stream("test augmentation")
    drawn = [draw("color_crop_cutout_flip_scale_rotate", len(stored), spec.shape, generator) for _ in range(3)]

    def attached():
        return [Batch(augmentation(stored), batches[0].labels) for augmentation in drawn]

    def into_stored(engine):
        inside = attached()
        found = gradient(network, spec, engine, InnerAdam(0.01), (parameters, inside, real))
        return torch.autograd.grad([b.images for b in inside], stored, found.images)[0]

    # The independent side differentiates through augmentation and training as one graph.
    state, layout = InnerAdam(0.01).start(FlatLayout.flatten(parameters).requires_grad_()), FlatLayout.of(parameters)
    for batch in attached():
        loss = soft_cross_entropy(forward(network, layout.unflatten(state.theta), batch.images), batch.labels)
        (step,) = torch.autograd.grad(loss, state.theta, create_graph=True)
        state = InnerAdam(0.01).update(state, step)
    final = soft_cross_entropy(forward(network, layout.unflatten(state.theta), real.images), real.labels)
    (expected,) = torch.autograd.grad(final, stored)
    assert float((into_stored(engine) - expected).norm() / expected.norm()) < 1e-8


@pytest.mark.parametrize("engine", ["generic", "eager", COMPILE, "cpp"])
def test_single_precision_is_no_worse_than_the_plain_unroll_s(engine):
    need(engine)
    spec = spec_of((1, 8, 8), 10)
    network = build_network("convnet-d2-w32", spec)
    inner, prefix, window = InnerAdam(1e-3), 20, 3
    wide = problem(network, spec, prefix + window, torch.float64, images=10)
    truth = gradient(network, spec, "plain", inner, wide, prefix=prefix)
    # The window starts from the same state for all, so that only its own rounding is compared.
    made = choose_engine(network, spec.shape, dtype=torch.float64, engine="plain")
    state = made.start([wide[0]], inner)
    for batch in wide[1][:prefix]:
        state = made.advance(state, batch, inner)

    def single(engine):
        made = choose_engine(network, spec.shape, engine=engine)
        order = getattr(getattr(made, "gradients", None), "pack", lambda theta: theta)
        start = state._replace(theta=order(state.theta.float()), first=order(state.first.float()), second=order(state.second.float()))
        batches = [Batch(b.images.float(), b.labels.detach().float().requires_grad_()) for b in wide[1][prefix:]]
        found = made.window_gradient(start, batches, inner, RealBatchLoss(wide[2].images.float(), wide[2].labels.float()))
        pairs = zip(found.images + found.labels, truth.images + truth.labels, strict=True)
        return sum(float((mine - other).norm() / other.norm()) for mine, other in pairs)

    assert single(engine) <= 3.0 * single("plain")


@pytest.mark.parametrize("engine", ["plain", "generic", "eager", "cpp"])
def test_steps_before_the_window_give_their_batches_no_gradient(engine):
    need(engine)
    spec = spec_of((1, 8, 8))
    network = build_network("convnet-d2-w3", spec)
    parameters, batches, real = problem(network, spec, 3)
    leaf = batches[0].images.clone().requires_grad_()
    attached = [Batch(leaf * 1.0, batches[0].labels), *batches[1:]]
    found = gradient(network, spec, engine, InnerAdam(0.01), (parameters, attached, real), prefix=1)
    assert len(found.images) == 2
    flowing = torch.autograd.grad([b.images for b in attached[1:] if b.images.requires_grad] + [leaf.sum() * 0], leaf, allow_unused=True)
    assert leaf.grad is None
    assert float(flowing[0].abs().max()) == 0.0


@pytest.mark.parametrize("engine", ["plain", "generic", "eager", "cpp"])
def test_labels_that_need_no_gradient_get_none(engine):
    need(engine)
    spec = spec_of((1, 8, 8))
    network = build_network("convnet-d2-w3", spec)
    parameters, batches, real = problem(network, spec, 2)
    fixed = [Batch(b.images, b.labels.detach()) for b in batches]
    assert gradient(network, spec, engine, InnerAdam(0.01), (parameters, fixed, real)).labels == [None, None]


class Other(nn.Module):
    """A network that only the generic engine can do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3, padding=1, stride=2), nn.GroupNorm(2, 4), nn.Linear(64, 3)

    def forward(self, images):
        return self.head(nn.functional.gelu(self.norm(self.conv(images))).flatten(1))


def test_other_modules_go_to_the_generic_engine():
    spec, network = spec_of((1, 8, 8)), Other()
    assert choose_engine(network, spec.shape).name == "generic"
    drawn = problem(network, spec, 3)
    expected = gradient(network, spec, "plain", InnerAdam(0.01), drawn)
    assert max(differences(gradient(network, spec, "auto", InnerAdam(0.01), drawn), expected).values()) < 1e-8


def test_a_batch_norm_is_never_cut_into_micro_batches():
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).double()
    generator = stream("batch norm")
    parameters = {key: 0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64) for key, p in network.named_parameters()}
    spec = spec_of((1, 8, 8))
    _, batches, real = problem(build_network("convnet-d1-w3", spec), spec, 2)
    expected = gradient(network, spec, "plain", InnerAdam(0.01), (parameters, batches, real))
    found = gradient(network, spec, "generic", InnerAdam(0.01), (parameters, batches, real))
    assert max(differences(found, expected).values()) < 1e-8


def test_a_network_that_draws_random_numbers_is_refused():
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3))
    with pytest.raises(BenchError, match="Dropout"):
        choose_engine(network, (1, 8, 8))


@pytest.mark.parametrize("engine", ["eager", "compile", "cpp"])
def test_an_engine_for_convnets_refuses_other_modules(engine):
    with pytest.raises(BenchError, match="only does a ConvNet"):
        choose_engine(Other(), (1, 8, 8), engine=engine)


def test_an_unknown_engine_is_refused():
    with pytest.raises(BenchError, match="does not exist"):
        choose_engine(Other(), (1, 8, 8), engine="warp")


def test_without_a_compiler_small_convnets_are_eager_and_large_ones_generic(monkeypatch):
    monkeypatch.setattr(library, "load", lambda: (None, "there is no compiler"))
    small, large = (choose_engine(build_network(f"convnet-d3-w{width}", spec_of((3, 32, 32))), (3, 32, 32)) for width in (32, 128))
    assert (small.name, large.name) == ("eager", "generic")
    with pytest.raises(BenchError, match="there is no compiler"):
        choose_engine(build_network("convnet-d3-w32", spec_of((3, 32, 32))), (3, 32, 32), engine="cpp")


def test_engine_compile_says_why_it_cannot_be_used(monkeypatch):
    monkeypatch.setattr(inductor, "why_not", lambda device: f"there is no compiler for {device.type}")
    with pytest.raises(BenchError, match="engine compile cannot be used: there is no compiler for cpu"):
        choose_engine(build_network("convnet-d1-w3", spec_of((1, 8, 8))), (1, 8, 8), engine="compile")


@pytest.mark.parametrize(("work", "reason", "name"), [(1e13, "", "generic"), (1e14, "", "compile"), (1e14, "no compiler", "generic")])
def test_without_the_kernels_a_long_cell_is_worth_compiling(monkeypatch, work, reason, name):
    monkeypatch.setattr(library, "load", lambda: (None, "switched off"))
    monkeypatch.setattr(inductor, "why_not", lambda device: reason)
    network = build_network("convnet-d3-w128", spec_of((3, 32, 32)))
    assert choose_engine(network, (3, 32, 32), work=work).name == name


def test_with_a_compiler_every_convnet_is_compiled():
    need("cpp")
    assert choose_engine(build_network("convnet-d3-w128", spec_of((3, 32, 32))), (3, 32, 32)).name == "cpp"


@pytest.mark.parametrize("engine", ["plain", "generic", "eager", "cpp"])
def test_a_poster_of_overlapping_patches_with_learned_labels(engine):
    """The poster's and the label array's gradients, through patches, are those of one graph of everything."""
    need(engine)
    spec = spec_of((1, 8, 8), 4)
    network = build_network("convnet-d2-w4", spec)
    parameters, _, real = problem(network, spec, 1)
    poster = Poster(spec, PosterLayout((13, 11), (8, 8), (3, 2), (2, 2)), [2, 0, 3, 1], labels="learned").double()
    generator = stream("test poster")
    with torch.no_grad():
        poster.poster.copy_(torch.randn(poster.poster.shape, generator=generator, dtype=torch.float64))
        poster.label_array.add_(torch.rand(poster.label_array.shape, generator=generator, dtype=torch.float64))
    leaves = [poster.poster, poster.label_array]

    batches = [poster.decode(torch.tensor(index)) for index in ([0, 1, 2, 3], [5, 3, 1, 4], [0, 2, 4, 5])]
    found = gradient(network, spec, engine, InnerAdam(0.01), (parameters, batches, real))
    flowing = torch.autograd.grad([b.images for b in batches] + [b.labels for b in batches], leaves, found.images + found.labels)

    state, layout = InnerAdam(0.01).start(FlatLayout.flatten(parameters).requires_grad_()), FlatLayout.of(parameters)
    for index in ([0, 1, 2, 3], [5, 3, 1, 4], [0, 2, 4, 5]):
        batch = poster.decode(torch.tensor(index))
        loss = soft_cross_entropy(forward(network, layout.unflatten(state.theta), batch.images), batch.labels)
        (step,) = torch.autograd.grad(loss, state.theta, create_graph=True)
        state = InnerAdam(0.01).update(state, step)
    final = soft_cross_entropy(forward(network, layout.unflatten(state.theta), real.images), real.labels)
    for mine, other in zip(flowing, torch.autograd.grad(final, leaves), strict=True):
        assert float((mine - other).norm() / other.norm()) < 1e-8


@pytest.mark.parametrize("name", ["convnet-d2-w4", "convnet-d1-w66"])  # grouped, and one after another
@pytest.mark.parametrize("inner", [InnerAdam(0.01), InnerSGD(0.05, momentum=0.9, weight_decay=0.02)], ids=["adam", "sgd"])
@pytest.mark.parametrize("engine", ["plain", "generic", "eager", COMPILE, "cpp"])
def test_several_students_at_once_give_the_mean_of_their_gradients(engine, inner, name):
    need(engine)
    spec = spec_of((2, 8, 8))
    network = build_network(name, spec)
    _, batches, real = problem(network, spec, 4)
    students = [problem(network, spec, 0, seed=seed)[0] for seed in (5, 6, 7)]
    made = choose_engine(network, spec.shape, dtype=torch.float64, engine=engine, tape_budget=60_000)
    state = made.start(students, inner)
    for batch in batches[:1]:
        state = made.advance(state, batch, inner)
    found = made.window_gradient(state, batches[1:], inner, real)
    apart = [gradient(network, spec, "plain", inner, (student, batches, real), prefix=1) for student in students]
    assert found.loss == pytest.approx(sum(one.loss for one in apart) / 3, rel=1e-10)
    assert found.lr == pytest.approx(sum(one.lr for one in apart) / 3, rel=1e-8)
    torch.testing.assert_close(found.theta, torch.cat([one.theta for one in apart]) / 3, rtol=1e-8, atol=1e-14)
    for part in ("images", "labels"):
        for k, mine in enumerate(getattr(found, part)):
            torch.testing.assert_close(mine, sum(getattr(one, part)[k] for one in apart) / 3, rtol=1e-8, atol=1e-14)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("engine", ["plain", "generic", "eager", COMPILE, "auto"])
def test_engines_on_a_gpu_agree_with_the_plain_unroll_on_the_cpu(engine):
    spec, device = spec_of((3, 16, 16)), torch.device("cuda")
    network = build_network("convnet-d3-w8", spec)
    parameters, batches, real = problem(network, spec, 3)
    expected = gradient(network, spec, "plain", InnerAdam(0.01), (parameters, batches, real))
    made = choose_engine(network, spec.shape, device, torch.float64, engine)
    there = [Batch(b.images.to(device), b.labels.detach().to(device).requires_grad_()) for b in batches]
    state = made.start([{key: p.to(device) for key, p in parameters.items()}], InnerAdam(0.01))
    found = made.window_gradient(state, there, InnerAdam(0.01), RealBatchLoss(real.images.to(device), real.labels.to(device)))
    for mine, other in zip([*found.images, *found.labels, found.theta], [*expected.images, *expected.labels, expected.theta], strict=True):
        assert float((mine.cpu() - other).norm() / other.norm()) < 1e-8
