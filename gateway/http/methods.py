"""Which methods the gateway takes, and what it answers to the others.

Source: RFC 9110 9, 15.6.2; the methods that llhttp knows. tests/http/test_methods.py compares.
"""

from typing import Final

from gateway.errors import Refusal, RefusalCode

USUAL: Final = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
ROUTED: Final = frozenset(
    (
        b"GET HEAD POST PUT PATCH DELETE OPTIONS COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH "
        b"UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY "
        b"SUBSCRIBE UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK SOURCE QUERY"
    ).split()
)
"""What may come to a route."""
REFUSED: Final = frozenset({b"CONNECT", b"TRACE"})
"""Known and never taken: the gateway is no forward proxy, and echoes nobody's headers."""
_OF_OTHER_PROTOCOLS: Final = frozenset(
    (
        b"PRI DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT "
        b"RECORD FLUSH"
    ).split()
)
"""HTTP/2 and RTSP: the request is no HTTP/1.1."""


def method_refusal(method: bytes) -> Refusal | None:
    """Return what the gateway answers to a method whatever is asked with it; None if it takes it.

    The request path finds out by itself, as it parses; this is for those who ask beforehand.
    """
    if method in ROUTED:
        return None
    if method in REFUSED:
        return Refusal(RefusalCode.METHOD_NOT_ALLOWED, allow=b", ".join(USUAL))
    if method.isalpha() and method not in _OF_OTHER_PROTOCOLS:
        return Refusal(RefusalCode.NOT_IMPLEMENTED, detail="The method is not known.")
    return Refusal(RefusalCode.BAD_REQUEST, detail="The request is not valid HTTP.")
