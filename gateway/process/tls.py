"""TLS of the listener: contexts from files, and new certificates without a restart.

Established connections keep what they were made with; handshakes take what is in force. A pair that
does not fit together is never put in force, so a renewal that is half written does no harm.
Source: design section 10; RFC 8996 (TLS 1.2 and newer only).
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from gateway.config.listener_tls import UnusableTlsFile, listener_context
from gateway.config.loaded import ListenerTls
from gateway.errors import GatewayError

LOOK_SECONDS: Final = 5.0
"""Between two looks at the files: certificates are renewed days before they end."""
_OTHERS: Final = 0o077

_log = structlog.get_logger("tls")

Signature = tuple[tuple[int, int, int], ...]


class ListenerCertificate:
    """The listener's context, kept up to date with its files.

    A handshake begins with ``context`` and goes on with one of its own for each renewal: a context
    that is given another pair keeps the old one for clients that ask for the old kind of key.

    Raises:
        GatewayError: ``tls.unusable``; the files can't be read or don't fit together.
    """

    def __init__(self, files: ListenerTls) -> None:
        self._files = files
        self._refused = ""
        self._signature = self._look()
        self.context = self._newest = self._made()
        self.context.sni_callback = self._choose
        if files.key.stat().st_mode & _OTHERS:
            _log.warning("tls.key_readable", file=str(files.key), hint="chmod 600")

    async def watch(self, wait: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Look at the files now and then, until cancelled."""
        while True:
            await wait(LOOK_SECONDS)
            await asyncio.to_thread(self.renew)

    def renew(self) -> bool:
        """Put changed files in force; return whether it did. Blocking."""
        try:
            signature = self._look()
            if signature == self._signature:
                return False
            self._newest = self._made()
        except GatewayError as error:
            if error.message != self._refused:  # it is looked at every few seconds
                _log.error("tls.certificate_refused", reason=error.message)
            self._refused = error.message
            return False
        self._refused = ""
        self._signature = signature
        _log.info("tls.certificate_renewed", file=str(self._files.certificate))
        return True

    def _choose(
        self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Go on with the newest files; OpenSSL calls this with and without a server name."""
        handshake.context = self._newest

    def _look(self) -> Signature:
        """Return what tells a changed file; symbolic links are followed (Kubernetes swaps them)."""
        files = self._files
        try:
            found = [
                path.stat()
                for path in (files.certificate, files.key, files.client_ca)
                if path is not None
            ]
        except OSError as error:
            raise _unusable(f"{error.filename} can't be used for TLS: {error.strerror}") from error
        return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found)

    def _made(self) -> ssl.SSLContext:
        try:
            return listener_context(self._files)
        except UnusableTlsFile as error:
            raise _unusable(str(error)) from error


def _unusable(reason: str) -> GatewayError:
    return GatewayError(
        "tls.unusable",
        reason,
        "tls_certificate is a PEM file with the whole chain, tls_key its key without a password",
    )
