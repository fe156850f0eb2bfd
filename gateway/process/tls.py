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
from gateway.config.sources import digest, read_bounded
from gateway.errors import GatewayError
from gateway.telemetry.metrics import WorkerStats

LOOK_SECONDS: Final = 5.0
"""Between two looks at the files: certificates are renewed days before they end."""
_OTHERS: Final = 0o077

_log = structlog.get_logger("tls")


class ListenerCertificate:
    """The listener's context, kept up to date with its files.

    A handshake begins with ``context`` and goes on with one of its own for each renewal: a context
    that is given another pair keeps the old one for clients that ask for the old kind of key.

    Args:
        files: Certificate, key, and the authorities of clients.
        stats: Counted up.

    Raises:
        GatewayError: ``tls.unusable``; the files can't be read or don't fit together.
    """

    def __init__(self, files: ListenerTls, stats: WorkerStats | None = None) -> None:
        self._files = files
        self._stats = stats or WorkerStats()
        self._in_force = self._digest()
        self._refused = ""
        """Why what is on disk is not in force."""
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
        """Put changed files in force; return whether it did. Blocking.

        Each look reads them: they are small, and inode, time and size may be the same.
        """
        file = str(self._files.certificate)
        try:
            found = self._digest()
            if found == self._in_force:
                if self._refused:
                    self._accept()
                    _log.info("tls.certificate_restored", file=file)
                return False
            made = self._made()  # of what is there now: if that is another, the next look sees it
        except GatewayError as error:
            self._refuse(error.message)
            return False
        self._newest, self._in_force = made, found
        self._accept()
        _log.info("tls.certificate_renewed", file=file)
        return True

    @property
    def is_refused(self) -> bool:
        """Whether what is on disk can't be used, and the pair before it is in force."""
        return bool(self._refused)

    def _accept(self) -> None:
        self._refused = ""
        self._stats.certificate_refused = 0

    def _refuse(self, reason: str) -> None:
        """Name what is wrong once: it is tried again at each look."""
        if reason != self._refused:
            self._refused = reason
            self._stats.certificate_refused = 1
            _log.error("tls.certificate_refused", reason=reason)

    def _choose(
        self, handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Go on with the newest files; OpenSSL calls this with and without a server name."""
        handshake.context = self._newest

    def _digest(self) -> str:
        """Return a digest of all files; symbolic links are followed (Kubernetes swaps them)."""
        files = self._files
        named = (files.certificate, files.key, files.client_ca)
        found = {}
        for path in named:
            if path is not None:
                try:
                    found[str(path)] = read_bounded(path)
                except GatewayError as error:
                    reason = error.message.removeprefix(f"{path} ")
                    raise _unusable(f"{path} can't be used for TLS: it {reason}") from error
        return digest(found)

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
