"""What is said of a method beforehand is what the request path does with it."""

from collections.abc import Sequence

import httptools
import pytest

from gateway.errors import RefusalCode
from gateway.http.methods import REFUSED, ROUTED, USUAL, method_refusal
from gateway.proxy import head

HEAD = b" /x HTTP/1.1\r\nHost: a\r\n\r\n"
OF_OTHER_PROTOCOLS: Sequence[bytes] = (b"PRI", b"DESCRIBE", b"GET_PARAMETER", b"FLUSH")


class Nothing:
    """What a parser is told goes nowhere."""


def llhttp_says(method: bytes) -> str:
    """Return the name of what the parser raises at a request with a method; empty if nothing."""
    try:
        httptools.HttpRequestParser(Nothing()).feed_data(method + HEAD)
    except httptools.HttpParserUpgrade:
        return ""
    except httptools.HttpParserError as error:
        return type(error).__name__
    return ""


@pytest.mark.parametrize("method", sorted(ROUTED | REFUSED))
def test_known_methods_are_known_to_the_parser(method: bytes) -> None:
    assert llhttp_says(method) == ""


@pytest.mark.parametrize("method", [b"FOO", b"GETS", b"BREW", b"VERSION"])
def test_unknown_methods_are_not_implemented(method: bytes) -> None:
    refusal = method_refusal(method)

    assert llhttp_says(method) == "HttpParserInvalidMethodError"
    assert refusal is not None
    assert refusal.code is RefusalCode.NOT_IMPLEMENTED


@pytest.mark.parametrize("method", [*OF_OTHER_PROTOCOLS, b"BASELINE-CONTROL", b"F0O"])
def test_what_is_no_http_is_a_bad_request(method: bytes) -> None:
    refusal = method_refusal(method)

    assert llhttp_says(method) != ""
    assert refusal is not None
    assert refusal.code is RefusalCode.BAD_REQUEST


def test_the_request_path_refuses_the_same() -> None:
    assert head.REFUSED is REFUSED
    assert head.USUAL is USUAL
    for method in REFUSED:
        refusal = method_refusal(method)
        assert refusal is not None
        assert refusal.code is RefusalCode.METHOD_NOT_ALLOWED
    assert method_refusal(b"GET") is None
