"""What is sent upstream: heads written anew, and a second time only where that is safe."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from tests.support.data_plane import DATE, KEY, DataPlane, answered
from tests.support.http_judge import Message, requests_in
from tests.support.wire import Wire

AUTH = b"Host: api.example\r\nX-API-Key: %b\r\n" % KEY.encode()
GET = b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
OWN = {b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"}


async def sent(plane: DataPlane, request: bytes) -> Message:
    """Return how a request reached the upstream."""
    client, upstream, _ = await plane.asked(request)
    if b"chunked" in request.lower():
        await upstream.until(b"0\r\n\r\n")
    await upstream.send(OK)
    assert (await answered(client)).status == 200
    await plane.record()
    (message,) = requests_in(upstream.received)
    assert message.is_whole
    return message


def get(fields: bytes, target: bytes = b"/v1/a") -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\n" + AUTH + fields + b"\r\n"


async def test_every_byte_of_a_request_is_accounted_for(plane: DataPlane) -> None:
    client, upstream, head = await plane.asked(
        get(b"accept: */*\r\nX-Two: 1\r\nCookie: a=b\r\nX-Two:  2\r\nX-Empty:\r\n", b"/v1/a?b=c?d")
    )
    await upstream.send(OK)
    await answered(client)

    record = await plane.record()
    assert head == (
        b"GET /v1/a?b=c?d HTTP/1.1\r\nHost: api.example\r\naccept: */*\r\nX-Two: 1\r\n"
        b"Cookie: a=b\r\nX-Two: 2\r\nX-Empty: \r\nVia: 1.1 gateway\r\n"
        b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
        b"X-Forwarded-Host: api.example\r\n"
        b'Forwarded: for=127.0.0.1;host="api.example";proto=http\r\n'
        b"X-Request-Id: %b\r\n\r\n" % record.request_id.encode()
    )


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
        b"Connection: X-Drop, close\r\nX-Drop: 1\r\n",
        b"Connection: x-drop\r\nConnection: x-other\r\nX-Drop: 1\r\nX-Other: 2\r\n",
        b"TE: trailers, gzip;q=0.5\r\nConnection: TE\r\n",
        b"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n",
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMA\r\nConnection: Upgrade, HTTP2-Settings\r\n",
        b"X-Tenant-Id: evil\r\nX-Gateway-Workspace: evil\r\nX-Workspace-Id: evil\r\n",
        b"X_Tenant_Id: evil\r\nX_Gateway-Workspace: evil\r\nX-Gateway_Plan: evil\r\n",
        b"X_Forwarded_For: 1.2.3.4\r\nX-Forwarded_Host: evil\r\nX_API_Key: k\r\n",
        b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n",
        b"Forwarded: for=1.2.3.4;host=evil\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 1.2.3.4\r\n",
    ],
)
async def test_fields_of_one_connection_and_claims_stay_behind(
    plane: DataPlane, fields: bytes
) -> None:
    message = await sent(plane, get(fields))

    assert [name for name, _ in message.fields] == [
        b"Host", b"Via", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host",
        b"Forwarded", b"X-Request-Id",
    ]  # fmt: skip
    assert message.values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert message.values(b"x-forwarded-host") == [b"api.example"]


@pytest.mark.parametrize(
    "name",
    [b"Host", b"X-API-Key", b"Cookie", b"Via", b"X-Forwarded-For", b"X-Request-Id", b"Accept"],
)
async def test_a_caller_can_not_take_away_what_others_rely_on(
    plane: DataPlane, name: bytes
) -> None:
    fields = b"Cookie: a=b\r\nAccept: x\r\nConnection: close, " + name + b"\r\n"
    message = await sent(plane, get(fields))

    present = {field.lower() for field, _ in message.fields}
    assert present >= {b"host", b"cookie", b"x-request-id"} | OWN
    assert (b"accept" in present) is (name != b"Accept")


async def test_a_caller_can_not_take_away_the_framing(plane: DataPlane) -> None:
    request = (
        b"POST /v1/a HTTP/1.1\r\n" + AUTH + b"Content-Type: x\r\nContent-Length: 4\r\n"
        b"Connection: Content-Length, Content-Type, Transfer-Encoding\r\n\r\nbody"
    )

    message = await sent(plane, request)

    assert message.values(b"content-length") == [b"4"]
    assert message.values(b"content-type") == [b"x"]
    assert message.body == b"body"


async def test_via_and_the_request_id_of_a_client_are_kept(plane: DataPlane) -> None:
    message = await sent(plane, get(b"Via: 1.0 theirs\r\nX-Request-Id: abc-1\r\n"))

    assert message.values(b"via") == [b"1.0 theirs", b"1.1 gateway"]
    assert message.values(b"x-request-id") == [b"abc-1"]


async def test_other_credentials_pass_but_not_the_key(plane: DataPlane) -> None:
    basic = await sent(plane, get(b"Authorization: Basic eDp5\r\n"))
    assert basic.values(b"authorization") == [b"Basic eDp5"]


async def test_no_key_passes_beside_other_credentials(plane: DataPlane) -> None:
    both = b"Authorization: Basic eDp5\r\nAuthorization: bEARER %b\r\n" % KEY.encode()
    assert (await sent(plane, get(both))).values(b"authorization") == []


def behind(plane: DataPlane, *networks: str) -> None:
    """Let the data plane trust these networks."""
    snapshot = plane.ports.active.snapshot
    trusted = tuple(ip_network(network) for network in networks)
    plane.ports.swap(replace(snapshot, trusted_proxies=trusted))


async def test_trusted_proxies_tell_who_is_behind_them(plane: DataPlane) -> None:
    behind(plane, "127.0.0.0/8", "192.0.2.0/24")

    message = await sent(
        plane,
        get(b"X-Forwarded-For: 6.6.6.6, 198.51.100.7\r\nX-Forwarded-For: 192.0.2.1\r\n"
            b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"),
    )  # fmt: skip

    chain = b"6.6.6.6, 198.51.100.7, 192.0.2.1, 127.0.0.1"
    assert message.values(b"x-forwarded-for") == [chain]
    assert message.values(b"x-forwarded-proto") == [b"https"]
    assert message.values(b"forwarded") == [b'for=198.51.100.7;host="api.example";proto=https']


async def test_others_are_not_believed(plane: DataPlane) -> None:
    behind(plane, "192.0.2.0/24")

    message = await sent(plane, get(b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n"))

    assert message.values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert message.values(b"x-forwarded-proto") == [b"http"]


async def test_absolute_form_overrules_host(plane: DataPlane) -> None:
    message = await sent(plane, get(b"", b"http://other.example:81/v1/a?b"))

    assert message.start == (b"GET", b"/v1/a?b")
    assert message.values(b"host") == [b"other.example:81"]
    assert message.values(b"x-forwarded-host") == [b"other.example:81"]


async def test_what_is_matched_is_what_is_sent(plane: DataPlane) -> None:
    message = await sent(plane, get(b"", b"/%76%31/%61%C3%A9?%61"))

    assert message.start == (b"GET", b"/v1/a%C3%A9?%61")


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 4\r\n", b"body"),
        (b"Transfer-Encoding: Chunked\r\n", b"4\r\nbody\r\n0\r\n\r\n"),
    ],
)
async def test_even_get_keeps_its_body(plane: DataPlane, framing: bytes, body: bytes) -> None:
    message = await sent(plane, get(framing) + body)

    assert message.body == b"body"


async def test_identity_is_told_where_the_route_says_so(plane: DataPlane) -> None:
    request = (
        b"GET /named HTTP/1.1\r\nHost: a\r\nX-Gateway-Plan: X\r\nAuthorization: bearer  %b\r\n\r\n"
    )
    client, upstream, head = await plane.asked(request % KEY.encode())
    await upstream.send(OK)
    await answered(client)

    record = await plane.record()
    assert b"X-Gateway-Workspace: acme\r\nX-Gateway-Key-Id: key-1\r\n" in head
    assert b"X-Gateway-Plan: STARTER\r\n" in head
    assert b"X-Gateway-Event-Id: %b\r\n" % record.event_id.encode() in head
    assert head.count(b"X-Gateway-Plan") == 1
    assert b"Authorization" not in head


# Once, or again where that is safe


async def kept(plane: DataPlane) -> tuple[Wire, Wire]:
    """Return a client and an upstream connection that is kept after an answer."""
    client, upstream, _ = await plane.asked(GET)
    await upstream.send(OK)
    await answered(client)
    await plane.record()
    await plane.settled(idle=1)
    return client, upstream


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE"])
async def test_a_kept_connection_that_ends_is_replaced_once(
    plane: DataPlane, method: bytes
) -> None:
    client, upstream = await kept(plane)
    await client.send(GET.replace(b"GET", method))
    await upstream.head()
    upstream.close()
    again = await plane.upstream.accept()
    assert (await again.head()).startswith(method + b" /v1/a ")
    await again.send(OK)

    assert (await answered(client)).status == 200

    assert (await plane.record()).billable
    assert await plane.counted() == (2, 2)
    assert plane.ports.stats.worker.upstream_retries == 1
    await plane.settled(idle=1)


async def test_it_is_replaced_no_second_time(plane: DataPlane) -> None:
    client, upstream = await kept(plane)
    await client.send(GET)
    await upstream.head()
    upstream.reset()
    again = await plane.upstream.accept()
    await again.head()
    again.reset()

    assert (await answered(client)).status == 502

    assert not (await plane.record()).billable
    assert plane.upstream.is_quiet()
    assert await plane.counted() == (2, 1)


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /v1/a HTTP/1.1\r\n" + AUTH + b"Content-Length: 0\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\n" + AUTH + b"Content-Length: 4\r\n\r\nbody",
        b"PUT /v1/a HTTP/1.1\r\n" + AUTH + b"Content-Length: 4\r\n\r\nbody",
        b"GET /v1/a HTTP/1.1\r\n" + AUTH + b"Content-Length: 4\r\n\r\nbody",
    ],
)
async def test_what_may_not_be_repeated_is_not(plane: DataPlane, request_: bytes) -> None:
    client, upstream = await kept(plane)
    await client.send(request_)
    await upstream.head()
    await plane.turns(20)
    upstream.reset()

    assert (await answered(client, b"POST")).status == 502

    assert not (await plane.record()).billable
    assert plane.upstream.is_quiet()
    assert plane.ports.stats.worker.upstream_retries == 0


async def test_nothing_is_repeated_once_an_answer_has_begun(plane: DataPlane) -> None:
    client, upstream = await kept(plane)
    await client.send(GET)
    await upstream.head()
    await upstream.send(b"HTTP/1.1 ")
    await plane.turns(20)
    upstream.close()

    assert (await answered(client)).status == 502

    await plane.record()
    assert plane.upstream.is_quiet()


async def test_a_fresh_connection_that_ends_is_not_replaced(plane: DataPlane) -> None:
    client, upstream, _ = await plane.asked(GET)
    upstream.close()

    assert (await answered(client)).status == 502

    await plane.record()
    assert plane.upstream.is_quiet()


async def test_no_more_connections_than_allowed_and_all_are_served(plane: DataPlane) -> None:
    clients = [await plane.client(GET) for _ in range(9)]
    wires = [await plane.upstream.accept() for _ in range(4)]
    for wire in wires:
        await wire.head()
    await plane.turns(50)
    assert plane.upstream.is_quiet()
    assert len(plane.pool._waiting) == 5

    for number in range(9):
        wire = wires[number % 4]
        await wire.send(OK)
        if number < 5:
            await wire.head()

    for client in clients:
        assert (await answered(client)).status == 200
    await plane.records(9)
    await plane.settled(idle=4)


async def test_a_connection_tells_the_name_that_is_in_force(plane: DataPlane) -> None:
    client, upstream, head = await plane.asked(b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"\r\nVia: 1.1 gateway\r\n" in head
    await upstream.send(OK)
    await answered(client)
    plane.ports.swap(replace(plane.ports.active.snapshot, via=b"renamed"))
    await client.send(b"GET /open/a HTTP/1.1\r\nHost: a\r\n\r\n")

    assert b"\r\nVia: 1.1 renamed\r\n" in await upstream.head()

    await upstream.send(OK)
    await answered(client)
    await plane.records(2)


async def test_a_request_is_sent_on_under_the_name_of_its_own_configuration(
    plane: DataPlane,
) -> None:
    """A reload between a request's head and its body changes nothing of it."""
    client = await plane.client(b"POST /json HTTP/1.1\r\n" + AUTH + b"Content-Length: 7\r\n\r\n")
    await plane.until(lambda: plane.ports.exchanges)
    plane.ports.swap(replace(plane.ports.active.snapshot, via=b"renamed"))
    await client.send(b'{"n":4}')
    upstream = await plane.upstream.accept()

    assert b"\r\nVia: 1.1 gateway\r\n" in await upstream.head()

    await upstream.send(OK)
    await answered(client, b"POST")
    await plane.records(1)
