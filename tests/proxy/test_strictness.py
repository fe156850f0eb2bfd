"""What an operator may choose about odd requests, and what the gateway answers by itself."""

from pathlib import Path

import pytest

from gateway.config.snapshot import Snapshot
from tests.support.data_plane import DATE, KEY, DataPlane, answered, judged, snapshot_in
from tests.support.http_judge import Message, requests_in

OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"


def change(plane: DataPlane, folder: Path, old: str, new: str) -> Snapshot:
    """Reload with another line in the route file."""
    port = plane.ports.active.snapshot.upstreams[0].endpoints[0].port
    other = folder / "other"
    other.mkdir()

    def changed(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    snapshot = snapshot_in(other, port, changed)
    plane.ports.swap(snapshot)
    return snapshot


async def sent(plane: DataPlane, request: bytes) -> Message:
    """Return what the upstream gets of a request; it is answered and recorded."""
    client, upstream, _ = await plane.asked(request)
    await upstream.send(OK)
    method = request.partition(b" ")[0]
    assert (await answered(client, method)).status == 200
    await plane.record()
    (message,) = requests_in(upstream.received)
    return message


# Paths


@pytest.mark.parametrize(
    ("path", "matched"),
    [
        (b"/open/a/../b", b"/open/b"),
        (b"/open/./%2e/b", b"/open/b"),
        (b"/v1/../open/b", b"/open/b"),
        (b"/open//b", b"/open/b"),
        (b"//open/b", b"/open/b"),
    ],
)
async def test_a_route_may_take_what_others_refuse(
    plane: DataPlane, tmp_path: Path, path: bytes, matched: bytes
) -> None:
    own = "paths: {ambiguous: normalise, merge_slashes: true}, auth: none}"
    change(
        plane,
        tmp_path,
        '"/open/**"},\n     upstream: app, auth: none}',
        f'"/open/**"}}, upstream: app, {own}',
    )

    message = await sent(plane, b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)

    assert message.start == (b"GET", matched)


@pytest.mark.parametrize(
    "path", [b"/v1/a/../b", b"/open/../v1/b", b"/v1//b", b"/nowhere/../x", b"/open/%2e%2e/v1/b"]
)
async def test_the_route_that_is_meant_decides_not_the_one_that_was_spelled(
    plane: DataPlane, tmp_path: Path, path: bytes
) -> None:
    own = "paths: {ambiguous: normalise, merge_slashes: true}, auth: none}"
    change(
        plane,
        tmp_path,
        '"/open/**"},\n     upstream: app, auth: none}',
        f'"/open/**"}}, upstream: app, {own}',
    )

    client = await plane.client(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)

    assert (await answered(client)).status == 400
    assert plane.upstream.is_quiet()
    await plane.record()


async def test_a_route_may_refuse_what_the_file_takes(plane: DataPlane, tmp_path: Path) -> None:
    change(
        plane, tmp_path, '"/open/**"},\n     upstream: app, auth: none}\n',
        '"/open/**"}, upstream: app,\n     auth: none, paths: {ambiguous: refuse}}\n'
        "  - {name: rest, match: {methods: [GET], path: '/**'}, upstream: app, auth: none,\n"
        "     paths: {ambiguous: normalise}}\n",
    )  # fmt: skip
    client = await plane.client(b"GET /a/../open/b HTTP/1.1\r\nHost: a\r\n\r\n")

    assert (await answered(client)).status == 400
    await plane.record()
    assert (await sent(plane, b"GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n")).start[1] == b"/b"


# Underscores

UNDERSCORED = (
    b"GET /open/a HTTP/1.1\r\nHost: a\r\nX_Api_Key: b\r\nContent_Length: 9\r\nA: b\r\n_: c\r\n\r\n"
)


async def test_fields_with_underscores_are_dropped(plane: DataPlane) -> None:
    message = await sent(plane, UNDERSCORED)

    assert not any(b"_" in name for name, _ in message.fields)
    assert message.values(b"a") == [b"b"]


async def test_fields_with_underscores_may_be_forwarded(plane: DataPlane, tmp_path: Path) -> None:
    change(plane, tmp_path, "header_count: 32", "header_count: 32, underscores: forward")
    head = UNDERSCORED.replace(
        b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\nX_Tenant-Id: d\r\n\r\n"
    )

    message = await sent(plane, head + b"0\r\nX_Sum: 1\r\n\r\n")

    assert message.values(b"content_length") == [b"9"]
    assert message.values(b"_") == [b"c"]
    assert message.values(b"x_tenant-id") == []
    assert message.trailers == [(b"X_Sum", b"1")]


async def test_trailers_with_underscores_are_dropped(plane: DataPlane) -> None:
    head = b"POST /open/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    message = await sent(plane, head + b"0\r\nX_Sum: 1\r\nSum: 2\r\n\r\n")

    assert message.trailers == [(b"Sum", b"2")]


async def test_fields_with_underscores_may_be_refused(plane: DataPlane, tmp_path: Path) -> None:
    change(plane, tmp_path, "header_count: 32", "header_count: 32, underscores: refuse")
    client = await plane.client(UNDERSCORED)

    assert (await answered(client)).status == 400
    assert plane.upstream.is_quiet()


# Hosts


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        (b"a!b", b"a!b"),
        (b"0.0.0.0=5000", b"0.0.0.0=5000"),
        (b"[v1.a]", b"[v1.a]"),
        (b"[VA.B:C]:080", b"[va.b:c]:80"),
        (b"A$&'()*+;=B:", b"a$&'()*+;=b"),
        (b"%41%2e%c3%a9", b"a.%C3%A9"),
        (b"[0:0::1]:8080", b"[::1]:8080"),
    ],
)
async def test_hosts_are_matched_and_forwarded_in_one_form(
    plane: DataPlane, tmp_path: Path, given: bytes, canonical: bytes, *, whole: bool
) -> None:
    """RFC 3986 3.2.2, in ``Host`` and in absolute targets alike, by both readers of heads."""
    name = canonical.removesuffix(b":80").removesuffix(b":8080").decode()
    port = plane.ports.active.snapshot.upstreams[0].endpoints[0].port
    other = tmp_path / "other"
    other.mkdir()

    def changed(text: str) -> str:
        text = text.replace("    connections_max: 4", "    preserve_host: true")
        match = f'{{methods: [GET], path: "/open/**", hosts: ["{name}"]}}'
        own = f"{{name: own, match: {match}, upstream: app, auth: none, strip_prefix: /open}}"
        return f"{text}  - {own}\n"

    plane.ports.swap(snapshot_in(other, port, changed))
    for target, host in ((b"/open/b", given), (b"http://%b/open/b" % given, b"else")):
        request = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, host)
        client = await plane.client(request if whole else request[:7])
        if not whole:
            await plane.turns()
            await client.send(request[7:])
        upstream = await plane.upstream.accept()
        await upstream.head()
        await upstream.send(OK.replace(b"\r\nContent", b"\r\nConnection: close\r\nContent"))
        assert (await answered(client)).status == 200
        (message,) = requests_in(upstream.received)
        assert message.start == (b"GET", b"/b")
        assert message.values(b"host") == message.values(b"x-forwarded-host") == [canonical]
        assert b';host="%b";' % canonical in message.values(b"forwarded")[0]
        await plane.record()


