"""Limits by client address, as open routes have them.

That their memory is flat over a million addresses is shown in tests/counters/test_memory.py.
"""

import asyncio
from collections import Counter
from pathlib import Path

from tests.support.gateway_process import GatewayProcess
from tests.support.raw_service import head_of, pipeline, raw_upstream

ROUTES = """\
- {name: open, match: {methods: [GET], path: "/**"}, upstream: app, auth: none, limits: [polite]}
"""
FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
TRUSTED = "trusted_proxies: [127.0.0.1/32]\n"
TOP = """\
policies: [{name: polite, kind: rate, window: 7d, cap: 3, scope: address}]
"""


async def test_t14_address_over_its_limit_hinders_no_other(tmp_path: Path) -> None:
    """T14: each address has its own count, and only a trusted proxy says which address it is."""
    loud, quiet, own = (
        head_of({"X-Forwarded-For": address}) for address in ("10.0.0.1", "10.0.0.2", "")
    )
    believing, doubting = tmp_path / "believing", tmp_path / "doubting"
    believing.mkdir()
    doubting.mkdir()
    async with raw_upstream() as port:
        gateway = GatewayProcess(believing, port, routes=ROUTES, top=TRUSTED + TOP)
        await asyncio.to_thread(gateway.start)
        try:
            assert await pipeline(gateway.port, [loud] * 9) == {200: 3, 429: 6}
            assert await pipeline(gateway.port, [quiet] * 4) == {200: 3, 429: 1}
        finally:
            gateway.stop()
        gateway = GatewayProcess(doubting, port, routes=ROUTES, top=TOP)
        await asyncio.to_thread(gateway.start)
        try:
            assert await pipeline(gateway.port, [loud, quiet, own, loud]) == {200: 3, 429: 1}
        finally:
            gateway.stop()


async def test_an_address_gets_back_what_the_upstream_did_not_serve(tmp_path: Path) -> None:
    """A8: a quota counts what came of a request, with a key or without one; a rate counts all."""
    for kind, expected in (("quota", {500: 9}), ("rate", {500: 3, 429: 6})):
        folder = tmp_path / kind
        folder.mkdir()
        top = TOP.replace("kind: rate", f"kind: {kind}")
        async with raw_upstream(FAILED) as port:
            gateway = GatewayProcess(folder, port, routes=ROUTES, top=top)
            await asyncio.to_thread(gateway.start)
            try:
                answers: Counter[int] = Counter()
                for _ in range(9):
                    answers += await pipeline(gateway.port, [head_of({})])
                assert answers == expected
            finally:
                gateway.stop()
