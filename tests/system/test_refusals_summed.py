"""A key over its quota in a flood: few records, and their counts add up to what was answered."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from gateway.process.wiring import open_ledger
from tests.support.gateway_process import GatewayProcess
from tests.support.raw_service import head_of, raw_upstream

CONNECTIONS = 8
QUOTA = 50
SECONDS = 2.5


class Flood:
    """Callers that never wait, each on a connection of its own."""

    def __init__(self, port: int, *heads: bytes) -> None:
        self.answers = 0
        self._port = port
        self._heads = heads
        self._ends = False

    async def run(self, seconds: float, then: Callable[[], object] = lambda: None) -> None:
        """Call for so long, do ``then``, and stop."""
        async with asyncio.TaskGroup() as callers:
            for number in range(CONNECTIONS):
                callers.create_task(self._call(self._heads[number % len(self._heads)]))
            await asyncio.sleep(seconds)
            await asyncio.to_thread(then)
            self._ends = True

    async def _call(self, head: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while not self._ends:
                writer.write(head)
                answer = await reader.readuntil(b"\r\n\r\n")
                _, _, behind = answer.lower().partition(b"content-length: ")
                await reader.readexactly(int(behind.partition(b"\r\n")[0]))
                self.answers += 1
        except (OSError, asyncio.IncompleteReadError):
            return  # it was killed
        finally:
            writer.close()


async def test_after_a_clean_stop_the_counts_are_the_answers(tmp_path: Path, counters: str) -> None:
    async with raw_upstream() as port:
        gateway = GatewayProcess(tmp_path, port, counters=counters)
        await asyncio.to_thread(gateway.start)
        key = await asyncio.to_thread(gateway.make_key, "SANDBOX")
        flood = Flood(
            gateway.port, head_of({"X-API-Key": key}), head_of({"X-API-Key": key}), head_of({})
        )

        await flood.run(SECONDS)
        counted = await asyncio.to_thread(gateway.metric, "gateway_requests_total")
        assert await asyncio.to_thread(gateway.stop) == 0

    records = gateway.records()
    assert sum(record.count for record in records) == flood.answers == counted
    assert sum(record.billable for record in records) == QUOTA
    sums = [record for record in records if record.count > 1]
    # Two groups, and sometimes a rate beside the quota: ten alone and a sum each, in each second.
    assert len(records) <= QUOTA + 4 * (SECONDS + 2) * 11
    kinds = [
        (one.key_id, one.code, *one.violated, one.occurred_at_micro // 1_000_000) for one in sums
    ]
    assert len(set(kinds)) == len(kinds)
    books = open_ledger(gateway.loaded().settings)
    try:
        (row,) = [
            row for row in books.usage(workspace_id="acme", period=None) if row.meter == "requests"
        ]
    finally:
        books.close()
    keyed = sum(record.count for record in records if record.key_id is not None)
    assert (row.requests, row.refused, row.billable_events) == (keyed, keyed - QUOTA, QUOTA)


async def test_a_kill_loses_at_most_the_last_second_of_them(tmp_path: Path) -> None:
    async with raw_upstream() as port:
        gateway = GatewayProcess(tmp_path, port)
        await asyncio.to_thread(gateway.start)
        key = await asyncio.to_thread(gateway.make_key, "SANDBOX")
        flood = Flood(gateway.port, head_of({"X-API-Key": key}))

        await flood.run(1.3)
        later = Flood(gateway.port, head_of({"X-API-Key": key}))
        await asyncio.sleep(1.2)  # the second is over, and what was summed in it is written
        await later.run(0.5, gateway.kill)
        await asyncio.to_thread(gateway.start)
        try:
            records = await asyncio.to_thread(gateway.wait_for_records, flood.answers)
        finally:
            gateway.stop()

    told = sum(record.count for record in records)
    assert flood.answers <= told <= flood.answers + later.answers + CONNECTIONS
    assert len({record.event_id for record in records}) == len(records)
    assert sum(record.billable for record in records) == QUOTA
