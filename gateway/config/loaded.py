"""A loaded configuration: what the process needs, what requests read, and where it came from.

Imports no pydantic: the serving process gets it from a child that did the reading.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.config.snapshot import Snapshot
from gateway.errors import Fault

_PASSWORD_PARAMETER = re.compile(r"([?&][^=&]*(?:pass|secret|scram)[^=&]*=)[^&]*", re.IGNORECASE)
"""PostgreSQL takes ``?password=``, ``?sslpassword=`` and secrets of other kinds, too."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """Files of the listener's TLS, PEM. ``client_ca`` set means that clients must show one."""

    certificate: Path
    key: Path
    client_ca: Path | None


KEYS_IN_FILE: Final = "file:"
KEYS_IN_VARIABLE: Final = "env:"
"""With these begins ``Settings.keys`` where keys are written by hand; otherwise it is a URL."""


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Read once at the start; a change needs a restart. Its ``repr`` shows no password.

    Attributes:
        counters: ``memory`` or the store's URL.
        ledger: Database URL.
        keys: ``file:``, ``env:`` or a database URL.
        fsync_seconds: 0 syncs every write.
        keep_shipped_seconds: 0 keeps no shipped segment.
        reserve_bytes: Set aside for a ledger on the journal's disk.
    """

    listen: tuple[Address, ...]
    admin_listen: tuple[Address, ...]
    data_dir: Path
    counters: str
    ledger: str
    keys: str
    accepts_foreign_keys: bool
    log_level: str
    drain_seconds: float
    uses_huge_pages: bool
    store_deadline_seconds: float
    breaker_timeouts: int
    fsync_seconds: float
    segment_bytes: int
    journal_bytes_max: int
    keep_shipped_seconds: float
    keep_shipped_bytes_max: int
    reserve_bytes: int
    ship_interval_seconds: float
    ship_batch: int
    tls: ListenerTls | None

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.redacted().items())
        return f"Settings({told})"

    def redacted(self) -> dict[str, object]:
        """Return all settings, passwords of URLs left out."""
        return {
            field.name: _redacted(value) if isinstance(value, str) else value
            for field in fields(self)
            for value in [getattr(self, field.name)]
        }


OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "listen": ("listen",),
    "admin_listen": ("admin_listen",),
    "data_dir": ("data_dir",),
    "counters": ("counters",),
    "ledger": ("ledger",),
    "keys": ("keys",),
    "accepts_foreign_keys": ("foreign_keys",),
    "log_level": ("log_level",),
    "drain_seconds": ("drain",),
    "uses_huge_pages": ("huge_pages",),
    "store_deadline_seconds": ("store.deadline",),
    "breaker_timeouts": ("store.breaker_timeouts",),
    "fsync_seconds": ("journal.fsync",),
    "segment_bytes": ("journal.segment_bytes",),
    "journal_bytes_max": ("journal.max_bytes",),
    "keep_shipped_seconds": ("journal.keep_shipped",),
    "keep_shipped_bytes_max": ("journal.keep_shipped_bytes",),
    "reserve_bytes": ("journal.reserve_bytes",),
    "ship_interval_seconds": ("shipper.interval",),
    "ship_batch": ("shipper.batch",),
    "tls": ("tls_certificate", "tls_key", "tls_client_ca"),
}
"""By attribute of ``Settings``: the options of the route file that it comes from."""


def default_ledger(data_dir: Path) -> str:
    """Return the database of a file that names none."""
    return f"sqlite:///{data_dir}/ledger.db"


def default_kept_bytes(journal_bytes_max: int) -> int:
    """Return how much of what was shipped is kept where the file does not say."""
    return journal_bytes_max // 4


def _following(settings: Settings) -> set[str]:
    """Return the attributes that have the value which follows from another one."""
    following = {
        "keys": settings.ledger,
        "ledger": default_ledger(settings.data_dir),
        "keep_shipped_bytes_max": default_kept_bytes(settings.journal_bytes_max),
    }
    return {name for name, value in following.items() if getattr(settings, name) == value}


def changed_options(old: Settings, new: Settings) -> list[str]:
    """Return the options by which settings differ, as they are written, sorted.

    What follows from another option, before and after, is not named beside it. Values are compared
    unredacted: a password may change.
    """
    compared = OPTIONS.keys() - {"tls"} - (_following(old) & _following(new))
    names = [name for name in compared if getattr(old, name) != getattr(new, name)]
    changed = [option for name in names for option in OPTIONS[name]]
    for option in OPTIONS["tls"]:
        part = option.removeprefix("tls_")
        if getattr(old.tls, part, None) != getattr(new.tls, part, None):
            changed.append(option)
    return sorted(changed)


@dataclass(frozen=True, slots=True)
class PricingPlace:
    """Where a price list stands: its file, and line and column of its members."""

    file: str
    effective_from: tuple[int, int]
    effective_to: tuple[int, int]
    tiers: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration: what the process needs, what requests read, and the files it came from.

    Attributes:
        pricing_places: Of the snapshot's price lists, in their order.
        warnings: What is allowed and probably not meant.
    """

    settings: Settings
    snapshot: Snapshot
    files: tuple[Path, ...]
    pricing_places: tuple[PricingPlace, ...] = ()
    warnings: tuple[Fault, ...] = ()

    @property
    def run_retention_seconds(self) -> int | None:
        """How long the ledger bills a run once: the longest of all versions, None without any."""
        pricings = self.snapshot.pricings
        return max((pricing.meter.run_retention_seconds for pricing in pricings), default=None)


def _redacted(text: str) -> str:
    try:
        password = urlsplit(text).password
    except ValueError:
        return "(not a URL)"
    if password:
        text = text.replace(f":{password}@", ":***@", 1)
    return _PASSWORD_PARAMETER.sub(r"\1***", text)
