"""Pixel spaces: fitted on training images alone, inverted, fitted once for all, equal to an independent computation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import BenchError, Dataset, Spec, Split
from bench.nn import spaces, whitening
from bench.nn.spaces import SPACES, Standard, ZcaFrepo, ZcaKip, ZcaKornia, fit_space, needs_of_space, open_space, shared_space
from bench.prerequisite import Need
from bench.prerequisite_store import PrerequisiteStore, opener, resolve
from bench.seeding import stream
from oracles import whitening as oracle


def noise(count: int, shape: tuple[int, int, int]) -> Split:
    images = torch.randint(0, 256, (count, *shape), generator=stream("noise", *shape), dtype=torch.uint8)
    images[:, :, :2] //= 4  # correlated and unequal enough for whitening to have work
    return Split(images, torch.zeros(count, dtype=torch.int64))


def test_standard_against_numpy() -> None:
    train = noise(50, (3, 4, 5))
    pixels = train.images.numpy().astype(np.float64) / 255
    expected = (pixels - pixels.mean((0, 2, 3), keepdims=True)) / pixels.std((0, 2, 3), keepdims=True)
    space = Standard.fit(train)
    assert np.allclose(space.transform(train.unit_images()).numpy(), expected, atol=1e-5)
    torch.testing.assert_close(space.inverse(space.transform(train.unit_images())), train.unit_images(), rtol=1e-5, atol=1e-5)


def test_standard_is_exact_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    train = noise(50, (3, 4, 5))
    whole, whitened = Standard.fit(train), ZcaKip.fit(train)
    monkeypatch.setattr(spaces, "_BLOCK", 7)
    monkeypatch.setattr(whitening, "_BLOCK", 7)
    assert torch.equal(Standard.fit(train).mean, whole.mean)
    assert torch.equal(Standard.fit(train).std, whole.std)
    torch.testing.assert_close(ZcaKip.fit(train).whiten, whitened.whiten)
    nearly_flat = torch.full((3000, 1, 8, 8), 255, dtype=torch.uint8)
    nearly_flat[0, 0, 0, 0] = 254  # the variance is the difference of two numbers that agree to ten digits
    pixels = nearly_flat.numpy().astype(np.float64) / 255
    assert float(Standard.fit(Split(nearly_flat, torch.zeros(3000, dtype=torch.int64))).std) == pytest.approx(pixels.std(), rel=1e-6)


MEMORY = """
import resource
import torch
from bench import Split
from bench.nn.spaces import SPACES

