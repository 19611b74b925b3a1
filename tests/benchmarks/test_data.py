"""The benchmark of opening a large data set, on a small one."""

from __future__ import annotations

import json

import pytest
from registries import restored_registries

from benchmarks import data


def test_it_opens_what_it_kept_in_fresh_processes(capsys: pytest.CaptureFixture[str]) -> None:
    with restored_registries():
        data.main(["--train", "2000", "--test", "400"])  # whether it is fast enough says the machine, not the code
    found = json.loads(capsys.readouterr().out)
    assert [(each["split"], each["images"]) for each in found["opened"]] == [("dev", 1000), ("paper", 2000)]
    assert len({each["fingerprint"] for each in found["opened"]}) == 2
    assert all(each["seconds"] > 0 for each in found["opened"])
