"""The whole gateway with nothing but PgBouncer in transaction mode between it and PostgreSQL."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess, wait_until
from tests.support.pgbouncer_server import PgBouncer, running_pgbouncer
from tests.support.postgres_server import PASSWORD, running_postgres
from tests.support.scripted_upstream import ScriptedUpstream


@pytest.fixture
def pooler() -> Iterator[PgBouncer]:
    """One server connection for a gateway's dozens: transactions of all follow each other."""
    with (
        running_postgres() as server,
        running_pgbouncer(server, default_pool_size=1) as pooler,
    ):
        server.execute("CREATE DATABASE gw")
        yield pooler


def run(gateway: GatewayProcess, *command: str) -> str:
    """Run a command as an operator does; return what it printed."""
    ended = gateway.command(*command)
    assert ended.returncode == 0, ended.stderr
    assert PASSWORD not in ended.stdout + ended.stderr
    return ended.stdout


def test_a_gateway_serves_ships_and_obeys_its_operators(
    tmp_path: Path, upstream: ScriptedUpstream, pooler: PgBouncer
) -> None:
    gateway = GatewayProcess(tmp_path, upstream.port, top=f"ledger: {pooler.url('gw')}")
    run(gateway, "workspaces", "create", "acme", "--plan", "STARTER")
    keys = [json.loads(run(gateway, "keys", "create", "acme", "--json")) for _ in range(2)]
    gateway.start()
    for key in keys * 10:
        assert gateway.call(key["secret"]).status_code == 200
    events = "SELECT count(*) FROM usage_events"
    wait_until(lambda: pooler.server.value(events, "gw") == 20, 20)
    run(gateway, "keys", "revoke", keys[0]["key_id"])
    wait_until(lambda: gateway.call(keys[0]["secret"]).status_code == 401, 20)
    assert gateway.call(keys[1]["secret"]).status_code == 200
    assert "acme" in run(gateway, "usage")
    assert "acme" in run(gateway, "statement", "acme")
    assert keys[1]["key_id"] in run(gateway, "keys", "list")
    assert gateway.stop() == 0
    assert pooler.server.value(f"{events} WHERE billable", "gw") == len(upstream.seen)
    assert '"level":"error"' not in gateway.events()
    assert PASSWORD not in gateway.events()
