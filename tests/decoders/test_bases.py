"""Linear bases: what they decode to, what comes back by gradients, and what real images become."""

import pytest
import torch
from made_sets import assert_comes_back

from bench import BenchError, Spec
from bench.decoders.bases import Bases
from oracles import bases as oracle

WIDE = Spec("wide", 3, (3, 6, 10), ("a", "b", "c"))
DIGITS = Spec("digits", 10, (1, 8, 8), tuple("0123456789"), mirror=False)


def drawn(stored: Bases, seed: int = 0) -> Bases:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in stored.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return stored


@pytest.mark.parametrize("size", [None, (3, 5), (4, 3), (1, 1), (6, 5)])
def test_images_and_gradients_are_those_of_the_oracle(size):
    stored = drawn(Bases(WIDE, bases=4, per_class=2, size=size)).double()
    images = stored.decode().images
    numbers = [stored.bases.detach().numpy(), stored.coefficients.detach().numpy()]
    assert torch.allclose(images, torch.from_numpy(oracle.decode(*numbers, (6, 10))), atol=1e-12)
    along = torch.randn(images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = torch.autograd.grad(images, (stored.bases, stored.coefficients), along)
    for mine, other in zip(found, oracle.gradients(*numbers, along.numpy()), strict=True):
        assert torch.allclose(mine, torch.from_numpy(other), atol=1e-10)


def test_classes_come_in_order_and_chosen_images_with_their_own_labels():
    stored = drawn(Bases(WIDE, bases=4, per_class=2, size=(3, 5)))
    assert stored.slots().tolist() == [0, 0, 1, 1, 2, 2]
    everything, some = stored.decode(), stored.decode(torch.tensor([5, 0, 5]))
    assert some.labels.argmax(1).tolist() == [2, 0, 2]
    assert torch.allclose(some.images, everything.images[[5, 0, 5]], atol=1e-6)


def test_of_as_many_bases_as_there_are_directions_images_come_back_as_they_were():
    stored = Bases(DIGITS, bases=20, per_class=2)
    images, labels = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 10
    stored.write(images, labels)
    assert torch.allclose(stored.decode().images, images[labels.argsort(stable=True)], atol=1e-5)
    assert stored.decode().labels.argmax(1).tolist() == stored.slots().tolist()


def test_of_fewer_bases_images_are_approximated_as_well_as_these_can():
    """The error is that of the singular values that were left out (Eckart & Young 1936)."""
    stored = Bases(DIGITS, bases=6, per_class=3)
    images = torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    stored.write(images, torch.arange(10).repeat_interleave(3))
    left_out = torch.linalg.svdvals(images.flatten(1))[6:]
    assert float((stored.decode().images.detach() - images).norm()) == pytest.approx(float(left_out.norm()), rel=1e-4)


def test_both_factors_are_of_one_size():
    stored = Bases(DIGITS, bases=6, per_class=3)
    stored.write(torch.randn(30, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(10).repeat_interleave(3))
    assert torch.allclose(stored.bases.flatten(1).norm(dim=1), stored.coefficients.norm(dim=0), rtol=1e-4)


@pytest.mark.parametrize("images", [torch.ones(20, 1, 8, 8), torch.zeros(20, 1, 8, 8)], ids=["all alike", "empty"])
def test_bases_that_the_images_do_not_need_can_still_be_learned(images):
    """Each of the two factors gets a gradient where the other one is not zero."""
    stored = Bases(DIGITS, bases=40, per_class=2)
    stored.write(images, torch.arange(10).repeat_interleave(2))
    assert torch.allclose(stored.decode().images, images, atol=1e-5)
    assert (stored.bases.flatten(1).norm(dim=1) > 0).all()


def test_smaller_bases_keep_constants_and_cost_their_own_size():
    stored = Bases(WIDE, bases=1, per_class=1, size=(3, 5))
    stored.write(torch.full((3, 3, 6, 10), 0.25), torch.arange(3))
    assert torch.allclose(stored.decode().images, torch.tensor(0.25), atol=1e-6)
    assert stored.pixels == (3 * 3 * 5 + 3 * 1) / 3


def test_the_same_number_of_every_class_is_written_and_nothing_else():
    with pytest.raises(ValueError, match="room for 2 images of each of 10 classes, found 20 in all"):
        Bases(DIGITS, bases=4, per_class=2).write(torch.zeros(20, 1, 8, 8), torch.zeros(20, dtype=torch.int64))


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"bases": 0}, "0 bases of"),
        ({"size": (0, 4)}, "hold nothing"),
        ({"per_class": 0}, "0 images of a class hold nothing"),
        ({"labels": "ids"}, "labels 'ids' do not exist; bases takes order, soft"),
    ],
)
def test_what_holds_nothing_is_one_sentence(choices, sentence):
    with pytest.raises(BenchError, match=sentence):
        Bases(DIGITS, **{"bases": 4, "per_class": 2, **choices})


@pytest.mark.parametrize(
    ("labels", "kind", "trained"), [("soft", "weights", True), ("probabilities", "probabilities", False), ("centred", "centred", True)]
)
def test_rows_of_labels_begin_at_the_classes_and_are_used_as_they_are(labels, kind, trained):
    stored = Bases(DIGITS, bases=4, per_class=2, labels=labels)
    stored.write(torch.rand(20, 1, 8, 8), torch.arange(10).repeat_interleave(2))
    eye = torch.eye(10).repeat_interleave(2, 0)
    assert torch.allclose(stored.decode().labels, eye - 0.1 if labels == "centred" else eye)
    assert (stored.label_kind, "labels" in stored.trained()) == (kind, trained)
    rows = torch.rand(20, 10)
    stored.write_labels(rows)
    assert torch.equal(stored.decode(torch.tensor([3])).labels, rows[3:4])
    stored.write_labels(rows - 0.5)
    stored.project()
    after = stored.decode().labels.detach()
    assert float(after.sum(1).abs().max()) < 1e-5 if labels == "centred" else True
    assert float(after.min()) == 0.0 if labels == "soft" else True


@pytest.mark.parametrize("labels", ["order", "soft"])
def test_a_set_comes_back_from_disk_as_it_was(labels, tmp_path):
    stored = Bases(WIDE, bases=4, per_class=2, size=(3, 5), labels=labels)
    stored.write(torch.rand(6, 3, 6, 10), torch.arange(3).repeat_interleave(2))
    assert_comes_back(stored, WIDE, tmp_path)


@pytest.mark.parametrize("index", [None, [5, 0, 5]])
def test_everything_is_where_the_stored_numbers_are(index):
    """On PyTorch's device without contents, which refuses to mix with the host as a GPU does."""
    stored = Bases(WIDE, bases=4, per_class=2, size=(3, 5)).to("meta")
    batch = stored.decode(None if index is None else torch.tensor(index, device="meta"))
    assert {batch.images.device.type, batch.labels.device.type} == {"meta"}
    flowing = torch.autograd.grad(batch.images, list(stored.trained().values()), torch.zeros_like(batch.images))
    assert {tensor.device.type for tensor in flowing} == {"meta"}
