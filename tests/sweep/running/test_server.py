"""The server that processes are forked from: it starts them, or is replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from bench.sweep.running.server import ForkServer, NoAnswer


def never() -> bool:
    return False


def always() -> bool:
    return True


@pytest.fixture
def server() -> Iterator[ForkServer]:
    """A server that has answered, and is patient for half a second."""
    server = ForkServer(["bench"], silence=0.5)
    assert started(server) == 0
    yield server
    server.end()


def started(server: ForkServer) -> int | None:
    process = server.context.Process(target=os.getpid)  # type: ignore[attr-defined]
    server.start(process, never)
    process.join(20)
    code: int | None = process.exitcode
    return code


def test_a_stopped_server_is_replaced_by_one_that_answers(server: ForkServer) -> None:
    before = server.pid
    assert before is not None
    os.kill(before, signal.SIGSTOP)
    with pytest.raises(NoAnswer, match=r"was silent for 0.5 s"):
        started(server)
    assert started(server) == 0
    assert server.pid != before


def test_a_server_that_died_is_known_to_be_dead_before_it_is_asked_again(server: ForkServer) -> None:
    for _ in range(5):
        before = server.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        try:
            code = started(server)
        except NoAnswer:
            code = started(server)
        assert code == 0
        assert server.pid != before


def test_a_run_that_is_stopped_does_not_wait_for_a_stopped_server(server: ForkServer) -> None:
    server.silence = 60.0
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    process = server.context.Process(target=os.getpid)  # type: ignore[attr-defined]
    assert server.start(process, always) is False


def test_a_living_server_is_not_gone(server: ForkServer) -> None:
    assert not server.gone(server.pid)
    assert not server.gone(None)
