"""What the demo runs on: ports, a route file of its own, processes that end."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.demo_stage import Stage, free_port
from gateway.config.settings import load
from gateway.errors import GatewayError

ROOT = Path(__file__).parents[2]


def test_a_port_that_is_taken_is_replaced_by_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert free_port("127.0.0.1", port) != port


def test_a_host_that_is_not_ours_has_no_free_port() -> None:
    with pytest.raises(GatewayError) as caught:
        free_port("192.0.2.1", 0)

    assert caught.value.code == "listen.no_port"


def test_the_demos_route_file_is_the_shipped_one_with_the_samples_address(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    stage.write_config(ROOT / "policies" / "gateway.yaml", "http://127.0.0.1:4242")

    loaded = load(stage.config, environ={}, overrides={"data_dir": str(tmp_path)})
    ports = {
        endpoint.port for upstream in loaded.snapshot.upstreams for endpoint in upstream.endpoints
    }
    assert ports == {4242}
    assert all(tmp_path in file.parents for file in loaded.files), "changes touch the demo alone"
    assert json.loads(stage.config.read_text())["pricing"] == ["pricing_ssot.json"]


def test_a_missing_route_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        Stage(tmp_path).write_config(tmp_path / "none.yaml", "http://127.0.0.1:1")

    assert caught.value.code == "config.unreadable"


@pytest.mark.parametrize(
    "text",
    ["- a list", "a: [", "version: 1", "upstreams: {a: 1}", "", "upstreams: {}\npricing: 3"],
)
def test_what_is_no_route_file_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.yaml").write_text(text)

    with pytest.raises(GatewayError) as caught:
        Stage(tmp_path).write_config(tmp_path / "some.yaml", "http://127.0.0.1:1")

    assert caught.value.code == "demo.unsuited"
    assert "gateway check --config" in caught.value.hint


def test_a_missing_pricing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text("upstreams: {}\npricing: gone.json")

    with pytest.raises(GatewayError) as caught:
        Stage(tmp_path).write_config(tmp_path / "some.yaml", "http://127.0.0.1:1")

    assert caught.value.code == "config.unreadable"
    assert "gone.json" in caught.value.message


def test_everything_that_was_started_ends(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    address = stage.start_upstream()
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], text=True)
    stage.processes.append(sleeper)

    stage.stop()

    assert address.startswith("http://127.0.0.1:")
    assert sleeper.returncode is not None
    assert stage.processes == []


def test_a_gateway_that_ends_by_itself_is_reported(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.processes.append(
        subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], text=True)
    )

    with pytest.raises(GatewayError, match="ended with exit code 3"):
        stage.await_end()
    stage.stop()
