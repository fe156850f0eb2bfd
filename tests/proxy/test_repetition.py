"""A refused head that comes again gets what it would get the whole way, and leaves its record."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.counters.memory import MemoryCounterStore
from gateway.errors import Refusal, RefusalCode
from gateway.http.credentials import REMEMBERED_BYTES_MAX
from gateway.keys.format import generate
from gateway.keys.yaml_file import YamlKeyDirectory
from gateway.metering.recorder import Recorder, Waiter
from gateway.proxy import connection
from gateway.proxy.exchange import Exchange
from gateway.proxy.ports import Ports
from gateway.proxy.request import serve
from gateway.rules.record import Record
from gateway.rules.units import MICRO
from tests.support.data_plane import DATE, KEY, OTHER_KEY, DataPlane, answered, judged
from tests.support.http_judge import Message
from tests.support.wire import Wire

USED_UP, FREE = 3030, 10
HEAD = b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n"
GET = HEAD % KEY.encode()
FOREIGN = HEAD % generate("test").secret.encode()
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Exchange]:
    """The requests that went the whole way."""
    told: list[Exchange] = []

    async def telling(exchange: Exchange, ports: Ports) -> None:
        told.append(exchange)
        await serve(exchange, ports)

    monkeypatch.setattr(connection, "serve", telling)
    return told


async def used(plane: DataPlane, dc: int) -> None:
    """Let the workspace have used so much of its quota."""
    store = plane.ports.counters
    assert isinstance(store, MemoryCounterStore)
    store.restore("usage:{acme}:2025-11", dc * MICRO, 4_000_000_000)


async def asked(client: Wire, head: bytes, method: bytes = b"GET") -> Message:
    await client.send(head)
    return await answered(client, method)


def essence(answer: Message, record: Record) -> object:
    """Return what two requests that are treated alike have in common."""
    fields = [pair for pair in answer.fields if pair[0].lower() != b"x-request-id"]
    body = answer.body.replace(record.request_id.encode(), b"-")
    same = {"event_id": "", "request_id": "", "latency_micro": 0}
    return answer.status, fields, body, replace(record, **same)


@pytest.mark.sources  # it replaces a function
async def test_the_third_refusal_in_a_row_is_told_the_short_way(
    plane: DataPlane, told: list[Exchange]
) -> None:
    await used(plane, USED_UP)
    client = await plane.client()
    keyed = next(r for r in plane.ports.active.snapshot.routes if r.name == "keyed")
    before = keyed.counters.refused.get("quota_exceeded", 0)

    answers = [await asked(client, GET) for _ in range(5)]

    assert [answer.status for answer in answers] == [429] * 5
    assert len(told) == 2, "the first asks the store, the second finds the refusal remembered"
    records = await plane.records(5)
    kinds = [essence(*pair) for pair in zip(answers, records, strict=True)]
    assert kinds[1] == kinds[2] == kinds[3] == kinds[4]
    assert len({record.event_id for record in records}) == 5
    assert [record.request_id for record in records] == [
        answer.values(b"x-request-id")[0].decode() for answer in answers
    ]
    store = plane.ports.stats.store
    assert (store.charges, store.refused, store.refused_locally) == (1, 1, 4)
    assert keyed.counters.refused["quota_exceeded"] == before + 5
    assert plane.ports.stats.directory.hits == 5


@pytest.mark.sources
async def test_an_unknown_key_is_refused_the_short_way(
    plane: DataPlane, told: list[Exchange]
) -> None:
    client = await plane.client()

    answers = [await asked(client, FOREIGN) for _ in range(4)]

    assert [answer.status for answer in answers] == [401] * 4
    assert len(told) == 1
    records = await plane.records(4)
    kinds = [essence(*pair) for pair in zip(answers, records, strict=True)]
    assert kinds[0] == kinds[1] == kinds[2] == kinds[3]
    assert plane.ports.stats.directory.unknown == 4


async def refused_thrice(plane: DataPlane, head: bytes = GET) -> Wire:
    """Return a connection on which a refusal is told the short way."""
    await used(plane, USED_UP)
    client = await plane.client()
    for _ in range(3):
        assert (await asked(client, head)).status in {401, 429}
    await plane.records(3)
    return client


async def test_when_there_is_room_again_it_passes(plane: DataPlane) -> None:
    client = await refused_thrice(plane)
    await used(plane, FREE)
    await plane.advance(1.1)
    await client.send(GET)
    upstream = await plane.upstream.accept()
    await upstream.head()
    await upstream.send(OK)

    assert (await answered(client)).status == 200

    await plane.record()


async def replaced(plane: DataPlane, folder: Path, change: Callable[[str], str]) -> None:
    """Change the keys file as an operator does."""
    file, directory = folder / "keys.yaml", plane.ports.keys
    text = file.read_text()
    file.unlink()
    file.write_text(change(text))
    assert isinstance(directory, YamlKeyDirectory)
    for _ in range(3):
        await directory.reload_if_changed()


async def test_a_revoked_key_is_refused_as_such(plane: DataPlane, tmp_path: Path) -> None:
    client = await refused_thrice(plane)
    revoked = "key-1, revoked_at: 2025-11-01T00:00:00Z,"
    await replaced(plane, tmp_path, lambda text: text.replace("key-1,", revoked))

    assert (await asked(client, GET)).status == 401

    assert (await plane.record()).code == "key_revoked"


async def test_a_key_that_was_unknown_is_let_in_when_it_is_there(
    plane: DataPlane, tmp_path: Path
) -> None:
    digest = sha256(KEY.encode()).hexdigest()
    await replaced(plane, tmp_path, lambda text: text.replace(digest, "0" * 64))
    client = await refused_thrice(plane)
    await replaced(plane, tmp_path, lambda text: text.replace("0" * 64, digest))

    assert (await asked(client, GET)).status == 429

    await plane.record()


async def test_a_new_configuration_is_heeded(plane: DataPlane) -> None:
    client = await refused_thrice(plane)
    snapshot = plane.ports.active.snapshot
    routes = tuple(route for route in snapshot.routes if route.name != "keyed")
    gone = replace(snapshot, routes=routes, matcher=type(snapshot.matcher)(routes))
    plane.ports.swap(gone)

    assert (await asked(client, GET)).status == 404

    await plane.record()
    plane.ports.swap(snapshot)


@pytest.mark.sources  # it replaces a method
async def test_an_upstream_that_refuses_is_heeded(plane: DataPlane) -> None:
    client = await refused_thrice(plane)
    pool = plane.pool
    pool.is_guarded = True
    pool.require_room = no_room  # type: ignore[method-assign]

    answer = await asked(client, GET)

    assert answer.status == 503
    pool.is_guarded = False
    await plane.record()


def no_room() -> None:
    raise Refusal(RefusalCode.OVERLOADED)


async def test_at_a_drain_the_connection_is_closed(plane: DataPlane) -> None:
    client = await refused_thrice(plane)
    plane.ports.is_draining = True

    answer = await asked(client, GET)

    assert (answer.status, answer.values(b"connection")) == (429, [b"close"])
    await plane.record()


@pytest.mark.parametrize("cut", [1, 20, len(GET) - 1])
async def test_a_head_in_pieces_and_two_at_once_are_what_they_are(
    plane: DataPlane, cut: int
) -> None:
    client = await refused_thrice(plane)
    await client.send(GET[:cut])
    await plane.turns()
    await client.send(GET[cut:])
    assert (await answered(client)).status == 429
    await client.send(GET + GET)
    await plane.records(3)
    for _ in range(2):
        await client.until(b'"}')

    assert [answer.status for answer in judged(client, *[b"GET"] * 6)] == [429] * 6


async def test_two_heads_at_once_are_two_each_time(plane: DataPlane) -> None:
    client = await refused_thrice(plane)
    for times in (1, 2, 3):
        await client.send(GET + GET)
        await plane.records(2)
        for _ in range(2):
            await client.until(b'"}')
        assert len(judged(client, *[b"GET"] * (3 + 2 * times))) == 3 + 2 * times


async def test_a_head_as_part_of_another_is_that(plane: DataPlane) -> None:
    client = await refused_thrice(plane)
    await client.send(b"GET /open/a HTTP/1.1\r\nHost: a\r\nX-A: ")
    await plane.turns()

    assert (await asked(client, GET)).status == 400, "it has two hosts"


class Full(Recorder):
    """A journal that takes nothing."""

    is_available = False

    def append(self, _record: Record, _waiter: Waiter) -> None:
        raise AssertionError


async def test_while_nothing_can_be_recorded_that_is_told(plane: DataPlane) -> None:
    client = await refused_thrice(plane)
    plane.ports.journal = Full()

    answer = await asked(client, GET)

    assert (answer.status, json.loads(answer.body)["code"]) == (503, "recording_unavailable")


async def test_a_head_as_part_of_a_body_is_a_body(plane: DataPlane) -> None:
    client = await refused_thrice(plane)
    await client.send(b"POST /open/a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(GET))
    upstream = await plane.upstream.accept()
    await upstream.head()
    await client.send(GET)
    assert await upstream.exactly(len(GET)) == GET
    await upstream.send(OK)

    assert (await answered(client, b"POST")).status == 200

    await plane.record()


async def test_what_a_caller_names_is_repeated_and_what_is_too_long_is_not_kept(
    plane: DataPlane,
) -> None:
    named = GET[:-2] + b"X-Request-Id: mine\r\n\r\n"
    long = GET[:-2] + b"X-Long: %b\r\n\r\n" % (b"x" * REMEMBERED_BYTES_MAX)
    await used(plane, USED_UP)
    client = await plane.client()

    for head in (named, named, named, long, long, long):
        answer = await asked(client, head)
        assert answer.status == 429
        assert (answer.values(b"x-request-id") == [b"mine"]) is (head is named)

    await plane.records(6)


async def test_whatever_changes_a_kept_connection_is_told_what_a_new_one_is(
    plane: DataPlane, tmp_path: Path
) -> None:
    """Sequences of refusals among changes of all that they hang on; seeded."""
    chance = random.Random(7)
    heads = [
        GET, FOREIGN, HEAD % OTHER_KEY.encode(), GET.replace(b"/v1/a", b"/v1/b"),
        GET.replace(b"GET", b"PUT"), GET.replace(b"/v1/a", b"/none"), GET[:-2] + b"X-A: 1\r\n\r\n",
    ]  # fmt: skip
    await used(plane, USED_UP)
    kept = await plane.client()
    snapshot, seen = plane.ports.active.snapshot, set()
    head = GET
    for step in range(300):
        match chance.randrange(12):
            case 0:
                await plane.advance(chance.choice([0.3, 1.1]))
            case 1:
                snapshot = replace(snapshot, via=b"gateway%d" % step)
                plane.ports.swap(snapshot)
            case 2:
                status = chance.choice(["active", "suspended", "payment_required"])
                await replaced(plane, tmp_path, lambda text, to=status: with_status(text, to))
            case 3 | 4 | 5:
                head = chance.choice(heads)
            case _:
                pass
        method = head.partition(b" ")[0]
        pairs = []
        for client in (kept, await plane.client()):
            plane.ports.refusals.flush()  # else those after the tenth would share a record
            answer = await asked(client, head, method)
            pairs.append(essence(answer, await plane.record()))
        assert pairs[0] == pairs[1], step
        seen.add(pairs[0][0])  # type: ignore[index]
    assert seen == {401, 402, 403, 404, 429}


def with_status(text: str, status: str) -> str:
    lines = [line for line in text.splitlines() if not line.startswith("    status:")]
    at = next(index for index, line in enumerate(lines) if line.startswith("    plan:"))
    return "\n".join([*lines[: at + 1], f"    status: {status}", *lines[at + 1 :]]) + "\n"


async def test_a_body_is_never_taken_for_the_request_that_was_refused(plane: DataPlane) -> None:
    """RFC 9112 6.3: what follows a head that announces a body is its body, whatever it says."""
    client = await plane.client()
    for _ in range(2):
        assert (await asked(client, FOREIGN)).status == 401
    await plane.records(2)
    await client.send(
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(FOREIGN)
    )
    assert (await answered(client, b"POST")).status == 404
    await plane.record()

    await client.send(FOREIGN)

    assert await client.rest() == b""
    await plane.turns()
    assert len(plane.journal.reader.read_unshipped(100).records) == 3
    assert plane.log == []
