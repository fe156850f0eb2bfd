"""C12: how requests end decides which endpoints and upstreams are asked again, and when."""

from pathlib import Path

import orjson
import pytest

from tests.support.data_plane import DATE, KEY, DataPlane, answered, point_to
from tests.support.gateway_process import free_port
from tests.support.http_judge import Message
from tests.support.wire import Listener, Wire

GET = b"GET /v1/a HTTP/1.1\r\nHost: api.example\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
CLOSING = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
FAILED = CLOSING.replace(b"200 OK", b"500 Oops")
CHUNK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"
CIRCUIT = "circuit: {failures: [connect, timeout, closed, 5xx], requests: 3, percent: 100}"


def events(plane: DataPlane) -> list[str]:
    return [line["event"] for line in plane.log if line["event"].startswith("upstream.")]


def ejected(plane: DataPlane) -> int:
    return plane.ports.stats.worker.upstream_endpoints_ejected["app"]


def code_of(answer: Message) -> str:
    return str(orjson.loads(answer.body)["code"])


async def reset(_plane: DataPlane, _client: Wire, upstream: Wire) -> None:
    upstream.reset()


async def cut(_plane: DataPlane, client: Wire, upstream: Wire) -> None:
    await upstream.send(CHUNK)
    await client.until(b"ok")
    upstream.reset()
    await client.rest()


async def fall_silent(plane: DataPlane, client: Wire, _upstream: Wire) -> None:
    await plane.advance(29.9)
    assert client.silent()
    await plane.advance(0.2)


async def fail(_plane: DataPlane, _client: Wire, upstream: Wire) -> None:
    await upstream.send(FAILED)


def two_endpoints(
    plane: DataPlane, folder: Path, upstream_port: int, more: str = "connections_max: 9"
) -> Listener:
    """Point a data plane to its upstream and to another one, which is returned."""
    other = Listener(port := free_port())
    other.listen()
    urls = (f"http://127.0.0.1:{upstream_port}", f"http://127.0.0.1:{port}")
    point_to(plane, folder, *urls, more=more)
    return other


OPEN_GET = b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("failing", [reset, cut, fall_silent, fail])
async def test_an_endpoint_that_fails_three_requests_in_a_row_rests_and_is_tried(
    plane: DataPlane, tmp_path: Path, upstream_port: int, failing: object
) -> None:
    other = two_endpoints(plane, tmp_path, upstream_port, "ejection: {eject_after_5xx: 3}")
    for _ in range(3):
        assert ejected(plane) == 0
        plane.pool._turn = 0
        client, upstream, _ = await plane.asked(OPEN_GET)
        await failing(plane, client, upstream)  # type: ignore[operator]
        if failing is not cut:
            assert (await answered(client)).status >= 500
        await plane.record()
    assert ejected(plane) == 1

    for _ in range(2):  # while it rests
        plane.pool._turn = 0
        client = await plane.client(OPEN_GET)
        wire = await other.accept()
        await wire.head()
        await wire.send(CLOSING)
        assert (await answered(client)).status == 200
        await plane.record()

    await plane.advance(5.1)
    plane.pool._turn = 0
    trial, upstream, _ = await plane.asked(OPEN_GET)
    further = await plane.client(OPEN_GET)
    wire = await other.accept()
    await wire.head()
    assert plane.upstream.is_quiet(), "one request at a time"
    await upstream.send(CHUNK)
    await trial.until(b"ok")
    assert ejected(plane) == 0, "its head is enough"
    assert events(plane) == ["upstream.endpoint_ejected", "upstream.endpoint_readmitted"]
    await upstream.send(b"0\r\n\r\n")
    await wire.send(OK)
    assert (await answered(further)).status == 200
    await plane.records(2)
    assert not any(state.is_troubled for state in plane.pool._states)
    other.close()


