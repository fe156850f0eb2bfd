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
