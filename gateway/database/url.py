"""Which database a URL names: one rule for settings, options, variables and engines.

``sqlite:///folder/file.db`` is relative to where a program was started, ``sqlite:////folder/file``
absolute. ``postgresql://user:password@host:5432/name?parameter=value`` has the form and the
parameters of libpq (PostgreSQL documentation, 34.1.1.2 and 34.1.2), several hosts included;
``postgres://`` is the same. An error never repeats the URL: it may hold a password.

Pure: it loads no driver, so that reading a configuration does not either.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote

from gateway.errors import GatewayError

URL_HINT: Final = "write sqlite:///folder/file.db or postgresql://user:password@host:5432/name"

DEFAULT_PORT: Final = "5432"

_SQLITE: Final = frozenset({"sqlite"})
_POSTGRESQL: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg", "postgres+psycopg"})

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,39}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PARAMETER: Final = re.compile(r"[a-z_]{1,40}")

_FOR_STANDBYS: Final = frozenset({"read-only", "standby", "prefer-standby"})
"""Values of ``target_session_attrs`` that lead to a server which takes no writes."""

_REPEATABLE: Final = {"host": ",", "port": ",", "hostaddr": ",", "options": " "}
"""Parameters that may be repeated, and what joins their values."""

LIBPQ_PARAMETERS: Final = frozenset(
    {
        *("application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname"),
        *("fallback_application_name", "gssdelegation", "gssencmode", "gsslib", "host", "hostaddr"),
        *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname"),
        *("load_balance_hosts", "max_protocol_version", "min_protocol_version", "oauth_client_id"),
        *("oauth_client_secret", "oauth_issuer", "oauth_scope", "options", "passfile", "password"),
        *("port", "require_auth", "requirepeer", "scram_client_key", "scram_server_key", "service"),
        *("ssl_max_protocol_version", "ssl_min_protocol_version", "sslcert", "sslcertmode"),
        *("sslcompression", "sslcrl", "sslcrldir", "sslkey", "sslkeylogfile", "sslmode"),
        *("sslnegotiation", "sslpassword", "sslrootcert", "sslsni", "target_session_attrs"),
        *("tcp_user_timeout", "user"),
    }
)
"""libpq's, of all versions; ``replication`` is left out: such a connection takes no queries."""


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    """A file on this machine."""

    file: Path

    @property
    def address(self) -> str:
        """Return what logs and errors call this database."""
        return f"sqlite:///{self.file}"


@dataclass(frozen=True, slots=True)
class PostgresqlUrl:
    """A database on one of several servers.

    Attributes:
        keywords: libpq's connection parameters, as the URL says them. Never shown.
    """

    keywords: Mapping[str, str] = field(repr=False)

    @property
    def hosts(self) -> str:
        """Return hosts with their ports, as logs and errors show them; nothing secret."""
        names = (self.keywords.get("host") or self.keywords.get("hostaddr") or "").split(",")
        ports = self.keywords.get("port", "").split(",")
        if len(ports) < len(names):
            ports = ports[:1] * len(names)
        shown = (
            f"{f'[{name}]' if ':' in name else name}{f':{port}' if port else ''}"
            for name, port in zip(names, ports, strict=False)
        )
        return ",".join(shown)

    @property
    def has_several_hosts(self) -> bool:
        """Whether there is a choice of servers."""
        return "," in self.keywords.get("host", self.keywords.get("hostaddr", ""))

    @property
    def database(self) -> str:
        """Return the database's name on its server; empty if the URL leaves that to libpq."""
        return self.keywords.get("dbname", "")

    @property
    def address(self) -> str:
        """Return what logs and errors call this database, without user, password, parameters."""
        return f"postgresql://{self.hosts or '(local socket)'}/{self.database}"


DatabaseUrl = SqliteUrl | PostgresqlUrl


