"""A19: at the instant of each published example the gateway answers it word for word.

The real data plane on sockets with a clock that stands at the example's instant: ``instance``,
``renews_at``, ``Retry-After``, each ``t`` and the month's ``w`` are compared, too. On Redis, whose
clock can't be set, ``test_examples.py`` compares the rest.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import http_sf
import pytest

from gateway.counters.memory import MemoryCounterStore
from gateway.keys.format import generate
from gateway.rules.charging import billing_period
from gateway.rules.units import MICRO
from tests.support.data_plane import DataPlane, data_plane, snapshot_in
from tests.support.fake_clock import FakeClock
from tests.support.gateway_process import ROOT, free_port
from tests.support.raw_service import raw_upstream

PROBLEMS: dict[str, Any] = json.loads(
    (ROOT / "fixtures" / "problem_details_examples.json").read_text()
)
FIELDS: dict[str, Any] = json.loads(
    (ROOT / "fixtures" / "ratelimit_headers_examples.json").read_text()
)
WORKSPACE = "example"


@dataclass
class Answer:
    """What the gateway answered."""

    status: int
    fields: dict[str, str]
    body: bytes


@asynccontextmanager
async def plane_at(
    folder: Path, example: dict[str, Any], used: dict[str, int], digest: str
) -> AsyncIterator[DataPlane]:
    """Run a data plane at an example's instant, with what its workspace has used by then."""
    async with raw_upstream() as port:
        snapshot = snapshot_in(folder, port)
        (folder / "keys.yaml").write_text(
            f"version: 1\nworkspaces:\n  - id: {WORKSPACE}\n    plan: {example['tier']}\n"
            f"    keys:\n      - {{id: k, sha256: {digest}}}\n"
        )
        async with data_plane(folder, snapshot, free_port()) as plane:
            clock, counters = plane.ports.clock, plane.ports.counters
            assert isinstance(clock, FakeClock)
            assert isinstance(counters, MemoryCounterStore)
            seconds = int(datetime.fromisoformat(example["at"]).timestamp())
            clock.set(seconds * MICRO)
            names = {
                "rpm": f"rpm:{{{WORKSPACE}}}:{seconds // 60}",
                "monthly_dc": f"usage:{{{WORKSPACE}}}:{billing_period('UTC', seconds * MICRO)}",
            }
            for policy, count in used.items():
                counters.restore(names[policy], count * MICRO, seconds + 3600)
            yield plane


async def ask(plane: DataPlane, secret: str, request_id: str) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
    writer.write(
        f"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: {secret}\r\n"
        f"X-Request-Id: {request_id}\r\nConnection: close\r\n\r\n".encode()
    )
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), fields, body)


def items(text: str) -> dict[str, Any]:
    return dict(http_sf.parse(text.encode(), tltype="list"))


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """Return a key and its hash."""
    made = generate("test")
    return made.secret, made.key_hash.hex()


@pytest.mark.parametrize("name", PROBLEMS)
async def test_a_problem_is_the_published_one_to_the_letter(
    tmp_path: Path, key: tuple[str, str], name: str
) -> None:
    example = PROBLEMS[name]
    async with plane_at(tmp_path, example, example["used"], key[1]) as plane:
        answer = await ask(plane, key[0], example["body"]["instance"])

    assert json.loads(answer.body) == example["body"]
    assert answer.status == example["body"]["status"]
    assert {field: answer.fields[field] for field in example["headers"]} == example["headers"]


@pytest.mark.parametrize("name", FIELDS)
async def test_fields_are_the_published_ones_to_the_second(
    tmp_path: Path, key: tuple[str, str], name: str
) -> None:
    example = FIELDS[name]
    names = ("RateLimit-Policy", "RateLimit")
    expected = {field: items(example["headers"][field]) for field in names}
    is_refusal = "Retry-After" in example["headers"]
    before = {policy: n - (0 if is_refusal else 1) for policy, n in example["used"].items()}
    async with plane_at(tmp_path, example, before, key[1]) as plane:
        answer = await ask(plane, key[0], "some-request")

    assert answer.status == (429 if is_refusal else 200)
    for field, policies in expected.items():
        told = items(answer.fields[field])
        assert {policy: told[policy] for policy in policies} == policies
    assert answer.fields.get("Retry-After") == example["headers"].get("Retry-After")
