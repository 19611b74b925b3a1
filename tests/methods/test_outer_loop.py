"""The outer loop: optimizer, clipping, averaging, and going on after an interruption."""

import math

import pytest
import torch
from products import distilled, planned, task_for
from safetensors.torch import load_file
from torch import nn

from bench import BenchError, OuterGradient, Parameterization, Run
from bench.decoders.images import Images
from bench.methods._outer_loop import NormClip, Outer, OuterLoop

SHORT = {"outer_iterations": 4, "window": 2, "totwindow": 4, "real_batch": 32, "student_steps": 2, "network": "convnet-d2-w4"}
EXPLICIT = "0-1-2-3-4-5-6-7-8-9"


@pytest.mark.parametrize(("mode", "factor"), [("corrected", 0.2), ("official", 0.38), ("off", 1.0)])
def test_an_outlier_is_clipped_at_the_mode_s_threshold(mode, factor):
    clip = NormClip(mode)
    assert [clip.factor(1.0), clip.factor(1.0)] == pytest.approx([1.0, 1.0])
    # corrected: 2·1 = 2 of 10; official: 2·(0.9·1 + 0.1·10) = 3.8 of 10
    assert clip.factor(10.0) == pytest.approx(factor, rel=1e-5)


def test_a_number_is_the_largest_norm_at_every_step_from_the_first_on():
    clip = NormClip(2.0)
    assert [clip.factor(norm) for norm in (8.0, 1.0, 2.0, 0.0, 100.0)] == pytest.approx([0.25, 1.0, 1.0, 1.0, 0.02], rel=1e-5)


@pytest.mark.parametrize("typed", [2, 2.0, "off", "official"])
def test_a_clip_is_a_rule_or_a_number(digits, typed):
    found = planned("rat_bptt", digits.spec, "1", {"clip": typed}).method.outer.clip
    assert (found, type(found)) == ((typed, str) if isinstance(typed, str) else (2.0, float))


@pytest.mark.parametrize("typed", [0, -1.5, "often"])
def test_a_clip_that_is_neither_is_one_sentence(digits, typed):
    with pytest.raises(BenchError, match=r"field 'clip' cannot be .* 'corrected', 'official' or 'off'.* or .*number|greater than 0"):
        planned("rat_bptt", digits.spec, "1", {"clip": typed})


def test_all_but_labels_are_clipped_at_a_number_together(digits):
    """640 image numbers with a slope of 1 have the norm √640, which is brought to 2."""
    outer = Outer(outer_iterations=1, outer_optimizer="sgd", outer_lr=1.0, label_lr=1.0, outer_momentum=0.0, clip=2.0)
    change = moved(digits, outer, Slope(1.0, -1.0))
    assert float(change["images"].square().sum().sqrt()) == pytest.approx(2.0, rel=1e-5)
    assert float(change["labels"].min()) == pytest.approx(1.0)


def test_an_outlier_inflates_the_running_norm_less_when_corrected():
    norms = {}
    for mode in ("corrected", "official"):
        norms[mode] = NormClip(mode)
        for norm in (1.0, 100.0):
            norms[mode].factor(norm)
    assert norms["corrected"].running == pytest.approx(0.9 + 0.1 * 2.0)
    assert norms["official"].running == pytest.approx(0.9 + 10.0)


def test_a_norm_below_the_threshold_is_left_alone_and_moves_the_running_norm_by_a_tenth():
    """2·2 and 2·(0.9·2 + 0.1·3.8) are above 3.8, so that nothing is clipped by either rule."""
    for mode in ("corrected", "official"):
        clip = NormClip(mode)
        assert [clip.factor(2.0), clip.factor(3.8)] == [1.0, 1.0]
        assert clip.running == pytest.approx(0.9 * 2.0 + 0.1 * 3.8)


def test_a_first_gradient_of_zero_does_not_stop_all_that_follow():
    clip = NormClip("corrected")
    assert [clip.factor(norm) for norm in (0.0, 3.0, 3.0)] == pytest.approx([1.0, 1.0, 1.0])


class Slope(Run):
    """Gives every trained tensor a fixed gradient."""

    def __init__(self, images: float, labels: float) -> None:
        self.slopes = {"images": images, "labels": labels}

    def gradient(self, stored: Parameterization, progress: float) -> OuterGradient:
        del progress
        return OuterGradient(0.0, {name: torch.full_like(t, self.slopes[name]) for name, t in stored.trained().items()})


