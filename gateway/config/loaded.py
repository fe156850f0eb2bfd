"""A loaded configuration: what the process needs, what requests read, and where it came from.

Imports no pydantic: the serving process gets it from a child that did the reading.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Read once at the start; a change needs a restart.

    Attributes:
        counters: ``memory`` or the store's URL.
        ledger: Database URL.
        keys: ``file:``, ``env:`` or a database URL.
        fsync_seconds: 0 syncs every write.
    """

    listen: Address
    admin_listen: Address
    data_dir: Path
    counters: str
    ledger: str
    keys: str
    accepts_foreign_keys: bool
    log_level: str
    drain_seconds: float
    store_deadline_seconds: float
    breaker_timeouts: int
    fsync_seconds: float
    segment_bytes: int
    journal_bytes_max: int
    ship_interval_seconds: float
    ship_batch: int

    def redacted(self) -> dict[str, object]:
        """Return all settings, passwords of URLs left out."""
        return {
            field.name: _redacted(value) if isinstance(value, str) else value
            for field in fields(self)
            for value in [getattr(self, field.name)]
        }


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration: what the process needs, what requests read, and the files it came from."""

    settings: Settings
    snapshot: Snapshot
    files: tuple[Path, ...]


def _redacted(text: str) -> str:
    parts = urlsplit(text)
    if parts.password is None:
        return text
    return text.replace(f":{parts.password}@", ":***@", 1)
