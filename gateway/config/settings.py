"""What the process needs before there is a request: file, then environment, then command line.

Source: design section 11; requirement B11 (12-factor).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.compile import compile_snapshot
from gateway.config.listener_tls import UnusableTlsFile, listener_context
from gateway.config.loaded import Address, ListenerTls, Loaded, Settings
from gateway.config.pricing import load_pricings
from gateway.config.routes import FORMS, RouteFile
from gateway.config.sources import read_all, read_bounded
from gateway.config.yaml_positions import NOT_UTF8, Document, dotted, parse
from gateway.counters.redis_url import parse_redis_url
from gateway.database.url import parse_database_url
from gateway.errors import ConfigError, Fault, GatewayError

OVERRIDABLE = (
    "listen", "admin_listen", "data_dir", "counters", "ledger", "keys", "log_level",
    "tls_certificate", "tls_key", "tls_client_ca",
)  # fmt: skip
"""Settings that ``GATEWAY_<NAME>`` and the option of the same name replace."""
_MEMORY: Final = "memory"
_LEVELS: Final = ("debug", "info", "warning", "error")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def load(
    path: Path,
    *,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    version: int = 1,
    is_to_serve: bool = False,
) -> Loaded:
    """Return the configuration of a route file.

    Args:
        path: The route file.
        environ: Fills ``${NAME}`` in strings; ``GATEWAY_<SETTING>`` replaces a setting.
        overrides: Settings given on the command line; they win.
        version: Counts the configurations of a process.
        is_to_serve: Open the listener's TLS files, too: others need not be able to.

    Raises:
        ConfigError: with every fault found.
        GatewayError: the file can't be read.
    """
    content = read_bounded(path)
    document = parse(_decoded(content, path), str(path), environ)
    file = _found_from(path.parent, _validated(document))
    pricing_paths = tuple(path.parent / name for name in file.pricing)
    # A renewed certificate is a changed configuration.
    tls_paths = tuple(path for model in file.upstreams.values() for path in model.tls_files)
    # Read before they are compiled: what changes in between is seen as a change later.
    sources = {str(path): content} | read_all((*pricing_paths, *tls_paths))
    reading = _Reading(document, _given(environ, overrides), [])
    settings = _settings(file, reading)
    if is_to_serve and settings.tls is not None:
        _check_listener(settings.tls, reading)
    snapshot = None
    try:
        pricings = load_pricings(pricing_paths)
        snapshot = compile_snapshot(file, document, pricings, sources, version=version)
    except ConfigError as error:
        reading.faults += error.faults
    if reading.faults or snapshot is None:
        own = str(path)
        raise ConfigError(
            sorted(reading.faults, key=lambda f: (f.file != own, f.file, f.line, f.column))
        )
    return Loaded(settings, snapshot, (path, *pricing_paths, *tls_paths))


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        fault = Fault(str(path), line, 1, "(file)", "not UTF-8", "save the file as UTF-8")
        raise ConfigError([fault]) from error


def _validated(document: Document) -> RouteFile:
    if not isinstance(document.data, dict):
        fault = document.fault((), "this is not a route file", "it begins with version: 1")
        raise ConfigError([fault])
    try:
        return RouteFile.model_validate(document.data)
    except ValidationError as error:
        faults = _faults(document, error)
        raise ConfigError(faults) from None


def _found_from(folder: Path, file: RouteFile) -> RouteFile:
    """Return the models with the files of upstreams where they are: relative to the route file."""
    upstreams = {name: model.found_from(folder) for name, model in file.upstreams.items()}
    return file.model_copy(update={"upstreams": upstreams})


def _faults(document: Document, error: ValidationError) -> list[Fault]:
    """Return one fault a place: a value that fits no branch of a choice is told once."""
    found: dict[str, Fault] = {}
    problems = error.errors(include_url=False, include_input=False)
    for problem in sorted(problems, key=lambda each: each["type"] == "model_type"):
        path = _known_path(document, problem["loc"])
        message, expected = _in_words(problem)
        known = found.get(dotted(path))
        if known is None:
            found[dotted(path)] = document.fault(path, message, expected)
        elif message not in known.message and problem["type"] != "model_type":
            both = f"{known.message}; or {message}"
            found[dotted(path)] = document.fault(path, both, expected or known.expected)
    return list(found.values())


def _in_words(problem: ErrorDetails) -> tuple[str, str]:
    """Return what is wrong with a value, and what would be right."""
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            return "this key is not known here", ""
        case "missing":
            return f"{problem['loc'][-1]} is missing", ""
        case "model_type":
            return "expected a mapping", ""
        case "string_pattern_mismatch":
            return "not the right form", FORMS[problem["ctx"]["pattern"]]
        case _:
            return message[:1].lower() + message[1:], ""


def _known_path(document: Document, location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the path in the file that a model's location means: names of choices left out."""
    path: tuple[int | str, ...] = ()
    for step in location:
        name = "json" if step == "json_pointer" else step
        if (*path, name) in document.positions:
            path = (*path, name)
    return path


