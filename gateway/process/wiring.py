"""The only module that knows adapters: a setting's value chooses one.

That an adapter fits its port is proved here by the type checker: the methods of a port are
abstract, so an adapter that lacks one can't be made.
"""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine

from gateway.clock import Clock
from gateway.config.loaded import KEYS_IN_FILE, KEYS_IN_VARIABLE, Loaded, Settings
from gateway.counters.memory import MemoryCounterStore
from gateway.counters.port import CounterStore
from gateway.counters.redis import RedisCounterStore
from gateway.counters.redis_connection import BreakerSettings
from gateway.database.engine import ANSWER_SECONDS, create_engine_for, missing_file
from gateway.database.revision import is_current, is_made
from gateway.errors import GatewayError
from gateway.keys.cache import CachingKeyDirectory
from gateway.keys.port import KeyDirectory, KeyRegistry, PlanUse
from gateway.keys.sql import SqlKeyStore
from gateway.ledger.port import Ledger
from gateway.ledger.sql import RUN_RETENTION_SECONDS, SqlLedger
from gateway.metering.carrier import Carrier, LedgerCarrier
from gateway.process.clock import SystemClock
from gateway.process.recovery import RestorableStore
from gateway.telemetry.metrics import DirectoryStats, StoreStats

LOOKUP_ANSWER_SECONDS = 5.0
"""Nobody waits longer for a look-up or a look at the change feed, nor may a stop for either."""

MEMORY = "memory"


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


def restorable(store: CounterStore) -> RestorableStore | None:
    """Return the store if it forgets at every stop and must be rebuilt, else None."""
    return store if isinstance(store, MemoryCounterStore) else None


def open_local_store(store: CounterStore) -> CounterStore:
    """Return the store that holds a worker's own share while the real one is away.

    It goes by the real one's clock, as what is charged to it was made for the periods of that.
    """
    return MemoryCounterStore(store, stats=StoreStats())


def open_ledger(settings: Settings) -> Ledger:
    """Return the ledger, its schema brought up to date; reports may take as long as they take.

    Raises:
        GatewayError: the database can't be reached or written.
    """
    return SqlLedger(migrated_engine(settings, settings.ledger, answer_seconds=None))


def open_carrier(loaded: Loaded) -> Carrier:
    """Return what brings records to the ledger. Raises what ``open_ledger`` raises."""
    ledger = SqlLedger(
        migrated_engine(loaded.settings, loaded.settings.ledger),
        run_retention_seconds=loaded.run_retention_seconds or RUN_RETENTION_SECONDS,
    )
    return LedgerCarrier(ledger, SystemClock())


def open_registry(settings: Settings) -> KeyRegistry:
    """Return what operators look at keys with, and change them if they are in a database.

    Raises:
        ConfigError: what is written by hand holds mistakes.
        GatewayError: it can't be read, or the database can't be reached.
    """
    keys = settings.keys
    if not keys.startswith((KEYS_IN_FILE, KEYS_IN_VARIABLE)):
        return SqlKeyStore(migrated_engine(settings, keys), SystemClock())
    from gateway.control import written_keys  # noqa: PLC0415 - brings YAML
    from gateway.control.written_registry import WrittenRegistry  # noqa: PLC0415

    if keys.startswith(KEYS_IN_FILE):
        path = Path(keys.removeprefix(KEYS_IN_FILE))
        return WrittenRegistry(written_keys.read_written(path), str(path), is_watched=True)
    name = keys.removeprefix(KEYS_IN_VARIABLE)
    place = f"the environment variable {name}"
    return WrittenRegistry(written_keys.read_variable(name), place, is_watched=False)


