"""How many connections there may be, of all and of one address, and how they end in a drain."""

from dataclasses import replace
from ipaddress import ip_network

from tests.support.data_plane import DATE, KEY, DataPlane, answered

AUTH = b"Host: api.example\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"


async def test_more_connections_than_allowed_are_closed_at_once(plane: DataPlane) -> None:
    limits = plane.ports.active.snapshot.limits
    plane.ports.connections.update(object() for _ in range(limits.connections_max))  # type: ignore[misc]
    client = await plane.client()

    assert await client.rest() == b""

    plane.ports.connections.clear()
    assert plane.ports.stats.worker.connections_refused == 1


async def test_while_draining_answers_end_their_connections(plane: DataPlane) -> None:
    plane.ports.is_draining = True
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)

    assert (await answered(client)).values(b"connection") == [b"close"]

    await plane.record()
    assert await client.rest() == b""


async def test_one_address_has_so_many_connections_and_no_more(
    plane: DataPlane,
) -> None:
    """X1: whoever opens too many is closed, and has room again when others go."""
    bound(plane, connections_per_address_max=2)
    first, second = await plane.client(), await plane.client()
    await plane.until(lambda: len(plane.ports.connections) == 2)
    third = await plane.client()
    assert await third.rest() == b""
    assert plane.ports.stats.worker.connections_refused == 1
    assert plane.ports.addresses.counts == {"127.0.0.1": 2}
    first.close()
    await plane.until(lambda: len(plane.ports.connections) == 1)
    fourth = await plane.client()
    await plane.until(lambda: len(plane.ports.connections) == 2)
    second.close()
    fourth.close()
    await plane.deserted()
    assert plane.ports.addresses.counts == {}


async def test_a_trusted_proxy_may_have_more(plane: DataPlane) -> None:
    bound(plane, connections_per_address_max=1)
    plane.ports.swap(
        replace(plane.ports.active.snapshot, trusted_proxies=(ip_network("127.0.0.0/8"),))
    )
    clients = [await plane.client() for _ in range(3)]
    await plane.until(lambda: len(plane.ports.connections) == 3)
    for client in clients:
        client.close()
    await plane.deserted()


def bound(plane: DataPlane, **limits: int) -> None:
    """Reload the data plane with other bounds."""
    snapshot = plane.ports.active.snapshot
    plane.ports.swap(replace(snapshot, limits=replace(snapshot.limits, **limits)))
