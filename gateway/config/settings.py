"""What the process needs before there is a request: file, then environment, then command line.

Source: design section 11; requirement B11 (12-factor).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from gateway.config.compile import compile_snapshot
from gateway.config.listener_tls import UnusableTlsFile, listener_context
from gateway.config.loaded import (
    KEYS_IN_FILE,
    Address,
    ListenerTls,
    Loaded,
    Settings,
    default_kept_bytes,
    default_ledger,
)
from gateway.config.pricing import PriceLists, read_pricings
from gateway.config.route_document import RouteDocument, read_route_document
from gateway.config.routes import RouteFile
from gateway.config.snapshot import Snapshot
from gateway.config.sources import read_all, read_bounded
from gateway.config.to_serve import check_to_serve
from gateway.config.yaml_positions import NOT_UTF8, Document
from gateway.counters.redis_url import parse_redis_url
from gateway.database.url import parse_database_url
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.http.addresses import address_in
from gateway.rules.identifiers import suggestion

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
    now_micro: int | None = None,
) -> Loaded:
    """Return the configuration of a route file.

    Args:
        path: The route file.
        environ: Fills ``${NAME}`` in strings; ``GATEWAY_<SETTING>`` replaces a setting.
        overrides: Settings given on the command line; they win.
        version: Counts the configurations of a process.
        is_to_serve: Look at keys that are written by hand and at the listener's TLS files, too:
            others need not be able to read them.
        now_micro: The instant at which it is to serve; None does not ask which prices are in force.

    Raises:
        ConfigError: with every fault found.
        GatewayError: the file can't be read.
    """
    content = read_bounded(path)
    route = read_route_document(content, path, environ)
    sound = route.file or (route.pruned.file if route.pruned is not None else None)
    file = None if sound is None else _found_from(path.parent, sound)
    pricing_paths = tuple(path.parent / name for name in route.pricing_names)
    # A renewed certificate is a changed configuration.
    upstreams = () if file is None else file.upstreams.values()
    tls_paths = tuple(path for model in upstreams for path in model.tls_files)
    # Read before they are compiled: what changes in between is seen as a change later.
    sources = {str(path): content} | read_all((*pricing_paths, *tls_paths))
    reading = _Reading(route.document, _given(environ, overrides), route.faults)
    settings = None if file is None else _settings(file, reading)
    tls = _tls(route, reading)
    if tls is not None and file is not None and file.limits.half_close == "answer":
        reading.warnings.append(_half_close_without_effect(route.document))
    lists = read_pricings(pricing_paths)
    reading.faults += lists.faults
    reading.warnings += lists.warnings
    if is_to_serve:
        _check_to_serve(route, tls, lists, reading, environ, now_micro)
    snapshot = None
    if file is not None:
        snapshot = _compiled(route, file, lists, sources, reading, version)
    if reading.faults or snapshot is None or settings is None:
        raise ConfigError(_sorted(reading.faults, path))
    return Loaded(
        replace(settings, tls=tls),
        snapshot,
        (path, *pricing_paths, *tls_paths),
        lists.places,
        tuple(_sorted(reading.warnings, path)),
    )


def _half_close_without_effect(document: Document) -> Fault:
    return document.fault(
        ("limits", "half_close"),
        "no effect on this listener: over TLS a client that closes its side has left",
        "gone; or TLS ended before the gateway",
    )


def _check_to_serve(
    route: RouteDocument,
    tls: ListenerTls | None,
    lists: PriceLists,
    reading: "_Reading",
    environ: Mapping[str, str],
    now_micro: int | None,
) -> None:
    """Look at what only a gateway that serves must be able to read."""
    if tls is not None:
        _check_listener(tls, reading)
    keys = reading.given["keys"][0] if "keys" in reading.given else route.text("keys")
    place = _key_file(keys or "", Path(route.document.file))
    found = check_to_serve(lists, place, environ, now_micro)
    reading.faults += found.faults
    reading.warnings += found.warnings


def _compiled(
    route: RouteDocument,
    file: RouteFile,
    lists: PriceLists,
    sources: Mapping[str, bytes],
    reading: "_Reading",
    version: int,
) -> Snapshot | None:
    pruned = route.pruned
    try:
        return compile_snapshot(
            file,
            route.document if pruned is None else pruned.document,
            lists.pricings,
            sources,
            version=version,
            is_priced=not lists.faults,
            warnings=reading.warnings,
        )
    except ConfigError as error:
        reading.faults += error.faults if pruned is None else pruned.sifted(error.faults)
        return None


def _sorted(faults: Iterable[Fault], path: Path) -> list[Fault]:
    """Return faults in the order of the files, the route file's first, each once."""
    own = str(path)
    found = dict.fromkeys(faults)
    return sorted(found, key=lambda f: (f.file != own, f.file, f.line, f.column))


