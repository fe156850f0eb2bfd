"""Active health checks: each endpoint is asked now and then whether it is well.

One task per upstream that wants it; the request path only reads a flag. The probe is a request of
its own on a connection of its own, so that what is probed is what a new connection would meet.
Source: design section 10; requirement C12.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, MutableMapping, Sequence

import structlog

from gateway.config.snapshot import Endpoint, HealthCheck
from gateway.proxy.balancing import EndpointState

STATUS_LINE_BYTES_MAX = 1024

_log = structlog.get_logger("proxy")


async def watch(
    upstream: str,
    check: HealthCheck,
    states: Sequence[EndpointState],
    unwell: MutableMapping[str, int],
    tls: ssl.SSLContext | None,
    server_name: str | None,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Probe all endpoints of an upstream until cancelled.

    Args:
        upstream: Its name, for the log and the metric.
        unwell: By upstream, how many of its endpoints are unwell.
        tls: For endpoints that speak TLS.
        server_name: Asked for and verified instead of an endpoint's own name.
        wait: Sleeps between two rounds.
    """
    unwell[upstream] = 0
    while True:
        results = await asyncio.gather(
            *(is_well(state.endpoint, check, tls, server_name) for state in states)
        )
        for state, well in zip(states, results, strict=True):
            if state.probed(well=well, check=check):
                _tell(upstream, state)
        unwell[upstream] = sum(state.is_unwell for state in states)
        await wait(check.interval_seconds)


def _tell(upstream: str, state: EndpointState) -> None:
    endpoint = state.endpoint.unix_path or state.endpoint.authority.decode()
    if state.is_unwell:
        _log.warning("upstream.endpoint_unwell", upstream=upstream, endpoint=endpoint)
    else:
        _log.info("upstream.endpoint_well", upstream=upstream, endpoint=endpoint)


async def is_well(
    endpoint: Endpoint, check: HealthCheck, tls: ssl.SSLContext | None, server_name: str | None
) -> bool:
    """Return whether an endpoint answers a probe as it should, in time."""
    try:
        async with asyncio.timeout(check.timeout_seconds):
            return await _status(endpoint, check, tls, server_name) in check.statuses
    except (OSError, ValueError, EOFError):
        return False


async def _status(
    endpoint: Endpoint, check: HealthCheck, tls: ssl.SSLContext | None, server_name: str | None
) -> int:
    if endpoint.unix_path is not None:
        reader, writer = await asyncio.open_unix_connection(
            endpoint.unix_path, limit=STATUS_LINE_BYTES_MAX
        )
    elif endpoint.tls:
        reader, writer = await asyncio.open_connection(
            endpoint.host,
            endpoint.port,
            ssl=tls,
            server_hostname=server_name or endpoint.host,
            limit=STATUS_LINE_BYTES_MAX,
        )
    else:
        reader, writer = await asyncio.open_connection(
            endpoint.host, endpoint.port, limit=STATUS_LINE_BYTES_MAX
        )
    try:
        writer.write(
            b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
            % (check.path, endpoint.authority)
        )
        line = await reader.readline()
        version, _, rest = line.partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ValueError("not HTTP")
        return int(rest[:3])
    finally:
        writer.transport.abort()
