"""A flood of refusals, as it comes over connections: answered at once, few records, all counted."""

from dataclasses import replace

import pytest

from gateway.keys.format import generate
from gateway.process.access_log import Random, SampledAccessLog
from gateway.proxy.refusal_sums import ALONE_MAX, VARIANTS_MAX
from gateway.rules.record import Record
from gateway.telemetry.logs import AccessLog
from gateway.telemetry.metrics import WorkerStats
from tests.proxy.test_repetition import USED_UP, asked, used
from tests.support.data_plane import KEY, OTHER_KEY, DataPlane, answered

KEYED = b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n"
JSON = b"POST /json HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nContent-Length: %d\r\n\r\n%b"
FLOOD = 60

FLOODS = {
    "quota_exceeded": KEYED % KEY.encode(),
    "key_invalid": KEYED % generate("test").secret.encode(),
    "key_missing": b"GET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n",
    "key_ambiguous": (KEYED % KEY.encode())[:-2] + b"X-API-Key: %b\r\n\r\n" % OTHER_KEY.encode(),
    "feature_unavailable": (KEYED % KEY.encode()).replace(b"/v1/a", b"/replay"),
    "route_unknown": b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
    "method_not_allowed": b"PATCH /small HTTP/1.1\r\nHost: a\r\n\r\n",
    "expectation_failed": b"POST /small HTTP/1.1\r\nHost: a\r\nExpect: much\r\n\r\n",
    None: b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
}


async def books_of(plane: DataPlane) -> list[Record]:
    """Return the records of the second that is over."""
    await plane.advance(1.0)
    return plane.journal.reader.read_unshipped(10_000).records


@pytest.mark.parametrize("code", FLOODS)
@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_flood_leaves_few_records_that_stand_for_all_of_it(
    plane: DataPlane, code: str | None, is_kept: bool
) -> None:
    await used(plane, USED_UP)
    head = FLOODS[code]
    method = head.partition(b" ")[0]
    client = await plane.client()
    ids = []
    for _ in range(FLOOD):
        if not is_kept or client.ended:
            client = await plane.client()
        answer = await asked(client, head, method)
        assert answer.status in {200, 401, 403, 404, 405, 400, 417, 429}
        ids.append(answer.values(b"x-request-id")[0].decode())
        if answer.values(b"connection") == [b"close"]:
            client = await plane.client()
    assert len(plane.journal.reader.read_unshipped(10_000).records) == ALONE_MAX, (
        "the rest is summed"
    )

    *alone, rest = await books_of(plane)

    assert [one.count for one in alone] == [1] * ALONE_MAX
    assert (rest.count, rest.code) == (FLOOD - ALONE_MAX, code)
    assert rest.request_id == ids[ALONE_MAX]
    assert rest.event_id not in ids
    assert rest.bytes_out == alone[0].bytes_out * rest.count
    assert rest.latency_micro > 0
    same = {
        "event_id": "", "request_id": "", "count": 1, "bytes_out": 0, "latency_micro": 0,
        "upstream_micro": 0,
    }  # fmt: skip
    assert replace(rest, **same) == replace(alone[-1], **same)  # type: ignore[arg-type]
    assert plane.ports.stats.journal.refusals_summed == rest.count
    worker = plane.ports.stats.worker
    routes = plane.ports.active.snapshot.routes
    unrouted = sum(worker.unrouted.values())
    assert unrouted == (FLOOD if rest.route is None else 0)
    if rest.route is not None:
        (counters,) = [route.counters for route in routes if route.name == rest.route]
        assert counters.refused[str(code)] >= FLOOD


async def test_each_second_has_its_own_ten_and_its_own_sum(plane: DataPlane) -> None:
    client = await plane.client()
    for _ in range(3):
        for _ in range(FLOOD):
            await asked(client, FLOODS["key_missing"])
        await plane.advance(1.0)

    records = plane.journal.reader.read_unshipped(10_000).records

    seconds = {one.occurred_at_micro // 1_000_000 for one in records}
    assert len(seconds) == 3
    assert sorted(one.count for one in records)[-3:] == [FLOOD - ALONE_MAX] * 3
    assert sum(one.count for one in records) == 3 * FLOOD


async def test_keys_and_reasons_are_told_apart(plane: DataPlane) -> None:
    await used(plane, USED_UP)
    heads = [KEYED % KEY.encode(), KEYED % OTHER_KEY.encode(), FLOODS["key_missing"]]
    client = await plane.client()
    for _ in range(FLOOD):
        for head in heads:
            await asked(client, head)

    records = await books_of(plane)

    sums = {(one.key_id, one.code): one.count for one in records if one.count > 1}
    assert sums == {
        ("key-1", "quota_exceeded"): FLOOD - ALONE_MAX,
        ("key-2", "quota_exceeded"): FLOOD - ALONE_MAX,
        (None, "key_missing"): FLOOD - ALONE_MAX,
    }


async def test_run_ids_and_costs_of_a_callers_choice_do_not_fill_the_books(
    plane: DataPlane,
) -> None:
    """A client over its quota that tries a new run with another estimate each time."""
    await used(plane, USED_UP)
    number = 5 * VARIANTS_MAX
    client = await plane.client()
    for index in range(number):
        body = b'{"n": %d, "run": "run-%d"}' % (index + 1, index)
        answer = await asked(client, JSON % (KEY.encode(), len(body), body), b"POST")
        assert answer.status == 429

    records = await books_of(plane)

    assert len(records) == VARIANTS_MAX + 1
    assert sum(one.count for one in records) == number
    rest = records[-1]
    assert (rest.run_id, rest.quantities_micro) == (None, {"dc": 0})
    assert rest.violated == records[0].violated != []


async def test_what_passes_is_never_summed(plane: DataPlane) -> None:
    client = await plane.client()
    upstream = None
    for _ in range(ALONE_MAX + 5):
        await client.send(b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n")
        upstream = upstream or await plane.upstream.accept()
        await upstream.head()
        await upstream.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        assert (await answered(client)).status == 500

    assert [one.count for one in await plane.records(ALONE_MAX + 5)] == [1] * (ALONE_MAX + 5)


async def test_each_has_its_line_in_the_access_log(
    plane: DataPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[dict[str, object]] = []

    class Told(AccessLog):
        def write(self, line: bytes | dict[str, object]) -> None:
            assert isinstance(line, dict)
            lines.append(line)

    plane.ports.access_log = SampledAccessLog(Told(WorkerStats()), 1_000_000, Random(1))
    client = await plane.client()
    ids = []
    for _ in range(FLOOD):
        answer = await asked(client, FLOODS["key_missing"])
        ids.append(answer.values(b"x-request-id")[0].decode())

    assert [line["event_id"] for line in lines] == ids
    assert {line["code"] for line in lines} == {"key_missing"}


async def test_a_summed_refusal_does_not_wait_for_the_journal(plane: DataPlane) -> None:
    client = await plane.client()
    for _ in range(ALONE_MAX):
        await asked(client, FLOODS["key_missing"])
    writes = plane.ports.stats.journal.writes

    for _ in range(FLOOD):
        await asked(client, FLOODS["key_missing"])

    assert plane.ports.stats.journal.writes == writes
