"""Every convention in which people release sets is recognised, with its evidence; what no number tells is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from foreign import released_files as made
from foreign.conftest import Read

from bench import Dataset
from bench.errors import BenchError
from bench.foreign.conversion import to_distilled_set
from bench.foreign.reading import plausible_options
from bench.foreign.real_pixels import RealPixels
from bench.nn.spaces import fit_space


def said_of(reading: object, topic: str) -> str:
    return "; ".join(sentence for about, sentence in reading.evidence if about == topic)  # type: ignore[attr-defined]


def asked(reading: object) -> list[str]:
    return [question.option for question in reading.questions]  # type: ignore[attr-defined]


# The conventions ----------------------------------------------------------------------------------------------------


def test_dc_has_class_ids_beside_its_images_and_its_space_is_asked(tmp_path: Path, read: Read) -> None:
    reading = read(made.dc(tmp_path, made.drawn()))
    assert (reading.layout, reading.options.labels, reading.pixels(), reading.ipc()) == ("images", "ids", 640, 1.0)
    assert "covers 10 of 10 classes" in said_of(reading, "labels")
    assert asked(reading) == ["space"]


def test_the_result_file_of_dc_is_read_and_its_accuracies_are_left_out(tmp_path: Path, read: Read) -> None:
    images = made.drawn()
    reading = read(made.dc_result(tmp_path, images))
    assert np.array_equal(reading.images, images.numpy())
    assert reading.labels is not None
    assert reading.labels.tolist() == list(range(10))
    assert "accs_all_exps.ConvNet" in " ".join(reading.left_out)


def test_a_result_file_of_several_experiments_is_asked_which(tmp_path: Path, read: Read) -> None:
    files = made.dc_result(tmp_path, made.drawn(), experiments=2)
    with pytest.raises(BenchError, match=r"data\.0\.0.*data\.1\.0.*--images data\.0\.0"):
        read(files)


def test_datm_has_logits_and_a_learned_rate(tmp_path: Path, read: Read) -> None:
    reading = read(made.datm(tmp_path, made.drawn()), space="standard")
    assert (reading.options.labels, reading.rate, asked(reading)) == ("logits", pytest.approx(0.02), [])
    distilled = to_distilled_set(reading)
    labels = distilled.parameterization.decode().labels
    assert torch.allclose(labels.sum(1), torch.ones(10))
    assert reading.labels is not None
    assert torch.allclose(labels, torch.from_numpy(reading.labels).softmax(1), atol=1e-6)
    assert (distilled.recipe.lr, distilled.recipe.optimizer, distilled.recipe.loss) == (pytest.approx(0.02), "sgd", "cross_entropy")


def test_rfad_has_centred_labels_for_squared_error(tmp_path: Path, read: Read) -> None:
    reading = read(made.rfad(tmp_path, made.drawn()), space="zca_kip")
    assert (reading.options.labels, asked(reading)) == ("centred", [])
    assert "platt = 1.7" in " ".join(reading.left_out)
    distilled = to_distilled_set(reading)
    assert (distilled.parameterization.label_kind, distilled.recipe.loss) == ("centred", "mse")
    assert torch.allclose(distilled.parameterization.decode().labels, torch.eye(10) - 0.1, atol=1e-6)


def test_datadam_writes_class_ids_as_floats(tmp_path: Path, read: Read) -> None:
    reading = read(made.datadam(tmp_path, made.drawn()))
    assert reading.options.labels == "ids"
    assert "stored as float32" in said_of(reading, "labels")


def test_mtt_writes_parameters(tmp_path: Path, read: Read) -> None:
    assert read(made.mtt(tmp_path, made.drawn())).options.labels == "ids"


def test_rows_without_labels_are_asked_whether_they_go_by_order(tmp_path: Path, read: Read) -> None:
    files = made.rat_bptt(tmp_path, made.drawn())
    assert asked(read(files)) == ["labels", "space"]
    reading = read(files, labels="order", space="standard")
    assert (reading.labels, asked(reading)) == (None, [])
    assert torch.equal(to_distilled_set(reading).parameterization.decode().labels, torch.eye(10))


def test_an_order_that_was_said_labels_the_images(tmp_path: Path, read: Read) -> None:
    reading = read(made.rat_bptt(tmp_path, made.drawn()), labels="order", space="standard", order="9-8-7-6-5-4-3-2-1-0")
    assert to_distilled_set(reading).parameterization.decode().labels.argmax(1).tolist() == list(range(9, -1, -1))


def test_some_images_without_labels_are_asked_for_the_class_of_each(tmp_path: Path, read: Read) -> None:
    torch.save(made.drawn(3), tmp_path / "x.pt")
    reading = read([tmp_path / "x.pt"], space="standard", labels="order")
    assert asked(reading) == ["order"]
    assert "say --order 0-0-1-..., the class of every image, or give the file" in reading.questions[0].sentence()
    labels = read([tmp_path / "x.pt"], order="4-4-7").labels
    assert labels is not None
    assert labels.tolist() == [4, 4, 7]
    for order in ("4-4", "identity"):
        with pytest.raises(BenchError, match="3 images do not go by order for 10 classes; say --order with the class of every image"):
            read([tmp_path / "x.pt"], order=order)


def test_a_checkpoint_of_flax_has_targets_a_second_copy_and_optimizer_state(tmp_path: Path, read: Read) -> None:
    images = made.drawn()
    reading = read(made.frepo(tmp_path, images), space="zca_kip")
    assert np.allclose(reading.images, images.numpy())
    left_out = " ".join(reading.left_out)
    assert "ema_average.x_proto (float32, 10x8x8x1) is a second copy" in left_out
    assert "opt_state.0.mu.x_proto (float32, 10x8x8x1) is state of an optimizer" in left_out
    assert reading.pixels() == 640
    assert [(q.option, q.plausible) for q in reading.questions] == [("labels", ("centred", "logits"))]
    distilled = to_distilled_set(read(made.frepo(tmp_path, images), space="zca_kip", labels="centred"))
    assert distilled.parameterization.decode().labels.sum(1).abs().max() < 1e-6


def test_how_a_file_is_called_does_not_make_it_state_of_an_optimizer(tmp_path: Path, read: Read) -> None:
    for name in ("optimized", "ema"):
        torch.save(made.drawn(), tmp_path / f"{name}.pt")
        assert read([tmp_path / f"{name}.pt"]).pixels() == 640


def test_the_second_copy_can_be_asked_for(tmp_path: Path, read: Read) -> None:
    images = made.drawn()
    reading = read(made.frepo(tmp_path, images), images="ema_average.x_proto", label_array="params.y_proto", labels="centred")
    assert np.allclose(reading.images, 0.5 * images.numpy())


def test_tiles_of_8_bit_are_recognised_by_their_seam(tmp_path: Path, read: Read, digits: Dataset) -> None:
    tiles = torch.nn.functional.interpolate(made.real_images(digits, per_class=4), scale_factor=0.5, mode="area")
    # Digits are dark at their edges, so that tiles of them hardly show: dark and bright ones lie side by side.
    tiles = 0.2 * tiles + torch.tensor([0.0, 0.8, 0.8, 0.0]).repeat(10).view(-1, 1, 1, 1)
    files = made.idc(tmp_path, tiles)
    reading = read(files)
    assert (reading.options.space, asked(reading)) == ("rgb", ["tiles"])
    decoded = to_distilled_set(read(files, tiles="2"))
    assert (decoded.coordinates, len(decoded.parameterization), decoded.parameterization.pixels) == ("rgb", 40, 640)
    batch = decoded.parameterization.decode()
    assert torch.allclose(batch.images, torch.nn.functional.interpolate(tiles, (8, 8), mode="bilinear"), atol=0.5 / 255 + 1e-6)
    assert batch.labels.argmax(1).tolist() == made.ids(4).tolist()


def test_a_poster_is_asked_for_all_that_no_number_tells(tmp_path: Path, read: Read) -> None:
    files = made.poster(tmp_path, torch.randn(1, 16, 40, generator=torch.Generator().manual_seed(0)))
    reading = read(files)
    assert (reading.layout, reading.options.class_grid, reading.pixels()) == ("poster", (5, 2), 640)
    assert asked(reading) == ["patches", "order", "labels", "space"]
    with pytest.raises(BenchError, match="patch grid of the poster is not in the file.*class order of the poster is not in the file"):
        list(plausible_options(reading))
    settled = read(files, patches="6x3", order="0-8-5-7-4-1-9-3-2-6", labels="fixed", space="standard")
    assert asked(settled) == []
    assert len(to_distilled_set(settled).parameterization) == 18


def test_a_poster_may_have_a_label_array_of_any_grid(tmp_path: Path, read: Read) -> None:
    image, labels = torch.randn(1, 16, 40, generator=torch.Generator().manual_seed(0)), torch.rand(10, 2, 7)
    files = made.poster(tmp_path, image, labels)
    distilled = to_distilled_set(read(files, patches="7x2", order="identity", space="standard"))
    decoded = distilled.parameterization.decode().labels
    assert distilled.parameterization.config()["label_grid"] == [7, 2]
    # One cell under each patch, columns outside as the patches go.
    assert torch.allclose(decoded, (labels / labels.sum(0)).permute(2, 1, 0).flatten(0, 1), atol=1e-6)
    distilled.save(tmp_path / "set")
    assert torch.equal(type(distilled).load(tmp_path / "set", distilled.spec).parameterization.decode().labels, decoded)


def test_pictures_are_named_or_numbered_like_the_classes(tmp_path: Path, read: Read, digits: Dataset) -> None:
    images = made.real_images(digits)
    names = [f"class_{9 - number}" for number in range(10)]
    reading = read(made.pictures(tmp_path, images, names))
    assert (reading.options.space, asked(reading)) == ("rgb", [])
    distilled = to_distilled_set(reading)
    by_class = {
        int(label): image for label, image in zip(distilled.parameterization.decode().labels.argmax(1), reading.images, strict=True)
    }
    assert np.array_equal(by_class[9], (images[0] * 255).round().byte().numpy())


def test_what_lies_beside_the_folders_is_named_and_no_part_of_the_set(tmp_path: Path, read: Read, digits: Dataset) -> None:
    (folder,) = made.pictures(tmp_path, made.real_images(digits), [f"class_{label}" for label in range(10)])
    np.save(folder / "labels.npy", np.zeros((10, 10)))
    (folder / "class_3" / "notes.txt").write_text("mine")
    reading = read([folder])
    assert reading.left_out == ("labels.npy beside the folders is not read",)
    assert list(reading.release.checksums) == [f"set/class_{label}/0.png" for label in range(10)]


def test_a_digit_that_is_no_number_is_no_class(tmp_path: Path, read: Read, digits: Dataset) -> None:
    images = made.real_images(digits)[:2]
    reading = read(made.pictures(tmp_path, images, ["a²", "b³"]))
    assert asked(reading) == ["order"]
    with pytest.raises(BenchError, match="labels cannot be one_hot; leave out --labels"):
        read([tmp_path / "set"], labels="one_hot")


def test_pictures_in_folders_of_other_names_are_asked(tmp_path: Path, read: Read, digits: Dataset) -> None:
    files = made.pictures(tmp_path, made.real_images(digits), list("abcdefghij"))
    assert asked(read(files)) == ["order"]
    assert asked(read(files, order="identity")) == []


# What is told of spaces, coverage and parts -------------------------------------------------------------------------


def test_real_images_are_known_by_whole_numbers(tmp_path: Path, read: Read, digits: Dataset) -> None:
    images = (made.real_images(digits) * 255).round() / 255
    assert read(made.dc(tmp_path, images)).options.space == "rgb"
    assert read(made.dc(tmp_path, images * 255)).options.space == "rgb"


def test_published_constants_are_undone(tmp_path: Path, read: Read, digits: Dataset) -> None:
    pixels = (made.real_images(digits) * 255).round() / 255
    reading = read(made.dc(tmp_path, (pixels - 0.2861) / 0.3530))
    assert reading.options.space == "normalised:fashion_mnist"
    distilled = to_distilled_set(reading)
    assert (distilled.space, distilled.coordinates) == ("standard", "rgb")
    assert torch.allclose(distilled.parameterization.decode().images, pixels, atol=1e-5)


def test_a_whitened_set_in_the_wrong_space_is_warned_of(tmp_path: Path, read: Read, real: RealPixels) -> None:
    images = made.real_images(real.dataset, per_class=3)
    whitened = fit_space("zca_kip", real.dataset.train).transform(images)[::3].contiguous()
    files = made.dc(tmp_path, whitened)
    assert "they are whitened, and zca_kip or zca_kornia or zca_frepo is likely" in said_of(read(files), "pixels")
    assert read(files, space="zca_kip").warnings == ()
    (warning,) = read(files, space="standard").warnings
    assert "speak against --space standard" in warning


def test_several_files_of_one_set_are_joined(tmp_path: Path, read: Read) -> None:
    images, files = made.drawn(), []
    for part in range(2):
        kept = slice(5 * part, 5 * part + 5)
        torch.save({"images": images[kept], "labels": made.ids()[kept]}, tmp_path / f"part{part}.pt")
        files.append(tmp_path / f"part{part}.pt")
    whole = read(files)
    assert np.array_equal(whole.images, images.numpy())
    assert "covers 10 of 10 classes" in said_of(whole, "labels")
    half = read(files[:1])
    assert "covers 5 of 10 classes" in said_of(half, "labels")
    assert (half.pixels(), half.ipc()) == (320, 0.5)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (torch.eye(10), "one_hot"),
        (torch.eye(10) * 0.5 + 0.05, "probabilities"),
        (torch.eye(10) * 3, "weights"),
        (torch.eye(10) - 0.1, "centred"),
        (torch.eye(10) * 9 - 2, "logits"),
        (torch.arange(10), "ids"),
        (torch.arange(10).view(10, 1), "ids"),
    ],
)
def test_kinds_of_labels(tmp_path: Path, read: Read, rows: torch.Tensor, kind: str) -> None:
    np.savez(tmp_path / "x.npz", images=made.drawn().numpy(), labels=rows.numpy())
    assert read([tmp_path / "x.npz"]).options.labels == kind


def test_what_is_stored_comes_back(tmp_path: Path, read: Read) -> None:
    images, weights = made.drawn(), torch.rand(10, 10)
    np.savez(tmp_path / "x.npz", images=images.numpy(), labels=weights.numpy())
    state = to_distilled_set(read([tmp_path / "x.npz"], space="zca_kip")).parameterization.state_dict()
    assert torch.equal(state["images"], images)
    assert torch.equal(state["labels"], weights)


@pytest.mark.parametrize("kind", [">f4", ">f8", "longdouble", "float16"])
def test_numbers_of_any_type_and_byte_order_are_read(tmp_path: Path, read: Read, kind: str) -> None:
    images = made.drawn().half()
    np.savez(tmp_path / "x.npz", images=images.numpy().astype(kind), labels=np.arange(10, dtype=">i4"))
    state = to_distilled_set(read([tmp_path / "x.npz"], space="standard")).parameterization.state_dict()
    assert torch.equal(state["images"], images.float())
    assert torch.equal(state["labels"], torch.arange(10))


def test_whole_numbers_of_0_and_1_are_no_dark_images(tmp_path: Path, read: Read) -> None:
    torch.save({"images": (made.drawn() > 0).long(), "labels": made.ids()}, tmp_path / "x.pt")
    assert to_distilled_set(read([tmp_path / "x.pt"])).parameterization.state_dict()["images"].max() == 1.0


def test_one_image_of_each_class_in_a_file_of_its_own(tmp_path: Path, read: Read) -> None:
    files = [tmp_path / f"{label}.pt" for label in range(10)]
    for label, file in enumerate(files):
        torch.save({"images": made.drawn(1, seed=label), "label": torch.tensor([9 - label])}, file)
    labels = read(files).labels
    assert labels is not None
    assert labels.tolist() == list(range(9, -1, -1))


def test_what_only_looks_like_a_label_array_or_like_an_optimizer_takes_no_images_away(tmp_path: Path, read: Read) -> None:
    torch.save({"optimized_images": made.drawn(), "labels": made.ids(), "confusion": torch.zeros(10, 5, 5)}, tmp_path / "x.pt")
    reading = read([tmp_path / "x.pt"])
    assert np.array_equal(reading.images, made.drawn().numpy())
    assert reading.left_out == ("confusion (float32, 10x5x5) is neither images nor labels; it is not used",)


def test_state_of_an_optimizer_can_be_asked_for(tmp_path: Path, read: Read) -> None:
    torch.save({"opt.images": made.drawn(), "labels": made.ids()}, tmp_path / "x.pt")
    assert np.array_equal(read([tmp_path / "x.pt"], images="opt.images").images, made.drawn().numpy())


def test_smaller_images_stay_small(tmp_path: Path, read: Read) -> None:
    np.savez(tmp_path / "x.npz", images=made.drawn(shape=(1, 4, 4)).numpy(), labels=np.arange(10))
    distilled = to_distilled_set(read([tmp_path / "x.npz"], space="standard"))
    assert (distilled.parameterization.pixels, tuple(distilled.parameterization.decode().images.shape)) == (160, (10, 1, 8, 8))


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite(tmp_path: Path, read: Read, value: float) -> None:
    images = made.drawn()
    images[3, 0, 2, 2] = value
    with pytest.raises(BenchError, match="not finite"):
        read(made.dc(tmp_path, images))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.zeros(10, 7), "labels are 10x7; the data set has 10 classes"),
        (torch.arange(1, 11), "run from 1 to 10.*subtract 1"),
        (torch.arange(10) * 2, "run from 0 to 18"),
        (torch.full((10, 10), float("nan")), "not finite"),
        (torch.arange(9), "10 images and 9 labels|neither images nor labels|no labels"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, read: Read, labels: torch.Tensor, said: str) -> None:
    torch.save(made.drawn(), tmp_path / "images.pt")
    torch.save(labels, tmp_path / "labels.pt")
    with pytest.raises(BenchError, match=said):
        read([tmp_path / "images.pt", tmp_path / "labels.pt"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": "logits"}, "labels cannot be logits"),
        ({"space": "nope"}, "unknown pixel space 'nope'"),
        ({"space": "normalised:cifar10"}, "3 channels"),
        ({"labels": "idz"}, "did you mean 'ids'"),
        ({"order": "0-1-x"}, "class numbers in order"),
        ({"patches": "16"}, "columns x rows"),
        ({"tiles": "3"}, "cannot be cut into 3x3"),
        ({"recipe": "lr"}, "field=value"),
        ({"recipe": "rate=3"}, "unknown field of --recipe 'rate'"),
        ({"recipe": "lr=-1"}, "greater than or equal to 0"),
        ({"images": "nothing"}, "unknown array of images 'nothing'"),
        ({"label_array": "nothing"}, "unknown array of labels 'nothing'"),
        ({"patches": "4x4"}, "separate images, of which --patches says nothing"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, read: Read, options: dict[str, str], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        read(made.dc(tmp_path, made.drawn()), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"network": "lenet"}, "unknown network 'lenet'"), ({"recipe": "augmentation=mirror"}, "unknown augmentation 'mirror'")],
)
def test_what_the_judge_would_refuse_is_refused_at_once(tmp_path: Path, read: Read, options: dict[str, str], said: str) -> None:
    reading = read(made.dc(tmp_path, made.drawn()), space="standard", **options)
    with pytest.raises(BenchError, match=said):
        to_distilled_set(reading)


def test_pixels_that_would_be_infinite_once_they_are_kept(tmp_path: Path, read: Read) -> None:
    with pytest.raises(BenchError, match="not finite"):
        read(made.dc(tmp_path, made.drawn().double() * 1e300))


def test_a_label_array_that_is_not_finite(tmp_path: Path, read: Read) -> None:
    files = made.poster(tmp_path, made.drawn(1, (1, 16, 40))[0], torch.full((10, 2, 5), float("nan")))
    with pytest.raises(BenchError, match="label array of the poster holds numbers that are not finite"):
        read(files)


@pytest.mark.parametrize("shape", [(0, 64), (0, 0, 1, 8, 8), (0, 1, 8, 8)])
def test_no_images_are_no_set(tmp_path: Path, read: Read, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    with pytest.raises(BenchError, match="no array can be images"):
        read([tmp_path / "x.npy"])


def test_several_learned_rates_are_asked_for(tmp_path: Path, read: Read) -> None:
    torch.save({"images": made.drawn(), "labels": made.ids(), "lr_img": 100.0, "syn_lr": 0.02}, tmp_path / "x.pt")
    with pytest.raises(BenchError, match="lr_img = 100 and syn_lr = 0.02; say --recipe lr="):
        read([tmp_path / "x.pt"])
    said = read([tmp_path / "x.pt"], space="standard", recipe="lr=0.02")
    assert to_distilled_set(said).recipe.lr == 0.02


def test_a_file_of_another_data_set_is_told_by_its_shapes(tmp_path: Path, read: Read) -> None:
    with pytest.raises(BenchError, match=r"no array can be images of 1x8x8.*images \(float32, 10x3x32x32\)"):
        read(made.dc(tmp_path, torch.zeros(10, 3, 32, 32)))


def test_what_is_not_known_is_not_guessed(tmp_path: Path, read: Read) -> None:
    with pytest.raises(BenchError, match="the pixel space is not certain; say --space"):
        to_distilled_set(read(made.dc(tmp_path, made.drawn())))
