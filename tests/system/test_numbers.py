"""Gauges of a running gateway go up and down with what they tell of (E10)."""

import socket
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess, wait_until
from tests.support.scripted_upstream import ScriptedUpstream

CONNECTIONS = "gateway_connections_open"
IN_FLIGHT = "gateway_requests_in_flight"


def test_connections_and_requests_are_counted_while_they_last(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    gateway = GatewayProcess(tmp_path, upstream.port).start()
    clients: list[socket.socket] = []
    try:
        key = gateway.make_key("STARTER")
        assert (gateway.metric(CONNECTIONS), gateway.metric(IN_FLIGHT)) == (0, 0)

        upstream.gate.clear()
        clients += [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(3)]
        head = f"GET /x HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n".encode()
        for client in clients[:2]:
            client.sendall(head)
        wait_until(lambda: len(upstream.seen) == 2)
        assert (gateway.metric(CONNECTIONS), gateway.metric(IN_FLIGHT)) == (3, 2)

        upstream.gate.set()
        wait_until(lambda: gateway.metric(IN_FLIGHT) == 0)
        assert gateway.metric(CONNECTIONS) == 3

        clients.pop().close()
        wait_until(lambda: gateway.metric(CONNECTIONS) == 2)
        assert gateway.metric("gateway_connections_accepted_total") == 3
    finally:
        upstream.gate.set()
        for client in clients:
            client.close()
        gateway.stop()


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_request_whose_client_left_is_not_in_flight_for_ever(
    tmp_path: Path, upstream: ScriptedUpstream, end: str
) -> None:
    gateway = GatewayProcess(tmp_path, upstream.port).start()
    try:
        key = gateway.make_key("STARTER")
        upstream.gate.clear()
        client = socket.create_connection(("127.0.0.1", gateway.port))
        client.sendall(f"GET /x HTTP/1.1\r\nHost: a\r\nX-API-Key: {key}\r\n\r\n".encode())
        wait_until(lambda: gateway.metric(IN_FLIGHT) == 1)
        if end == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        upstream.gate.set()

        wait_until(lambda: gateway.metric(IN_FLIGHT) == gateway.metric(CONNECTIONS) == 0)
    finally:
        upstream.gate.set()
        gateway.stop()