def parse_database_url(text: str) -> DatabaseUrl:
    """Return what a URL names.

    Raises:
        GatewayError: ``database.url_invalid``; neither message nor cause repeats the URL.
    """
    if _CONTROL.search(text) or text != text.strip():
        raise url_invalid("has a line break or a blank at an end, or a control character")
    scheme, separator, rest = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise url_invalid("names no database: it is no URL")
    if scheme.lower() in _SQLITE:
        return _sqlite(rest)
    if scheme.lower() in _POSTGRESQL:
        return _postgresql(rest)
    raise url_invalid(f"names no database: the kind {scheme!r} is not known")


def url_invalid(what: str) -> GatewayError:
    """Return the error of a URL that can't be used."""
    return GatewayError("database.url_invalid", f"the database URL {what}", URL_HINT)


def _sqlite(rest: str) -> SqliteUrl:
    name = rest.removeprefix("/")
    if name in {"", ":memory:"} or name.startswith("file:"):
        raise url_invalid("names no file; a database in memory would forget what was billed")
    if "?" in name or not rest.startswith("/"):
        raise url_invalid(
            "takes neither host nor parameters for sqlite; an absolute path has four slashes"
        )
    return SqliteUrl(Path(name))


def _postgresql(rest: str) -> PostgresqlUrl:
    ends = [rest.find(mark) for mark in "/?#" if mark in rest]
    authority = rest[: min(ends, default=len(rest))]
    behind = rest[len(authority) :]
    if "@" in behind:
        # A password goes on behind what ended it here: nothing of it is repeated.
        raise url_invalid(
            f"has an @ behind a {behind[0]}; in a password write {behind[0]} as "
            f"%{ord(behind[0]):02X}, and elsewhere @ as %40"
        )
    if authority.count("@") > 1:
        raise url_invalid("has an @ too many; write one in a password as %40")
    if "#" in behind:
        raise url_invalid("has a #; write one in a password as %23")
    if _STRAY_PERCENT.search(rest) or "%00" in rest:
        raise url_invalid("has a % that begins no code such as %40; write % itself as %25")
    path, _, query = behind.partition("?")
    keywords = _identity(authority) | _place(authority)
    if len(path) > 1:
        keywords["dbname"] = unquote(path[1:])
    keywords |= _parameters(query)
    if not keywords:
        raise url_invalid("names neither a host nor a database")
    if keywords.get("target_session_attrs") in _FOR_STANDBYS:
        raise url_invalid("asks for a standby (target_session_attrs); the gateway writes")
    return PostgresqlUrl(keywords)


def _identity(authority: str) -> dict[str, str]:
    user, colon, password = authority.rpartition("@")[0].partition(":")
    found = {"user": unquote(user)} if user else {}
    if colon and password:
        found["password"] = unquote(password)
    return found


def _place(authority: str) -> dict[str, str]:
    """Return hosts and ports, in as many parts as there are hosts."""
    text = authority.rpartition("@")[2]
    if not text:
        return {}
    hosts, ports = [], []
    for part in text.split(","):
        host, port = _host_and_port(part)
        if not host and "," in text:
            raise url_invalid("has an empty host between commas")
        hosts.append(host)
        ports.append(port)
    found = {"host": ",".join(hosts)} if any(hosts) else {}
    if any(ports):
        found["port"] = ",".join(port or DEFAULT_PORT for port in ports)
    return found


def _host_and_port(part: str) -> tuple[str, str]:
    if part.startswith("["):
        host, bracket, port = part[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise url_invalid("has an IPv6 address that its bracket does not end")
        port = port[1:]
    else:
        host, _, port = part.partition(":")
        host = unquote(host)
    is_port = port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65_535
    if port and not is_port:
        # It may be a password whose user or @ is missing: it is not repeated.
        raise url_invalid("has a port that is no number from 1 to 65535")
    return host, port


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    if not query:
        return found
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise url_invalid("has a parameter without a value") from None
    for name, value in pairs:
        if name not in LIBPQ_PARAMETERS:
            shown = f" {name}" if _PARAMETER.fullmatch(name) else ""
            raise url_invalid(f"has an unknown parameter{shown}; it takes those of libpq")
        if name in found and name not in _REPEATABLE:
            raise url_invalid(f"has the parameter {name} twice")
        found[name] = f"{found[name]}{_REPEATABLE[name]}{value}" if name in found else value
    return found
