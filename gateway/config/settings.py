"""What the process needs before there is a request: file, then environment, then command line.

Source: design section 11; requirement B11 (12-factor).
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from gateway.config.compile import compile_snapshot
from gateway.config.loaded import Address, Loaded, Settings
from gateway.config.pricing import load_pricings
from gateway.config.routes import RouteFile
from gateway.config.yaml_positions import Document, dotted, parse
from gateway.errors import ConfigError, Fault, GatewayError

OVERRIDABLE = (
    "listen", "admin_listen", "data_dir", "counters", "ledger", "keys", "log_level",
)  # fmt: skip
"""Settings that ``GATEWAY_<NAME>`` and the option of the same name replace."""
FILE_BYTES_MAX = 64 * 1024 * 1024
_MEMORY = "memory"
_COUNTER_SCHEMES = frozenset({"redis", "rediss", "unix"})
_LATER_SCHEMES = frozenset({"redis+cluster", "rediss+cluster", "redis+sentinel"})
_DATABASE_SCHEMES = frozenset({"sqlite", "postgresql"})


def load(
    path: Path,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    version: int = 1,
) -> Loaded:
    """Return the configuration of a route file.

    Args:
        path: The route file.
        environ: Fills ``${NAME}`` in strings; ``GATEWAY_<SETTING>`` replaces a setting.
        overrides: Settings given on the command line; they win.
        version: Counts the configurations of a process.

    Raises:
        ConfigError: with every fault found.
        GatewayError: the file can't be read.
    """
    content = read_bounded(path)
    document = parse(_decoded(content, path), str(path), environ)
    file = _validated(document)
    pricing_paths = tuple((path.parent / name) for name in file.pricing)
    pricings = load_pricings(pricing_paths)
    given = {
        name: environ[f"GATEWAY_{name.upper()}"]
        for name in OVERRIDABLE
        if environ.get(f"GATEWAY_{name.upper()}")
    }
    settings = _settings(file, document, {**given, **overrides})
    sources = {str(path): content} | {str(name): read_bounded(name) for name in pricing_paths}
    snapshot = compile_snapshot(file, document, pricings, sources, version=version)
    return Loaded(settings, snapshot, (path, *pricing_paths))


def read_bounded(path: Path) -> bytes:
    """Return a configuration file's content.

    Raises:
        GatewayError: it can't be read, or is larger than any configuration.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise GatewayError(
            "config.unreadable",
            f"{path} can't be read: {error.strerror or error}",
            "give the route file with --config, and see that this user may read it",
        ) from error
    if len(content) > FILE_BYTES_MAX:
        raise GatewayError("config.too_large", f"{path} is larger than 64 MB", "split it")
    return content


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        fault = Fault(str(path), line, 1, "(file)", "not UTF-8", "save the file as UTF-8")
        raise ConfigError([fault]) from error


def _validated(document: Document) -> RouteFile:
    try:
        return RouteFile.model_validate(document.data)
    except ValidationError as error:
        faults = _faults(document, error)
        raise ConfigError(faults) from None


def _faults(document: Document, error: ValidationError) -> list[Fault]:
    """Return one fault a place: a value that fits no branch of a choice is told once."""
    found: dict[str, Fault] = {}
    for problem in error.errors(include_url=False, include_input=False):
        path = _known_path(document, problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "this key is not known here"
        elif problem["type"] == "missing":
            message = f"{problem['loc'][-1]} is missing"
        fault = document.fault(path, message[:1].lower() + message[1:])
        known = found.get(dotted(path))
        if known is None:
            found[dotted(path)] = fault
        elif fault.message not in known.message:
            both = f"{known.message}; or {fault.message}"
            found[dotted(path)] = document.fault(path, both)
    return list(found.values())


def _known_path(document: Document, location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the path in the file that a model's location means: names of choices left out."""
    path: tuple[int | str, ...] = ()
    for step in location:
        name = "json" if step == "json_pointer" else step
        if (*path, name) in document.positions:
            path = (*path, name)
    return path


def _settings(file: RouteFile, document: Document, given: Mapping[str, str]) -> Settings:
    faults: list[Fault] = []
    data_dir = Path(given.get("data_dir", file.data_dir))
    ledger = given.get("ledger", file.ledger) or f"sqlite:///{data_dir}/ledger.db"
    counters = given.get("counters", file.counters)
    keys = given.get("keys", file.keys) or ledger
    level = given.get("log_level", file.log_level)
    _check_counters(counters, document, faults)
    _check_database(("ledger",), ledger, document, faults)
    if not keys.startswith(("file:", "env:")):
        _check_database(("keys",), keys, document, faults)
    if level not in {"debug", "info", "warning", "error"}:
        faults.append(document.fault(("log_level",), f"no level is called {level}"))
    listen = _address(("listen",), given.get("listen", file.listen), document, faults)
    admin = _address(
        ("admin_listen",), given.get("admin_listen", file.admin_listen), document, faults
    )
    if faults:
        raise ConfigError(faults)
    fsync = file.journal.fsync
    return Settings(
        listen=listen,
        admin_listen=admin,
        data_dir=data_dir,
        counters=counters,
        ledger=ledger,
        keys=_key_file(keys, Path(document.file)),
        accepts_foreign_keys=file.foreign_keys,
        log_level=level,
        drain_seconds=file.drain,
        store_deadline_seconds=file.store.deadline,
        breaker_timeouts=file.store.breaker_timeouts,
        fsync_seconds=0.0 if isinstance(fsync, str) else fsync,
        segment_bytes=file.journal.segment_bytes,
        journal_bytes_max=file.journal.max_bytes,
        ship_interval_seconds=file.shipper.interval,
        ship_batch=file.shipper.batch,
    )


def _key_file(keys: str, config: Path) -> str:
    """Return the setting with a key file's path relative to the route file made whole."""
    if not keys.startswith("file:"):
        return keys
    return f"file:{config.parent / keys.removeprefix('file:')}"


def _address(path: tuple[str, ...], text: str, document: Document, faults: list[Fault]) -> Address:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        faults.append(document.fault(path, f"{text!r} is not an address", "host:port"))
        return Address("", 0)
    return Address(host, int(port))


def _check_counters(text: str, document: Document, faults: list[Fault]) -> None:
    if text == _MEMORY:
        return
    scheme = urlsplit(text).scheme
    if scheme in _LATER_SCHEMES:
        message = f"{scheme} is not supported by this version"
    elif scheme not in _COUNTER_SCHEMES:
        message = "this names no counter store"
    else:
        return
    expected = "memory, redis://host:port/db, rediss://... or unix:///path/to/redis.sock"
    faults.append(document.fault(("counters",), message, expected))


def _check_database(
    path: tuple[str, ...], text: str, document: Document, faults: list[Fault]
) -> None:
    scheme = urlsplit(text).scheme.partition("+")[0]
    if scheme not in _DATABASE_SCHEMES:
        expected = "sqlite:///path or postgresql://user:password@host/name"
        if path == ("keys",):
            expected = "file:keys.yaml, env:VARIABLE, " + expected
        faults.append(document.fault(path, "this names no database", expected))
