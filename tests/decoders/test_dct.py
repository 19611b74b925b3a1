"""Images by their frequencies: the transform, the chosen places, and what real images become."""

import numpy as np
import pytest
import torch
from made_sets import assert_comes_back
from scipy.fft import dctn

from bench import BenchError, Spec
from bench.decoders.dct import Frequencies, cosines, inverse, lowest_first, spectrum
from oracles import frequencies as oracle

WIDE = Spec("wide", 3, (3, 6, 10), ("a", "b", "c"))
DIGITS = Spec("digits", 10, (1, 8, 8), tuple("0123456789"), mirror=False)


def drawn(stored: Frequencies, seed: int = 0) -> Frequencies:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        stored.coefficients.copy_(torch.randn(stored.coefficients.shape, generator=generator))
    places = torch.stack([torch.randperm(60, generator=generator)[: stored.coefficients.shape[2]] for _ in range(3)])
    stored.choose(places)
    return stored


def test_the_transform_is_scipy_s_and_its_inverse_undoes_it():
    images = torch.randn(4, 3, 6, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(spectrum(images), torch.from_numpy(dctn(images.numpy(), axes=(2, 3), norm="ortho")), atol=1e-12)
    assert torch.allclose(inverse(spectrum(images)), images, atol=1e-12)
    assert torch.allclose(cosines(7, images) @ cosines(7, images).T, torch.eye(7, dtype=torch.float64), atol=1e-12)


def test_images_and_gradients_are_those_of_the_oracle():
    stored = drawn(Frequencies(WIDE, frequencies=7, per_class=2)).double()
    images, places = stored.decode().images, stored.places.numpy()
    assert torch.allclose(images, torch.from_numpy(oracle.decode(stored.coefficients.detach().numpy(), places, WIDE.shape)), atol=1e-12)
    along = torch.randn(images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (found,) = torch.autograd.grad(images, stored.coefficients, along)
    assert torch.allclose(found, torch.from_numpy(oracle.gradient(along.numpy(), places)), atol=1e-12)


def test_a_step_along_the_coefficients_is_one_along_the_pixels():
    """With all frequencies: the transform is orthonormal, so that a learning rate means the same for both."""
    stored = Frequencies(DIGITS, frequencies=64, per_class=1).double()
    images = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stored.write(images, torch.arange(10))
    slope = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(stored.decode().images, stored.coefficients, slope)
    with torch.no_grad():
        stored.coefficients.sub_(0.1 * gradient)
    assert torch.allclose(stored.decode().images, images - 0.1 * slope, atol=1e-12)


def test_images_lose_the_frequencies_that_are_not_stored_and_keep_the_others_exactly():
    stored = Frequencies(DIGITS, frequencies=5, per_class=2)
    stored.choose(torch.stack([torch.randperm(64, generator=torch.Generator().manual_seed(c))[:5] for c in range(10)]))
    images, labels = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 10
    stored.write(images, labels)
    images = images[labels.argsort(stable=True)]
    before, after = (spectrum(each).flatten(1) for each in (images, stored.decode().images.detach()))
    for number, label in enumerate(stored.slots().tolist()):
        kept = torch.zeros(64, dtype=torch.bool).index_fill(0, stored.places[label].long(), True)
        assert torch.allclose(after[number][kept], before[number][kept], atol=1e-5)
        assert float(after[number][~kept].abs().max()) < 1e-5


def test_the_first_places_are_the_lowest_frequencies():
    # u² + v²: 0, 1, 1, 2, 4, 4, 5, 5, 8, 9, 10, 13
    assert lowest_first(3, 4).tolist() == [0, 1, 4, 5, 2, 8, 6, 9, 10, 3, 7, 11]
    assert Frequencies(WIDE, frequencies=4, per_class=1).places.tolist() == [[0, 1, 10, 11]] * 3


def test_places_are_ascending_int16_and_cost_a_number_each():
    stored = Frequencies(WIDE, frequencies=4, per_class=2)
    stored.choose(torch.tensor([[9, 0, 59, 3], [1, 2, 3, 4], [40, 30, 20, 10]]))
    assert stored.places.dtype == torch.int16
    assert stored.places.tolist() == [[0, 3, 9, 59], [1, 2, 3, 4], [10, 20, 30, 40]]
    assert stored.pixels == (6 * 3 * 4 + 3 * 4) / 3


def test_chosen_images_come_with_the_places_and_labels_of_their_classes():
    stored = drawn(Frequencies(WIDE, frequencies=7, per_class=2))
    everything, some = stored.decode(), stored.decode(torch.tensor([5, 0, 5]))
    assert torch.allclose(some.images, everything.images[[5, 0, 5]], atol=1e-6)
    assert some.labels.argmax(1).tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("spec", "choices", "sentence"),
    [
        (DIGITS, {"frequencies": 0}, "0 frequencies of images of 8x8 cannot be stored; ask for 1 to 64"),
        (DIGITS, {"frequencies": 65}, "ask for 1 to 64"),
        (DIGITS, {"per_class": 0}, "0 images of a class"),
        (Spec("large", 2, (3, 224, 224), ("a", "b")), {}, "images of at most 32768 pixels"),
    ],
)
def test_what_cannot_be_stored_is_one_sentence(spec, choices, sentence):
    with pytest.raises(BenchError, match=sentence):
        Frequencies(spec, **{"frequencies": 4, "per_class": 2, **choices})


@pytest.mark.parametrize("labels", ["order", "soft", "probabilities"])
def test_a_set_comes_back_from_disk_as_it_was(labels, tmp_path):
    stored = Frequencies(WIDE, frequencies=7, per_class=2, labels=labels)
    stored.choose(torch.from_numpy(np.arange(21).reshape(3, 7)))
    stored.write(torch.rand(6, 3, 6, 10), torch.arange(3).repeat_interleave(2))
    assert_comes_back(stored, WIDE, tmp_path)


@pytest.mark.parametrize("index", [None, [5, 0, 5]])
def test_everything_is_where_the_stored_numbers_are(index):
    """On PyTorch's device without contents, which refuses to mix with the host as a GPU does."""
    stored = Frequencies(WIDE, frequencies=7, per_class=2, labels="soft").to("meta")
    batch = stored.decode(None if index is None else torch.tensor(index, device="meta"))
    assert {batch.images.device.type, batch.labels.device.type} == {"meta"}
    roots = [batch.images, batch.labels]
    flowing = torch.autograd.grad(roots, list(stored.trained().values()), [torch.zeros_like(t) for t in roots])
    assert {tensor.device.type for tensor in flowing} == {"meta"}
