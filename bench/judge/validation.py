"""Scores sets on val from within a distillation, in a process of its own, so that val images are never near the method.

The process starts at the first call. Both sides speak one JSON object per line; a set travels through a temporary
folder, as it does to the judge.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import torch

from ..data import DataOptions, SplitName
from ..distilled import DistilledSet
from ..errors import BenchError, RejectedSet
from ..loading import load_dataset
from ..nn.precision import exact_float32
from ..own_process import start_serving
from ..record import mean
from ..registry import discover
from .decoding import load_closed
from .evaluate import validation_accuracies
from .protocol import Protocol

_PATIENCE = 5.0  # seconds an idle process gets to exit


class Validator:
    """Validation accuracies of students trained on a set, computed by another process.

    Attributes:
        calls: how often it was asked.
    """

    def __init__(
        self,
        dataset_name: str,
        split: SplitName,
        options: DataOptions,
        cache: Path | None,
        protocol: Protocol,
        seed: int,
        *,
        plugin_files: Sequence[str] = (),
        device: str = "cpu",
    ) -> None:
        """Remember what to score on; no process is started yet.

        Args:
            dataset_name: how the data set is asked for.
            split: must be ``dev``; ``paper`` has no val.
            options: where the data lies.
            cache: folder of prerequisites, where a large pixel space is kept.
            protocol: how students are trained.
            seed: distillation seed.
            plugin_files: files given by ``--plugin``, which may hold the data set or the parameterization.
            device: where the other process trains.
        """
        self.calls = 0
        self._setting = {
            "dataset": dataset_name,
            "split": split,
            "root": str(options.root),
            "cache": str(cache) if cache else "",
            "protocol": protocol.as_json(),
            "seed": seed,
            "plugins": list(plugin_files),
            "device": device,
        }
        self._process: subprocess.Popen[str] | None = None

    def score(self, distilled: DistilledSet) -> float:
        """Return the mean accuracy on val; raises what ``accuracies`` does."""
        return mean(self.accuracies(distilled))

    def accuracies(self, distilled: DistilledSet, purpose: str = "validate") -> list[float]:
        """Return the accuracy on val of every student; another ``purpose`` has students of its own.

        Raises:
            BenchError: the data set cannot be opened by the other process.
            RejectedSet: the set cannot be saved or decoded.
            RuntimeError: the other process failed or ended; its own words are in the log.
        """
        self.calls += 1
        with tempfile.TemporaryDirectory(prefix="ddbench-val-") as folder:
            distilled.save(Path(folder))
            answer = self._ask({"folder": folder, "purpose": purpose})
        if "accuracies" in answer:
            return [float(one) for one in answer["accuracies"]]
        kinds: dict[str, type[Exception]] = {"RejectedSet": RejectedSet, "BenchError": BenchError}
        raise kinds.get(answer["kind"], RuntimeError)(answer["error"])

    def close(self) -> None:
        """End the other process, if there is one."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None  # both ends are pipes
        assert process.stdout is not None
        try:
            process.stdin.close()
            process.wait(_PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> Self:
        """Return itself; ``close`` is called at the end."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the other process."""
        self.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process or self._start()
        assert process.stdin is not None  # both ends are pipes
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            raise RuntimeError("the process that scores on val ended unexpectedly; its last words are in the log")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[str]:
        self._process = start_serving("bench.judge.validation", stdout=subprocess.PIPE)
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.write(json.dumps(self._setting) + "\n")
        return self._process


def serve() -> None:
    """Be the other process: read the setting, then answer one question per line until the input ends."""
    # What plugins print must not get between the answers, so those leave by a private copy of standard output.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        torch.set_num_threads(1)
        exact_float32()
        setting = json.loads(sys.stdin.readline())
        _answer_all(setting, answers)


def _answer_all(setting: dict[str, Any], answers: TextIO) -> None:
    dataset = None
    for line in sys.stdin:
        try:
            if dataset is None:
                discover(tuple(setting["plugins"]))
                dataset = load_dataset(setting["dataset"], setting["split"], DataOptions(Path(setting["root"]), download=False))
            question = json.loads(line)
            answer: dict[str, Any] = {
                "accuracies": validation_accuracies(
                    load_closed(Path(question["folder"]), dataset.spec),
                    dataset,
                    Protocol.from_json(setting["protocol"]),
                    setting["seed"],
                    Path(setting["cache"]) if setting["cache"] else None,
                    torch.device(setting["device"]),
                    question["purpose"],
                )
            }
        except Exception as error:
            # Whatever went wrong belongs to the one who asked; this process stays ready for the next question.
            answer = {"kind": type(error).__name__, "error": str(error) or type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
