"""Every request closes its books: one record, released once, and nothing answered unrecorded."""

import json

import pytest

from gateway.counters.memory import MemoryCounterStore
from gateway.metering.recorder import Recorder, Waiter
from gateway.proxy.exchange import Exchange
from gateway.proxy.ports import Lines
from gateway.rules.record import Record
from gateway.rules.units import MICRO
from tests.support.data_plane import DATE, KEY, DataPlane, answered
from tests.support.fake_clock import NOW_MICRO, FakeClock

GET = b"GET /v1/a?secret=1 HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"


class HeldJournal(Recorder):
    """A journal that keeps what it is given until it is told what becomes of it."""

    is_available = True

    def __init__(self) -> None:
        self.held: list[tuple[Record, Waiter]] = []

    def append(self, record: Record, waiter: Waiter) -> None:
        self.held.append((record, waiter))


async def test_a_record_tells_all_but_secrets(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await answered(client)

    record = await plane.record()

    assert (record.workspace_id, record.key_id, record.plan) == ("acme", "key-1", "STARTER")
    assert (record.route, record.method, record.status) == ("keyed", "GET", 200)
    assert (record.outcome, record.code, record.reason) == ("completed", None, "success")
    assert (record.billable, record.repeat, record.run_id) == (True, False, None)
    assert record.quantities_micro == record.charged_micro == {"dc": MICRO}
    assert (record.period, record.occurred_at_micro) == ("2025-11", NOW_MICRO)
    assert record.pricing_version == plane.ports.active.pricing.version  # type: ignore[union-attr]
    assert (record.bytes_in, record.bytes_out) == (0, len(b"ok"))
    assert (record.flags, record.violated, record.deltas) == ([], [], [])
    assert record.latency_micro >= record.upstream_micro > 0
    text = b"".join(p.read_bytes() for p in plane.journal.directory.rglob("*") if p.is_file())
    assert record.event_id.encode() in text
    assert KEY.encode() not in text
    assert b"secret" not in text


UNROUTED = {
    "route_unknown": b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    "method_not_allowed": b"PATCH /small HTTP/1.1\r\nHost: a\r\n\r\n",
    "expectation_failed": b"POST /small HTTP/1.1\r\nHost: a\r\nExpect: much\r\n\r\n",
    "bad_request": b"GET /v1/a HTTP/1.1\r\n\r\n",
}
MALFORMED = {
    "target_too_long": b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "head_too_large": GET[:-2] + b"X-Long: " + b"a" * 5000 + b"\r\n\r\n",
    "not_implemented": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "version_unsupported": b"GET / HTTP/2.0\r\n\r\n",
    "bad_request": b"GET  / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize(
    ("code", "data", "records"),
    [
        *((code, data, 1) for code, data in UNROUTED.items()),
        *((code, data, 0) for code, data in MALFORMED.items()),
    ],
)
async def test_refusals_without_a_route_are_counted_by_code(
    plane: DataPlane, code: str, data: bytes, records: int
) -> None:
    client = await plane.client(data)

    assert json.loads((await answered(client)).body)["code"] == code

    assert [record.code for record in await plane.records(records)] == [code] * records
    worker = plane.ports.stats.worker
    assert worker.unrouted_refused == {code: 1}
    assert (sum(worker.unrouted.values()), worker.parse_errors) == (records, 1 - records)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "pieces", "body_bytes"),
    [
        (b"GET", [OK], 2),
        (b"GET", [OK[:-2], b"o", b"k"], 2),
        (b"GET", [CHUNKED + b"2\r\nok\r\n0\r\n\r\n"], 2),
        (b"GET", [CHUNKED, b"2\r\nok\r\n", b"1\r\n!\r\n", b"0\r\n\r\n"], 3),
        (b"GET", [b"HTTP/1.1 204 No Content\r\n\r\n"], 0),
        (b"HEAD", [OK[:-2]], 0),
    ],
)
async def test_bytes_out_are_the_bodys_alone(
    plane: DataPlane, method: bytes, pieces: list[bytes], body_bytes: int
) -> None:
    client, upstream, _ = await plane.asked(GET.replace(b"GET", method))
    for piece in pieces:
        await upstream.send(piece)
        await plane.turns(20)
    await answered(client, method)

    assert (await plane.record()).bytes_out == body_bytes


