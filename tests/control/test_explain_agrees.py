"""``explain`` says what the gateway does: both are asked about generated requests (N6).

The gateway is the real data plane on sockets, before a service that takes everything; ``explain``
is asked first, about the same counters and the same configuration.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from gateway.control import counts
from gateway.control.explain import AskedCaller, Question, explain
from gateway.control.explanation import Explanation
from gateway.keys.port import KeyDescription, Workspace, WorkspaceStatus
from tests.support.data_plane import KEY, WORKSPACE, DataPlane, data_plane, snapshot_in
from tests.support.fake_clock import FakeClock
from tests.support.gateway_process import free_port

REQUESTS = 700
MORE_ROUTES = """\
  - {name: priced, match: {methods: [POST], path: /priced}, upstream: app, max_body: 2KB,
     cost: {dc: {reserve: {header: X-Cost}}}}
  - {name: both, match: {methods: [POST], path: "/both/{id}"}, upstream: app, limits: [few],
     cost: {dc: {reserve: {json: /a/0/n}}}, run_id: {header: Idempotency-Key, required: true}}
  - {name: loose, match: {methods: [GET], path: "/loose/**"}, upstream: app, limits: [few],
     paths: {ambiguous: normalise, merge_slashes: true}}
  - {name: hosted, match: {methods: [GET], hosts: [only.test], path: "/hosted"}, upstream: app}
