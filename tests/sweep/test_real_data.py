"""Methods of every kind on every data set of which real files are at hand: planned, distilled, judged, in the right space."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib import image as pictures

import bench
from bench.sweep.store import Store

SMALL = "network=convnet-d3-w4,student_steps=2"
METHODS = [
    f"random[{SMALL}]",
    f"rat_bptt[{SMALL},window=1,totwindow=2,minwindow=0,real_batch=16,student_batch=20]",
    f"podd[{SMALL},window=1,totwindow=2,minwindow=0,real_batch=16,student_batch=20,order=identity]",
    f"dm[{SMALL},class_batch=4,distilled_batch=2]",
]
#: Data set -> what it needs of the folder of real data, and the space of its learned sets.
PARTS = {
    "mnist": ("MNIST", "standard"),
    "cifar10": ("cifar10", "zca_kip"),
    "cifar100": ("cifar100", "zca_kip"),
    "tiny_imagenet": ("tiny-imagenet-200", "zca_kip"),
    "cub200": ("CUB_200_2011", "zca_kip"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PARTS))
def test_every_method_runs_end_to_end_on_real_files(name: str, data_root: Path, tmp_path: Path) -> None:
    folder, space = PARTS[name]
    if not (data_root / folder).is_dir():
        pytest.skip(f"DDBENCH_TEST_DATA names no folder with real data: it has no {folder}")
    (tmp_path / "data").mkdir()
    if name in ("tiny_imagenet", "cub200"):  # these are decoded beside where they lie
        shutil.copytree(data_root / folder, tmp_path / "data" / folder)
    else:
        (tmp_path / "data" / folder).symlink_to(data_root / folder)
    asked = bench.settings(
        methods=METHODS, datasets=[name], budgets=["1"], seeds=[0], students=1, effort=1e-9, no_reference=True, jobs=1,
        data_root=tmp_path / "data", offline=True,
    )  # fmt: skip
    bench.run_sweep(asked, out=tmp_path / "out")
    records = {record.cell.method: record for record in Store(tmp_path / "out").read_all()[0].values()}
    assert {method: record.status for method, record in records.items()} == dict.fromkeys(("random", "rat_bptt", "podd", "dm"), "ok")
    spaces = {method: record.cell.fields["space"] for method, record in records.items()}
    assert spaces == {"random": space, "rat_bptt": space, "podd": space, "dm": "standard"}
    for record in records.values():
        shown = pictures.imread(tmp_path / "out" / record.pictures[0])
        assert shown[..., :3].std() > 0.05  # something is drawn