def moved(digits, outer: Outer, run: Run) -> dict[str, torch.Tensor]:
    stored = Images(digits.spec, 10, (8, 8), "soft")
    stored.write(torch.ones(10, 1, 8, 8), torch.arange(10))
    before = {name: t.detach().clone() for name, t in stored.trained().items()}
    OuterLoop(outer, task_for(digits, planned("rat_bptt", digits.spec, "1")), stored, run).finish()
    return {name: t.detach() - before[name] for name, t in stored.trained().items()}


def test_images_and_labels_have_rates_of_their_own(digits):
    change = moved(digits, Outer(outer_iterations=1, outer_lr=0.0, label_lr=0.25), Slope(1.0, -1.0))
    assert float(change["images"].abs().max()) == 0.0
    assert float(change["labels"].min()) == pytest.approx(0.25)
    change = moved(digits, Outer(outer_iterations=1, outer_lr=0.5, label_lr=0.0), Slope(1.0, -1.0))
    assert float(change["images"].max()) == pytest.approx(-0.5)
    assert float(change["labels"].abs().max()) == 0.0


def test_sgd_adds_up_its_momentum(digits):
    outer = Outer(outer_iterations=2, outer_optimizer="sgd", outer_lr=0.1, outer_momentum=0.5)
    # first step 0.1·1, second 0.1·(0.5·1 + 1)
    assert float(moved(digits, outer, Slope(1.0, 0.0))["images"].max()) == pytest.approx(-0.25)


def test_labels_stay_out_of_the_clip_s_norm(digits):
    """A huge gradient of the labels must not shrink the step of the images."""
    outer = Outer(outer_iterations=2, outer_optimizer="sgd", outer_lr=0.1, outer_momentum=0.0, label_lr=0.0, clip="corrected")

    class Growing(Slope):
        def gradient(self, stored, progress):
            self.slopes["labels"] = 1.0 if progress == 0 else 1e6
            return super().gradient(stored, progress)

    assert float(moved(digits, outer, Growing(1.0, 1.0))["images"].max()) == pytest.approx(-0.2)


def test_an_outlier_among_the_images_gradients_is_clipped_and_one_among_the_labels_is_not(digits):
    outer = Outer(outer_iterations=2, outer_optimizer="sgd", outer_lr=0.1, label_lr=0.1, outer_momentum=0.0, clip="corrected")

    class Growing(Slope):
        def gradient(self, stored, progress):
            self.slopes = {"images": 1.0, "labels": -1.0} if progress == 0 else {"images": 100.0, "labels": -100.0}
            return super().gradient(stored, progress)

    change = moved(digits, outer, Growing(0.0, 0.0))
    assert float(change["images"].max()) == pytest.approx(-0.1 * (1.0 + 2.0))  # twice the running norm
    assert float(change["labels"].min()) == pytest.approx(0.1 * (1.0 + 100.0))


def test_the_clip_s_norm_is_that_of_all_image_numbers_together(digits):
    loop = loop_of(digits, {"labels": "learned", "clip": "corrected"})
    loop.run = Slope(0.5, 100.0)
    loop.total = 1
    loop.finish()
    assert loop.clip.running == pytest.approx(0.5 * 640**0.5)


def rates_of(digits, steps: int) -> list[float]:
    """Return how far each step of SGD at rate 1 went along a slope of 1, with the cosine schedule."""
    outer = Outer(outer_iterations=steps, outer_optimizer="sgd", outer_lr=1.0, outer_momentum=0.0, outer_schedule="cosine")
    found = []

    class Watching(Slope):
        def gradient(self, stored, progress):
            found.append(float(stored.images.detach()[0, 0, 0, 0]))
            return super().gradient(stored, progress)

    end = 1.0 + float(moved(digits, outer, Watching(1.0, 0.0))["images"][0, 0, 0, 0])
    return [before - after for before, after in zip(found, [*found[1:], end], strict=True)]


def test_the_cosine_schedule_falls_from_the_full_rate_to_a_hundredth(digits):
    steps = rates_of(digits, 1000)
    assert steps[0] == pytest.approx(1.0, abs=1e-3)
    assert steps[-1] == pytest.approx(0.01, abs=1e-3)


def test_a_quarter_of_the_way_along_the_cosine_is_at_its_place(digits):
    # 0.01 + 0.99·(1 + cos(π·k/4))/2 for the steps k = 0, 1, 2, 3: the rate of a step is that of its beginning
    assert rates_of(digits, 4) == pytest.approx([1.0, 0.855018, 0.505, 0.154982], abs=1e-5)


