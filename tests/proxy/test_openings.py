"""Tunnels beyond the bound are refused before they cost anything; a place that is left is free."""

import json
from pathlib import Path

import pytest

from gateway.config.snapshot import Snapshot
from gateway.metering.recorder import Recorder
from tests.proxy.tunnels import REQUEST, SWITCHING, Ends, limited, opened, text
from tests.support.data_plane import KEY, OTHER_KEY, DataPlane, answered

TWO = "{connections_per_workspace: 2}"
OTHERS = REQUEST.replace(KEY.encode(), OTHER_KEY.encode())
"""With another key of the same workspace."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def open_route(whole: str) -> str:
    """Return a route file with an open route that limits its tunnels too."""
    return whole + (
        "  - {name: free, match: {methods: [GET], path: /free}, upstream: app, auth: none,\n"
        "     tunnel: {connections_per_workspace: 1}}\n"
    )


async def refused(plane: DataPlane, request: bytes) -> None:
    """A handshake must be refused, and cost and leave nothing."""
    before = await plane.counted()
    client = await plane.client(request)
    answer = await answered(client)
    assert (answer.status, json.loads(answer.body)["code"]) == (429, "too_many_tunnels")
    assert answer.values(b"connection") == [b"close"]
    record = await plane.record()
    assert (record.code, record.outcome, record.billable) == ("too_many_tunnels", "refused", False)
    assert await plane.counted() == before
    assert plane.upstream.is_quiet()
    assert await client.rest() == b""
    client.close()


async def test_more_than_the_bound_are_refused(plane: DataPlane, tmp_path: Path) -> None:
    limited(plane, tmp_path, TWO)
    first = await opened(plane)
    second = await opened(plane, OTHERS)

    await refused(plane, REQUEST)
    await refused(plane, OTHERS)

    first.client.reset()
    await plane.until(lambda: plane.ports.stats.worker.tunnels_open == 1)
    first.upstream.close()
    third = await opened(plane)
    second.client.close()
    await second.upstream.rest()
    assert plane.ports.tunnels.taken("ws acme") == 2  # its other direction is still kept
    second.upstream.close()
    await plane.until(lambda: plane.ports.stats.worker.tunnels_open == 1)
    await third.up(text(b"hello"))
    await third.leave()


async def test_on_an_open_route_an_address_has_places(plane: DataPlane, tmp_path: Path) -> None:
    limited(plane, tmp_path, TWO, change=open_route)
    request = REQUEST.replace(b"/ws ", b"/free ")
    first = await opened(plane, request)

    await refused(plane, request)

    elsewhere = await opened(plane)  # another route has its own
    assert plane.ports.tunnels.taken("free 127.0.0.1") == 1
    assert plane.ports.tunnels.taken("ws acme") == 1
    first.client.reset()
    await plane.until(lambda: plane.ports.stats.worker.tunnels_open == 1)
    first.upstream.close()
    await elsewhere.leave()


@pytest.mark.parametrize("how", ["refused", "no upgrade", "cut", "gone", "no key", "no websocket"])
async def test_what_becomes_no_tunnel_keeps_no_place(
    plane: DataPlane, tmp_path: Path, how: str
) -> None:
    limited(plane, tmp_path, "{connections_per_workspace: 1}")
    if how == "no key":
        client = await plane.client(REQUEST.replace(KEY.encode(), b"nonsense"))
        assert (await answered(client)).status == 401
    elif how == "no websocket":
        client, upstream, _ = await plane.asked(
            REQUEST.replace(b"Upgrade: websocket", b"Upgrade: h2c")
        )
        await upstream.send(OK)
        await answered(client)
        client.close()
    else:
        client, upstream, _ = await plane.asked(REQUEST)
        assert plane.ports.tunnels.taken("ws acme") == 1
        if how == "refused":
            await upstream.send(OK.replace(b"200 OK", b"403 No"))
        elif how == "no upgrade":
            await upstream.send(OK)
        elif how == "cut":
            upstream.close()
        else:
            client.reset()
    await plane.records(1)
    await plane.settled()
    client.close()

    assert plane.ports.tunnels.taken("ws acme") == 0
    assert not plane.ports.stats.worker.tunnels_open
    again = await opened(plane)
    await again.leave()


async def test_a_client_that_goes_while_the_record_is_written_keeps_no_place(
    plane: DataPlane, tmp_path: Path
) -> None:
    limited(plane, tmp_path, "{connections_per_workspace: 1}")
    client, upstream, _ = await plane.asked(REQUEST)
    journal, waiting = plane.ports.journal, []

    class Slow(Recorder):
        is_available = True

        def append(self, *appended: object) -> None:
            waiting.append(appended)

    plane.ports.journal = Slow()
    await upstream.send(SWITCHING)
    await plane.until(lambda: waiting)
    client.reset()
    await plane.deserted()
    plane.ports.journal = journal
    journal.append(*waiting[0])  # type: ignore[arg-type]

    await plane.records(1)
    await upstream.rest()
    await Ends(plane, client, upstream).over()
    await plane.settled(idle=0)


async def test_the_bound_of_a_new_configuration_counts_the_old_tunnels(
    plane: DataPlane, plane_snapshot: Snapshot, tmp_path: Path
) -> None:
    limited(plane, tmp_path, TWO)
    ends = await opened(plane)
    plane.ports.swap(plane_snapshot)
    limited(plane, tmp_path, "{connections_per_workspace: 1}")

    await refused(plane, REQUEST)

    await ends.leave()
