"""C12: endpoints that don't answer their probes as they should are left alone until they do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config.snapshot import Endpoint, HealthCheck
from gateway.proxy.balancing import EndpointState, choose
from gateway.proxy.health import is_well, watch
from tests.support.data_plane import KEY, DataPlane, answered, point_to
from tests.support.gateway_process import free_port

CHECK = HealthCheck(
    path=b"/healthz",
    interval_seconds=5.0,
    timeout_seconds=0.3,
    statuses=frozenset({200, 204}),
    unwell_after=2,
    well_after=3,
)
WELL = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def endpoint(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port, tls=False, authority=b"127.0.0.1:%d" % port)


@asynccontextmanager
async def service(answer: Callable[[], bytes | None]) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answer each connection with bytes, or with nothing at all; tell port and heads."""
    heads: list[bytes] = []
    ends: dict[asyncio.StreamWriter, asyncio.Event] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = ends[writer] = asyncio.Event()
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            told = answer()
            if told is not None:
                writer.write(told)
            await reader.read()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the prober went
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)
            end.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()
        for writer, end in tuple(ends.items()):
            writer.transport.abort()
            await asyncio.wait_for(end.wait(), 10)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("answer", "well"),
    [
        (WELL, True),
        (b"HTTP/1.0 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 503 Down\r\n\r\n", False),
        (b"HTTP/1.1 302 Elsewhere\r\n\r\n", False),
        (b"SSH-2.0-x\r\n", False),
        (b"HTTP/1.1 abc\r\n", False),
        (b"HTTP/1.1 200" + b"x" * 5000, False),
        (b"", False),
        (None, False),
    ],
)
async def test_a_probe_believes_an_answer_that_it_was_told_to_believe(
    answer: bytes | None, *, well: bool
) -> None:
    async with service(lambda: answer) as (port, heads):
        assert await is_well(endpoint(port), CHECK, None, None) is well
    assert heads[0].startswith(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port)


async def test_what_can_not_be_reached_is_not_well(tmp_path: Path) -> None:
    gone = Endpoint("", 0, tls=False, authority=b"localhost", unix_path=str(tmp_path / "gone"))
    assert not await is_well(endpoint(free_port()), CHECK, None, None)
    assert not await is_well(gone, CHECK, None, None)


def test_so_many_probes_in_a_row_change_what_is_thought_of_an_endpoint() -> None:
    state = EndpointState(endpoint(1))

    def probed(*results: bool) -> list[bool]:
        return [state.probed(well=well, check=CHECK) for well in results]

    assert probed(False, True, False, True) == [False] * 4
    assert not state.is_unwell
    assert probed(False, False) == [False, True]
    assert state.is_unwell
    assert probed(False, True, True, False, True, True) == [False] * 6
    assert probed(True) == [True]
    assert not state.is_unwell


def test_unwell_endpoints_are_chosen_only_when_all_are() -> None:
    first, second = states = [EndpointState(endpoint(1)), EndpointState(endpoint(2), pending=9)]
    first.is_unwell = True
    assert choose(states, 0.0) == 1
    second.is_unwell = True
    assert choose(states, 0.0) == 0


async def test_an_endpoint_goes_and_comes_back_and_the_log_says_so_once() -> None:
    answers = [b"HTTP/1.1 500 Oops\r\n\r\n"] * 3 + [WELL] * 4
    rounds: list[bool] = []
    unwell: dict[str, int] = {}
    counted: list[int] = []
    over = asyncio.Event()

    async def wait(seconds: float) -> None:
        assert seconds == CHECK.interval_seconds
        rounds.append(state.is_unwell)
        counted.append(unwell["app"])
        if not answers:
            over.set()
            await asyncio.Event().wait()

    async with service(lambda: answers.pop(0)) as (port, _):
        state = EndpointState(endpoint(port))
        with capture_logs() as lines:
            watching = asyncio.ensure_future(watch("app", CHECK, [state], unwell, None, None, wait))
            await asyncio.wait_for(over.wait(), 10)
            watching.cancel()
            await asyncio.wait({watching})
    assert rounds == [False, True, True, True, True, False, False]
    assert counted == [0, 1, 1, 1, 1, 0, 0]
    assert [(line["event"], line["endpoint"]) for line in lines] == [
        ("upstream.endpoint_unwell", f"127.0.0.1:{port}"),
        ("upstream.endpoint_well", f"127.0.0.1:{port}"),
    ]


async def test_an_endpoint_that_fails_its_probes_gets_no_requests(
    plane: DataPlane, tmp_path: Path
) -> None:
    """Checks run from the moment on that a configuration wants them."""
    async with (
        service(lambda: b"HTTP/1.1 500 Oops\r\n\r\n") as (sick, to_the_sick),
        service(lambda: WELL) as (well, to_the_well),
    ):
        check = "health_check: {path: /up, interval: 10ms, timeout: 300ms, unwell_after: 1}"
        endpoints = (f"http://127.0.0.1:{port}" for port in (sick, well))
        point_to(plane, tmp_path, *endpoints, more=check)
        states = plane.pool._states
        await plane.until(lambda: states[0].is_unwell and len(to_the_well) > 1)
        client = await plane.client(
            b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % KEY.encode()
        )
        assert (await answered(client)).status == 200
        await plane.record()
        assert not any(b"/v1/a" in head for head in to_the_sick)
        assert sum(b"/v1/a" in head for head in to_the_well) == 1
        unwell = plane.ports.stats.worker.upstream_endpoints_unwell
        assert unwell == {"app": 1}

        (tmp_path / "later").mkdir()
        point_to(plane, tmp_path / "later", f"http://127.0.0.1:{well}")
        await plane.turns()

        assert unwell == {"app": 0}, "nobody asks any more"