def test_the_schedule_moves_labels_and_images_alike(digits):
    outer = Outer(outer_iterations=2, outer_optimizer="sgd", outer_lr=1.0, label_lr=0.1, outer_momentum=0.0, outer_schedule="cosine")
    change = moved(digits, outer, Slope(1.0, -1.0))
    assert float(change["images"].max()) == pytest.approx(-(1.0 + 0.505))
    assert float(change["labels"].min()) == pytest.approx(0.1 * (1.0 + 0.505))


def test_the_average_is_that_of_the_last_iterates(digits):
    outer = Outer(outer_iterations=4, outer_optimizer="sgd", outer_lr=1.0, outer_momentum=0.0, average=0.5)
    # the iterates after steps 1 to 4 are -1, -2, -3 and -4; the mean of the last two is -3.5
    assert float(moved(digits, outer, Slope(1.0, 0.0))["images"].max()) == pytest.approx(-3.5)


@pytest.mark.parametrize(("average", "expected"), [(0.0, -4.0), (0.25, -4.0), (0.3, -3.5), (1.0, -2.5)])
def test_a_share_of_the_run_is_averaged(digits, average, expected):
    """The iterates after the four steps are -1 to -4; a share of none or of the last step leaves the last one."""
    outer = Outer(outer_iterations=4, outer_optimizer="sgd", outer_lr=1.0, outer_momentum=0.0, average=average)
    assert float(moved(digits, outer, Slope(1.0, 0.0))["images"].max()) == pytest.approx(expected)


@pytest.mark.parametrize("slopes", [(math.nan, 0.0), (0.0, math.inf)])
def test_a_step_is_skipped_whichever_gradient_is_not_finite(digits, slopes):
    change = moved(digits, Outer(outer_iterations=1), Slope(*slopes))
    assert {float(moved.abs().max()) for moved in change.values()} == {0.0}


def test_progress_runs_from_nought_to_one(digits):
    seen = []

    class Watching(Slope):
        def gradient(self, stored, progress):
            seen.append(progress)
            return super().gradient(stored, progress)

    moved(digits, Outer(outer_iterations=5), Watching(0.0, 0.0))
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_non_finite_step_is_skipped(digits):
    stored = Images(digits.spec, 10)
    noted = {}
    task = task_for(digits, planned("rat_bptt", digits.spec, "1"), on_note=noted.update)
    loop = OuterLoop(Outer(outer_iterations=1), task, stored, Slope(math.nan, 0.0))
    loop.finish()
    assert float(stored.images.detach().abs().sum()) == 0.0
    assert not loop.optimizer.state
    assert noted["skipped_steps"] == 1


class Rated(Slope):
    """Has a number of its own, at a slope of -1, which may not grow beyond 1.3."""

    def __init__(self, images: float, labels: float) -> None:
        super().__init__(images, labels)
        self.rate = torch.tensor(1.0, dtype=torch.float64)

    def trained(self):
        return {"rate": (self.rate, 0.1)}

    def project(self):
        self.rate.clamp_(max=1.3)

    def gradient(self, stored, progress):
        found = super().gradient(stored, progress)
        return OuterGradient(found.loss, {**found.gradients, "rate": torch.tensor(-1.0, dtype=torch.float64)})


@pytest.mark.parametrize(("steps", "expected"), [(1, 1.1), (2, 1.2), (5, 1.3)])
def test_a_number_of_the_objective_s_own_moves_at_its_own_rate_and_is_kept_legal(digits, steps, expected):
    run = Rated(0.0, 0.0)
    moved(digits, Outer(outer_iterations=steps, outer_optimizer="sgd", outer_lr=7.0, label_lr=7.0, outer_momentum=0.0), run)
    assert float(run.rate) == pytest.approx(expected)


def test_such_a_number_follows_momentum_and_schedule_and_is_averaged(digits):
    run = Rated(0.0, 0.0)
    moved(digits, Outer(outer_iterations=2, outer_optimizer="sgd", outer_momentum=0.5, outer_schedule="cosine", average=1.0), run)
    one = 1.0 + 0.1
    assert float(run.rate) == pytest.approx((one + (one + 0.505 * 0.1 * 1.5)) / 2)


def test_such_a_number_stays_out_of_the_clip(digits):
    run = Rated(1.0, 0.0)
    outer = Outer(outer_iterations=2, outer_optimizer="sgd", outer_lr=0.1, outer_momentum=0.0, clip="corrected")

    class Growing(Rated):
        def gradient(self, stored, progress):
            self.slopes["images"] = 1.0 if progress == 0 else 100.0
            return super().gradient(stored, progress)

    run = Growing(1.0, 0.0)
    assert float(moved(digits, outer, run)["images"].max()) == pytest.approx(-0.1 * (1.0 + 2.0))
    assert float(run.rate) == pytest.approx(1.2)


