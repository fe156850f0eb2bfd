"""``python -m gateway.process`` is a program: handed a configuration, it serves or says why not."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import orjson

from gateway.config.transfer import dump
from tests.process.configurations import loaded_in
from tests.support.gateway_process import free_port, wait_until

ROOT = Path(__file__).parents[2]
END_SECONDS = 20


def begin(folder: Path, listen: int, admin: int) -> "subprocess.Popen[bytes]":
    """Start the program as ``gateway serve`` does, with its configuration in a descriptor."""
    loaded = loaded_in(folder, listen=listen, admin=admin)
    configuration = dump(loaded).decode()
    with tempfile.TemporaryFile() as handed:
        handed.write(orjson.dumps({"configuration": configuration, "overrides": {}}))
        handed.seek(0)
        number = handed.fileno()
        return subprocess.Popen(
            [sys.executable, "-m", "gateway.process", str(number)],
            cwd=ROOT,
            pass_fds=[number],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def test_it_serves_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    process = begin(tmp_path, port, admin)
    try:
        wait_until(lambda: is_ready(admin), END_SECONDS)
        answer = httpx.get(f"http://127.0.0.1:{port}/one")
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=END_SECONDS)
    finally:
        process.kill()
        process.wait()

    assert answer.json()["code"] == "key_missing"
    assert process.returncode == 0
    events = [orjson.loads(line)["event"] for line in told.splitlines()]
    assert events[-1] == "worker.stopped"
    assert "worker.started" in events


def test_it_says_why_it_can_not_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = begin(tmp_path, taken.getsockname()[1], free_port())
        try:
            _, told = process.communicate(timeout=END_SECONDS)
        finally:
            process.kill()
            process.wait()

    assert process.returncode == 1, "the address may be free soon"
    last = told.decode().splitlines()[-2:]
    assert last[0].startswith("error: ")
    assert last[0].endswith("[worker.cannot_listen]")
    assert last[1].startswith("hint: ")
    assert "Traceback" not in told.decode()