@dataclass(slots=True)
class _Reading:
    """Settings on their way: what replaces those of the file, and the faults found so far.

    Attributes:
        given: By setting the text, and the variable or option that it comes from.
    """

    document: Document
    given: Mapping[str, tuple[str, str]]
    faults: list[Fault]

    def text(self, name: str, in_file: str | None) -> str:
        """Return a setting: what was given for it, else what the file says, else nothing.

        Given but empty is a fault: a variable that was not filled must turn nothing off.
        """
        text = self.given[name][0] if name in self.given else in_file
        if text == "":
            self.fault(name, "given, but empty", "a value; or leave it out")
        elif text is not None and NOT_UTF8.search(text):
            self.fault(name, "not UTF-8")
            return ""
        return text or ""

    def path(self, name: str, in_file: str | None) -> Path | None:
        """Return a file's path: what the route file names is found from its own folder.

        Options and variables are relative to the folder in which they were typed.
        """
        text = self.text(name, in_file)
        folder = Path() if name in self.given else Path(self.document.file).parent
        return folder / text if text else None

    def fault(self, name: str, message: str, expected: str = "") -> None:
        """Note the first fault of a setting where it comes from.

        Never repeat a URL: it holds a password.
        """
        if any(known.path == name for known in self.faults):
            return
        if name in self.given:
            fault = Fault(self.given[name][1], 1, 1, name, message, expected)
        else:
            fault = self.document.fault((name,), message, expected)
        self.faults.append(fault)


def _given(environ: Mapping[str, str], overrides: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    found = {}
    for name in OVERRIDABLE:
        variable = f"GATEWAY_{name.upper()}"
        if variable in environ:
            found[name] = (environ[variable], f"${variable}")
        if name in overrides:
            found[name] = (overrides[name], f"--{name.replace('_', '-')}")
    return found


def _settings(file: RouteFile, reading: _Reading) -> Settings:
    data_dir = Path(reading.text("data_dir", file.data_dir))
    ledger = reading.text(
        "ledger", f"sqlite:///{data_dir}/ledger.db" if file.ledger is None else file.ledger
    )
    counters = reading.text("counters", file.counters)
    keys = reading.text("keys", file.keys)
    level = reading.text("log_level", file.log_level)
    _check_counters(counters, reading)
    _check_database("ledger", ledger, reading)
    if keys:
        _check_keys(keys, reading)
    if level not in _LEVELS:
        reading.fault("log_level", f"no level is called {level}", f"one of {', '.join(_LEVELS)}")
    listen = _address("listen", reading.text("listen", file.listen), reading)
    admin = _address("admin_listen", reading.text("admin_listen", file.admin_listen), reading)
    if listen == admin and listen.port:
        reading.fault("admin_listen", "is the address for clients", "a port of its own")
    fsync = file.journal.fsync
    return Settings(
        listen=listen,
        admin_listen=admin,
        data_dir=data_dir,
        counters=counters,
        ledger=ledger,
        keys=_key_file(keys or ledger, Path(reading.document.file)),
        accepts_foreign_keys=file.foreign_keys,
        log_level=level,
        drain_seconds=file.drain,
        uses_huge_pages=file.huge_pages,
        store_deadline_seconds=file.store.deadline,
        breaker_timeouts=file.store.breaker_timeouts,
        fsync_seconds=0.0 if isinstance(fsync, str) else fsync,
        segment_bytes=file.journal.segment_bytes,
        journal_bytes_max=file.journal.max_bytes,
        ship_interval_seconds=file.shipper.interval,
        ship_batch=file.shipper.batch,
        tls=_tls(file, reading),
    )


def _tls(file: RouteFile, reading: _Reading) -> ListenerTls | None:
    certificate = reading.path("tls_certificate", file.tls_certificate)
    key = reading.path("tls_key", file.tls_key)
    client_ca = reading.path("tls_client_ca", file.tls_client_ca)
    if certificate is None and key is None:
        if client_ca is not None:
            reading.fault("tls_client_ca", "without tls_certificate there is no TLS")
        return None
    if certificate is None:
        reading.fault("tls_key", "tls_certificate is missing")
        return None
    if key is None:
        reading.fault("tls_certificate", "tls_key is missing")
        return None
    return ListenerTls(certificate, key, client_ca)


def _check_listener(files: ListenerTls, reading: _Reading) -> None:
    try:
        listener_context(files)
    except UnusableTlsFile as error:
        reading.fault(error.option, str(error))


def _key_file(keys: str, config: Path) -> str:
    """Return the setting with a key file's path relative to the route file made whole."""
    if not keys.startswith("file:"):
        return keys
    return f"file:{config.parent / keys.removeprefix('file:')}"


def _address(name: str, text: str, reading: _Reading) -> Address:
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535
    if not is_port or not _HOST.fullmatch(host):
        reading.fault(name, f"{text!r} is not an address", "host:port, or [address]:port for IPv6")
        return Address("", 0)
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _check_counters(text: str, reading: _Reading) -> None:
    if text == _MEMORY:
        return
    try:
        parse_redis_url(text)
    except GatewayError as error:
        reading.fault("counters", error.message, f"memory, or {error.hint}")


def _check_keys(text: str, reading: _Reading) -> None:
    kind, _, name = text.partition(":")
    if kind not in {"file", "env"}:
        _check_database("keys", text, reading, expected="file:keys.yaml, env:VARIABLE, or ")
    elif not name:
        reading.fault("keys", f"{kind}: names nothing", "file:keys.yaml or env:VARIABLE")


def _check_database(name: str, text: str, reading: _Reading, *, expected: str = "") -> None:
    try:
        parse_database_url(text)
    except GatewayError as error:
        reading.fault(name, error.message, f"{expected}{error.hint}")