async def test_bytes_out_of_a_refusal_are_its_problems(plane: DataPlane) -> None:
    client = await plane.client(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await answered(client)

    assert (await plane.record()).bytes_out == len(answer.body) > 0


class Waits(Lines):
    """An access log that looks what still waits to be sent when its line is written."""

    def __init__(self) -> None:
        self.held_bytes: list[int] = []

    def write_request(self, _record: Record, exchange: Exchange) -> None:
        self.held_bytes.append(len(exchange.held))


async def test_a_caller_who_is_alone_does_not_wait_for_the_access_log(plane: DataPlane) -> None:
    log = plane.ports.access_log = Waits()
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await answered(client)

    assert log.held_bytes == [0]

    await plane.record()


async def test_nothing_of_a_short_answer_is_sent_before_its_record_is_kept(
    plane: DataPlane,
) -> None:
    journal = plane.ports.journal = HeldJournal()
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await plane.until(lambda: journal.held)
    await plane.turns(20)
    assert client.silent()

    journal.held[0][1].release(written=True)

    assert (await answered(client)).body == b"ok"


async def test_the_last_bytes_of_a_long_answer_wait_for_its_record(plane: DataPlane) -> None:
    journal = plane.ports.journal = HeldJournal()
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    await client.until(b"2\r\nok\r\n")
    await upstream.send(b"0\r\n\r\n")
    await plane.until(lambda: journal.held)
    await plane.turns(20)
    assert client.silent()

    journal.held[0][1].release(written=True)

    assert await client.until(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_what_could_not_be_recorded_is_cut_and_given_back(plane: DataPlane) -> None:
    journal = plane.ports.journal = HeldJournal()
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await plane.until(lambda: journal.held)
    assert await plane.counted() == (1, 1)

    journal.held[0][1].release(written=False)

    assert await client.rest() == b""
    await plane.turns(20)
    assert await plane.counted() == (1, 0)
    await plane.deserted()


async def test_while_nothing_can_be_recorded_nothing_is_begun(plane: DataPlane) -> None:
    journal = plane.ports.journal = HeldJournal()
    journal.is_available = False
    client = await plane.client(GET)

    answer = await answered(client)

    assert (answer.status, answer.values(b"retry-after")) == (503, [b"1"])
    assert b"recording_unavailable" in answer.body
    assert journal.held == []
    assert plane.upstream.is_quiet()
    assert await plane.counted() == (0, 0)


@pytest.mark.parametrize("status", [200, 422, 302, 404, 429, 500])
async def test_a_status_is_billed_as_the_pricing_file_says(plane: DataPlane, status: int) -> None:
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK.replace(b"200 OK", b"%d Any" % status))
    answer = await answered(client)

    record = await plane.record()

    billable = status in {200, 422}
    assert record.billable is billable
    assert record.charged_micro == {"dc": MICRO if billable else 0}
    assert record.quantities_micro == {"dc": MICRO}
    assert await plane.counted() == (1, int(billable))
    (limits,) = answer.values(b"ratelimit")
    assert b'"monthly_dc";r=%d' % (1999 if billable else 2000) in limits


async def test_routes_are_counted_by_status_and_refusal(plane: DataPlane) -> None:
    counters = plane.ports.active.plans["keyed"].route.counters
    before = (counters.requests, counters.by_status.get(200, 0), counters.by_status.get(401, 0))
    refused_before = counters.refused.get("key_invalid", 0)
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await answered(client)
    await client.send(GET.replace(KEY.encode(), b"nonsense"))
    await answered(client)
    await client.send(GET.replace(b"/v1/a", b"/nowhere"))
    await answered(client)
    await plane.records(3)

    after = (counters.requests, counters.by_status[200], counters.by_status[401])
    assert [a - b for a, b in zip(after, before, strict=True)] == [2, 1, 1]
    assert counters.refused["key_invalid"] == refused_before + 1
    assert sum(counters.latency_buckets) == counters.requests
    assert plane.ports.stats.worker.unrouted == {404: 1}


async def test_a_client_that_leaves_before_its_record_is_kept_is_answered_no_more(
    plane: DataPlane,
) -> None:
    journal = plane.ports.journal = HeldJournal()
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await plane.until(lambda: journal.held)
    client.reset()
    await plane.deserted()

    journal.held[0][1].release(written=True)

    await plane.turns(20)
    assert len(journal.held) == 1
    await plane.settled(idle=1)


async def test_what_began_before_the_end_of_a_month_is_of_the_month_it_was_charged_in(
    plane: DataPlane,
) -> None:
    """A month is a month: the counter and the bill name the same one."""
    ends_micro = 1_764_547_200 * MICRO  # 2025-12-01, UTC
    clock = plane.ports.clock
    assert isinstance(clock, FakeClock)
    clock.set(ends_micro - MICRO)
    client = await plane.client(
        b"POST /json HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n" % KEY.encode()
        + b"Content-Length: 8\r\n\r\n"
    )
    await plane.turns(20)
    clock.set(ends_micro + MICRO)
    await client.send(b'{"n": 3}')
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(OK)
    await answered(client)

    record = await plane.record()

    assert (record.period, record.occurred_at_micro) == ("2025-12", ends_micro + MICRO)
    counters = plane.ports.counters
    assert isinstance(counters, MemoryCounterStore)
    assert [key for key in counters._counters if key.startswith("usage:")] == [
        "usage:{acme}:2025-12"
    ]


@pytest.mark.parametrize("is_away", [True, False])
async def test_an_upstream_that_fails_while_nothing_can_be_recorded_costs_nothing(
    plane: DataPlane, monkeypatch: pytest.MonkeyPatch, is_away: bool
) -> None:
    """A9: away altogether, or merely near its bound, which takes what is under way."""
    client, upstream, _ = await plane.asked(GET)
    await plane.until(lambda: plane.ports.counters._counters)  # type: ignore[attr-defined]
    journal = plane.journal
    if is_away:
        monkeypatch.setattr(journal, "_writer", None)
    else:
        monkeypatch.setattr(journal, "_bytes_open_max", 0)
    assert not journal.is_available
    upstream.close()
    await plane.until(lambda: not plane.ports.exchanges)
    await plane.turns(20)

    monkeypatch.undo()

    assert await plane.counted() == (1, 0)
    if not is_away:
        assert (await answered(client)).status == 502
        assert (await plane.record()).status == 502