@pytest.mark.parametrize(
    "host", [b"a,b", b"u@a", b"[fe80::1%25e]", b"[v.a]", b"a%2", b"a:x", b"[:::]", b":80"]
)
async def test_what_is_no_host_is_refused_in_both_places(plane: DataPlane, host: bytes) -> None:
    for target, field in ((b"/open/b", host), (b"http://%b/open/b" % host, b"a")):
        client = await plane.client(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, field))

        assert (await answered(client)).status == 400
    assert plane.upstream.is_quiet()


# Codings


@pytest.mark.parametrize("piece", [1000, 1])
@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"deflate, chunked",), 501),
        ((b"deflate", b"chunked"), 501),
        ((b"deflate", b"gzip", b"CHUNKED"), 501),
        ((b"deflate,\tgzip ", b" Chunked "), 501),
        ((b"chunked", b"chunked"), 400),
        ((b"chunked, chunked",), 400),
        ((b"chunked", b"deflate"), 400),
        ((b"chunked, deflate",), 400),
        ((b"gzip", b"chunked, chunked"), 400),
        ((b"gzip",), 400),
        ((b"gzip", b"deflate"), 400),
        ((b"identity",), 400),
        ((b"chunked;q=1",), 400),
        ((b"gzip, , chunked",), 400),
        ((b"gzip", b"", b"chunked"), 400),
        ((b"gzip,", b"chunked"), 400),
        ((b"chunked", b""), 400),
        ((b", chunked",), 400),
    ],
)
async def test_a_list_of_codings_has_one_status_in_however_many_lines(
    plane: DataPlane, lines: tuple[bytes, ...], status: int, piece: int
) -> None:
    fields = b"".join(b"Transfer-Encoding: %b\r\n" % line for line in lines)
    request = b"POST /open/b HTTP/1.1\r\nHost: a\r\n%b\r\n" % fields
    client = await plane.client()
    for at in range(0, len(request), piece):
        await client.send(request[at : at + piece])

    assert (await answered(client, b"POST")).status == status
    assert await client.rest() == b""
    assert client.ended == "fin"
    assert plane.upstream.is_quiet()