"""
ACME = Workspace(WORKSPACE, "STARTER", WorkspaceStatus.ACTIVE, 0)
KEY_1 = KeyDescription("key-1", "egw_test", WORKSPACE, "", 0, None, None, None, None, ())

PATHS = (
    "/small", "/open/a", "/json", "/usage", "/named", "/replay", "/v1/a", "/priced", "/both/7",
    "/both", "/loose/a", "/hosted", "/nope", "/",
)  # fmt: skip
SPELLINGS = (
    "", "", "", "", "/", "//", "/.", "/./b", "/../v1/b", "/../../..", "/%2e%2e", "/%2E/", "/%2f",
    "/%5c", "/a%00", "/%zz", "/%", "/%e9", "/%c3%a9", "/%2541", ";a=1", "/a;b", "/a b", "/|",
    '/"', "/<", "/\\", "/caf\u00e9", "/@:!$&'()*+,=", "/%41", "/a#b", "?a=b", "?a=%2f&b=/../",
    "/x" * 700,
)  # fmt: skip
METHODS = ("GET", "GET", "POST", "POST", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE",
           "FLY", "PRI", "PROPFIND", "M-SEARCH")  # fmt: skip
RIGHT = (
    ("POST", "/json"), ("POST", "/json"), ("POST", "/small"), ("POST", "/usage"),
    ("POST", "/priced"), ("POST", "/both/7"), ("POST", "/both/8"), ("GET", "/loose//a/../b"),
    ("GET", "/named"), ("GET", "/replay"),
)  # fmt: skip
NUMBERS = ("0", "1", "2.5", "0.000001", "1e3", "-1", "1.2345678", "true", '"7"', "null", "NaN",
           "99999999999999999999", "[1]", "{}", "1e-7")  # fmt: skip
JSONS = (
    '{{"n": {n}, "run": {r}}}', '{{"n": {n}}}', '{{"a": [{{"n": {n}}}]}}', '{{"a": []}}', "[{n}]",
    "{n}", "{{", "", "\ufeff{{}}", '{{"n": {n}}} x', '{{"n": {n}, "pad": "{pad}"}}',
)  # fmt: skip
FIELDS = ("0", "1", "2.5", "", "x", "-1", "1e3", "1.2345678", " 3 ", "3, 4", "99999999999999999999")
RUN_IDS = ("", '"quoted"', "x" * 255, "x" * 256, "caf\u00e9", "two words")


@dataclass
class Answer:
    """What the gateway answered."""

    status: int
    fields: dict[str, str]
    body: dict[str, Any]


@dataclass
class Asked:
    """A request as both are asked."""

    method: str
    target: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    has_key: bool = True

    def wire(self) -> bytes:
        takes_bearer = self.target.startswith("/named")
        place = ("Authorization", f"Bearer {KEY}") if takes_bearer else ("X-API-Key", KEY)
        own = [place] if self.has_key else []
        length = [("Content-Length", str(len(self.body)))] if self.body else []
        sent = [*self.fields, *own, *length, ("Connection", "close")]
        lines = "".join(f"{name}: {value}\r\n" for name, value in sent)
        return f"{self.method} {self.target} HTTP/1.1\r\n{lines}\r\n".encode() + self.body

    def question(self) -> Question:
        headers: dict[str, list[bytes]] = {}
        for name, value in self.fields:
            headers.setdefault(name.lower(), []).append(value.strip(" ").encode())
        host = headers["host"][0].decode()
        return Question(self.method, self.target, host, headers, self.body, "127.0.0.1")


def generated(random: Random, number: int) -> Asked:
    """Return a request; most are nearly right, since what is all wrong says little."""
    target = random.choice(PATHS) + (random.choice(SPELLINGS) if random.random() < 0.6 else "")
    asked = Asked(random.choice(METHODS), target, has_key=random.random() < 0.9)
    if random.random() < 0.4:
        asked.method, asked.target = random.choice(RIGHT)
    asked.fields.append(("Host", random.choice(("a.test", "only.test", "only.test:80"))))
    for _ in range(random.choice((0, 1, 1, 1, 2))):
        asked.fields.append(("X-Cost", random.choice(FIELDS)))
    run_ids = (f"run-{number}", f"run-{number}", *RUN_IDS)
    for _ in range(random.choice((0, 1, 1, 1, 2))):
        asked.fields.append(("Idempotency-Key", random.choice(run_ids)))
    if asked.method in {"POST", "PUT"}:
        template = random.choice(JSONS)
        run = random.choice((f'"body-{number}"', str(number), "null", "[]", '""', "1.5"))
        pad = "x" * random.choice((1, 900, 3_000, 70_000, 70_000))
        asked.body = template.format(n=random.choice(NUMBERS), r=run, pad=pad).encode()
    return asked


async def take_everything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with 200, then close."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
    await reader.readexactly(length)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[DataPlane]:
    service = await asyncio.start_server(take_everything, "127.0.0.1", 0)

    def more(text: str) -> str:
        policies = "policies:\n  - {name: few, kind: rate, window: 60s, cap: 4, scope: key}\n"
        return text.replace("routes:\n", f"{policies}routes:\n", 1) + MORE_ROUTES

    snapshot = snapshot_in(tmp_path, service.sockets[0].getsockname()[1], more)
    async with data_plane(tmp_path, snapshot, free_port()) as running:
        yield running
    service.close()
    await service.wait_closed()


async def gateway_says(plane: DataPlane, asked: Asked) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
    writer.write(asked.wire())
    told = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = told.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split()[1]), fields, orjson.loads(body) if body else {})


async def explain_says(plane: DataPlane, asked: Asked) -> Explanation:
    caller = AskedCaller(ACME, KEY_1) if asked.has_key else None

    async def read_run(_workspace_id: str, run_id: str) -> tuple[str, int] | None:
        for record in plane.journal.reader.read_unshipped(REQUESTS).records:
            if record.billable and record.run_id == run_id:
                return record.event_id, record.occurred_at_micro
        return None

    return await explain(
        plane.ports.active.snapshot,
        plane.ports.clock,
        asked.question(),
        caller,
        counts.from_store(plane.ports.counters),
        read_run,
    )


def summed_up(answer: Answer) -> tuple[object, ...]:
    if answer.status == 200:
        return (True, None, None, None, None)
    retry = answer.fields.get("retry-after")
    told = (answer.body.get("code"), answer.body.get("detail"))
    return (False, answer.status, *told, None if retry is None else int(retry))


@pytest.mark.parametrize("seed", range(3))
async def test_both_say_the_same_of_generated_requests(plane: DataPlane, seed: int) -> None:
    random, clock = Random(seed), plane.ports.clock
    assert isinstance(clock, FakeClock)
    seen: set[tuple[object, ...]] = set()
    for number in range(REQUESTS):
        asked = generated(random, number)
        told = await explain_says(plane, asked)
        answer = summed_up(await gateway_says(plane, asked))
        said = (told.forwards, told.status, told.code, told.detail, told.retry_after_seconds)
        if asked.method == "HEAD" and not told.forwards:
            assert (said[:2], said[4]) == (answer[:2], answer[4]), asked
        else:
            assert said == answer, asked
        seen.add(answer[:3])
        if number % 200 == 199:
            clock.advance(61)

    assert {
        (True, None, None),
        (False, 400, "bad_request"),
        (False, 400, "cost_invalid"),
        (False, 401, "key_missing"),
        (False, 403, "feature_unavailable"),
        (False, 404, "route_unknown"),
        (False, 405, "method_not_allowed"),
        (False, 413, "body_too_large"),
        (False, 414, "target_too_long"),
        (False, 429, "quota_exceeded"),
        (False, 501, "not_implemented"),
    } <= seen