class Leaping(Rated):
    """Takes one step too far, and tells so at the next."""

    def __init__(self, leap: int) -> None:
        super().__init__(1.0, 0.0)
        self.leap, self.step, self.seen = leap, 0, []

    def gradient(self, stored, progress):
        value, self.step = float(stored.images.detach()[0, 0, 0, 0]), self.step + 1
        self.seen.append((round(value, 3), round(float(self.rate), 3)))
        self.slopes["images"] = 1e9 if self.step == self.leap else 1.0
        found = super().gradient(stored, progress)
        if abs(value) > 1e3 or not math.isfinite(value):
            return OuterGradient(math.inf, {}, diverged=True)
        return OuterGradient(found.loss, found.gradients, diverged=False)


SGD = Outer(outer_iterations=5, outer_optimizer="sgd", outer_lr=0.1, outer_momentum=0.5)


def test_where_a_student_diverges_the_loop_goes_back_to_the_last_good_numbers_and_forgets_what_led_away(digits):
    run, stored, noted = Leaping(2), Images(digits.spec, 10, (8, 8), "soft"), {}
    OuterLoop(SGD, task_for(digits, planned("rat_bptt", digits.spec, "1"), on_note=noted.update), stored, run).finish()
    assert run.seen[0] == (0.0, 1.0)
    assert run.seen[1] == (-0.1, 1.1)
    assert run.seen[2][0] < -1e7
    assert run.seen[3] == (-0.1, 1.1)  # from here on as from the first step: without momentum
    assert run.seen[4] == (-0.2, 1.2)
    assert float(stored.images.detach().max()) == pytest.approx(-0.35)
    assert noted["skipped_steps"] == 1


def test_a_last_step_to_what_is_no_number_is_taken_back(digits):
    class Beyond(Leaping):
        def gradient(self, stored, progress):
            found = super().gradient(stored, progress)
            return OuterGradient(found.loss, {n: g * 1e35 if progress == 1 else g for n, g in found.gradients.items()}, False)

    run = Beyond(5)
    change = moved(digits, Outer(outer_iterations=5, outer_optimizer="sgd", outer_lr=0.1, outer_momentum=0.0), run)
    assert float(change["images"].max()) == pytest.approx(-0.4)
    assert float(run.rate) == pytest.approx(1.3)


def test_a_run_that_was_interrupted_after_a_leap_goes_back_all_the_same(digits):
    resolution, states, ends = planned("rat_bptt", digits.spec, "1"), [], []
    keep = {"on_checkpoint": lambda state: states.append({k: t.clone() for k, t in state().items()})}
    for start in (None, 1):  # the state after the leap, before anybody knows
        options = keep if start is None else {"resume_from": states[start]}
        run, stored = Leaping(2), Images(digits.spec, 10, (8, 8), "soft")
        run.step = 0 if start is None else start + 1
        OuterLoop(SGD, task_for(digits, resolution, **options), stored, run).finish()
        ends.append((stored.images.detach().clone(), float(run.rate)))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]


PRODUCTS = [
    ("rat_bptt", {}, "1"),
    ("rat_bptt", {"labels": "learned"}, "1"),
    ("rat_bptt", {"average": 0.5, "outer_schedule": "cosine"}, "0.5"),
    ("rat_bptt", {"outer_optimizer": "sgd", "outer_lr": 0.1}, "1"),
    ("podd", {"order": "random", "student_batch": 8}, "0.5"),
    ("podd", {"order": EXPLICIT, "labels": "learned"}, "0.3"),
]


@pytest.mark.parametrize(("name", "fields", "budget"), PRODUCTS)
def test_a_resumed_run_gives_the_same_bytes(digits, name, fields, budget):
    states = []
    resolution = planned(name, digits.spec, budget, SHORT | fields)
    keep = {"on_checkpoint": lambda state: states.append({k: t.clone() for k, t in state().items()})}
    whole = distilled(digits, resolution.method, resolution, budget, **keep)
    assert len(states) == 4
    resumed = distilled(digits, resolution.method, resolution, budget, resume_from=states[1])
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.parametrize(("name", "fields", "budget"), PRODUCTS)
def test_equal_keys_give_equal_bytes_and_the_set_moves(digits, name, fields, budget):
    resolution = planned(name, digits.spec, budget, SHORT | fields)
    still = planned(name, digits.spec, budget, SHORT | fields | {"outer_lr": 0.0, "label_lr": 0.0, "average": 0.0})
    one, other = (distilled(digits, resolution.method, resolution, budget) for _ in range(2))
    start = distilled(digits, still.method, still, budget)
    assert all(torch.equal(one[key], other[key]) for key in one)
    image = next(iter(one))
    assert not torch.equal(one[image], start[image])


