"""The listener's TLS out of its files: the same for whoever checks them and whoever serves.

Imports no pydantic: the serving process makes its contexts here.
Source: design section 10; RFC 8996 (TLS 1.2 and newer only).
"""

import ssl
from pathlib import Path

from gateway.config.loaded import ListenerTls

_MISMATCH = "KEY_VALUES_MISMATCH"


class UnusableTlsFile(Exception):  # noqa: N818 - it is the file that is at fault
    """A file can't be used; the text says which and why.

    Args:
        option: Which setting names it.
        path: The file.
        reason: In a few words.
    """

    def __init__(self, option: str, path: Path, reason: str) -> None:
        super().__init__(f"{path} can't be used for TLS: {reason}")
        self.option = option


def listener_context(files: ListenerTls) -> ssl.SSLContext:
    """Return a context with a listener's certificate, key and authorities.

    Raises:
        UnusableTlsFile: one can't be read, or they don't fit together.
    """
    named = {"tls_certificate": files.certificate, "tls_key": files.key}
    if files.client_ca is not None:
        named["tls_client_ca"] = files.client_ca
    for option, path in named.items():
        _read(option, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A password is refused instead of asked for: nobody sits at this terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (OSError, ssl.SSLError) as error:
        option, path = "tls_certificate", files.certificate
        if _holds_certificates(path):
            option, path = "tls_key", files.key
        raise UnusableTlsFile(option, path, _reason(error)) from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise UnusableTlsFile("tls_client_ca", files.client_ca, _reason(error)) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _read(option: str, path: Path) -> None:
    """Look whether a file can be read; OpenSSL does not say which of two can't."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise UnusableTlsFile(option, path, error.strerror or str(error)) from error


def _holds_certificates(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (OSError, ssl.SSLError):
        return False
    return True


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    if reason == _MISMATCH:
        return "it is not the key of tls_certificate"
    if isinstance(error, ssl.SSLError):
        return reason or "not PEM"
    return error.strerror or str(error)