async def test_a_trial_that_fails_doubles_the_rest(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    other = two_endpoints(plane, tmp_path, upstream_port)
    for number in range(5):
        await plane.advance([0, 0, 0, 5.1, 10.1][number])
        plane.pool._turn = 0
        client, upstream, _ = await plane.asked(GET)
        upstream.reset()
        assert (await answered(client)).status == 502
        await plane.record()
    rests = [line["rest_seconds"] for line in plane.log if "rest_seconds" in line]
    assert rests == [5, 10, 20]
    assert plane.ports.stats.worker.upstream_ejections == 3
    other.close()


async def test_a_client_that_leaves_a_trial_leaves_it_to_the_next(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    other = two_endpoints(plane, tmp_path, upstream_port)
    for later in (0.0, 0.0, 5.1):
        plane.pool._turn = 0
        client, upstream, _ = await plane.asked(GET)
        upstream.reset()
        await answered(client)
        await plane.record()
        await plane.advance(later)
    plane.pool._turn = 0
    client, upstream, _ = await plane.asked(GET)
    client.reset()
    await plane.record()
    assert ejected(plane) == 1
    plane.pool._turn = 0
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    assert (await answered(client)).status == 200
    await plane.record()
    assert ejected(plane) == 0
    other.close()


async def test_an_only_endpoint_is_never_ejected(plane: DataPlane) -> None:
    for _ in range(9):
        client, upstream, _ = await plane.asked(GET)
        upstream.reset()
        assert (await answered(client)).status == 502
    assert ejected(plane) == 0
    assert not plane.pool._states[0].is_troubled
    await plane.records(9)


async def open_circuit(plane: DataPlane, folder: Path, upstream_port: int) -> None:
    """Let three requests fail."""
    point_to(plane, folder, f"http://127.0.0.1:{upstream_port}", more=CIRCUIT)
    for number in range(3):
        client, upstream, _ = await plane.asked(GET)
        if number:
            upstream.reset()
        else:
            await upstream.send(FAILED)
        assert (await answered(client)).status in {500, 502}
        await plane.record()
    assert plane.ports.stats.worker.upstream_circuits_open == {"app": 1}


async def test_an_open_circuit_refuses_at_once_and_for_nothing(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    await open_circuit(plane, tmp_path, upstream_port)
    before = await plane.counted()
    client = await plane.client(GET)

    answer = await answered(client)

    assert (answer.status, code_of(answer)) == (503, "upstream_circuit_open")
    assert answer.values(b"retry-after") == [b"5"]
    record = await plane.record()
    assert (record.outcome, record.route, record.workspace_id) == ("refused", "keyed", "acme")
    assert not record.billable
    assert await plane.counted() == before == (3, 0)
    assert events(plane) == ["upstream.circuit_opened"]
    assert plane.upstream.is_quiet()


async def test_who_may_not_come_in_is_told_so_first(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    await open_circuit(plane, tmp_path, upstream_port)
    client = await plane.client(b"GET /v1/a HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await answered(client)).status == 401
    await plane.record()


async def test_one_probe_at_a_time_closes_it_again(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    await open_circuit(plane, tmp_path, upstream_port)
    await plane.advance(5.1)
    client, upstream, _ = await plane.asked(GET)
    second = await plane.client(GET)
    answer = await answered(second)
    assert (answer.status, answer.values(b"retry-after")) == (503, [b"1"])
    upstream.reset()
    assert (await answered(client)).status == 502
    await plane.records(2)
    await second.send(GET)
    assert (await answered(second)).values(b"retry-after") == [b"5"]
    await plane.record()

    await plane.advance(5.1)
    client, upstream, _ = await plane.asked(GET)
    client.reset()  # says nothing
    await plane.record()
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(CHUNK)
    await client.until(b"ok")
    assert plane.ports.stats.worker.upstream_circuits_open == {"app": 0}
    assert not plane.pool.is_guarded
    await upstream.send(b"0\r\n\r\n")
    await plane.record()
    assert events(plane) == ["upstream.circuit_opened", "upstream.circuit_closed"]
    assert plane.ports.stats.worker.upstream_circuit_openings == 1


@pytest.mark.parametrize("failing", [reset, fall_silent, None])
async def test_a_probe_that_fails_otherwise_closes_nothing(
    plane: DataPlane, tmp_path: Path, upstream_port: int, failing: object
) -> None:
    """What is no reason to open it is no success either."""
    more = "circuit: {failures: [5xx], requests: 1, percent: 100}"
    point_to(plane, tmp_path, f"http://127.0.0.1:{upstream_port}", more=more)
    client, upstream, _ = await plane.asked(OPEN_GET)
    await upstream.send(FAILED)
    assert (await answered(client)).status == 500
    await plane.record()
    await plane.advance(5.1)
    if failing is None:
        plane.upstream.close()
        client = await plane.client(OPEN_GET)
    else:
        client, upstream, _ = await plane.asked(OPEN_GET)
        await failing(plane, client, upstream)  # type: ignore[operator]
    assert (await answered(client)).status in {502, 504}
    await plane.record()

    assert plane.ports.stats.worker.upstream_circuits_open == {"app": 1}
    assert events(plane) == ["upstream.circuit_opened"]
    await client.send(OPEN_GET)
    assert (await answered(client)).values(b"retry-after") == [b"5"]
    await plane.record()


async def test_a_circuit_opens_for_want_of_connections_and_their_charges_are_given_back(
    plane: DataPlane, tmp_path: Path
) -> None:
    point_to(plane, tmp_path, f"http://127.0.0.1:{free_port()}", more=CIRCUIT)
    client = await plane.client()
    codes = []
    for _ in range(5):
        await client.send(GET)
        codes.append(code_of(await answered(client)))
        await plane.record()
    assert codes == ["upstream_unreachable"] * 3 + ["upstream_circuit_open"] * 2
    await plane.advance(5.1)
    await client.send(GET)
    assert code_of(await answered(client)) == "upstream_unreachable"
    await client.send(GET)
    assert code_of(await answered(client)) == "upstream_circuit_open"
    await plane.records(2)
    assert await plane.counted() == (4, 0)


async def test_a_bound_that_is_reached_meanwhile_refuses_and_gives_back(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    point_to(plane, tmp_path, f"http://127.0.0.1:{upstream_port}", more="requests_max: 1")
    head = GET.replace(b"GET", b"POST").replace(b"/v1/a", b"/json")
    slow = await plane.client(head[:-2] + b'Content-Length: 7\r\n\r\n{"n"')
    await plane.until(lambda: plane.ports.exchanges)
    client, upstream, _ = await plane.asked(GET)
    await slow.send(b":1}")

    answer = await answered(slow, b"POST")

    assert (answer.status, code_of(answer)) == (503, "overloaded")
    await upstream.send(OK)
    assert (await answered(client)).status == 200
    await plane.records(2)
    assert (await plane.counted())[1] == 1


async def test_a_circuit_that_opens_meanwhile_refuses_and_gives_back(
    plane: DataPlane, tmp_path: Path, upstream_port: int
) -> None:
    """Admitted before it opened, charged, not sent yet."""
    point_to(plane, tmp_path, f"http://127.0.0.1:{upstream_port}", more=CIRCUIT)
    head = GET.replace(b"GET", b"POST").replace(b"/v1/a", b"/json")
    slow = await plane.client(head[:-2] + b'Content-Length: 7\r\n\r\n{"n"')
    await plane.until(lambda: plane.ports.exchanges)
    for _ in range(3):
        client, upstream, _ = await plane.asked(GET)
        upstream.reset()
        await answered(client)
    await slow.send(b":1}")

    answer = await answered(slow, b"POST")

    assert (answer.status, code_of(answer)) == (503, "upstream_circuit_open")
    assert answer.values(b"retry-after") == [b"1"]
    await plane.records(4)
    assert (await plane.counted())[1] == 0