torch.set_num_threads(1)
pixel = torch.arange(3 * {side} * {side}, dtype=torch.uint8).view(1, 3, {side}, {side})
count = 40_000_000 // {side}**2
train = Split(pixel.expand(count, -1, -1, -1), torch.zeros(1, dtype=torch.int64).expand(count))  # takes no memory itself
SPACES["{name}"].fit(Split(pixel, torch.zeros(1, dtype=torch.int64)))  # what the libraries take on first use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
SPACES["{name}"].fit(train)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count memory in other units")
@pytest.mark.parametrize(("name", "side"), [("standard", 32), ("zca_kip", 8), ("zca_frepo", 8)])
def test_fitting_makes_no_float_copy_of_the_images(name: str, side: int) -> None:
    """As float32 these images take 480 MB, as float64 960 MB."""
    done = subprocess.run([sys.executable, "-c", MEMORY.format(name=name, side=side)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60


def test_a_constant_channel_stays_finite() -> None:
    train = Split(torch.full((4, 1, 2, 2), 7, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    for name in SPACES:
        assert torch.isfinite(fit_space(name, train).transform(train.unit_images())).all()


@pytest.mark.parametrize(("count", "shape"), [(200, (1, 5, 6)), (40, (3, 6, 5))], ids=["many images", "fewer images than pixels"])
def test_zca_kip_against_the_oracle(count: int, shape: tuple[int, int, int]) -> None:
    train, test = noise(count, shape), noise(7, shape)
    rows, unseen = (split.images.flatten(1).numpy().astype(np.float64) / 255 for split in (train, test))
    expected = oracle.kip_matrix(rows)
    space = ZcaKip.fit(train)
    assert np.allclose(space.whiten.numpy(), expected, rtol=1e-4, atol=1e-3)
    # Unseen images are whitened by the matrix of the training images.
    assert np.allclose(space.transform(test.unit_images()).flatten(1).numpy(), oracle.unit_rows(unseen) @ expected, atol=1e-3)


@pytest.mark.parametrize(("count", "shape"), [(200, (1, 5, 6)), (40, (3, 6, 5))], ids=["many images", "fewer images than pixels"])
def test_zca_kornia_against_the_oracle(count: int, shape: tuple[int, int, int]) -> None:
    train, test = noise(count, shape), noise(7, shape)
    rows, unseen = (split.images.flatten(1).numpy().astype(np.float64) / 255 for split in (train, test))
    mean, expected = oracle.kornia(rows)
    space = ZcaKornia.fit(train)
    assert np.allclose(space.whiten.numpy(), expected, atol=1e-5)
    assert np.allclose(space.transform(test.unit_images()).flatten(1).numpy(), (unseen - mean) @ expected, atol=1e-5)


def test_zca_kornia_against_kornia_itself() -> None:
    enhance = pytest.importorskip("kornia.enhance")
    train, test = noise(200, (3, 5, 4)), noise(7, (3, 5, 4))
    theirs = enhance.ZCAWhitening(eps=0.1, compute_inv=True).fit(train.unit_images())
    ours = ZcaKornia.fit(train)
    seen = theirs(test.unit_images())
    torch.testing.assert_close(ours.transform(test.unit_images()), seen, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.inverse(seen), theirs.inverse_transform(seen), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("count", "shape"), [(200, (1, 5, 6)), (40, (3, 6, 5))], ids=["many images", "fewer images than pixels"])
def test_zca_frepo_against_the_oracle(count: int, shape: tuple[int, int, int]) -> None:
    train = noise(count, shape)
    rows, mean, expected = oracle.frepo(train.images.numpy().astype(np.float64) / 255)
    space = ZcaFrepo.fit(train)
    assert np.allclose(space.whiten.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert np.allclose(space.transform(train.unit_images()).flatten(1).numpy(), (rows - mean) @ expected, atol=1e-3)


PEAK = """
import resource
import torch
from scipy.linalg import eigh
from bench import Split
from bench.nn import whitening
from bench.nn.spaces import SPACES

torch.set_num_threads(1)
whitening._WHOLE, whitening._PIECE, whitening._BLOCK = 256, 64, 600
images = torch.randint(0, 256, (2000, 3, 24, 24), dtype=torch.uint8)
small = Split(images[:, :, :8, :8].repeat(1, 1, 2, 2), torch.zeros(2000, dtype=torch.int64))
SPACES["zca_kip"].fit(small)  # what the libraries take on first use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
SPACES["zca_kip"].fit(Split(images, torch.zeros(2000, dtype=torch.int64)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (8 * (3 * 24 * 24) ** 2))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems count memory in other units")
def test_whitening_large_images_takes_little_more_than_two_matrices() -> None:
    """In float64; what PyTorch's eigenvectors take alone is four."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2.5


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_rebuilt_from_its_tensors(name: str, digits: Dataset) -> None:
    space = fit_space(name, digits.train)
    again = SPACES[name].from_tensors({key: tensor.clone() for key, tensor in space.tensors().items()})
    images = digits.train.unit_images(torch.arange(9))
    assert torch.equal(again.transform(images), space.transform(images))
    assert torch.equal(again.inverse(images), space.inverse(images))


@pytest.mark.parametrize("name", ["standard", "zca_kornia", "zca_frepo"])
def test_images_come_back_as_they_were(name: str, digits: Dataset) -> None:
    space, unseen = fit_space(name, digits.train), digits.test().unit_images()
    torch.testing.assert_close(space.inverse(space.transform(unseen)), unseen, rtol=0, atol=2e-5)


def test_zca_kip_gives_an_image_back_but_for_its_brightness_and_contrast(digits: Dataset) -> None:
    space, unseen = fit_space("zca_kip", digits.train), digits.test().unit_images()
    centred = unseen - unseen.mean((1, 2, 3), keepdim=True)
    expected = centred / centred.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(space.inverse(space.transform(unseen)), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["zca_kip", "zca_kornia", "zca_frepo"])
def test_a_whitening_is_symmetric_and_its_inverse_is_one(name: str, digits: Dataset) -> None:
    fitted = fit_space(name, digits.train).tensors()
    torch.testing.assert_close(fitted["whiten"], fitted["whiten"].T, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fitted["whiten"] @ fitted["unwhiten"], torch.eye(len(fitted["whiten"])), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["zca_kip", "zca_kornia", "zca_frepo"])
@pytest.mark.parametrize("count", [400, 20], ids=["many images", "few images"])
def test_pieces_and_other_eigenvectors_give_the_same_matrices(name: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What images too large for one piece go through, at the size of small ones."""
    train = noise(count, (3, 5, 4))
    whole = fit_space(name, train).tensors()
    monkeypatch.setattr(whitening, "_WHOLE", 59)
    monkeypatch.setattr(whitening, "_PIECE", 7)
    monkeypatch.setattr(whitening, "_BLOCK", 3)
    for key, tensor in fit_space(name, train).tensors().items():
        torch.testing.assert_close(tensor, whole[key], rtol=1e-4, atol=1e-4)


def test_zca_kip_rows_and_matrices(digits: Dataset) -> None:
    space = ZcaKip.fit(digits.train)
    size = digits.train.images[0].numel()
    torch.testing.assert_close(space.whiten, space.whiten.T, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(space.whiten @ space.unwhiten, torch.eye(size), rtol=1e-3, atol=1e-3)
    x = digits.train.unit_images()
    back = space.inverse(space.transform(x)).flatten(1)
    torch.testing.assert_close(back.mean(1), torch.zeros(len(x)), rtol=0, atol=1e-4)
    torch.testing.assert_close(back.norm(dim=1), torch.ones(len(x)), rtol=1e-3, atol=1e-3)
    # Variances are evened out: the largest direction of the moment is E/(E + r) < 1, the smallest near zero stays small.
    white = space.transform(x).flatten(1).double()
    eigenvalues = torch.linalg.eigvalsh(white.T @ white / len(x))
    assert eigenvalues.max() < 1
    assert eigenvalues.max() > 0.9


@pytest.mark.parametrize("name", SPACES)
def test_the_transform_is_differentiable_and_does_not_depend_on_the_batch(name: str, digits: Dataset) -> None:
    space = SPACES[name].fit(digits.train)
    x = digits.train.unit_images(torch.arange(5)).requires_grad_()
    out = space.transform(x)
    assert out.shape == x.shape
    out.square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    torch.testing.assert_close(space.transform(x[2:3]), out[2:3], rtol=1e-4, atol=1e-5)


def dataset_of(train: Split) -> Dataset:
    return Dataset(Spec("noise", 1, tuple(train.images.shape[1:]), ("noise",)), train, lambda: train)


def nothing_announced(need: Need) -> Path:
    raise LookupError(need.name)


def test_only_large_whitenings_are_announced() -> None:
    small, large = (Spec("noise", 1, (3, side, side), ("noise",)) for side in (18, 19))
    assert needs_of_space("zca_kip", small) == ()
    assert needs_of_space("zca_kip", large) == (Need("space", {"space": "zca_kip"}),)
    assert needs_of_space("standard", large) == ()


def test_host_and_contestant_get_the_same_numbers_from_one_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of(noise(30, (1, 32, 32)))
    fresh = fit_space("zca_kip", dataset.train)
    built = shared_space("zca_kip", dataset, tmp_path)
    monkeypatch.setattr(ZcaKip, "fit", None)  # from here on nobody can fit one
    again = shared_space("zca_kip", dataset, tmp_path)
    needs = needs_of_space("zca_kip", dataset.spec)
    opened = open_space("zca_kip", dataset.train, opener(needs, PrerequisiteStore(tmp_path), dataset.fingerprint()))
    for space in (built, again, opened):
        for key, tensor in fresh.tensors().items():
            assert torch.equal(space.tensors()[key], tensor)
    [file] = tmp_path.glob("*/space.safetensors")
    assert resolve(needs[0]).disk_bytes(dataset.spec) == pytest.approx(file.stat().st_size, rel=0.01)


def test_a_contestant_that_announced_nothing_fits_in_memory_and_writes_nothing(tmp_path: Path) -> None:
    dataset = dataset_of(noise(30, (1, 32, 32)))
    store = PrerequisiteStore(tmp_path / "prerequisites")
    space = open_space("zca_kip", dataset.train, opener((), store, dataset.fingerprint()))
    assert torch.equal(space.tensors()["whiten"], ZcaKip.fit(dataset.train).whiten)
    assert not store.folder.exists()


def test_small_spaces_touch_no_folder(tmp_path: Path) -> None:
    dataset = dataset_of(noise(30, (1, 8, 8)))
    for name in SPACES:
        shared_space(name, dataset, tmp_path / "prerequisites")
        open_space(name, dataset.train, nothing_announced)
    assert not (tmp_path / "prerequisites").exists()


def test_without_a_folder_the_host_fits_in_memory() -> None:
    dataset = dataset_of(noise(30, (1, 32, 32)))
    assert torch.equal(shared_space("zca_kip", dataset, None).tensors()["whiten"], ZcaKip.fit(dataset.train).whiten)


def test_other_images_and_another_version_are_fitted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (dataset_of(noise(count, (1, 32, 32))) for count in (30, 31))
    for dataset in (one, other):
        space = shared_space("zca_kip", dataset, tmp_path)
        assert torch.equal(space.tensors()["whiten"], ZcaKip.fit(dataset.train).whiten)
    monkeypatch.setattr(ZcaKip, "version", 2)
    shared_space("zca_kip", one, tmp_path)
    assert len(list(tmp_path.glob("*/manifest.json"))) == 3


def test_a_damaged_whitening_is_fitted_anew(tmp_path: Path) -> None:
    dataset = dataset_of(noise(30, (1, 32, 32)))
    shared_space("zca_kip", dataset, tmp_path)
    [file] = tmp_path.glob("*/space.safetensors")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.warns(RuntimeWarning, match="space.safetensors is not what was written"):
        again = shared_space("zca_kip", dataset, tmp_path)
    assert torch.equal(again.tensors()["whiten"], ZcaKip.fit(dataset.train).whiten)


def test_an_announced_space_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(BenchError, match="unknown pixel space 'zca'"):
        resolve(Need("space", {"space": "zca"}))


def test_an_unknown_space_names_the_closest(digits: Dataset) -> None:
    with pytest.raises(BenchError, match="unknown pixel space 'zca'; did you mean 'zca_kip'|unknown pixel space 'zca'"):
        fit_space("zca", digits.train)
