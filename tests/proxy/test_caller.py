"""Who calls: one key, known, valid, of a plan that includes the route."""

import asyncio
import json
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.config.settings import load
from gateway.errors import DirectoryUnavailable, Refusal, RefusalCode
from gateway.keys.format import KeyFormat
from gateway.keys.port import KeyDirectory, KeyEntry, WorkspaceStatus
from gateway.proxy.active import RoutePlan, activate
from gateway.proxy.caller import key_hash_of
from gateway.proxy.exchange import ClientSide, Exchange
from gateway.proxy.pool import Upstreams
from gateway.telemetry.metrics import WorkerStats
from tests.support.data_plane import DATE, KEY, OTHER_KEY, DataPlane, answered
from tests.support.fake_clock import NOW_MICRO
from tests.support.http_judge import Message

ROOT = Path(__file__).parents[2]
BEARER, FIELD = (b"authorization", True), (b"x-api-key", False)
PLACES = [(BEARER,), (BEARER, FIELD), (FIELD,), ((b"x-api-key", True),)]
KEY_A, KEY_B = b"foreign-key-of-somebody-a", b"foreign-key-of-somebody-b"
VALUES = [b"Bearer " + KEY_A, b"Bearer " + KEY_B, KEY_A, KEY_B, b"Basic " + KEY_A, b"\xff", b""]
TOO_LONG = [b"Bearer " + b" " * 1024 + key for key in (KEY_A, KEY_B)]
"""To be remembered."""
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
SECRET = KEY.encode()
ENTRY = KeyEntry("key-1", b"", "egw_live_1", "acme", "STARTER")


@dataclass
class OneEntry(KeyDirectory):
    """A key directory in which every key is the same one, or that is away."""

    entry: KeyEntry | None

    def known(self, key_hash: bytes) -> KeyEntry | None:
        return None

    async def find(self, key_hash: bytes, address: str = "") -> KeyEntry | None:
        if self.entry is None:
            raise DirectoryUnavailable("keys.away", "away")
        return self.entry

    async def start(self) -> None: ...
    async def close(self) -> None: ...


async def refused(plane: DataPlane, fields: bytes, path: bytes = b"/v1/a") -> tuple[int, str]:
    """Return status and code of a refusal; it must charge nothing and tell no key."""
    client = await plane.client(b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (path, fields))
    answer = await answered(client)
    record = await plane.record()
    assert (record.outcome, record.status) == ("refused", answer.status)
    assert await plane.counted() == (0, 0)
    assert plane.upstream.is_quiet()
    assert SECRET not in client.received
    assert (answer.values(b"www-authenticate") != []) is (answer.status == 401)
    return answer.status, record.code or ""


async def passed(plane: DataPlane, fields: bytes, path: bytes = b"/v1/a") -> Message:
    client, upstream, _ = await plane.asked(
        b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (path, fields)
    )
    await upstream.send(OK)
    return await answered(client)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (b"", "key_missing"),
        (b"Authorization: Basic eDp5\r\n", "key_missing"),
        (b"Authorization: Bearer\r\n", "key_missing"),
        (b"X-API-Key:\r\n", "key_missing"),
        (b"X-API-Key: nonsense\r\n", "key_invalid"),
        (b"X-API-Key: %bx\r\n" % SECRET, "key_invalid"),
        (b"X-API-Key: %b\r\n" % SECRET.lower(), "key_invalid"),
        (b"X-API-Key: %b\r\n" % (b"x" * 600), "key_invalid"),
        (b"X-API-Key: \xff\xfe\r\n", "key_invalid"),
    ],
)
async def test_without_a_valid_key_nobody_comes_in(
    plane: DataPlane, fields: bytes, code: str
) -> None:
    assert await refused(plane, fields) == (401, code)


@pytest.mark.parametrize(
    "fields",
    [
        b"X-API-Key: %b\r\nX-API-Key: %b\r\n" % (SECRET, OTHER_KEY.encode()),
        b"X-API-Key: %b\r\nAuthorization: Bearer %b\r\n" % (SECRET, OTHER_KEY.encode()),
        b"X-API-Key: %b\r\nAuthorization: Bearer nonsense\r\n" % SECRET,
        b"X-API-Key: %b, %b\r\nX-API-Key: %b\r\n" % (SECRET, SECRET, SECRET),
    ],
)
async def test_two_keys_are_ambiguous(plane: DataPlane, fields: bytes) -> None:
    assert await refused(plane, fields) == (400, "key_ambiguous")


