"""Every row of docs/semantics.md about requests that ask little, plain and over TLS."""

import shutil
from dataclasses import dataclass

import pytest

from tests.support.both_ends import (
    CLOSE,
    COMPLETED,
    LENGTH_4,
    OK,
    Billed,
    Place,
    books,
    until,
)

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@dataclass(frozen=True)
class Asking:
    """One row of a client that stays and asks little."""

    name: str
    start: str
    books: Billed
    fields: str = ""
    body: bytes = b""
    answer: bytes = OK
    is_asked: bool = True
    has_key: bool = True


ASKING = [
    Asking("HEAD", "HEAD /a HTTP/1.1", COMPLETED, answer=OK[:-2]),
    Asking("OPTIONS, proxied", "OPTIONS /a HTTP/1.1", COMPLETED),
    Asking(
        "OPTIONS, own", "OPTIONS /a HTTP/1.1", (200, "completed", False, "open_route"),
        "Max-Forwards: 0\r\n", is_asked=False,
    ),
    Asking(
        "a part", "GET /a HTTP/1.1", (206, "completed", True, "success"), "Range: bytes=0-1\r\n",
        answer=OK.replace(b"200 OK", b"206 Partial Content\r\nContent-Range: bytes 0-1/9"),
    ),
    Asking(
        "not modified", "GET /a HTTP/1.1", (304, "completed", False, "no_rule"),
        'If-None-Match: "x"\r\n', answer=b"HTTP/1.1 304 Not Modified\r\n" + CLOSE,
    ),
    Asking(
        "nothing in it", "DELETE /a HTTP/1.1", (204, "completed", True, "success"),
        answer=b"HTTP/1.1 204 No Content\r\n" + CLOSE,
    ),
    Asking(
        "hints", "GET /a HTTP/1.1", COMPLETED, answer=b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK
    ),
    Asking(
        "trailers", "POST /a HTTP/1.1", COMPLETED, "Transfer-Encoding: chunked\r\n",
        b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + CLOSE
        + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    ),
    Asking("HTTP/1.0", "GET /a HTTP/1.0", COMPLETED),
    Asking(
        "a 100 that is not needed", "POST /a HTTP/1.1", COMPLETED,
        f"{LENGTH_4}Expect: 100-continue\r\n", b"body",
    ),
    Asking(
        "no key", "GET /a HTTP/1.1", (401, "refused", False, "refused"), is_asked=False,
        has_key=False,
    ),
]  # fmt: skip


@pytest.mark.parametrize("row", ASKING, ids=lambda row: row.name)
def test_who_asks_little_is_billed_by_the_status(both: Place, row: Asking) -> None:
    request_id, head = both.head(row.start, row.fields, has_key=row.has_key)
    with both.connect() as client:
        client.sendall(head + row.body)
        if row.is_asked:
            with both.upstream() as upstream:
                until(upstream, row.body[-4:] or b"\r\n\r\n")
                upstream.sendall(row.answer)
        until(client, b"\r\n\r\n")
        assert books(both.record(request_id)) == row.books
