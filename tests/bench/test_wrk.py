"""What wrk prints is read right, failures above all."""

import asyncio
import shutil
from typing import cast

import pytest

from bench.wrk import Load, parse, run

REPORT = """Running 2s test @ http://127.0.0.1:38571/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.05ms  612.14us  21.53ms   95.09%
    Req/Sec    62.57k     4.06k   70.04k    85.00%
  Latency Distribution
     50%    0.93ms
     75%    1.11ms
     90%    1.38ms
     99%    1.03s
  124511 requests in 2.00s, 31.94MB read
Requests/sec:  62201.88
Transfer/sec:     15.96MB
"""


def test_a_report_is_read() -> None:
    assert parse(REPORT) == Load(
        requests=124_511,
        requests_per_second=62_201.88,
        p50_seconds=pytest.approx(0.00093),
        p99_seconds=pytest.approx(1.03),
        failed=0,
    )


def test_refusals_and_socket_errors_are_failures() -> None:
    bad = REPORT + (
        "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n"
    )

    assert parse(bad).failed == 15


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(ValueError, match="not a report"):
        parse("unable to connect")


def test_what_the_script_prints_is_read_too() -> None:
    load = parse(REPORT + "p99.9 21530 us\n33491234 bytes\n")

    assert load.p999_seconds == pytest.approx(0.02153)
    assert load.read_bytes == 33_491_234


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
@pytest.mark.parametrize("is_new_each_time", [True, False])
async def test_each_request_is_a_new_one_if_that_is_asked(*, is_new_each_time: bool) -> None:
    heads: list[bytes] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.Transport, transport)

        def data_received(self, data: bytes) -> None:
            heads.append(data)
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    async with server:
        load = await asyncio.to_thread(
            run, server.sockets[0].getsockname()[1], "/a?b=c", {"X-Key": "k"}, connections=2,
            seconds=1, is_new_each_time=is_new_each_time,
        )  # fmt: skip

    assert load.failed == 0
    assert all(head.startswith(b"GET /a?b=c HTTP/1.1\r\n") for head in heads)
    assert all(b"\r\nX-Key: k\r\n" in head for head in heads)
    assert len(heads) > 100
    assert len(set(heads)) == (len(heads) if is_new_each_time else 1)
