"""PostgreSQL fails over, and the old server lives on: nothing is lost, and nothing old is believed.

What leads to the servers (a TCP forwarder here, a name or a virtual address elsewhere) leads new
connections to the new one; those that are open stay where they were.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import httpx
import pytest

from gateway.control.keys import KeyRequest, create_key
from gateway.control.workspaces import create_workspace
from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from gateway.keys.format import hash_secret
from gateway.keys.sql import SqlKeyStore
from gateway.process.clock import SystemClock
from tests.support.forwarder import Forwarder
from tests.support.gateway_process import GatewayProcess, free_port, wait_until
from tests.support.postgres_server import PostgresServer, running_postgres
from tests.support.scripted_upstream import ScriptedUpstream

SECONDS = 20.0
"""Within one or two a gateway is on the new server (a look at the change feed twice a second, a
batch); the rest is for a busy machine. One that does not follow never gets there."""

EVENTS = "SELECT count(*) FROM usage_events"


@pytest.fixture
def old() -> Iterator[PostgresServer]:
    with running_postgres(port=free_port()) as server:
        server.execute("CREATE DATABASE gw")
        yield server


@pytest.fixture
def forwarder(old: PostgresServer) -> Iterator[Forwarder]:
    with Forwarder(old.port).running() as forwarder:
        yield forwarder


def gateway_on(folder: Path, upstream: ScriptedUpstream, url: str) -> GatewayProcess:
    return GatewayProcess(folder, upstream.port, top=f"ledger: {url}")


@contextmanager
def key_store(server: PostgresServer) -> Iterator[SqlKeyStore]:
    engine = create_engine_for(server.url("gw"))
    migrate(engine)
    yield SqlKeyStore(engine, SystemClock())
    engine.dispose()


def make_keys(gateway: GatewayProcess, server: PostgresServer, number: int) -> list[str]:
    """Create a workspace with some keys; return the secrets."""
    pricing = gateway.loaded().snapshot.pricings[-1]
    request, clock = KeyRequest(workspace_id="acme"), SystemClock()
    with key_store(server) as store:
        create_workspace(store, pricing, clock, workspace_id="acme", plan="STARTER")
        return [create_key(store, pricing, clock, request).secret for _ in range(number)]


def revoke(server: PostgresServer, secret: str) -> None:
    key_hash = hash_secret(secret.encode())
    key_id = server.value(
        f"SELECT key_id FROM api_keys WHERE key_hash = '\\x{key_hash.hex()}'", "gw"
    )
    with key_store(server) as store:
        store.revoke_key(str(key_id), at_micro=None)


@pytest.mark.parametrize(
    "fails", [PostgresServer.demote, PostgresServer.kill], ids=["demoted", "killed"]
)
def test_a_gateway_follows_to_the_new_primary(
    fails: Callable[[PostgresServer], None],
    tmp_path: Path,
    upstream: ScriptedUpstream,
    old: PostgresServer,
    forwarder: Forwarder,
) -> None:
    gateway = gateway_on(tmp_path, upstream, old.tcp_url("gw", port=forwarder.port))
    kept, ended = make_keys(gateway, old, 2)
    gateway.start()
    for key in (kept, ended) * 3:
        assert gateway.call(key).status_code == 200
    wait_until(lambda: old.value(EVENTS, "gw") == 6, SECONDS)

    with running_postgres(port=free_port(), copy_of=old) as new:
        fails(old)
        forwarder.target = new.port
        revoke(new, ended)
        began_at = monotonic()
        wait_until(lambda: gateway.call(ended).status_code == 401, SECONDS)
        passed = [gateway.call(kept).status_code for _ in range(5)]
        assert passed == [200] * 5
        billed = "SELECT count(*) FROM usage_events WHERE billable"
        wait_until(lambda: new.value(billed, "gw") == len(upstream.seen), SECONDS)
        assert monotonic() - began_at < 2 * SECONDS
        assert gateway.metric("gateway_shipper_lag_records") == 0
        assert gateway.stop() == 0
    if fails is PostgresServer.demote:
        assert old.value(EVENTS, "gw") == 6


def test_a_standby_is_no_place_to_start_and_says_so(
    tmp_path: Path, upstream: ScriptedUpstream, old: PostgresServer, forwarder: Forwarder
) -> None:
    gateway = gateway_on(tmp_path, upstream, old.tcp_url("gw", port=forwarder.port))
    make_keys(gateway, old, 1)
    with running_postgres(port=free_port(), copy_of=old, is_standby=True) as standby:
        forwarder.target = standby.port
        for command in (("serve",), ("usage",), ("keys", "list")):
            ended = gateway.command(*command)
            assert ended.returncode == 1  # starting it again may help
            assert "[database.read_only]" in ended.stderr
            assert "target_session_attrs=read-write" in ended.stderr
            assert "not-a-secret" not in ended.stderr + ended.stdout
        standby.promote()
        gateway.start()
        assert httpx.get(f"{gateway.admin_url}/readyz", timeout=5).status_code == 200
        assert gateway.stop() == 0


def test_a_gateway_finds_the_primary_of_several_hosts(
    tmp_path: Path, upstream: ScriptedUpstream, old: PostgresServer
) -> None:
    with ExitStack() as stack:
        gateway = gateway_on(tmp_path, upstream, old.tcp_url("gw"))
        (key,) = make_keys(gateway, old, 1)
        copy = running_postgres(port=free_port(), copy_of=old, is_standby=True)
        standby = stack.enter_context(copy)
        both = old.tcp_url("gw").replace(
            f"127.0.0.1:{old.port}", f"127.0.0.1:{standby.port},127.0.0.1:{old.port}"
        )
        url = f"{both}?target_session_attrs=read-write".replace("postgresql:", "postgres:")
        text = gateway.config.read_text().replace(old.tcp_url("gw"), url)
        gateway.config.write_text(text)
        gateway.start()
        assert gateway.call(key).status_code == 200
        wait_until(lambda: old.value(EVENTS, "gw") == 1, SECONDS)
        wait_until(lambda: standby.value(EVENTS, "gw") == 1, SECONDS)
        old.kill()
        standby.promote()
        assert gateway.call(key).status_code == 200
        wait_until(lambda: standby.value(EVENTS, "gw") == 2, 2 * SECONDS)
        assert gateway.stop() == 0
        assert "not-a-secret" not in gateway.events()
