"""Keys that are written down by hand, in a YAML file or a variable: read, judged, printed (B3)."""

from pathlib import Path
from typing import Final

import yaml

from gateway.errors import ConfigError, Fault
from gateway.keys.document import Keys, read_workspaces
from gateway.keys.format import FOREIGN_BYTES_MAX, FOREIGN_BYTES_MIN, PREFIX
from gateway.keys.port import NewKey, Workspace
from gateway.keys.variable import parse_variable, value_of

Written = tuple[Keys, list[Workspace]]
"""What is written: keys, and workspaces with and without keys."""


OWN_START: Final = f"{PREFIX}_"
"""With this begin the keys that a gateway makes."""


def read_written(path: Path) -> Written:
    """Return what a key file holds, whatever plans there are.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([Fault(str(path), 1, 1, "(file)", f"can't be read: {reason}")]) from error
    return read_workspaces(content, str(path))


def read_variable(name: str) -> Written:
    """Return what an environment variable holds, whatever plans there are.

    Raises:
        ConfigError: it is wrong.
        GatewayError: it is not set.
    """
    return parse_variable(value_of(name), name)


def foreign_warnings(keys: Keys, *, accepts_foreign: bool) -> list[str]:
    """Return what is to be said of keys that were made elsewhere, going by their prefixes.

    Only the hash of a key is written down, so whether it is long enough can't be seen here.
    """
    foreign = [key for key in keys.values() if key.prefix and not key.prefix.startswith(OWN_START)]
    if accepts_foreign:
        bounds = f"{FOREIGN_BYTES_MIN} to {FOREIGN_BYTES_MAX} bytes of printable ASCII"
        told = f"{_counted(len(foreign))} made elsewhere; one is refused unless it has {bounds}"
        return [told] if foreign else []
    return [
        f"key {key.key_id!r} was made elsewhere, as its prefix shows: it is refused unless the "
        "route file says foreign_keys: true"
        for key in foreign
    ]


def entry_text(key: NewKey, expires_at: str | None) -> str:
    """Return the YAML lines of a key, to stand under its workspace's ``keys``."""
    entry: dict[str, object] = {
        "id": key.key_id,
        "sha256": key.key_hash.hex(),
        "prefix": key.prefix,
    }
    if key.name:
        entry["name"] = key.name
    if expires_at is not None:
        entry["expires_at"] = expires_at
    if key.features is not None:
        entry["features"] = list(key.features)
    if key.networks:
        entry["cidrs"] = list(key.networks)
    return yaml.safe_dump([entry], sort_keys=False, allow_unicode=True)


def _counted(count: int) -> str:
    return "1 key was" if count == 1 else f"{count} keys were"
