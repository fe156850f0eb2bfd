"""The only module that knows adapters: a setting's value chooses one, and it is given what it needs.

That an adapter fits its port is proved here by the type checker.
"""

import os
from pathlib import Path

from sqlalchemy import Engine

from gateway.clock import Clock
from gateway.config.settings import Settings
from gateway.counters.memory import MemoryCounterStore
from gateway.counters.port import CounterStore
from gateway.counters.redis import RedisCounterStore
from gateway.counters.redis_connection import BreakerSettings
from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from gateway.errors import GatewayError
from gateway.keys.cache import CachingKeyDirectory
from gateway.keys.environment import EnvKeyDirectory
from gateway.keys.port import KeyDirectory, KeyRegistry
from gateway.keys.sql import SqlKeyStore
from gateway.keys.yaml_file import YamlKeyDirectory
from gateway.ledger.port import Ledger
from gateway.ledger.sql import SqlLedger
from gateway.process.clock import SystemClock
from gateway.telemetry.metrics import DirectoryStats, Stats, StoreStats

MEMORY = "memory"
FILE_PREFIX = "file:"
ENVIRONMENT_PREFIX = "env:"


def open_store(settings: Settings, clock: Clock, stats: StoreStats) -> CounterStore:
    """Return the counter store that the settings name."""
    if settings.counters == MEMORY:
        return MemoryCounterStore(clock, stats=stats)
    return RedisCounterStore(
        settings.counters,
        deadline_seconds=settings.store_deadline_seconds,
        clock=clock,
        stats=stats,
        breaker=BreakerSettings(timeouts=settings.breaker_timeouts),
    )


def open_local_store(clock: Clock) -> CounterStore:
    """Return the store that holds a worker's own share while the real one is away."""
    return MemoryCounterStore(clock, stats=StoreStats())


def open_ledger(settings: Settings) -> Ledger:
    """Return the ledger, its schema brought up to date.

    Raises:
        GatewayError: the database can't be reached or written.
    """
    return SqlLedger(migrated_engine(settings.ledger))


def open_registry(settings: Settings) -> KeyRegistry:
    """Return what operators change keys and workspaces with.

    Raises:
        GatewayError: keys stand in a file or a variable, or the database can't be reached.
    """
    if settings.keys.startswith((FILE_PREFIX, ENVIRONMENT_PREFIX)):
        raise GatewayError(
            "keys.not_a_database",
            f"keys are kept in {settings.keys}, which is edited by hand",
            "change that file, or keep keys in a database (the setting `keys`)",
        )
    return SqlKeyStore(migrated_engine(settings.keys), SystemClock())


def open_directory(settings: Settings, clock: Clock, stats: DirectoryStats) -> KeyDirectory:
    """Return the key directory that the settings name.

    Raises:
        ConfigError: the key file holds mistakes.
        GatewayError: it can't be read, or the database can't be reached.
    """
    keys = settings.keys
    if keys.startswith(FILE_PREFIX):
        return YamlKeyDirectory(Path(keys.removeprefix(FILE_PREFIX)), stats=stats)
    if keys.startswith(ENVIRONMENT_PREFIX):
        variable = keys.removeprefix(ENVIRONMENT_PREFIX)
        if variable not in os.environ:
            raise GatewayError(
                "keys.variable_missing",
                f"the environment variable {variable} is not set",
                "set it to keys as the configuration reference describes them",
            )
        return EnvKeyDirectory.parse(os.environ[variable], variable=variable, stats=stats)
    store = SqlKeyStore(migrated_engine(keys), clock)
    return CachingKeyDirectory(store, clock=clock, stats=stats)


def migrated_engine(url: str) -> Engine:
    """Return an engine on a database whose schema is up to date.

    Raises:
        GatewayError: it can't be reached, written, or is newer than this version.
    """
    engine = create_engine_for(url)
    migrate(engine)
    return engine


def note_key_use(settings: Settings) -> KeyRegistry | None:
    """Return where last uses of keys are noted, None where keys are not in a database."""
    if settings.keys.startswith((FILE_PREFIX, ENVIRONMENT_PREFIX)):
        return None
    return open_registry(settings)
