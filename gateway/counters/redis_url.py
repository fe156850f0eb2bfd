"""Where a Redis is and how to speak to it, from one URL.

``redis://[user[:password]@]host[:port][/database]``, ``rediss://...`` for TLS, and
``unix://[user[:password]@]/path/to/socket[?db=0]``. The TLS options follow the question mark under
the names that redis-py gave them.
"""

import re
import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway.errors import GatewayError

DEFAULT_PORT = 6379

_HINT = (
    "write redis://[user:password@]host:port/0, rediss://host:port/0 (TLS; options ssl_ca_certs, "
    "ssl_certfile, ssl_keyfile, ssl_cert_reqs, ssl_check_hostname) or unix:///path/to.sock?db=0"
)
_SCHEMES = frozenset({"redis", "rediss", "unix"})
_LATER_SCHEMES = frozenset({"redis+cluster", "rediss+cluster", "redis+sentinel"})
_TLS_OPTIONS = {
    "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname",
}  # fmt: skip
_AT_BEHIND_HOST = re.compile(r"//[^/?]*[/?].*@")
_SWITCHES = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """One server. ``unix_path`` set means a Unix socket, else host and port count.

    Attributes:
        tls: Ready to use, files read and checked; None for plain text.
        password: Never shown: not in logs, errors or ``repr``.
    """

    host: str
    port: int
    unix_path: str | None
    database: int
    username: str | None
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """Return what logs and errors call this server; nothing secret."""
        place = self.unix_path or f"{self.host}:{self.port}"
        return f"{place}/{self.database}"


def parse_redis_url(url: str) -> RedisAddress:
    """Return the address that a URL means. Reads the TLS files that it names.

    Raises:
        GatewayError: ``counters.url_invalid``, without repeating the URL, which holds a password.
    """
    if "#" in url:
        raise _invalid("has a fragment; write '#' in a password as %23")
    if not url.lower().startswith("unix:") and _AT_BEHIND_HOST.search(url):
        raise _invalid("has an @ behind a / or a ?; in a password write / as %2F, ? as %3F")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Its text repeats what it could not read, which may be a piece of the password.
        raise _invalid("is not a URL") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    is_unix = parts.scheme == "unix"
    if parts.scheme in _LATER_SCHEMES:
        raise _invalid(f"has the scheme {parts.scheme}: not supported by this version")
    if not parts.scheme:
        raise _invalid("names no counter store: it is no URL")
    if parts.scheme not in _SCHEMES:
        raise _invalid(f"names no counter store: unknown scheme {parts.scheme!r}")
    allowed = {"db"} | (_TLS_OPTIONS if parts.scheme == "rediss" else set())
    unknown = sorted(set(options) - allowed)
    if unknown:
        raise _invalid(f"has unknown options: {', '.join(unknown)}")
    path = unquote(parts.path)
    if is_unix and not path:
        raise _invalid("names no socket")
    if not is_unix and not parts.hostname:
        raise _invalid("names no host")
    return RedisAddress(
        host="" if is_unix else (parts.hostname or ""),
        port=port or DEFAULT_PORT,
        unix_path=path if is_unix else None,
        database=_database(options.get("db") or ("" if is_unix else path.strip("/"))),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=_tls(options) if parts.scheme == "rediss" else None,
    )


def _database(text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise _invalid("names its database by something else than a number")
    return int(text or 0)


def _tls(options: dict[str, str]) -> ssl.SSLContext:
    requirement = options.get("ssl_cert_reqs", "required")
    check = options.get("ssl_check_hostname", "true").lower()
    if requirement not in {"required", "none"} or check not in _SWITCHES:
        raise _invalid("takes ssl_cert_reqs=required|none and ssl_check_hostname=true|false")
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except OSError as error:
        raise _invalid(f"names TLS files that can't be used ({error.strerror})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if requirement == "none" or not _SWITCHES[check]:
        context.check_hostname = False
    if requirement == "none":
        context.verify_mode = ssl.CERT_NONE
    return context


def _invalid(what: str) -> GatewayError:
    return GatewayError("counters.url_invalid", f"the counter store's URL {what}", _HINT)
