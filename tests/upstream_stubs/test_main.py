"""``python -m upstream_stubs`` serves on a port of its choice and stops when told."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from upstream_stubs.__main__ import main


@pytest.fixture
def stub() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "upstream_stubs", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_port_0_prints_an_address_that_answers_and_sigterm_ends_it(
    stub: subprocess.Popen[str],
) -> None:
    assert stub.stdout is not None
    address = stub.stdout.readline().strip()
    with urlopen(f"{address}/healthz", timeout=10) as answer:
        status = answer.status
    stub.send_signal(signal.SIGTERM)

    assert status == 200
    assert stub.wait(timeout=10) == 0


def test_a_port_that_is_taken_is_told_and_exits_3(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert main(["--port", str(port)]) == 3

    assert f"127.0.0.1:{port}" in capsys.readouterr().err
