"""What the head of a request says, once it was read: filled in by its connection and by `head`.

Source: RFC 9110 6; RFC 9112 3, 6.
"""

from typing import Final

from gateway.errors import Refusal
from gateway.http.field_lines import Field
from gateway.http.forwarding import ClientOrigin
from gateway.proxy.upstream import AnswerSink

_NOTHING: Final[frozenset[bytes]] = frozenset()


class RequestHead(AnswerSink):
    """A request as far as its head tells of it; defaults stand on the class.

    Attributes:
        host: In its canonical form, perhaps with a port.
        keep_alive: Whether the connection goes on after the answer, as far as is known.
        expects_continue: Whether the client waits to be asked for the body.
        is_malformed: Whether it is no request, only what a refusal of bytes needs.
        lingers: Whether what follows is taken and dropped before the connection is closed.
        spelling: Which ambiguities its path was spelled with.
        forwards_left: Of ``Max-Forwards``, where it means something; otherwise -1.
        refusal: Why it is refused before anything else is looked at.
        whole_head: Its bytes, if they came alone and might come again.
    """

    origin: ClientOrigin
    fields: list[Field]
    special: dict[bytes, list[bytes]]
    special_names = _NOTHING
    method = b""
    path = b"/"
    query = b""
    has_query = False
    host = b""
    http_minor = 1
    keep_alive = True
    has_body = False
    is_chunked = False
    content_length = 0
    expects_continue = False
    wants_upgrade = False
    is_malformed = False
    lingers = False
    spelling = 0
    forwards_left = -1
    refusal: Refusal | None = None
    started_ns = 0
    whole_head = b""
    event_id = ""
    request_id = ""
    id_line = b""