# Trailers


@pytest.mark.parametrize("announced", [b"Trailer: X-Sum, Range, Key\r\n", b""])
async def test_trailers_pass_by_one_table_both_ways(
    plane: DataPlane, tmp_path: Path, announced: bytes
) -> None:
    """RFC 9110 6.5.1; a key is no trailer even where its field is forwarded."""
    change(
        plane, tmp_path, 'path: "/v1/**"}, upstream: app}',
        'path: "/v1/**"}, upstream: app, auth: {key: ["header:Key"], forward_key: true}}',
    )  # fmt: skip
    mixed = (
        b"0\r\nX-Sum: 1\r\nRange: bytes=0-1\r\nIf-Match: x\r\nVia: 1.1 me\r\nTrailer: a\r\n"
        b"Key: k\r\nNamed: n\r\nDate: d\r\nX-Gateway-Plan: p\r\nETag: e\r\n\r\n"
    )
    client, upstream, _ = await plane.asked(
        b"POST /v1/b HTTP/1.1\r\nHost: a\r\nKey: %b\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: named\r\n%b\r\n2\r\nhi\r\n" % (KEY.encode(), announced) + mixed
    )
    await upstream.until(b"\r\n0\r\n")
    await upstream.until(b"\r\n\r\n")
    await upstream.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: named\r\n"
        + announced + b"\r\n2\r\nhi\r\n" + mixed
    )  # fmt: skip

    answer = await answered(client, b"POST")

    (message,) = requests_in(upstream.received)
    assert message.values(b"key") == [KEY.encode()]
    assert message.trailers == [(b"X-Sum", b"1"), (b"ETag", b"e")]
    assert answer.trailers == [(b"X-Sum", b"1"), (b"Key", b"k"), (b"ETag", b"e")]
    await plane.record()


# OPTIONS


async def test_what_is_asked_of_the_whole_server_is_answered_by_the_gateway(
    plane: DataPlane,
) -> None:
    client = await plane.client(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")

    answer = await answered(client, b"OPTIONS")

    assert answer.status == 200
    assert b"GET" in answer.values(b"allow")[0]
    assert answer.values(b"content-length") == [b"0"]
    assert plane.upstream.is_quiet()
    record = await plane.record()
    assert (record.route, record.billable, record.status) == (None, False, 200)
    await client.send(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await answered(client)).status == 404
    await plane.record()


@pytest.mark.parametrize("target", [b"/open/a", b"/v1/a"])
async def test_the_last_hop_is_answered_by_the_gateway(plane: DataPlane, target: bytes) -> None:
    client = await plane.client(
        b"OPTIONS %b HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n" % target
    )

    answer = await answered(client, b"OPTIONS")

    assert answer.status == 200
    assert b"GET, HEAD" in answer.values(b"allow")[0]
    assert plane.upstream.is_quiet()
    await plane.record()


@pytest.mark.parametrize(("given", "forwarded"), [(b"1", b"0"), (b"10", b"9"), (b"many", b"many")])
async def test_hops_are_counted_down(plane: DataPlane, given: bytes, forwarded: bytes) -> None:
    message = await sent(
        plane, b"OPTIONS /open/a HTTP/1.1\r\nHost: a\r\nMax-Forwards: %b\r\n\r\n" % given
    )

    assert message.values(b"max-forwards") == [forwarded]


async def test_hops_mean_nothing_elsewhere(plane: DataPlane) -> None:
    message = await sent(plane, b"GET /open/a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")

    assert message.values(b"max-forwards") == [b"0"]


async def test_other_asterisks_stay_refused_and_bodies_are_dropped(plane: DataPlane) -> None:
    client = await plane.client(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\n" % KEY.encode()
        + b"Content-Length: 4\r\n\r\nbody"
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nGET * HTTP/1.1\r\nHost: a\r\n\r\n")  # fmt: skip

    await client.until(b"HTTP/1.1 400 ")
    answers = judged(client, b"OPTIONS", b"OPTIONS", b"GET")
    assert [answer.status for answer in answers] == [200, 200, 400]
    await plane.records(3)