@pytest.mark.parametrize(
    "fields",
    [
        b"X-API-Key: %b\r\n" % SECRET,
        b"x-api-key:%b \r\n" % SECRET,
        b"Authorization: bEARER   %b\r\n" % SECRET,
        b"X-API-Key: %b\r\nAuthorization: Bearer %b\r\n" % (SECRET, SECRET),
        b"X-API-Key: %b\r\nAuthorization: Basic eDp5\r\n" % SECRET,
    ],
)
async def test_one_key_opens_wherever_it_stands(plane: DataPlane, fields: bytes) -> None:
    assert (await passed(plane, fields)).status == 200

    record = await plane.record()
    assert (record.workspace_id, record.key_id, record.plan) == ("acme", "key-1", "STARTER")


async def test_a_route_takes_its_key_only_where_it_says(plane: DataPlane) -> None:
    assert await refused(plane, b"X-API-Key: %b\r\n" % SECRET, b"/named") == (401, "key_missing")


@pytest.mark.parametrize(
    ("entry", "status", "code"),
    [
        (replace(ENTRY, revoked_at_micro=NOW_MICRO), 401, "key_revoked"),
        (replace(ENTRY, expires_at_micro=NOW_MICRO), 401, "key_expired"),
        (replace(ENTRY, workspace_status=WorkspaceStatus.SUSPENDED), 403, "workspace_suspended"),
        (
            replace(ENTRY, workspace_status=WorkspaceStatus.PAYMENT_REQUIRED),
            402,
            "payment_required",
        ),
        (replace(ENTRY, plan="GONE"), 403, "plan_unknown"),
        (replace(ENTRY, networks=(ip_network("10.0.0.0/8"),)), 403, "address_not_allowed"),
        (None, 503, "directory_unavailable"),
    ],
)
async def test_a_key_may_be_known_and_still_not_open(
    plane: DataPlane, entry: KeyEntry | None, status: int, code: str
) -> None:
    plane.ports.keys = OneEntry(entry)
    for _ in range(2):
        assert await refused(plane, b"X-API-Key: %b\r\n" % SECRET) == (status, code)


async def test_the_end_of_a_key_is_met_on_a_connection_that_knows_it(plane: DataPlane) -> None:
    plane.ports.keys = OneEntry(replace(ENTRY, expires_at_micro=NOW_MICRO + 10_000_000))
    request = b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % SECRET
    client, upstream, _ = await plane.asked(request)
    await upstream.send(OK)
    assert (await answered(client)).status == 200
    await plane.advance(10)

    await client.send(request)

    assert (await answered(client)).status == 401
    assert [record.code for record in await plane.records(2)] == [None, "key_expired"]