def _found_from(folder: Path, file: RouteFile) -> RouteFile:
    """Return the models with the files of upstreams where they are: relative to the route file."""
    upstreams = {name: model.found_from(folder) for name, model in file.upstreams.items()}
    return file.model_copy(update={"upstreams": upstreams})


@dataclass(slots=True)
class _Reading:
    """Settings on their way: what replaces those of the file, and the faults found so far.

    Attributes:
        given: By setting the text, and the variable or option that it comes from.
    """

    document: Document
    given: Mapping[str, tuple[str, str]]
    faults: list[Fault]
    warnings: list[Fault] = field(default_factory=list)

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

    def fault(self, name: str, message: str, expected: str = "", *, item: int = 0) -> None:
        """Note the first fault of a setting, or of an item of it, where it comes from.

        Never repeat a URL: it holds a password.
        """
        at: tuple[str | int, ...] = (name,)
        if name in self.given:
            fault = Fault(self.given[name][1], 1, 1, name, message, expected)
        else:
            at = (name, item) if (name, item) in self.document.positions else at
            fault = self.document.fault(at, message, expected)
        if all(known.path != fault.path for known in self.faults):
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
        "ledger", default_ledger(data_dir) if file.ledger is None else file.ledger
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
    listen = _addresses("listen", file.listen, reading)
    admin = _addresses("admin_listen", file.admin_listen, reading)
    if any(address in listen and address.port for address in admin):
        reading.fault("admin_listen", "is the address for clients", "a port of its own")
    fsync, kept_bytes = file.journal.fsync, file.journal.keep_shipped_bytes
    if kept_bytes is None:
        kept_bytes = default_kept_bytes(file.journal.max_bytes)
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
        keep_shipped_seconds=file.journal.keep_shipped,
        keep_shipped_bytes_max=kept_bytes,
        reserve_bytes=file.journal.reserve_bytes,
        ship_interval_seconds=file.shipper.interval,
        ship_batch=file.shipper.batch,
        tls=None,
    )


def _tls(route: RouteDocument, reading: _Reading) -> ListenerTls | None:
    certificate = reading.path("tls_certificate", route.text("tls_certificate"))
    key = reading.path("tls_key", route.text("tls_key"))
    client_ca = reading.path("tls_client_ca", route.text("tls_client_ca"))
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
    if not keys.startswith(KEYS_IN_FILE):
        return keys
    return f"{KEYS_IN_FILE}{config.parent / keys.removeprefix(KEYS_IN_FILE)}"


def _addresses(name: str, in_file: Sequence[str], reading: _Reading) -> tuple[Address, ...]:
    """Return where to listen: one address, or several with commas between them."""
    listed = [reading.text(name, None)] if name in reading.given else in_file
    found: list[Address] = []
    for item, texts in enumerate(listed):
        for text in texts.split(","):
            address = _address(name, text.strip(), reading, item)
            if address.port and address in found:
                reading.fault(name, f"{address} is given twice", "each address once", item=item)
            found.append(address)
    return tuple(found)


def _address(name: str, text: str, reading: _Reading, item: int) -> Address:
    host, _, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535
    if not is_port or not _HOST.fullmatch(host):
        message = f"{text!r} is not an address" if text else "given, but empty"
        reading.fault(name, message, "host:port, or [address]:port for IPv6", item=item)
        return Address("", 0)
    host = host.removeprefix("[").removesuffix("]")
    return Address(str(address_in(host) or host), int(port))


def _check_counters(text: str, reading: _Reading) -> None:
    if text == _MEMORY:
        return
    try:
        parse_redis_url(text)
    except GatewayError as error:
        meant = suggestion(text, (_MEMORY,))
        choice = f"{meant} otherwise" if meant.endswith("?") else f"{_MEMORY}, or"
        reading.fault("counters", error.message, f"{choice} {error.hint}")


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
