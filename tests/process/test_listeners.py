"""Several addresses of both families: all are listened on, or none and it is told why."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import pytest
import uvloop

from gateway.config.loaded import Address
from gateway.errors import GatewayError
from gateway.process.listeners import Listening, _bound, bound_addresses, close, listen
from tests.support.gateway_process import free_port
from tests.support.ipv6 import ipv6


class Servers:
    """What a test listens on; closed at its end."""

    def __init__(self) -> None:
        self.all: list[Listening] = []
        self.peers: list[object] = []

    async def listen(self, *addresses: Address) -> list[Address]:
        peers = self.peers

        class Greeter(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                peers.append(transport.get_extra_info("peername")[0])
                transport.write(b"hello")  # type: ignore[attr-defined]  # uvloop's is no subclass
                transport.close()

        async def serve(bound: socket.socket) -> asyncio.Server:
            return await asyncio.get_running_loop().create_server(Greeter, sock=bound)

        servers = await listen(addresses, serve)
        self.all += servers
        return list(bound_addresses(servers))


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    found = Servers()
    yield found
    close(found.all)


async def greeted(address: Address) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


async def test_a_free_port_is_taken_and_told(servers: Servers) -> None:
    (bound,) = await servers.listen(Address("127.0.0.1", 0))

    assert bound.host == "127.0.0.1"
    assert bound.port > 0
    assert await greeted(bound) == b"hello"


@ipv6
async def test_both_families_are_listened_on(servers: Servers) -> None:
    bound = await servers.listen(Address("127.0.0.1", 0), Address("::1", 0))

    assert [address.host for address in bound] == ["127.0.0.1", "::1"]
    assert [await greeted(address) for address in bound] == [b"hello"] * 2
    assert servers.peers == ["127.0.0.1", "::1"]


@ipv6
@pytest.mark.parametrize("hosts", [("0.0.0.0", "::"), ("::", "0.0.0.0")])
async def test_one_port_of_all_addresses_of_both_families(
    servers: Servers, hosts: Sequence[str]
) -> None:
    """On a machine where ``[::]`` took IPv4 as well the second one would be in use."""
    port = free_port(socket.AF_INET6, "::")

    await servers.listen(*(Address(host, port) for host in hosts))

    assert await greeted(Address("127.0.0.1", port)) == b"hello"
    assert await greeted(Address("::1", port)) == b"hello"
    assert servers.peers == ["127.0.0.1", "::1"]


@ipv6
async def test_all_addresses_of_ipv6_are_none_of_ipv4(servers: Servers) -> None:
    await servers.listen(Address("::", 0))

    (listener,) = servers.all[0].sockets
    assert listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


async def test_a_name_means_its_addresses(servers: Servers) -> None:
    bound = await servers.listen(Address("localhost", 0))

    assert {address.host for address in bound} <= {"127.0.0.1", "::1"}
    assert [await greeted(address) for address in bound] == [b"hello"] * len(bound)


@ipv6
def test_all_addresses_of_a_name_have_one_port() -> None:
    places = [
        (socket.AF_INET, ("127.0.0.1", 0)),
        (socket.AF_INET6, ("::1", 0, 0, 0)),
        (socket.AF_INET6, ("2001:db8::1", 0, 0, 0)),
    ]
    with ExitStack() as undo:
        bound = [listener.getsockname()[:2] for listener in _bound(places, undo)]

        assert bound == [("127.0.0.1", bound[0][1]), ("::1", bound[0][1])]


def test_a_name_none_of_whose_addresses_is_this_machines_is_refused() -> None:
    places = [(socket.AF_INET, ("203.0.113.1", 0)), (socket.AF_INET, ("203.0.113.2", 0))]
    with ExitStack() as undo, pytest.raises(OSError, match="assign"):
        _bound(places, undo)


async def test_an_address_in_use_is_named_and_none_is_listened_on(servers: Servers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken_port, free = taken.getsockname()[1], free_port()

        with pytest.raises(GatewayError, match=f"127.0.0.1:{taken_port}: .*in use") as caught:
            await servers.listen(Address("127.0.0.1", free), Address("127.0.0.1", taken_port))

    assert caught.value.code == "worker.cannot_listen"
    assert "--listen" in caught.value.hint
    socket.create_server(("127.0.0.1", free)).close()


@pytest.mark.parametrize("host", ["no-such-name.invalid", "203.0.113.1", "2001:db8::1"])
async def test_an_address_that_is_not_this_machines_is_named(servers: Servers, host: str) -> None:
    with pytest.raises(GatewayError) as caught:
        await servers.listen(Address(host, 0))

    assert str(Address(host, 0)) in caught.value.message


@ipv6
def test_the_production_loop_does_the_same() -> None:
    async def scene() -> None:
        found = Servers()
        port = free_port(socket.AF_INET6, "::")
        bound = await found.listen(Address("0.0.0.0", port), Address("::", port))
        assert [await greeted(address) for address in bound] == [b"hello"] * 2
        with pytest.raises(GatewayError, match=f"0.0.0.0:{port}: .*in use"):
            await found.listen(Address("127.0.0.1", 0), Address("0.0.0.0", port))
        assert [await greeted(address) for address in bound] == [b"hello"] * 2
        close(found.all)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
