"""Nothing of somebody else's file is ever run, and none fills the memory: each is refused in one sentence."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import msgpack
import numpy as np
import pytest
import torch
from foreign.released_files import Reduced, Runs, dc_result, drawn, flax_bytes, malicious, plain_pickle
from numpy._core.multiarray import _reconstruct

from bench.cli import main
from bench.errors import BenchError
from bench.foreign import contents, torch_files
from bench.foreign.opening import open_release


def refusal(file: Path) -> str:
    with pytest.raises(BenchError) as caught:
        open_release([file])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    file = malicious(tmp_path / "images.pt", tmp_path / "mark")
    torch.load(file, weights_only=False)["config"].close()
    assert (tmp_path / "mark").exists(), "the file would do harm if it were unpickled"
    (tmp_path / "mark").unlink()
    said = refusal(file)
    assert "open to be called" in said
    assert "nothing of it was run" in said
    assert not (tmp_path / "mark").exists()


def test_the_command_line_says_so_in_one_line_with_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = malicious(tmp_path / "images.pt", tmp_path / "mark")
    for command in (["inspect", str(file)], ["import", str(file), "--dataset", "digits", "--name", "x", "--out", str(tmp_path / "out")]):
        assert main(command) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("write", [lambda f, m: plain_pickle(f, Runs(m)), lambda f, m: plain_pickle(f, {"images": [Runs(m)]})])
def test_a_plain_pickle_does_not_run(tmp_path: Path, write: Callable[[Path, Path], Path]) -> None:
    refusal(write(tmp_path / "images.pkl", tmp_path / "mark"))
    assert not (tmp_path / "mark").exists()


def test_the_older_format_does_not_run_code_either(tmp_path: Path) -> None:
    torch.save({"config": Runs(tmp_path / "mark")}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert "to be called" in refusal(tmp_path / "old.pt")
    assert not (tmp_path / "mark").exists()


def test_scalars_and_arrays_of_numpy_are_read(tmp_path: Path) -> None:
    (file,) = dc_result(tmp_path, drawn())
    names = {array.name: array.values for array in open_release([file]).contents[0].arrays}
    assert names["accs_all_exps.ConvNet"].tolist() == [0.25, 0.5]
    torch.save({"images": drawn().numpy(), "n": np.int32(3)}, tmp_path / "arrays.pt")
    found = {array.name: array.values for array in open_release([tmp_path / "arrays.pt"]).contents[0].arrays}
    assert np.array_equal(found["images"], drawn().numpy())
    assert found["n"].tolist() == 3


def test_arrays_of_objects_inside_a_pickle_are_refused(tmp_path: Path) -> None:
    torch.save({"images": np.array([1, "a"], dtype=object)}, tmp_path / "objects.pt")
    assert "objects.pt" in refusal(tmp_path / "objects.pt")


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (torch.eye(3).to_sparse(), "is a torch.float32 torch.sparse_coo tensor"),
        (torch.zeros(3).to(torch.float8_e8m0fnu), "is a torch.float8_e8m0fnu"),
        (torch.zeros(3, device="meta"), "is a torch.float32"),
        (torch.zeros(3, dtype=torch.complex64), "is a torch.complex64"),
    ],
)
def test_tensors_that_are_no_grid_of_numbers_are_left_out(tmp_path: Path, beside: torch.Tensor, said: str) -> None:
    torch.save({"images": drawn(), "other": beside}, tmp_path / "x.pt")
    (found,) = open_release([tmp_path / "x.pt"]).contents
    assert [array.name for array in found.arrays] == ["images"]
    assert said in found.remarks[0]


def test_names_cannot_write_lines_of_their_own(tmp_path: Path) -> None:
    torch.save({"a\nit trains with \x1b[31m": drawn(), "b" * 5000: drawn()}, tmp_path / "x.pt")
    names = [array.name for array in open_release([tmp_path / "x.pt"]).contents[0].arrays]
    assert names[0] == "a it trains with \\x1b[31m"
    assert len(names[1]) < 300


def test_whole_numbers_beyond_all_types_are_refused(tmp_path: Path) -> None:
    torch.save({"images": drawn(), "numbers": [1, 10**400]}, tmp_path / "x.pt")
    assert "not numbers" in refusal(tmp_path / "x.pt")


def test_allowing_numpy_ends_with_the_file(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    open_release(dc_result(tmp_path, drawn()))
    assert set(torch.serialization.get_safe_globals()) == before


def test_the_one_codec_of_old_pickles_is_allowed_and_no_other() -> None:
    assert torch_files._latin1("\xff", "latin1") == b"\xff"
    with pytest.raises(pickle.UnpicklingError):
        torch_files._latin1("x", "zlib")


# Bombs --------------------------------------------------------------------------------------------------------------


def test_an_archive_that_declares_more_than_is_read_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MOST_BYTES", 2**25)
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(2):
            member.write(bytes(2**26))
    assert (tmp_path / "bomb.npz").stat().st_size < 2**18
    assert "declares 134,217,728 bytes" in refusal(tmp_path / "bomb.npz")


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MOST_BYTES", 2**16)


@pytest.mark.usefixtures("small_limit")
def test_every_kind_of_file_is_held_to_the_limit(tmp_path: Path) -> None:
    large = np.zeros(2**15, dtype=np.float32)
    np.save(tmp_path / "a.npy", large)
    np.savez_compressed(tmp_path / "a.npz", images=large)
    torch.save(torch.from_numpy(large), tmp_path / "a.pt")
    torch.save(torch.from_numpy(large), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "a.msgpack").write_bytes(flax_bytes({"x": large}))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=large, compression="gzip")
    for name in ("a.npy", "a.npz", "a.pt", "old.pt", "a.msgpack", "a.h5"):
        assert "declares" in refusal(tmp_path / name), name


def test_a_tensor_that_is_expanded_is_counted_before_it_is_laid_out(tmp_path: Path) -> None:
    torch.save(torch.zeros(1).expand(2**16, 2**16), tmp_path / "wide.pt")
    assert "declares 17,179,869,184 bytes" in refusal(tmp_path / "wide.pt")


def test_a_storage_that_is_longer_than_its_file_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(1000), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    raw = (tmp_path / "old.pt").read_bytes()
    assert raw.count(b"M" + struct.pack("<H", 1000)) >= 1
    (tmp_path / "old.pt").write_bytes(raw.replace(b"M" + struct.pack("<H", 1000), b"J" + struct.pack("<i", 2**30)))
    assert "declares 1,073,741,824 stored numbers" in refusal(tmp_path / "old.pt")


def test_the_length_of_a_storage_cannot_be_hidden(tmp_path: Path) -> None:
    torch.save(torch.zeros(1000), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    raw, length = (tmp_path / "old.pt").read_bytes(), b"M" + struct.pack("<H", 1000)
    at = raw.index(b"(X\x07\x00\x00\x00storage")
    kept = b"J" + struct.pack("<i", 2**30) + b"q\xff0"  # pushed, kept and dropped before the tuple, fetched inside of it
    (tmp_path / "old.pt").write_bytes(raw[:at] + kept + raw[at:].replace(length, b"h\xff", 1))
    assert "keeps a number to use it again" in refusal(tmp_path / "old.pt")


def test_nested_lists_do_not_multiply(tmp_path: Path) -> None:
    nested: list[object] = [torch.zeros(1)]
    for _ in range(30):
        nested = [nested, nested]
    torch.save(nested, tmp_path / "nested.pt")
    assert "nested too deeply or in too many parts" in refusal(tmp_path / "nested.pt")


def test_a_list_that_holds_itself_ends(tmp_path: Path) -> None:
    endless: list[object] = []
    endless.append(endless)
    torch.save(endless, tmp_path / "endless.pt")
    assert "nested too deeply" in refusal(tmp_path / "endless.pt")


def test_an_array_that_asks_for_more_memory_than_there_is(tmp_path: Path) -> None:
    torch.save({"images": Reduced(_reconstruct, (np.ndarray, (10**15,), b"b"))}, tmp_path / "wide.pt")
    assert "asks for more memory than there is" in refusal(tmp_path / "wide.pt")


def npy_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_an_array_that_is_larger_than_its_member_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "short.npz", "w") as archive:
        archive.writestr("images.npy", npy_header((10**9, 10**9)) + b"1234")
    assert "it is damaged" in refusal(tmp_path / "short.npz")


@pytest.mark.parametrize("shape", [(10**9, 10**9), (-1, 4), (3,)])
def test_an_array_of_flax_has_the_numbers_that_it_declares(tmp_path: Path, shape: tuple[int, ...]) -> None:
    packed = msgpack.packb((shape, "float32", b"12345678"), use_bin_type=True)
    (tmp_path / "x.msgpack").write_bytes(msgpack.packb({"x": msgpack.ExtType(1, packed)}))
    assert "it is damaged" in refusal(tmp_path / "x.msgpack")


@pytest.mark.parametrize("empty", [{}, []])
def test_maps_of_flax_cannot_fill_the_memory(tmp_path: Path, empty: object) -> None:
    """An empty one takes a byte in the file, and sixty times as much once it is read."""
    (tmp_path / "many.msgpack").write_bytes(msgpack.packb({"x": [empty] * 1_000_001}))
    assert "more than 1,000,000 lists and maps" in refusal(tmp_path / "many.msgpack")


# Reaching elsewhere -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../outside.npy", "/etc/passwd", "a/../../b.npy", "C:\\x.npy", "..\\x.npy"])
@pytest.mark.parametrize("ending", [".npz", ".pt"])
def test_members_that_would_lie_elsewhere_are_refused(tmp_path: Path, name: str, ending: str) -> None:
    with zipfile.ZipFile(tmp_path / f"x{ending}", "w") as archive:
        archive.writestr(name, npy_header((1,)) + b"1234")
    assert "would lie outside" in refusal(tmp_path / f"x{ending}")


def test_data_sets_of_hdf5_in_other_files_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(40))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["data"] = np.zeros(10, dtype=np.float32)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("data", (10,), np.float32, external=[(str(tmp_path / "secret"), 0, 40)])
    assert "another file" in refusal(tmp_path / "external.h5")
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["data"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "data")
    assert "no array of numbers" in refusal(tmp_path / "linked.h5")


def test_objects_are_not_unpickled_from_numpy_files(tmp_path: Path) -> None:
    objects = np.array([Runs(tmp_path / "mark")], dtype=object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "x.npz", images=objects)
    assert "Python objects" in refusal(tmp_path / "x.npy")
    assert "Python objects" in refusal(tmp_path / "x.npz")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"PK\x03\x04broken", b"\x80\x02broken", b"\x93NUMPYbroken", b"\x89HDF broken", b"\x81broken", bytes(range(256))],
)
@pytest.mark.parametrize("ending", [".pt", ".npz", ".npy", ".h5", ".msgpack", ".safetensors", ""])
def test_whatever_a_file_holds_it_is_one_sentence(tmp_path: Path, content: bytes, ending: str) -> None:
    (tmp_path / f"x{ending}").write_bytes(content)
    assert f"x{ending}" in refusal(tmp_path / f"x{ending}")


@pytest.mark.parametrize("cut", [40, 300, 2000])
def test_files_that_were_cut_off_are_one_sentence(tmp_path: Path, cut: int) -> None:
    torch.save({"images": drawn()}, tmp_path / "x.pt")
    torch.save({"images": drawn()}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "x.npz", images=drawn().numpy())
    for name in ("x.pt", "old.pt", "x.npz"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-cut])
        said = refusal(tmp_path / name)
        assert "was cut off; get it again" in said or name != "x.pt"


def test_a_file_that_is_not_there_or_given_twice(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "nowhere.pt")
    torch.save(drawn(), tmp_path / "x.pt")
    with pytest.raises(BenchError, match="given twice"):
        open_release([tmp_path / "x.pt", tmp_path / "x.pt"])


def test_help_and_mistakes_need_no_torch() -> None:
    program = "import sys; from bench.cli import main; main(['inspect', '--help']); sys.exit(bool({'torch', 'h5py'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--probe" in done.stdout
