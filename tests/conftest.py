"""Fixtures of all tests, one thread per process, and a word about what was not run for want of real data."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # must stand before torch is imported; workers of a sweep inherit it

import hypothesis
import pytest
import torch

from bench import DataOptions, Dataset, load_dataset, plugin_trial, registry

NO_REAL_DATA = "DDBENCH_TEST_DATA names no folder with real data"

torch.set_num_threads(1)
hypothesis.settings.register_profile("ddbench", deadline=None, derandomize=True, database=None, max_examples=60)
hypothesis.settings.load_profile("ddbench")


@pytest.fixture(scope="session", autouse=True)
def plugins() -> None:
    """Import every plugin once, as the command line does."""
    registry.discover()


@pytest.fixture(scope="session")
def digits(plugins: None) -> Dataset:
    """The embedded data set under split dev."""
    return load_dataset("digits")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with real MNIST and CIFAR files, from the environment variable DDBENCH_TEST_DATA."""
    configured = os.environ.get("DDBENCH_TEST_DATA")
    if not configured or not Path(configured).is_dir():
        pytest.skip(NO_REAL_DATA)
    return Path(configured)


@pytest.fixture(scope="session")
def real_data(data_root: Path) -> DataOptions:
    """Options that open the real data sets without ever downloading."""
    return DataOptions(data_root, download=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    without_data = sorted(report.nodeid for report in skipped if NO_REAL_DATA in str(report.longrepr))
    if without_data:
        terminalreporter.section("not run: tests on real data")
        terminalreporter.line(f"{len(without_data)} tests did not run, because DDBENCH_TEST_DATA names no folder with what they need:")
        for nodeid in without_data:
            terminalreporter.line(f"  {nodeid}")


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the process in which plugin files are tried: it takes seconds, and those of tests end nothing on import."""
    monkeypatch.setattr(plugin_trial, "_try", lambda *_: None)


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep tests away from the data and results of whoever runs them."""
    monkeypatch.setenv("DDBENCH_DATA", str(tmp_path / "no-data"))
    monkeypatch.delenv("DDBENCH_OUT", raising=False)
