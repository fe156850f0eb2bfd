"""Of the tries of one run exactly one is charged and billed, in whatever order they end."""

import shutil
from pathlib import Path

import pytest

from gateway.database.engine import create_engine_for
from gateway.ledger.sql import SqlLedger
from gateway.rules.record import Record
from gateway.rules.units import MICRO
from tests.proxy.test_charging import GET, OK, passes
from tests.support.data_plane import KEY, DataPlane, answered


async def test_the_same_run_is_charged_once(plane: DataPlane) -> None:
    request = GET[:-2] + b'Idempotency-Key: "run-1"\r\n\r\n'
    for _ in range(3):
        await passes(plane, request)

    records = await plane.records(3)

    assert [record.repeat for record in records] == [False, True, True]
    assert [record.charged_micro["dc"] for record in records] == [MICRO, 0, 0]
    assert {record.run_id for record in records} == {"run-1"}
    assert (await plane.counted())[1] == 1


RUN = GET[:-2] + b"Idempotency-Key: run-1\r\n\r\n"
FAILED = OK.replace(b"200 OK", b"503 No")


def billed(migrated_sqlite: Path, folder: Path, records: list[Record]) -> list[Record]:
    """Return what a ledger bills of records that it gets one by one, each twice."""
    shutil.copy(migrated_sqlite, folder / "ledger.db")
    ledger = SqlLedger(create_engine_for(f"sqlite:///{folder / 'ledger.db'}"))
    for record in [*records, *records]:
        ledger.append([record])
    events = ledger.events(workspace_id="acme", period=None)
    ledger.close()
    assert len(events) == len(records)
    return [event for event in events if event.billable]


@pytest.mark.parametrize("ends_first", ["the first", "the repeat"])
@pytest.mark.parametrize("how", ["fails", "is cut", "leaves"])
async def test_a_run_whose_first_try_fails_is_billed_by_its_repeat(
    plane: DataPlane, migrated_sqlite: Path, tmp_path: Path, ends_first: str, how: str
) -> None:
    """A7, T5: both were under way at once; charged and billed is the one that was served."""
    first, first_upstream, _ = await plane.asked(RUN)
    repeat, upstream, _ = await plane.asked(RUN)

    def recorded() -> int:
        return len(plane.journal.reader.read_unshipped(9).records)

    async def serve() -> None:
        await upstream.send(OK)
        assert (await answered(repeat)).status == 200
        assert await plane.counted() == (2, 1)

    async def fail() -> None:
        before = recorded()
        if how == "fails":
            await first_upstream.send(FAILED)
            assert (await answered(first)).status == 503
        elif how == "is cut":
            await first_upstream.send(OK[:-2])
            first_upstream.close()
        else:
            first.reset()
        await plane.until(lambda: recorded() > before)

    if ends_first == "the first":
        await fail()
        assert await plane.counted() == (2, 0)
        await serve()
    else:
        await serve()
        await fail()

    records = await plane.records(2)
    assert await plane.counted() == (2, 1)
    (event,) = billed(migrated_sqlite, tmp_path, records)
    assert (event.status, event.reason, event.repeat) == (200, "success", False)
    assert event.charged_micro == {"dc": MICRO}
    for wire in (first_upstream, upstream):
        wire.close()
    await plane.until(lambda: not plane.idle_count)
    await passes(plane, RUN)
    assert (await plane.record()).repeat
    assert await plane.counted() == (3, 1)


async def test_tries_of_a_run_that_all_fail_cost_nothing(
    plane: DataPlane, migrated_sqlite: Path, tmp_path: Path
) -> None:
    tries = [await plane.asked(RUN) for _ in range(3)]
    for client, upstream, _ in tries:
        await upstream.send(FAILED)
        await answered(client)

    records = await plane.records(3)
    assert await plane.counted() == (3, 0)
    assert billed(migrated_sqlite, tmp_path, records) == []


async def test_a_repeat_of_a_run_that_is_over_costs_nothing(
    plane: DataPlane, migrated_sqlite: Path, tmp_path: Path
) -> None:
    """The ordinary case; what is left is told as it is."""
    told = [await passes(plane, RUN) for _ in range(3)]
    assert [one.partition("monthly_dc")[2] for one in told] == ['";r=1999;t=907200'] * 3

    records = await plane.records(3)
    assert [one.event_id for one in billed(migrated_sqlite, tmp_path, records)] == [
        records[0].event_id
    ]
    assert await plane.counted() == (3, 1)


async def test_a_repeat_that_is_billed_costs_what_its_answer_says(
    plane: DataPlane, migrated_sqlite: Path, tmp_path: Path
) -> None:
    """D1: and what is left is told without it, as long as the first try holds its charge."""
    body = b'{"run":"run-1","n":5}'
    head = b"POST /json HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nContent-Length: %d\r\n\r\n"
    request = head % (KEY.encode(), len(body)) + body
    first, first_upstream, _ = await plane.asked(request)
    repeat, upstream, _ = await plane.asked(request)
    await upstream.send(OK.replace(b"200 OK", b"200 OK\r\nX-DC-Used: 7"))
    answer = await answered(repeat, b"POST")
    assert b'"monthly_dc";r=1995' in b", ".join(answer.values(b"ratelimit"))
    await first_upstream.send(FAILED)
    await answered(first, b"POST")

    records = await plane.records(2)
    assert await plane.counted() == (2, 7)
    (event,) = billed(migrated_sqlite, tmp_path, records)
    assert event.charged_micro == event.quantities_micro == {"dc": 7 * MICRO}


async def test_a_repeat_that_can_not_be_recorded_claims_nothing(plane: DataPlane) -> None:
    first, first_upstream, _ = await plane.asked(RUN)
    repeat, upstream, _ = await plane.asked(RUN)
    plane.journal._bytes_max = 0
    await upstream.send(OK)
    await repeat.rest()
    plane.journal._bytes_max = 1 << 30
    await first_upstream.send(FAILED)
    assert (await answered(first)).status == 503

    assert not (await plane.record()).repeat
    assert await plane.counted() == (2, 0)


async def test_t5_a_failed_run_may_be_charged_again(plane: DataPlane) -> None:
    request = GET[:-2] + b"Idempotency-Key: run-1\r\n\r\n"
    client, upstream, _ = await plane.asked(request)
    await upstream.send(OK.replace(b"200 OK", b"500 No"))
    assert (await answered(client)).status == 500
    await plane.record()
    assert await plane.counted() == (1, 0)

    await passes(plane, request)

    record = await plane.record()
    assert (record.repeat, record.billable) == (False, True)
    assert (await plane.counted())[1] == 1
