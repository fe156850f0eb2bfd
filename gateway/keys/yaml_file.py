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
from gateway.keys.document import KEYS_BYTES_MAX, Keys, read_workspaces
from gateway.keys.format import is_same_hash
from gateway.keys.port import KeyDirectory, KeyEntry
from gateway.tasks import spawn
from gateway.telemetry.metrics import DirectoryStats

POLL_SECONDS: Final = 0.4
"""A change is taken by the second look that finds it: in force within a second. Polling also sees
the symlink swaps of a Kubernetes ConfigMap and network file systems, which notify no watcher."""
SMALL_BYTES: Final = 256 * 1024
"""A file of this size is read at every look: 0.2 ms, in a thread."""
READ_EVERY_LOOKS: Final = 25
"""A larger one is read when inode, time or size are others, and every 10 s whatever they are: who
writes in place may put them back, and two writes within one tick of a coarse clock have one time.
"""

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
        self._judged = b""
        """Of what was put in force or refused last."""
        self._in_force = b""
        """Of what is in force."""
        self._unconfirmed = False
        self._looks = 0
        """Since the file was read."""
        self._refused = ""
        """What is wrong with what is on disk."""
        self._turn = asyncio.Lock()
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

    def is_refused(self) -> bool:
        """Return whether what is on disk was refused, and what was read before is in force."""
        return bool(self._refused)

    async def read_again(self) -> None:
        """Read the file, whatever its time says; what is new is in force with the next look."""
        await self.reload_if_changed(must_read=True)

    async def reload_if_changed(self, *, must_read: bool = False) -> bool:
        """Put another content in force; a wrong one is reported and changes nothing.

        Args:
            must_read: Even if inode, time and size are the same.
        """
        async with self._turn:
            return await self._look(must_read=must_read)

    async def _look(self, *, must_read: bool) -> bool:
        try:
            changed = await asyncio.to_thread(self._load_if_changed, must_read=must_read)
        except Exception as error:  # noqa: BLE001 - whatever it is: unwatched, keys stay valid
            is_ours = isinstance(error, GatewayError)
            self._refuse(str(error) if is_ours else type(error).__name__)
            return False
        if changed:
            self._stats.invalidations += 1
            self._accept()
            _log.info("keys.file_loaded", file=str(self._path), keys=len(self._keys))
        elif self._refused and self._found == self._in_force:
            self._accept()
            _log.info("keys.file_restored", file=str(self._path), keys=len(self._keys))
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
        self._stats.refused = 1
        self._stats.errors += 1
        _log.error("keys.file_refused", file=str(self._path), faults=faults)

    def _accept(self) -> None:
        self._refused = ""
        self._stats.refused = 0

    def _load_if_changed(self, *, must_read: bool) -> bool:
        """Take what two looks found alike: somebody may be writing the file in place just now."""
        refused_by = self._refused_by
        if refused_by is not None and self._plans() != refused_by:  # its plans may be there now
            self._judged, self._unconfirmed = b"", True
        self._looks += 1
        is_due = must_read or self._unconfirmed or self._looks >= READ_EVERY_LOOKS
        if not is_due and not self._is_small_or_another():
            return False
        before = self._found
        content = self._read()
        return self._found == before and self._take(content)

    def _read(self) -> bytes:
        """Return the file's content; a look by which all later ones are compared."""
        try:
            # The signature is taken first: a write during the reading is seen by the next look.
            signature = self._stat()
            with self._path.open("rb") as file:
                content = file.read(KEYS_BYTES_MAX + 1)
        except OSError as error:
            self._signature, self._found = None, b""  # even the same file is read when it is back
            raise _unreadable(self._path, error) from error
        if len(content) > KEYS_BYTES_MAX:
            size = KEYS_BYTES_MAX // (1024 * 1024)
            raise ConfigError([Fault(str(self._path), 1, 1, "(file)", f"larger than {size} MB")])
        self._looks = 0
        found = hashlib.sha256(content).digest()
        # After each change the content is compared once more: it may be written just now.
        self._unconfirmed = (signature, found) != (self._signature, self._found)
        self._signature, self._found = signature, found
        return content

    def _take(self, content: bytes) -> bool:
        """Put keys in force; False if they are."""
        if self._found == self._judged:
            return False
        self._judged = self._found
        if self._found == self._in_force:
            self._refused_by = None
            return False
        plans = self._refused_by = self._plans()
        self._keys = read_workspaces(content, str(self._path), plans)[0]
        self._refused_by = None
        self._in_force = self._found
        self._stats.cached = len(self._keys)
        return True

    def _is_small_or_another(self) -> bool:
        try:
            found = self._stat()
        except OSError as error:
            self._signature, self._found = None, b""
            raise _unreadable(self._path, error) from error
        return found != self._signature or found[3] <= SMALL_BYTES

    def _stat(self) -> Signature:
        found = self._path.stat()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _unreadable(path: Path, error: OSError) -> ConfigError:
    reason = error.strerror or type(error).__name__
    return ConfigError([Fault(str(path), 1, 1, "(file)", f"can't be read: {reason}")])
