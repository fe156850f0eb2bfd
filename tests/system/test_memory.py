"""Idle memory: the serving process carries no library that only reading a configuration needs."""

import sys
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.scripted_upstream import ScriptedUpstream


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_idle_gateway_is_small(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    gateway = GatewayProcess(tmp_path, upstream.port)
    gateway.make_key("SANDBOX")
    gateway.start()
    try:
        assert gateway.process is not None
        folder = Path("/proc") / str(gateway.process.pid)
        status = (folder / "status").read_text()
        (resident,) = (x for x in status.splitlines() if x.startswith("VmRSS"))
        maps = (folder / "maps").read_text()

        assert int(resident.split()[1]) < 80 * 1024
        assert "pydantic_core" not in maps
        assert "_yaml" not in maps
    finally:
        gateway.stop()
