"""All files that a worker reads again while it runs: configuration, keys, certificates.

Each is judged by its content. What is refused is named until what is on disk is in force again.
Source: docs/operations.md, Change the configuration.
"""

import asyncio

from gateway.keys.port import KeyDirectory
from gateway.process.reload import Reloader
from gateway.process.tls import ListenerCertificate


class FilesOnDisk:
    """What an operator may ask of all of them at once."""

    def __init__(
        self,
        reloader: Reloader,
        directory: KeyDirectory,
        certificate: ListenerCertificate | None,
    ) -> None:
        self._reloader = reloader
        self._directory = directory
        self._certificate = certificate

    def notices(self) -> list[str]:
        """Return what an operator must look at though the worker serves, as stable words."""
        found = []
        if self._reloader.is_refused:
            found.append("configuration on disk refused")
        if self._directory.is_refused():
            found.append("keys on disk refused")
        if self._certificate is not None and self._certificate.is_refused:
            found.append("certificate on disk refused")
        return found

    async def read_again(self) -> None:
        """Read all files, whatever their times say; keys first, so that new prices find them."""
        if self._certificate is not None:
            await asyncio.to_thread(self._certificate.renew)
        await self._directory.read_again()
        await self._reloader.reload()
