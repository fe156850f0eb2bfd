"""The access log: a share of requests, one line each with the record's names."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from gateway.process.access_log import SampledAccessLog
from gateway.proxy.exchange import Exchange
from gateway.rules.record import Record
from gateway.telemetry.logs import AccessLog
from gateway.telemetry.metrics import WorkerStats
from tests.metering.journals import record

NUMBER = 2_000


class Reader:
    """A log that is written to a file, and what stands there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.log = AccessLog(WorkerStats(), descriptor=self._descriptor)

    def lines(self) -> list[dict[str, Any]]:
        """Close the log and return its lines."""
        self.log.close()
        os.close(self._descriptor)
        return [orjson.loads(line) for line in self._path.read_bytes().splitlines()]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    return Reader(tmp_path / "access.log")


def exchange(path: bytes = b"/v1/runs") -> Exchange:
    made = Exchange(client=None)  # type: ignore[arg-type]
    made.path = path
    made.query = b"token=hidden"
    return made


def write_if_chosen(log: SampledAccessLog, told: Record) -> None:
    if log.chooses():
        log.write_request(told, exchange())


async def write(reader: Reader, per_million: int, number: int = NUMBER) -> list[dict[str, Any]]:
    reader.log.start(asyncio.get_running_loop())
    log = SampledAccessLog(reader.log, per_million, Random(7))
    for index in range(number):
        write_if_chosen(log, record(index))
    return reader.lines()


async def test_all_are_logged_in_order(reader: Reader) -> None:
    lines = await write(reader, 1_000_000)

    assert [line["event_id"] for line in lines] == [record(n).event_id for n in range(NUMBER)]


async def test_none_is_logged(reader: Reader) -> None:
    assert await write(reader, 0) == []


async def test_a_share_is_logged(reader: Reader) -> None:
    lines = await write(reader, 250_000)

    assert 0.2 * NUMBER < len(lines) < 0.3 * NUMBER


async def test_the_share_can_be_changed(reader: Reader) -> None:
    reader.log.start(asyncio.get_running_loop())
    log = SampledAccessLog(reader.log, 0, Random(7))
    write_if_chosen(log, record(1))
    log.sample(1_000_000)
    write_if_chosen(log, record(2))
    log.sample(0)
    write_if_chosen(log, record(3))

    assert [line["request_id"] for line in reader.lines()] == ["req-2"]


async def test_a_line_says_what_the_record_says_and_no_query(reader: Reader) -> None:
    reader.log.start(asyncio.get_running_loop())
    told = record(
        1, status=429, code="quota_exceeded", flags=["overage"], billable=False,
        bytes_in=5, bytes_out=7, latency_micro=900, upstream_micro=0,
    )  # fmt: skip
    SampledAccessLog(reader.log, 1_000_000, Random(7)).write_request(told, exchange(b"/a/\xfcb"))

    (line,) = reader.lines()
    assert line.pop("event") == "request"
    assert line.pop("path") == "/a/\u00fcb"
    assert line == {name: getattr(told, name) for name in line}
    assert {"event_id", "workspace_id", "status", "code", "flags", "latency_micro"} <= set(line)
    assert b"hidden" not in orjson.dumps(line)
