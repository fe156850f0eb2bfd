"""A key directory in an environment variable, for the smallest of set-ups (B3).

``gateway.keys.variable`` says what its value means.
"""

from collections.abc import Collection
from typing import Self

from gateway.keys.document import Keys
from gateway.keys.format import is_same_hash
from gateway.keys.port import KeyDirectory, KeyEntry
from gateway.keys.variable import parse_variable
from gateway.telemetry.metrics import DirectoryStats


class EnvKeyDirectory(KeyDirectory):
    """Implements ``KeyDirectory`` on a text that never changes while the process runs."""

    def __init__(self, keys: Keys, stats: DirectoryStats) -> None:
        self._keys = keys
        self._stats = stats
        stats.cached = len(keys)

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        variable: str,
        stats: DirectoryStats,
        plans: Collection[str] | None = None,
    ) -> Self:
        """Return the directory that a variable's value describes.

        Args:
            text: The value.
            variable: Its name, for faults.
            stats: Counted up.
            plans: Which there are; None takes any.

        Raises:
            ConfigError: with every fault.
        """
        return cls(parse_variable(text, variable, plans)[0], stats)

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
        """Do nothing: all is loaded."""

    async def close(self) -> None:
        """Do nothing."""
