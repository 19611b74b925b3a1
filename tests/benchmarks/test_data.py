"""The benchmark of opening a large data set, on a small one."""

from __future__ import annotations

import json

import pytest
from registries import restored_registries

from benchmarks import data


def test_it_opens_what_it_kept_in_fresh_processes(capsys: pytest.CaptureFixture[str]) -> None:
    with restored_registries():
        assert data.main(["--train", "2000", "--test", "400"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reached"]
    assert [(each["split"], each["images"]) for each in found["opened"]] == [("dev", 1000), ("paper", 2000)]
    assert len({each["fingerprint"] for each in found["opened"]}) == 2
    assert all(0 < each["seconds"] < data.LONGEST_S for each in found["opened"])