async def test_two_keys_on_one_connection_are_two_callers(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % SECRET
    )
    await upstream.send(OK)
    await answered(client)
    await client.send(
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % OTHER_KEY.encode()
    )
    await upstream.head()
    await upstream.send(OK)
    await answered(client)
    await client.send(b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: nonsense\r\n\r\n")

    assert (await answered(client)).status == 401

    keys = [record.key_id for record in await plane.records(3)]
    assert keys == ["key-1", "key-2", None]


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_key_beside_credentials_for_the_upstream(plane: DataPlane, is_first: bool) -> None:
    """B2: what a connection remembers of one of two fields says nothing of the other."""
    key, own = b"X-API-Key: %b\r\n" % SECRET, b"Authorization: Basic dXNlcjpwdw==\r\n"
    request = b"GET /v1/a HTTP/1.1\r\nHost: a\r\n%b%b\r\n"
    client, upstream, head = await plane.asked(request % ((key, own) if is_first else (own, key)))
    for _ in range(3):
        assert own in head
        assert SECRET not in head
        await upstream.send(OK)
        assert (await answered(client)).status == 200
        await client.send(request % ((key, own) if is_first else (own, key)))
        head = await upstream.head()
    await upstream.send(OK)
    await answered(client)

    assert [record.key_id for record in await plane.records(4)] == ["key-1"] * 4


async def test_two_keys_in_a_head_are_two_on_a_connection_that_knows_one(plane: DataPlane) -> None:
    line = b"Authorization: Bearer %b\r\n" % SECRET
    client, upstream, _ = await plane.asked(b"GET /v1/a HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n")
    await upstream.send(OK)
    await answered(client)
    await client.send(
        b"GET /v1/a HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n%b\r\n" % (OTHER_KEY.encode(), line)
    )

    assert (await answered(client)).status == 400

    told = [(record.key_id, record.code) for record in await plane.records(2)]
    assert told == [("key-1", None), (None, "key_ambiguous")]


@pytest.mark.parametrize("blanks", [1, 1500])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_key_between_two_requests_of_another_is_not_taken_for_it(
    plane: DataPlane, blanks: int, times: int
) -> None:
    """B2: whoever shares a connection, behind a proxy say, is charged for nobody else."""
    line = b"Authorization: Bearer" + b" " * blanks + b"%b\r\n"
    upstream = None
    client = await plane.client()
    for secret in (SECRET, OTHER_KEY.encode(), SECRET):
        own = secret == SECRET
        lines = b"Authorization: Bearer %b\r\n" % secret if own else (line % secret) * times
        await client.send(b"GET /v1/a HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
        upstream = upstream or await plane.upstream.accept()
        await upstream.head()
        await upstream.send(OK)
        await answered(client)

    keys = [record.key_id for record in await plane.records(3)]
    assert keys == ["key-1", "key-2", "key-1"]


async def test_features_come_with_the_plan(plane: DataPlane) -> None:
    fields = b"X-API-Key: %b\r\n" % SECRET
    assert await refused(plane, fields, b"/replay") == (403, "feature_unavailable")
    plane.ports.keys = OneEntry(replace(ENTRY, plan="GROWTH"))

    assert (await passed(plane, fields, b"/replay")).status == 200

    await plane.record()


async def test_a_key_may_have_fewer_features_than_its_plan(plane: DataPlane) -> None:
    plane.ports.keys = OneEntry(replace(ENTRY, plan="GROWTH", features=frozenset()))
    fields = b"X-API-Key: %b\r\n" % SECRET

    assert await refused(plane, fields, b"/replay") == (403, "feature_unavailable")


@pytest.mark.parametrize(
    ("features", "advice"), [(None, "GROWTH"), ({"replay", "sso"}, "GROWTH"), ({"sso"}, None)]
)
async def test_a_plan_is_advised_if_the_key_may_use_what_it_has(
    plane: DataPlane, features: set[str] | None, advice: str | None
) -> None:
    key = None if features is None else frozenset(features)
    plane.ports.keys = OneEntry(replace(ENTRY, features=key))
    client = await plane.client(
        b"GET /replay HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n\r\n" % SECRET
    )

    body = json.loads((await answered(client)).body)

    assert body["missing_features"] == ["replay"]
    assert body.get("next_plan") == advice
    await plane.record()


async def _plans() -> dict[tuple[tuple[bytes, bool], ...], RoutePlan]:
    snapshot = load(ROOT / "policies" / "gateway.yaml", environ={}, overrides={}).snapshot
    plan = next(iter(activate(snapshot, Upstreams(WorkerStats()), 0).plans.values()))
    return {places: replace(plan, places=places) for places in PLACES}


PLANS = asyncio.run(_plans())


def new_client() -> ClientSide:
    loop = asyncio.new_event_loop()
    loop.close()
    return ClientSide(loop)


def hash_or_code(
    client: ClientSide, places: tuple[tuple[bytes, bool], ...], special: dict[bytes, list[bytes]]
) -> bytes | RefusalCode:
    exchange = Exchange(client)
    exchange.special = special
    try:
        return key_hash_of(exchange, PLANS[places], KeyFormat(allow_foreign=True))
    except Refusal as refusal:
        return refusal.code


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PLACES),
            st.dictionaries(
                st.sampled_from([b"authorization", b"x-api-key"]),
                st.lists(st.sampled_from(VALUES + TOO_LONG), min_size=1, max_size=2),
            ),
        ),
        max_size=8,
    )
)
@settings(max_examples=1000)
@example(
    [
        (PLACES[0], {b"authorization": VALUES[:1]}),
        (PLACES[0], {b"authorization": [VALUES[1], VALUES[1]]}),
        (PLACES[0], {b"authorization": VALUES[:1]}),
    ]
)
@example(
    [
        (PLACES[0], {b"authorization": VALUES[:1]}),
        (PLACES[0], {b"authorization": TOO_LONG[1:]}),
        (PLACES[0], {b"authorization": VALUES[:1]}),
    ]
)
@example([(PLACES[3], {b"x-api-key": VALUES[:1]}), (PLACES[2], {b"x-api-key": VALUES[:1]})])
@example(
    [
        (PLACES[1], {b"x-api-key": [KEY_B]}),
        (PLACES[1], {b"x-api-key": [KEY_B], b"authorization": VALUES[:1]}),
        (PLACES[1], {b"x-api-key": [KEY_A, KEY_B]}),
    ]
)
def test_a_connection_that_remembers_its_key_finds_what_a_new_one_finds(
    heads: list[tuple[tuple[tuple[bytes, bool], ...], dict[bytes, list[bytes]]]],
) -> None:
    """B2: no request passes for another one's key, whatever came before it."""
    client = new_client()
    for places, special in heads:
        fresh = hash_or_code(new_client(), places, special)

        assert hash_or_code(client, places, special) == fresh


def test_a_long_value_is_not_kept() -> None:
    client = new_client()
    padded = b"Bearer " + b" " * 1024 + KEY_A
    found = hash_or_code(client, PLACES[3], {b"x-api-key": [padded]})

    assert found == hash_or_code(client, PLACES[3], {b"x-api-key": VALUES[:1]})
    assert client.known_value is VALUES[0]
    assert hash_or_code(client, PLACES[3], {b"x-api-key": [padded]}) == found
    assert client.known_value is VALUES[0]
