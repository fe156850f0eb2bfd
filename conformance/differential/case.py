"""One case of the corpus, and how requests are written down in it."""

from dataclasses import dataclass

HOST = b"Host: a.test"


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes that a client sends on one connection.

    Attributes:
        name: Unique; what is peculiar about it.
        raw: The bytes.
        answers: Final answers that a server could give to it.
        heads: Which of them answer HEAD, so that they have no body.
    """

    name: str
    raw: bytes
    answers: int = 1
    heads: tuple[int, ...] = ()


def request(line: bytes, *fields: bytes, body: bytes = b"", host: bytes = HOST) -> bytes:
    """Return a request; ``line`` without a version means HTTP/1.1."""
    if b" HTTP/" not in line:
        line += b" HTTP/1.1"
    lines = [line, *([host] if host else []), *fields]
    return b"".join(each + b"\r\n" for each in lines) + b"\r\n" + body


def get(*fields: bytes, host: bytes = HOST) -> bytes:
    """Return a GET with these fields."""
    return request(b"GET /", *fields, host=host)


def post(*fields: bytes, body: bytes = b"", host: bytes = HOST) -> bytes:
    """Return a POST with these fields, whose framing is among them."""
    return request(b"POST /", *fields, body=body, host=host)


def chunked(body: bytes) -> bytes:
    """Return a POST with a chunked body, spelt as given."""
    return post(b"Transfer-Encoding: chunked", body=body)
