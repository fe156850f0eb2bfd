"""The client's address is one value, wherever it comes from and whatever it is used for."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import GatewayProcess, body_of, free_port
from tests.support.ipv6 import ipv6
from tests.support.redis_server import RedisServer
from tests.support.scripted_upstream import ScriptedUpstream

TOP = """\
trusted_proxies: ["::ffff:127.0.0.0/104", "::1"]
policies:
  - {name: per, kind: rate, window: 1d, cap: 2, scope: address}
  - {name: wide, kind: rate, window: 1d, cap: 2, scope: address,
     address_prefix: {ipv4: 24, ipv6: 48}}
"""
UNREADABLE = "gateway_forwarded_for_unreadable_total"
ROUTES = """\
- {name: open, match: {methods: [GET], path: /open}, upstream: app, auth: none, limits: [per]}
- {name: wide, match: {methods: [GET], path: /wide}, upstream: app, auth: none, limits: [wide]}
- {name: all, match: {methods: [GET], path: "/**"}, upstream: app}
"""


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, upstream_session: ScriptedUpstream
) -> Iterator[GatewayProcess]:
    """A gateway behind proxies on the loopback; each test has addresses of its own."""
    folder = tmp_path_factory.mktemp("addresses")
    gateway = GatewayProcess(folder, upstream_session.port, routes=ROUTES, top=TOP).start()
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def gateway(running: GatewayProcess, upstream: ScriptedUpstream) -> GatewayProcess:
    """The same, before an upstream that has seen nothing."""
    return running


def asked(gateway: GatewayProcess, path: str, *named: str, **fields: str) -> httpx.Response:
    headers = [("X-Forwarded-For", each) for each in named]
    headers += [(name.replace("_", "-"), value) for name, value in fields.items()]
    return httpx.get(gateway.url + path, headers=headers, timeout=60)


def test_an_address_is_counted_once_in_whatever_way_it_is_written(gateway: GatewayProcess) -> None:
    before = gateway.metric(UNREADABLE)
    for dress in (
        "198.51.100.{}:1001",
        '"198.51.100.{}"',
        "::ffff:198.51.100.{}",
        "9.9.9.9, 198.51.100.{}",
    ):
        assert asked(gateway, "/open", dress.format(1)).status_code in {200, 429}
        assert asked(gateway, "/open", dress.format(10 + len(dress))).status_code == 200
    assert asked(gateway, "/open", "198.51.100.1").status_code == 429
    for dress in ("2001:DB8:0::5", "[2001:db8::5]:443"):
        assert asked(gateway, "/open", f'"{dress}"').status_code == 200
    assert asked(gateway, "/open", "2001:db8::6").status_code == 429, "the same /64"
    assert asked(gateway, "/open", "2001:db8:0:1::6").status_code == 200
    assert gateway.metric(UNREADABLE) == before


def test_a_policy_counts_by_its_own_prefix(gateway: GatewayProcess) -> None:
    for address in ("198.51.100.1", "198.51.100.2", "2001:db8:5:1::1", "2001:db8:5:2::1"):
        assert asked(gateway, "/wide", address).status_code == 200
    assert asked(gateway, "/wide", "198.51.100.3").status_code == 429
    assert asked(gateway, "/wide", "2001:db8:5:3::1").status_code == 429
    assert asked(gateway, "/wide", "198.51.101.3").status_code == 200


def test_the_upstream_is_told_what_was_judged(
    gateway: GatewayProcess, upstream: ScriptedUpstream
) -> None:
    before = gateway.metric(UNREADABLE)
    cases = {
        ("192.0.2.7:1001",): ("for=192.0.2.7;", "192.0.2.7, 127.0.0.1"),
        ("[2001:DB8:7::7]:443",): ('for="[2001:db8:7::7]";', "2001:db8:7::7, 127.0.0.1"),
        ("unknown",): ("for=127.0.0.1;", "unknown, 127.0.0.1"),
        ("9.9.9.9", "192.0.2.8", "127.0.0.7:1"): (
            "for=192.0.2.8;", "9.9.9.9, 192.0.2.8, 127.0.0.7, 127.0.0.1",
        ),
    }  # fmt: skip
    for named, (node, chain) in cases.items():
        assert asked(gateway, "/open", *named).status_code == 200
        fields = upstream.seen[-1][2]
        assert fields["forwarded"].startswith(node)
        assert fields["x-forwarded-for"] == chain
    assert gateway.metric(UNREADABLE) == before + 1
    assert (gateway.folder / "events.log").read_text().count("proxy.forwarded_for_unreadable") == 1


def test_the_scheme_is_the_clients(gateway: GatewayProcess, upstream: ScriptedUpstream) -> None:
    for number, (named, schemes, expected) in enumerate(
        [
            ("192.0.2.1{}", "https, http", "https"),
            ("192.0.2.1{}, 127.0.0.7", "https, http", "https"),
            ("9.9.9.9, 192.0.2.1{}, 127.0.0.7", "https, http, https", "http"),
        ]
    ):
        answer = asked(gateway, "/open", named.format(number), X_Forwarded_Proto=schemes)
        assert answer.status_code == 200
        assert upstream.seen[-1][2]["x-forwarded-proto"] == expected


def test_a_key_is_bound_to_networks_not_to_texts(gateway: GatewayProcess) -> None:
    networks = ["::ffff:203.0.113.0/120", "2001:db8::/32"]
    key = gateway.make_key("STARTER", networks=networks)
    for named in ("203.0.113.7:51008", "[2001:db8::5]:443", "::ffff:cb00:7107", "203.0.113.7"):
        assert asked(gateway, "/v1", named, X_API_Key=key).status_code == 200
    for named in ("203.0.114.7", "2001:db9::5", "unknown"):
        refused = asked(gateway, "/v1", named, X_API_Key=key)
        assert (refused.status_code, body_of(refused)["code"]) == (403, "address_not_allowed")


def explained(gateway: GatewayProcess, *arguments: str) -> dict[str, Any]:
    done = gateway.command("explain", "--json", *arguments)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_explain_reads_an_address_as_the_gateway_does(
    tmp_path: Path, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    url = redis_server.url
    gateway = GatewayProcess(tmp_path, upstream.port, counters=url, routes=ROUTES, top=TOP).start()
    assert asked(gateway, "/open", "[2001:db8:9::1]:5").status_code == 200
    assert asked(gateway, "/open", "198.51.100.9:5").status_code == 200
    for address in (
        "2001:db8:9:0:5::7",
        "[2001:DB8:9::1]:443",
        "::ffff:198.51.100.9",
        "198.51.100.9:1",
    ):
        (policy,) = explained(gateway, "GET", "/open", "--address", address)["policies"]
        assert policy["count"] == "1", address
    assert gateway.stop() == 0


@ipv6
def test_both_families_are_served_and_no_peer_is_two(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    gateway = GatewayProcess(
        tmp_path, upstream.port, routes=ROUTES, top=TOP.replace('"::1"', "198.51.100.1")
    )
    text, port, admin = gateway.config.read_text(), free_port(), gateway.admin_port
    text = text.replace(
        f"127.0.0.1:{gateway.port}",
        f'["0.0.0.0:{gateway.port}", "[::]:{gateway.port}", "127.0.0.1:{port}"]',
    )
    text = text.replace(f"listen: 127.0.0.1:{admin}", f'listen: "127.0.0.1:{admin}, [::1]:{admin}"')
    gateway.config.write_text(text)
    gateway.start()
    for host in (f"127.0.0.1:{gateway.port}", f"[::1]:{gateway.port}", f"127.0.0.1:{port}"):
        assert httpx.get(f"http://{host}/open").status_code == 200
    assert upstream.seen[1][2]["forwarded"].startswith('for="[::1]";')
    assert httpx.get(f"http://127.0.0.1:{port}/open").status_code == 429
    assert httpx.get(f"http://[::1]:{gateway.port}/open").status_code == 200
    assert httpx.get(f"http://[::1]:{gateway.port}/open").status_code == 429
    assert httpx.get(f"http://[::1]:{admin}/healthz").status_code == 200
    (started,) = [
        json.loads(line)
        for line in (gateway.folder / "events.log").read_text().splitlines()
        if "worker.started" in line
    ]
    assert started["listen"] == f"0.0.0.0:{gateway.port}, [::]:{gateway.port}, 127.0.0.1:{port}"
    assert started["admin_listen"] == f"127.0.0.1:{admin}, [::1]:{admin}"
    assert gateway.stop() == 0


def test_a_port_of_its_own_choice_is_told(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    gateway = GatewayProcess(tmp_path, upstream.port, routes=ROUTES, top=TOP)
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(gateway.config)]
    command += [
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        started: dict[str, Any] = {}
        ends = time.monotonic() + 150
        while started.get("event") != "worker.started":
            assert time.monotonic() < ends
            started = json.loads(process.stderr.readline())
        first, second = started["listen"].split(", ")
        assert httpx.get(f"http://{first}/open").status_code == 200
        assert httpx.get(f"http://{second}/open").status_code == 200
        assert httpx.get(f"http://{started['admin_listen']}/healthz").status_code == 200
        process.terminate()
        process.communicate()
