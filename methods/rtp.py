"""RTP: a few bases and many combinations of them, learned by back-propagation through all of training.

Deng, Russakovsky: "Remember the Past: Distilling Datasets into Addressable Memories for Neural Networks", NeurIPS 2022,
arXiv 2206.02916.

rtp = linear bases (``forms/bases.py``) x BPTT (``objectives/bptt.py``) whose window is the whole training: SGD with momentum from a
fresh network to the end. What differs from the authors' code, and why:

1. Minibatches of ``student_batch`` are drawn from all images; theirs have 32 of every class. A batch with as many of each would need a
   field of the set's recipe, as judged students train as in the loop. Real batches are drawn from all training images, too, where
   theirs have 64 of every class.
2. A student is trained on batches as in the loop. They judge with batches of 640, twice as large; 300 epochs are counted in steps of
   320 images here.
3. Their penalty on the norm of the coefficients (1e-4) is left out: their code adds it to the loss of an inner step, whose gradient
   with respect to the network it does not change, so that it never reaches the coefficients.
4. A few classes at a time (their ``task_sampler_nc``) are never drawn: all classes are, as in their command for CIFAR-10.
5. The number of bases follows the budget by one rule, which gives their 16 at one image per class of CIFAR-10.
6. Outer steps are those of their configuration, which is longer than anybody waits for; they evaluate every 200 and report the best.
   Their command has augmentation off and whitening off; both are options of theirs, and on here (``augmentation``, ``space``).

Below one image per class there are fewer bases, and at last smaller ones; the paper has no such case.

Stored: b·c·h'·w' numbers of bases and n·b coefficients; n·C label numbers where labels are learned, none where they are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bench import METHODS, Between
from bench.search import Search

from ._product import Product


@METHODS.register("rtp")
class RTP(Product):
    """Linear bases, learned by back-propagation through all of training."""

    name: ClassVar[str] = "rtp"
    reference: ClassVar[str] = (
        "Deng, Russakovsky: Remember the Past: Distilling Datasets into Addressable Memories for Neural Networks, NeurIPS 2022, "
        "arXiv 2206.02916"
    )
    #: The window is the whole training, so its length is that of a student's.
    search: ClassVar[Mapping[str, Search | None]] = {"outer_lr": Between(1e-2, 10.0), "window": None, "totwindow": None}
    own_forms: ClassVar[tuple[str, ...]] = ("bases",)
    own_objective: ClassVar[str] = "bptt"
    own_defaults: ClassVar[Mapping[str, Any]] = {
        "window": 150,
        "totwindow": 150,
        "curriculum": "fixed",
        "real_batch": 640,
        "outer_iterations": 500_000,
        "outer_optimizer": "sgd",
        "outer_lr": 0.1,
        "outer_momentum": 0.5,
        "clip": 2.0,
        "student_optimizer": "sgd",
        "student_lr": 0.01,
        "student_momentum": 0.9,
        "student_batch": 320,
        "student_steps": 1078,
    }