def open_directory(
    settings: Settings,
    clock: Clock,
    stats: DirectoryStats,
    plans: Callable[[], frozenset[str] | None] = lambda: None,
) -> KeyDirectory:
    """Return the key directory that the settings name.

    Args:
        settings: See there.
        clock: Says how old what is cached is.
        stats: Counted up.
        plans: Gives the plans that there are now, for keys that are written by hand.

    Raises:
        ConfigError: the key file holds mistakes.
        GatewayError: it can't be read, or the database can't be reached.
    """
    keys = settings.keys
    if keys.startswith(KEYS_IN_FILE):
        from gateway.keys.yaml_file import YamlKeyDirectory  # noqa: PLC0415 - brings YAML

        return YamlKeyDirectory(Path(keys.removeprefix(KEYS_IN_FILE)), stats=stats, plans=plans)
    if keys.startswith(KEYS_IN_VARIABLE):
        from gateway.keys.environment import EnvKeyDirectory  # noqa: PLC0415 - brings YAML
        from gateway.keys.variable import value_of  # noqa: PLC0415

        variable = keys.removeprefix(KEYS_IN_VARIABLE)
        text = value_of(variable)
        return EnvKeyDirectory.parse(text, variable=variable, stats=stats, plans=plans())
    return CachingKeyDirectory(_open_key_store(settings, clock), clock=clock, stats=stats)


def plans_in_use(settings: Settings) -> tuple[PlanUse, ...]:
    """Return the plans that a database's workspaces have. Blocking; makes and migrates nothing.

    Raises:
        GatewayError: it can't be asked.
    """
    keys = settings.keys
    if keys.startswith((KEYS_IN_FILE, KEYS_IN_VARIABLE)) or missing_file(keys) is not None:
        return ()
    engine = create_engine_for(keys, answer_seconds=LOOKUP_ANSWER_SECONDS)
    try:
        return SqlKeyStore(engine, SystemClock()).plans_in_use() if is_made(engine) else ()
    finally:
        engine.dispose()


def _open_key_store(settings: Settings, clock: Clock) -> SqlKeyStore:
    """Return the key database as a running worker uses it."""
    engine = migrated_engine(settings, settings.keys, answer_seconds=LOOKUP_ANSWER_SECONDS)
    return SqlKeyStore(engine, clock)


def feed_age_micro(directory: KeyDirectory) -> int:
    """Return how long ago a directory's change feed was read, 0 where there is none."""
    return directory.feed_age_micro if isinstance(directory, CachingKeyDirectory) else 0


def migrated_engine(
    settings: Settings, url: str, *, answer_seconds: float | None = ANSWER_SECONDS
) -> Engine:
    """Return an engine on a database whose schema is up to date.

    Args:
        settings: Name the folder of local state.
        url: The database's.
        answer_seconds: See ``create_engine_for``.

    Raises:
        GatewayError: it can't be reached, written, or is newer than this version.
    """
    make_data_dir(settings.data_dir)
    engine = create_engine_for(url, answer_seconds=answer_seconds)
    if not is_current(engine):
        from gateway.database.schema import migrate  # noqa: PLC0415 - brings Alembic

        patient = create_engine_for(url, answer_seconds=None)  # an index takes its time
        migrate(patient)
        patient.dispose()
    return engine


def require_made(url: str) -> None:
    """Refuse a database that is still to be made: whoever only reads it looks in the wrong place.

    Raises:
        GatewayError: ``database.file_missing``.
    """
    file = missing_file(url)
    if file is not None:
        raise GatewayError(
            "database.file_missing",
            f"there is no database {file}",
            "a relative data_dir begins in the folder that a command is started in: go where the "
            "gateway was started, or give --data-dir or GATEWAY_DATA_DIR (GATEWAY_LEDGER, "
            "GATEWAY_KEYS if these are set); `gateway workspaces create` and `gateway serve` "
            "make a new one",
        )


def make_data_dir(folder: Path) -> None:
    """Create the folder of local state, readable by its owner alone.

    Raises:
        GatewayError: it can't be created.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise GatewayError(
            "data_dir.unwritable",
            f"the data folder {folder} can't be created: {error.strerror or error}",
            "choose another with --data-dir, or let this user write there",
        ) from error


def note_key_use(settings: Settings) -> KeyRegistry | None:
    """Return where last uses of keys are noted, None where keys are not in a database."""
    if settings.keys.startswith((KEYS_IN_FILE, KEYS_IN_VARIABLE)):
        return None
    return _open_key_store(settings, SystemClock())