def test_learned_labels_never_become_negative(digits):
    resolution = planned("rat_bptt", digits.spec, "1", SHORT | {"labels": "learned", "label_lr": 0.7})
    labels = distilled(digits, resolution.method, resolution)["labels"]
    assert float(labels.min()) == 0.0
    assert float(labels.max()) > 0.5


def test_effort_scales_outer_steps_only(digits):
    seen = []
    resolution = planned("rat_bptt", digits.spec, "1", SHORT)
    distilled(digits, resolution.method, resolution, effort=0.5, on_report=lambda step, total, scalars: seen.append((step, total)))
    assert seen == [(1, 2), (2, 2)]


def saved_after_three_steps(digits, fields):
    """Return the checkpoint of a run on the CPU that was stopped in the second half, where iterates are averaged."""
    states = []
    resolution = planned("rat_bptt", digits.spec, "1", SHORT | fields)
    keep = {"on_checkpoint": lambda state: states.append({k: t.clone() for k, t in state().items()})}
    distilled(digits, resolution.method, resolution, **keep)
    return states[-2]


def loop_of(digits, fields, **options) -> OuterLoop:
    method = planned("rat_bptt", digits.spec, "1", SHORT | fields)
    task = task_for(digits, method, **options)
    stored = Images(digits.spec, 10, (8, 8), "soft" if fields.get("labels") == "learned" else "order").to(task.device)
    return OuterLoop(method.method.outer, task, stored, method.method.objective.begin(task, method.method.student, 4))


def test_a_run_goes_on_on_another_device(digits):
    """Checkpoints are files and come back to the host; what goes on from them is on the task's device."""
    fields = {"average": 0.75, "labels": "learned"}
    saved = saved_after_three_steps(digits, fields)
    loop = loop_of(digits, fields, device=torch.device("meta"), resume_from=saved)
    loop._resume()
    assert loop.done == 3
    kept = [value for state in loop.optimizer.state.values() for what, value in state.items() if what != "step"]
    assert {t.device.type for t in (*kept, *loop.average.values())} == {"meta"}
    assert len(kept) == 4
    assert {float(state["step"]) for state in loop.optimizer.state.values()} == {3.0}


@pytest.mark.parametrize(("precision", "done"), [("float32", 3), ("bf16", 0)])
def test_a_run_is_not_finished_in_another_precision(digits, precision, done):
    loop = loop_of(digits, {"precision": precision}, resume_from=saved_after_three_steps(digits, {}))
    loop._resume()
    assert loop.done == done


def test_every_stored_tensor_of_an_unknown_parameterization_is_moved_by_its_role(digits):
    """Numbers that are neither images nor labels follow the images' rate."""

    class Bent(Images):
        roles = {"images": "other"}

    stored = Bent(digits.spec, 10)
    assert isinstance(stored.images, nn.Parameter)
    OuterLoop(
        Outer(outer_iterations=1, outer_lr=0.5), task_for(digits, planned("rat_bptt", digits.spec, "1")), stored, Slope(1.0, 0)
    ).finish()
    assert float(stored.images.detach().max()) == pytest.approx(-0.5)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_every_step_is_offered_and_looking_at_it_changes_nothing(digits, average, tmp_path):
    """The last one that is offered is what is handed over, averaged or not."""
    resolution = planned("rat_bptt", digits.spec, "1", SHORT | {"average": average, "outer_schedule": "cosine"})
    offered = []

    def look(step, total, make, schedule):
        torch.rand(3)  # whoever looks may use the global stream
        make().save(tmp_path)
        offered.append((step, total, schedule, load_file(tmp_path / "tensors.safetensors")["images"]))

    alone = distilled(digits, resolution.method, resolution)
    watched = distilled(digits, resolution.method, resolution, on_offer=look)
    assert torch.equal(alone["images"], watched["images"])
    assert [one[:3] for one in offered] == [(step, 4, "cosine") for step in (1, 2, 3, 4)]
    assert torch.equal(offered[-1][3], alone["images"])
    assert not torch.equal(offered[0][3], offered[1][3])
