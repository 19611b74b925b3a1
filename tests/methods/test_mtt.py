"""MTT's recipes: the values its authors gave DC-BENCH, which no test could derive."""

import pytest
from products import planned

from bench import Spec

#: Data set, images per class -> steps, epochs between, starts, rate of images, of the rate, the rate, whitening, images per step.
PROVIDED = {
    ("cifar10", "1"): (50, 2, 2, 100.0, 1e-7, 0.01, True, 10),
    ("cifar10", "10"): (30, 2, 20, 100.0, 1e-5, 0.001, True, 100),
    ("cifar10", "50"): (30, 2, 40, 1000.0, 1e-5, 0.001, False, 500),
    ("cifar100", "1"): (20, 3, 20, 1000.0, 1e-5, 0.01, True, 100),
    ("cifar100", "10"): (20, 2, 20, 1000.0, 1e-5, 0.01, False, 1000),
    ("cifar100", "50"): (80, 2, 40, 1000.0, 1e-5, 0.01, True, 125),
    ("tiny_imagenet", "1"): (10, 2, 10, 1e4, 1e-4, 0.01, False, 200),
    ("tiny_imagenet", "10"): (20, 2, 40, 1e4, 1e-4, 0.01, False, 200),
    ("tiny_imagenet", "50"): (20, 2, 40, 1e4, 1e-4, 0.01, False, 300),
}
CLASSES = {"cifar10": 10, "cifar100": 100, "tiny_imagenet": 200}


@pytest.mark.parametrize(("dataset", "ipc"), PROVIDED)
def test_recipes_resolve_to_the_values_that_were_provided(dataset, ipc):
    classes, side = CLASSES[dataset], 64 if dataset == "tiny_imagenet" else 32
    found = planned("mtt", Spec(dataset, classes, (3, side, side), tuple(map(str, range(classes)))), ipc, recipes=True)
    fields, images = found.method.values(), classes * int(ipc)
    names = ("syn_steps", "expert_epochs", "max_start", "outer_lr", "lr_lr", "student_lr")
    *expected, whitened, shown = PROVIDED[dataset, ipc]
    assert [fields[name] for name in names] == expected
    assert fields["space"] == ("zca_kornia" if whitened else "standard")
    assert found.method.objective.batch(images) == shown
    everywhere = {"outer_optimizer": "sgd", "outer_momentum": 0.5, "outer_iterations": 5000, "outer_schedule": "constant"}
    experts = {"experts": 100, "expert_lr": 0.01, "expert_batch": 256, "expert_augmentation": "all", "trained_epochs": 0}
    judged = {"student_momentum": 0.9, "student_weight_decay": 5e-4, "student_schedule": "step", "student_batch": 256, "init": "random"}
    for name, value in (everywhere | experts | judged).items():
        assert fields[name] == value, name
    epochs = fields["student_steps"] / -(-images // 256)
    assert epochs == 1000
    assert {need.config["epochs"] for need in found.needs if need.name == "experts"} == {expected[1] + expected[2] - 1}
