"""An upstream's answer, as far as it has arrived; plain ones that come whole need no parser.

Source: RFC 9112 4, 6; docs/decisions/0016-plain-heads.md.
"""

from http import HTTPStatus
from typing import Final

from gateway.http.chunks import Trailers
from gateway.http.field_lines import Field, plain_field

HEAD_BYTES_MAX: Final = 256 * 1024
"""Largest head or trailer section taken from an upstream; larger ones are a failure (502)."""

_LINE_END: Final = b"\r\n"
_HEAD_END: Final = b"\r\n\r\n"
_STATUSES: Final = {
    b"HTTP/1.1 %d %b" % (status.value, status.phrase.encode()): status.value
    for status in HTTPStatus
    if status.value >= 200 and status.value not in {204, 304}
}
"""First lines of final answers that have a body, as they usually are."""
USUAL_MAX: Final = 32
"""So many first lines of answers are looked for in the same place the next time."""
_NO_FIELD: Final = Field(b"", b"", b"")
_OK: Final = 200
_OK_LINE: Final = b"HTTP/1.1 200 OK"


class Answer:
    """An answer; ``reason`` is empty where it is the usual one."""

    __slots__ = (
        "buffered_bytes", "chunks", "complete", "connection", "fields", "has_date", "has_length",
        "is_chunked", "leftover", "length", "no_body", "reason", "status", "trailers",
    )  # fmt: skip

    def __init__(self, status: int, reason: bytes, fields: list[Field]) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
        self.chunks: list[bytes] = []
        self.buffered_bytes = 0
        self.complete = False
        self.no_body = False
        self.length = 0
        self.has_length = False
        self.has_date = False
        self.is_chunked = False
        self.trailers: Trailers | None = None
        self.connection: list[bytes] | None = None
        self.leftover = b""


def whole_answer(data: bytes, usual: list[Field]) -> Answer | None:
    """Return the one answer that is all of ``data``, None unless it is plain, whole and final.

    Args:
        data: The first bytes that come behind a request, which was no ``HEAD``.
        usual: Fields of earlier answers of the same service, by their place; added to. Most come
            again, and to compare a line costs a fifth of what it costs to look it up.
    """
    head, mark, body = data.partition(_HEAD_END)
    if not mark or len(head) > HEAD_BYTES_MAX:
        return None
    lines = head.split(_LINE_END)
    status = _OK if lines[0] == _OK_LINE else _STATUSES.get(lines[0], 0)
    if not status:
        return None
    fields: list[Field] = []
    answer = Answer(status, b"", fields)
    for index in range(1, len(lines)):
        line = lines[index]
        field: Field | None = usual[index - 1] if index <= len(usual) else _NO_FIELD
        if field is None or line != field.usual:
            field = plain_field(line)
            if field is not None and field.usual and index <= USUAL_MAX:
                _keep(field, usual, index - 1)
        if field is None or (field.frames and not _frames_plainly(answer, field)):
            return None
        if field.key == b"date":
            answer.has_date = True
        fields.append(field)
    if not answer.has_length or answer.length != len(body):
        return None
    if body:
        answer.chunks.append(body)
        answer.buffered_bytes = len(body)
    answer.complete = True
    return answer


def _keep(field: Field, usual: list[Field], place: int) -> None:
    while len(usual) <= place:
        usual.append(_NO_FIELD)
    usual[place] = field


def _frames_plainly(answer: Answer, field: Field) -> bool:
    """Note a length; return whether a field leaves no doubt about the answer's end."""
    if field.length < 0 or answer.has_length:
        return field.keeps_alive
    answer.has_length = True
    answer.length = field.length
    return True
