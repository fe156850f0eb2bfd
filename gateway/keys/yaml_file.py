"""A key directory in a file, read again when it changes: GitOps, sidecars, no database (B3).

The file's form is in ``gateway.keys.document``. A new file is taken whole or not at all; whoever
replaces it renames a whole one onto it, for a file that is written in place can be read half.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from gateway.errors import ConfigError, Fault, GatewayError
from gateway.keys.document import Keys, parse_document
from gateway.keys.format import is_same_hash
from gateway.keys.port import KeyDirectory, KeyEntry
from gateway.tasks import spawn
from gateway.telemetry.metrics import DirectoryStats

POLL_SECONDS: Final = 0.4
"""A change is taken by the second look that finds it: in force within a second. One ``stat`` each
time; polling also sees the symlink swaps of a Kubernetes ConfigMap and network file systems, which
notify nobody."""

_log = structlog.get_logger("keys")

Signature = tuple[int, int, int, int]


class YamlKeyDirectory(KeyDirectory):
    """Implements ``KeyDirectory`` on a YAML file.

    Measured with Python 3.11: 100,000 keys (13.5 MB) load in 1.3 s, in a thread, and take 30 MB.

    Args:
        path: The file, or a symbolic link to it.
        stats: Counted up.
        wait: Sleeps between two looks at the file.
        plans: Gives the plans that there are now; None takes any. Called in a thread.
    """

    def __init__(
        self,
        path: Path,
        *,
        stats: DirectoryStats,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        plans: Callable[[], frozenset[str] | None] = lambda: None,
    ) -> None:
        self._path = path
        self._stats = stats
        self._wait = wait
        self._plans = plans
        self._refused_by: frozenset[str] | None = None
        """The plans by which what was read last is wrong; None if nothing is, or not by these."""
        self._keys: Keys = {}
        self._signature: Signature | None = None
        self._found = b""
        """Digest of what the last look read."""
        self._digest = b""
        """Of what is in force, or was refused."""
        self._unconfirmed = False
        self._refused = ""
        """What the last look found wrong."""
        self._watching: asyncio.Task[None] | None = None

    def known(self, key_hash: bytes) -> KeyEntry | None:
        """Return the entry of a key; None for ``find`` to say that there is none."""
        entry = self._keys.get(key_hash)
        if entry is None or not is_same_hash(entry.key_hash, key_hash):
            return None
        self._stats.hits += 1
        return entry

    def is_unknown(self, key_hash: bytes) -> bool:
        """Return whether there is no such key."""
        return key_hash not in self._keys

    async def find(self, key_hash: bytes, address: str = "") -> KeyEntry | None:  # noqa: ARG002 - all is here
        """Return the entry of a key, or None; never waits."""
        entry = self.known(key_hash)
        if entry is None:
            self._stats.unknown += 1
        return entry

    async def start(self) -> None:
        """Load the file and begin to watch it.

        Raises:
            ConfigError: the file is missing or wrong.
        """
        await asyncio.to_thread(lambda: self._take(self._read()))
        self._watching = spawn(self._watch(), name="keys.watch_file")

    async def close(self) -> None:
        """Stop watching."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
            self._watching = None

    async def reload_if_changed(self) -> bool:
        """Read the file again if it is another one; a wrong one is reported and changes nothing."""
        try:
            changed = await asyncio.to_thread(self._load_if_changed)
        except Exception as error:  # noqa: BLE001 - whatever it is: unwatched, keys stay valid
            self._refuse(error.message if isinstance(error, GatewayError) else repr(error))
            return False
        self._refused = ""
        if changed:
            self._stats.invalidations += 1
            _log.info("keys.file_loaded", file=str(self._path), keys=len(self._keys))
        return changed

    async def _watch(self) -> None:
        while True:
            await self._wait(POLL_SECONDS)
            await self.reload_if_changed()

    def _refuse(self, faults: str) -> None:
        """Tell what is wrong, once: a file that can't be read is tried again at each look."""
        if faults == self._refused:
            return
        self._refused = faults
        self._stats.errors += 1
        _log.error("keys.file_refused", file=str(self._path), faults=faults)

    def _load_if_changed(self) -> bool:
        """Take what two looks found alike: somebody may be writing the file in place just now."""
        refused_by = self._refused_by
        if refused_by is not None and self._plans() != refused_by:  # its plans may be there now
            self._digest, self._unconfirmed = b"", True
        try:
            if self._stat() == self._signature and not self._unconfirmed:
                return False
        except OSError as error:
            raise _unreadable(self._path, error) from error
        before = self._found
        content = self._read()
        return self._found == before and self._take(content)

    def _read(self) -> bytes:
        """Return the file's content; a look by which all later ones are compared."""
        try:
            # The signature is taken first: a write during the reading is seen by the next look.
            signature = self._stat()
            content = self._path.read_bytes()
        except OSError as error:
            raise _unreadable(self._path, error) from error
        found = hashlib.sha256(content).digest()
        # A second write within one tick of the file system's clock would have the same signature:
        # after each change the content is compared once more.
        self._unconfirmed = (signature, found) != (self._signature, self._found)
        self._signature, self._found = signature, found
        return content

    def _take(self, content: bytes) -> bool:
        """Put keys in force; False if they are."""
        if self._found == self._digest:
            return False
        self._digest = self._found
        plans = self._refused_by = self._plans()
        self._keys = parse_document(_decoded(content, self._path), str(self._path), plans)
        self._refused_by = None
        self._stats.cached = len(self._keys)
        return True

    def _stat(self) -> Signature:
        found = self._path.stat()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Fault(str(path), line, 1, "$", "not UTF-8 text")]) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    reason = error.strerror or type(error).__name__
    return ConfigError([Fault(str(path), 1, 1, "$", f"can't be read: {reason}")])
