"""Each refusal is a problem by RFC 9457, whoever refuses, whatever the client asked for.

``GatewayProcess.call`` shows every answer to a judge of its own (tests/support/answer_judge.py).
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.support.answer_judge import judge
from tests.support.gateway_process import GatewayProcess, body_of, free_port, wait_until
from tests.support.pricing_files import Document, tier_of
from tests.support.raw_service import OK, raw_upstream

ROUTES = """\
- {name: replay, match: {methods: [GET], path: /replay}, upstream: app, requires: [replay]}
- {name: small, match: {methods: [POST], path: /small}, upstream: app, max_body: 10}
- {name: run, match: {methods: [GET], path: /run}, upstream: app,
   run_id: {header: Idempotency-Key, required: true}}
- {name: all, match: {methods: [GET, POST], path: "/**"}, upstream: app,
   cost: {dc: {reserve: {header: X-Cost, default: 1}}}}
"""
TOP = "limits: {body_idle: 300ms, head: 8KiB, target: 1KiB}"


def named(document: Document) -> None:
    """Violated policies in the draft's own form for all, no rate for SANDBOX."""
    problems = document["http"]["problem_details"]
    problems["extensions"]["violated_policies_form"] = "names"
    tier_of(document, "SANDBOX")["limits"]["monthly_quota_dc"] = 3


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway before an upstream that is there only while a test serves one."""
    gateway = GatewayProcess(
        tmp_path_factory.mktemp("refusals"), free_port(), change=named, routes=ROUTES, top=TOP
    )
    text = gateway.config.read_text()
    gateway.config.write_text(text.replace("endpoints: [", "connections_max: 1, endpoints: ["))
    gateway.start()
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(scope="module")
def key(gateway: GatewayProcess) -> str:
    return gateway.make_key("ENTERPRISE", features=())


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        ({"headers": {"X-Cost": "plenty"}}, 400, "cost_invalid"),
        ({"target": "/run"}, 400, "bad_request"),
        ({"target": "/a/../b"}, 400, "bad_request"),
        ({"headers": {"Host": "a b"}}, 400, "bad_request"),
        ({"headers": {"Authorization": "Bearer other"}}, 400, "key_ambiguous"),
        ({"target": "/replay"}, 403, "feature_unavailable"),
        ({"method": "DELETE"}, 405, "method_not_allowed"),
        ({"target": "/small", "method": "POST", "content": b"x" * 11}, 413, "body_too_large"),
        ({"target": "/" + "x" * 1025}, 414, "target_too_long"),
        ({"headers": {"Expect": "miracles"}}, 417, "expectation_failed"),
        ({"headers": {"X-Long": "x" * 9000}}, 431, "head_too_large"),
        ({}, 502, "upstream_unreachable"),
    ],
)
def test_refusal_is_a_problem_with_a_code_of_its_own(
    gateway: GatewayProcess,
    key: str,
    request_of: dict[str, Any],
    status: int,
    code: str,
    accept: str,
) -> None:
    """A10, B6, A21: also for those who ask for HTML, and each with the id of its request."""
    target = request_of.get("target", "/a")
    headers = {"Accept": accept, "X-API-Key": key, **request_of.get("headers", {})}
    with httpx.Client() as client:
        answer = client.request(
            request_of.get("method", "GET"), gateway.url, headers=headers,
            content=request_of.get("content"), extensions={"target": target.encode()},
        )  # fmt: skip

    judge(answer)

    assert (answer.status_code, body_of(answer)["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_limits_are_named_as_the_draft_has_them_where_the_file_says_so(
    gateway: GatewayProcess,
) -> None:
    """A10: ``violated_policies_form: names``."""
    limited = gateway.make_key("SANDBOX", workspace="limited")

    refused = gateway.call(limited, headers={"X-Cost": "4"})

    assert refused.status_code == 429
    assert body_of(refused)["violated-policies"] == ["monthly_dc"]


def test_head_is_refused_without_a_body(gateway: GatewayProcess) -> None:
    answer = gateway.call("nonsense", method="HEAD")

    assert answer.status_code == 401
    assert answer.content == b""


async def read_status(reader: asyncio.StreamReader) -> bytes:
    return (await asyncio.wait_for(reader.read(), 5)).split(b" ")[1]


@pytest.mark.parametrize("moment", ["with its head", "at the upstream", "while it waits"])
async def test_body_of_unknown_length_is_refused_once_it_is_too_long(
    gateway: GatewayProcess, key: str, moment: str
) -> None:
    """DESIGN 10: 413 per route, and never a shortened body at the upstream, whole to look at."""
    head = f"POST /small HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nTransfer-Encoding: chunked"
    seen = asyncio.Queue[bytes]()
    gate = asyncio.Event()

    writers: list[asyncio.StreamWriter] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                seen.put_nowait(await reader.readuntil(b"\r\n\r\n"))
                await gate.wait()
                writer.write(OK)
        writer.close()

    server = await asyncio.start_server(upstream, "127.0.0.1", gateway.upstream_port)
    async with server:
        waits = asyncio.create_task(asyncio.to_thread(gateway.call, key, "/first"))  # noqa: TID251
        await seen.get()
        if moment == "at the upstream":
            gate.set()
            assert (await waits).status_code == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(f"{head}\r\n\r\n".encode() + b"6\r\nxxxxxx\r\n")
        if moment == "at the upstream":
            gate.clear()
            await seen.get()
        elif moment == "while it waits":
            await asyncio.sleep(0.1)
        writer.write(b"6\r\nyyyyyy\r\n0\r\n\r\n")
        if moment == "while it waits":
            await asyncio.sleep(0.1)
        gate.set()

        assert await read_status(reader) == b"413"

        assert (await waits).status_code == 200
        assert seen.empty()
        for one in (writer, *writers):
            one.close()
            with suppress(ConnectionError):
                await one.wait_closed()


async def test_slow_body_is_timed_out_with_a_problem(gateway: GatewayProcess, key: str) -> None:
    """DESIGN 10: 408, and the connection is closed."""
    async with raw_upstream(b"", port=gateway.upstream_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = f"POST /a HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\nContent-Length: 9\r\n\r\n"
        writer.write(head.encode() + b"slow")

        answer = await asyncio.wait_for(reader.read(), 5)

        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer


async def test_answer_that_breaks_off_is_cut_and_not_billed(
    gateway: GatewayProcess,
) -> None:
    """DESIGN 13: an answer that has begun is cut, never patched; its charge is given back."""
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
    cut = await asyncio.to_thread(gateway.make_key, "STARTER", workspace="cut")
    async with raw_upstream(begun, port=gateway.upstream_port, then_close=True):
        with pytest.raises(httpx.RemoteProtocolError):
            await asyncio.to_thread(gateway.call, cut)
    async with raw_upstream(port=gateway.upstream_port):
        answer = await asyncio.to_thread(gateway.call, cut)

    assert '"monthly_dc";r=1999' in answer.headers["RateLimit"]

    def books() -> list[tuple[bool, str]]:
        records = gateway.records()
        return [(r.billable, r.reason) for r in records if r.workspace_id == "cut"]

    await asyncio.to_thread(wait_until, lambda: len(books()) == 2)
    assert books() == [(False, "upstream_failed"), (True, "success")]
