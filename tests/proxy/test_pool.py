"""Several endpoints: the least busy is asked, by its own name; the dead are left alone."""

from pathlib import Path

import pytest

from gateway.proxy.balancing import FAILURES_TO_EJECT
from tests.support.data_plane import DATE, KEY, DataPlane, answered, point_to
from tests.support.gateway_process import free_port

GET = b"GET /v1/a HTTP/1.1\r\nHost: api.example\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"


def host_of(head: bytes) -> bytes:
    return head.partition(b"\r\nHost: ")[2].partition(b"\r\n")[0]


@pytest.mark.parametrize("preserve_host", [True, False])
async def test_each_endpoint_is_asked_by_its_own_name(
    plane: DataPlane, tmp_path: Path, upstream_port: int, *, preserve_host: bool
) -> None:
    """C12: of two endpoints the one with less under way is asked."""
    names = [f"127.0.0.1:{upstream_port}", f"localhost:{upstream_port}"]
    point_to(plane, tmp_path, *(f"http://{name}" for name in names), preserve_host=preserve_host)
    asked = [await plane.asked(GET) for _ in names]

    expected = [b"api.example"] * 2 if preserve_host else [name.encode() for name in names]
    assert [host_of(head) for _, _, head in asked] == expected
    for client, upstream, _ in asked:
        await upstream.send(OK)
        assert (await answered(client)).status == 200
    assert {record.status for record in await plane.records(2)} == {200}


async def test_an_endpoint_that_can_not_be_reached_is_replaced_and_then_left_alone(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    """C12: nothing was sent, so another is tried; after three failures nobody looks there."""
    dead = free_port()
    point_to(plane, tmp_path, f"http://127.0.0.1:{dead}", f"http://127.0.0.1:{upstream_port}")
    errors = plane.ports.stats.worker
    for number in range(FAILURES_TO_EJECT + 2):
        client, upstream, head = await plane.asked(GET)
        assert host_of(head) == b"127.0.0.1:%d" % upstream_port
        await upstream.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await answered(client)).status == 200
        assert errors.upstream_connect_errors == min(number + 1, FAILURES_TO_EJECT)
        await plane.record()


async def test_when_all_are_dead_the_caller_is_told_and_pays_nothing(
    plane: DataPlane, tmp_path: Path
) -> None:
    point_to(plane, tmp_path, f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}")
    client = await plane.client(GET)
    answer = await answered(client)
    record = await plane.record()

    assert (answer.status, record.code) == (502, "upstream_unreachable")
    assert await plane.counted() == (1, 0)
