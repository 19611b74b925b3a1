"""What a GPU may round, and that nothing is rounded unasked."""

import pytest
import torch

from bench import Batch, BenchError, Spec
from bench.methods._unroll import InnerSGD, RealBatchLoss, choose_engine
from bench.nn.networks import build_network, initial_parameters
from bench.nn.precision import exact_float32, rounding
from bench.seeding import stream

SPEC = Spec("tiny", 4, (3, 8, 8), tuple("abcd"), mirror=False)


def allowed() -> tuple[bool, bool]:
    """Whether TF32 may be used in matrix products and in convolutions, as PyTorch's own parts ask."""
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def restored():
    before, deterministic = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32), torch.backends.cudnn.deterministic
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
    torch.backends.cudnn.deterministic = deterministic


def test_a_worker_s_gpu_computes_in_float32_and_in_a_fixed_order():
    torch.backends.cudnn.allow_tf32 = True
    exact_float32()
    assert allowed() == (False, False)
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize(("precision", "inside"), [("float32", False), ("tf32", True), ("bf16", False)])
def test_tf32_is_allowed_inside_alone_and_only_where_asked_for(precision, inside):
    exact_float32()

    def fails():
        with rounding(precision):
            assert allowed() == (inside, inside)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert allowed() == (False, False)


def test_the_settings_of_a_caller_come_back():
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    with rounding("float32"):
        assert allowed() == (False, False)
    assert allowed() == (True, True)


def meta_gradient(engine: str, precision: str, budget: int = 1 << 30) -> torch.Tensor:
    generator = stream("test precision")
    network = build_network("convnet-d2-w8", SPEC)
    parameters = initial_parameters(network, generator)
    batches = [Batch(torch.randn(4, *SPEC.shape, generator=generator), torch.rand(4, 4, generator=generator)) for _ in range(2)]
    real = RealBatchLoss(torch.randn(16, *SPEC.shape, generator=generator), torch.eye(4).repeat(4, 1))
    made = choose_engine(network, SPEC.shape, engine=engine, precision=precision, tape_budget=budget)
    found = made.window_gradient(made.start([parameters], InnerSGD(0.1)), batches, InnerSGD(0.1), real)
    return torch.stack(found.images)


@pytest.mark.parametrize(
    ("engine", "budget"),
    [("generic", 0), ("eager", 1 << 30), ("eager", 0), ("auto", 0), pytest.param("compile", 0, marks=pytest.mark.slow)],
)
def test_bf16_rounds_the_meta_gradient_a_little(engine, budget):
    exact = meta_gradient("plain", "float32")
    error = float((meta_gradient(engine, "bf16", budget) - exact).norm() / exact.norm())
    assert 1e-4 < error < 0.1


@pytest.mark.parametrize("engine", ["plain", "cpp"])
def test_engines_without_bf16_refuse_it(engine):
    with pytest.raises(BenchError, match="cannot round to bf16"):
        meta_gradient(engine, "bf16")


def test_tf32_is_refused_where_there_is_none():
    with pytest.raises(BenchError, match="use precision float32, or --device cuda"):
        meta_gradient("auto", "tf32")
