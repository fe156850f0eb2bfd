"""Store away, upstream away, bad configuration, stop and start: clear answers, nothing lost."""

import json
import resource
import signal
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.gateway_process import GatewayProcess, body_of, free_port, wait_until
from tests.support.pricing_files import Document, tier_of, write_pricing
from tests.support.redis_server import RedisServer
from tests.support.scripted_upstream import ScriptedUpstream

BOTH = """\
- {name: closed, match: {methods: [GET], path: /closed}, upstream: app}
- {name: open, match: {methods: [GET], path: /open}, upstream: app, on_store_failure: open}
"""
REDUCED = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"


def test_t24_store_away_each_route_does_what_it_says_and_shows_it(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """T24, C11, N5, A21: 503, or within this worker's share; seen in header, record and metric."""
    server = RedisServer().start()
    gateway = GatewayProcess(
        tmp_path, upstream.port, counters=server.url, routes=BOTH,
        top="store: {local_share_percent: 10}",
    ).start()  # fmt: skip
    try:
        key = gateway.make_key("SANDBOX")
        assert gateway.call(key, "/closed").status_code == 200
        server.stop()

        refused = wait_until(lambda: (a := gateway.call(key, "/closed")).status_code == 503 and a)
        assert body_of(refused)["type"] == REDUCED
        assert refused.headers["Retry-After"] == "1"

        answers = [gateway.call(key, "/open") for _ in range(8)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [503] * 3
        assert answers[0].headers["Gateway-Degraded"] == "counter-store"
        assert "RateLimit" not in answers[0].headers
        assert gateway.metric("gateway_unenforced_requests_total") == 5
        records = gateway.wait_for_records(9)
        assert sum("unenforced" in record.flags for record in records) == 5
    finally:
        gateway.stop()
        server.stop()


def test_what_passed_without_the_store_is_counted_when_it_returns(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """DESIGN 7: the journal has it, a correction brings it."""
    server = RedisServer().start()
    gateway = GatewayProcess(tmp_path, upstream.port, counters=server.url, routes=BOTH).start()
    try:
        key = gateway.make_key("STARTER")
        assert gateway.call(key, "/open").status_code == 200
        server.stall()
        answer = wait_until(
            lambda: "Gateway-Degraded" in (a := gateway.call(key, "/open")).headers and a
        )
        assert answer.status_code == 200
        passed = 2 + sum(gateway.call(key, "/open").status_code == 200 for _ in range(3))
        server.resume()

        with server.client() as client:
            (name,) = client.keys("usage:*")
            wait_until(lambda: int(client.get(name) or 0) >= passed * 1_000_000)
    finally:
        gateway.stop()
        server.stop()


def test_upstream_that_is_not_there_is_a_problem_and_costs_nothing(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """DESIGN 13: 502, refunded, recorded."""
    gateway = GatewayProcess(tmp_path, free_port()).start()
    try:
        key = gateway.make_key("SANDBOX")

        answer = gateway.call(key)

        assert (answer.status_code, body_of(answer)["code"]) == (502, "upstream_unreachable")
        (record,) = gateway.wait_for_records(1)
        assert (record.billable, record.reason) == (False, "upstream_failed")
        assert '"monthly_dc";r=50' in answer.headers["RateLimit"]
    finally:
        gateway.stop()


def test_execution_time_of_the_plan_bounds_a_request(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """A15: 504, not billed."""
    gateway = GatewayProcess(
        tmp_path, upstream.port,
        change=lambda document: tier_of(document, "SANDBOX")["limits"].update(
            {"max_execution_seconds": 1}
        ),
    ).start()  # fmt: skip
    try:
        key = gateway.make_key("SANDBOX")
        upstream.gate.clear()

        answer = gateway.call(key)

        assert (answer.status_code, body_of(answer)["code"]) == (504, "execution_timeout")
    finally:
        upstream.gate.set()
        gateway.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prlimit")
def test_full_disk_cuts_answers_that_can_not_be_recorded_and_costs_nothing(
    tmp_path: Path, upstream: ScriptedUpstream, redis_server: RedisServer
) -> None:
    """DESIGN 13: nothing answered unrecorded; the charge is given back; it recovers by itself."""
    gateway = GatewayProcess(tmp_path, upstream.port, counters=redis_server.url).start()
    try:
        key = gateway.make_key("STARTER")
        assert gateway.call(key).status_code == 200
        gateway.wait_for_records(1)
        assert gateway.process is not None
        pid = gateway.process.pid
        with redis_server.client() as client:
            (name,) = client.keys("usage:*")
            before = client.get(name)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

            with pytest.raises(httpx.TransportError):
                gateway.call(key)

            wait_until(lambda: client.get(name) == before)
        refused = wait_until(lambda: (a := gateway.call(key)).status_code == 503 and a)
        assert body_of(refused)["code"] == "recording_unavailable"
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        wait_until(lambda: gateway.call(key).status_code == 200)
    finally:
        gateway.stop()


def test_drain_finishes_what_is_under_way(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """B11: readiness false first, the answer arrives, the record is shipped, exit code 0."""
    gateway = GatewayProcess(tmp_path, upstream.port).start()
    key = gateway.make_key("SANDBOX")
    upstream.gate.clear()
    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.append(gateway.call(key)))
    caller.start()
    wait_until(lambda: upstream.seen)
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGTERM)

    wait_until(lambda: httpx.get(f"{gateway.admin_url}/readyz").status_code == 503)
    upstream.gate.set()
    caller.join()

    assert gateway.process.wait(timeout=10) == 0
    assert answers[0].status_code == 200
    assert [record.billable for record in gateway.records()] == [True]


def test_reload_swaps_whole_or_refuses_whole(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """A3, X3: new limits without a restart; a broken file changes nothing and says where."""
    gateway = GatewayProcess(tmp_path, upstream.port).start()
    try:
        key = gateway.make_key("SANDBOX")
        assert '"rpm";q=60;' in gateway.call(key).headers["RateLimit-Policy"]

        def change(document: Document) -> None:
            document["effective_from"] = "2020-01-01T00:00:00Z"
            tier_of(document, "SANDBOX")["limits"]["rate_limit_rpm"] = 33

        write_pricing(gateway.pricing, change)
        wait_until(lambda: '"rpm";q=33;' in gateway.call(key).headers["RateLimit-Policy"])

        good = gateway.config.read_text()
        gateway.config.write_text(good + "\nnonsense: true\n")
        wait_until(lambda: "config.reload_refused" in gateway.events())
        assert gateway.call(key).status_code == 200
        assert "nonsense" in gateway.events()
        assert gateway.metric("gateway_config_reload_errors_total") >= 1
    finally:
        gateway.stop()


def test_redis_away_at_the_start_is_a_degraded_start_that_says_so(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    gateway = GatewayProcess(
        tmp_path, upstream.port, counters=f"redis://127.0.0.1:{free_port()}/0"
    ).start()
    try:
        answer = gateway.call(gateway.make_key("SANDBOX"))

        assert answer.status_code == 503
        assert "counters.redis_unreachable" in gateway.events()
        assert httpx.get(f"{gateway.admin_url}/readyz").status_code == 503
    finally:
        gateway.stop()


def test_a_redis_that_refuses_each_charge_is_told_of_once(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """Hundreds of failed calls: a line for the first, one for the end, a record for the second."""
    server = RedisServer().start()
    gateway = GatewayProcess(tmp_path, upstream.port, counters=server.url).start()
    try:
        key = gateway.make_key("STARTER")
        assert gateway.call(key).status_code == 200
        with server.client() as client, httpx.Client(headers={"X-API-Key": key}) as caller:
            client.config_set("maxmemory", "1")
            statuses = [caller.get(gateway.url).status_code for _ in range(300)]
            client.config_set("maxmemory", "0")
            assert caller.get(gateway.url).status_code == 200
        failed = gateway.metric("gateway_store_errors_total")
    finally:
        assert gateway.stop() == 0
        server.stop()

    assert statuses == [503] * 300
    told = [json.loads(line) for line in gateway.events().splitlines()]
    first, over = [line for line in told if line["event"].startswith("counters.redis_error")]
    assert "OOM" in first["reason"]
    assert (over["event"], over["count"]) == ("counters.redis_error_over", 300)
    assert failed >= 300
    records = gateway.records()
    assert sum(record.count for record in records) == 302
    assert len(records) < 100


@pytest.mark.parametrize("mistake", ["busy", "yaml", "tier", "folder", "missing"])
def test_bad_start_is_one_clear_paragraph(
    tmp_path: Path, upstream: ScriptedUpstream, mistake: str
) -> None:
    """B11: exit code 3 or 1, what and what to do, never a traceback."""
    gateway = GatewayProcess(tmp_path, upstream.port)
    match mistake:
        case "busy":
            text = gateway.config.read_text()
            gateway.config.write_text(text.replace(f":{gateway.port}\n", f":{upstream.port}\n", 1))
        case "yaml":
            gateway.config.write_text("version: 1\n\troutes: [")
        case "tier":
            write_pricing(gateway.pricing, lambda document: document.pop("tiers"))
        case "folder":
            (tmp_path / "data").write_text("a file, not a folder")
        case "missing":
            gateway.config.unlink()
    gateway.start(wait=False)
    assert gateway.process is not None

    code = gateway.process.wait(timeout=20)

    told = gateway.events()
    assert code in {1, 3}
    assert "Traceback" not in told
    assert "hint: " in told
    assert len(told) < 3000
