"""What a command works on: the loaded configuration and, opened when asked for, its ports.

The heavy floors (pydantic, SQLAlchemy) are imported here, at the moment they are needed, so that
``gateway version`` and ``--help`` stay fast.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.cli import output
from gateway.clock import Clock
from gateway.config.loaded import KEYS_IN_FILE, KEYS_IN_VARIABLE, Loaded
from gateway.config.snapshot import Snapshot
from gateway.control.statements import current_period, pricing_now
from gateway.keys.port import KeyRegistry
from gateway.ledger.port import Ledger
from gateway.process.clock import SystemClock
from gateway.rules.plan import Pricing


def given(**options: str | None) -> dict[str, str]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def load(config: Path, **overrides: str | None) -> Loaded:
    """Return the configuration; options win over the environment, that over the file.

    Raises:
        ConfigError: the files hold mistakes.
        GatewayError: a file can't be read.
    """
    from gateway.config import settings  # noqa: PLC0415 - brings pydantic

    return settings.load(config, environ=os.environ, overrides=given(**overrides))


def load_to_serve(config: Path, **overrides: str | None) -> Loaded:
    """Return the configuration, looked at as for serving. Raises as ``load``."""
    from gateway.config import settings  # noqa: PLC0415 - brings pydantic

    return settings.load(
        config,
        environ=os.environ,
        overrides=given(**overrides),
        is_to_serve=True,
        now_micro=SystemClock().now_micro(),
    )


@dataclass(slots=True)
class Desk:
    """An operator's desk: configuration, clock, and the ports as they are needed.

    Attributes:
        makes_databases: Whether an SQLite file that is not there is made, instead of missed.
    """

    loaded: Loaded
    clock: Clock
    makes_databases: bool = False

    @property
    def snapshot(self) -> Snapshot:
        """The compiled configuration."""
        return self.loaded.snapshot

    @property
    def pricing(self) -> Pricing:
        """The price list in force now. Raises ``GatewayError``: none is."""
        return pricing_now(self.loaded.snapshot, self.clock)

    @property
    def period(self) -> str:
        """The billing period that runs now. Raises ``GatewayError``: no price list is in force."""
        return current_period(self.loaded.snapshot, self.clock)

    @property
    def written_keys(self) -> str | None:
        """Where keys are written by hand (``file:``, ``env:``); None if a database has them."""
        keys = self.loaded.settings.keys
        return keys if keys.startswith((KEYS_IN_FILE, KEYS_IN_VARIABLE)) else None

    @property
    def registry(self) -> KeyRegistry:
        """Keys and workspaces. Raises ``GatewayError``: they can't be opened or hold mistakes."""
        from gateway.process import wiring  # noqa: PLC0415 - brings SQLAlchemy

        if self.written_keys is None and not self.makes_databases:
            wiring.require_made(self.loaded.settings.keys)
        return wiring.open_registry(self.loaded.settings)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Open the ledger for a while. Raises ``GatewayError``: it can't be opened."""
        from gateway.process import wiring  # noqa: PLC0415 - brings SQLAlchemy

        if not self.makes_databases:
            wiring.require_made(self.loaded.settings.ledger)
        with closing(wiring.open_ledger(self.loaded.settings)) as ledger:
            yield ledger


def open_desk(config: Path, *, makes_databases: bool = False, **overrides: str | None) -> Desk:
    """Load the configuration for a command. Raises as ``load``."""
    from gateway.telemetry import logs  # noqa: PLC0415 - brings structlog

    logs.configure("warning", console=not output.speaks_json())
    return Desk(load(config, **overrides), SystemClock(), makes_databases)
