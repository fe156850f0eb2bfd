"""``gateway serve`` as a process: it serves, obeys SIGTERM, and says why it can't start."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from gateway.cli.demo_stage import free_port
from tests.support.operator_desk import OperatorDesk

READY_SECONDS = 20.0


@contextmanager
def serving(desk: OperatorDesk, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    admin_port = free_port("127.0.0.1", 0)
    command = [
        sys.executable, "-m", "gateway", "serve",
        "--listen", "127.0.0.1:0",
        "--admin-listen", f"127.0.0.1:{admin_port}",
        *options,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )
    try:
        yield process, admin_port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def status_of(port: int, path: str) -> int:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (ConnectionRefusedError, ConnectionResetError):
            time.sleep(0.05)
        finally:
            connection.close()
    return 0


def test_a_worker_serves_until_it_is_told_to_end(desk: OperatorDesk) -> None:
    """B11, design section 13: SIGTERM ends it in order, with exit code 0."""
    with serving(desk, "--log-level", "info") as (process, admin_port):
        ready = status_of(admin_port, "/readyz")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)

    assert ready == 200
    assert process.returncode == 0
    events = [orjson.loads(line)["event"] for line in errors.splitlines()]
    assert "worker.started" in events


def test_an_address_in_use_may_be_free_soon_and_is_exit_code_1(desk: OperatorDesk) -> None:
    with serving(desk) as (first, admin_port):
        assert status_of(admin_port, "/readyz") == 200
        second = subprocess.run(
            [
                sys.executable, "-m", "gateway", "serve",
                "--listen", "127.0.0.1:0",
                "--admin-listen", f"127.0.0.1:{admin_port}",
                "--data-dir", str(desk.folder / "other"),
            ],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    assert first.returncode is not None
    assert second.returncode == 1
    assert "Traceback" not in second.stderr
    assert "--admin-listen" in second.stderr


def test_a_journal_in_use_is_exit_code_1(desk: OperatorDesk) -> None:
    """The gateway before it may need a drain and a dozen seconds more."""
    with serving(desk) as (_, admin_port):
        assert status_of(admin_port, "/readyz") == 200
        with serving(desk) as (second, _):
            _, told = second.communicate(timeout=30)

    assert second.returncode == 1
    assert b"[journal.locked]" in told


def test_a_wrong_configuration_is_exit_code_3_with_every_fault(
    desk: OperatorDesk, tmp_path: Path
) -> None:
    desk.config.write_text(desk.config.read_text().replace("upstream: runs", "upstream: rums"))

    desk.run("serve", expect=3)

    assert desk.told.count("rums") >= 2
