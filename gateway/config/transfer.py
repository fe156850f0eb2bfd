"""A loaded configuration as JSON and back: typed, tagged, and nothing that could run.

Only the classes named here can be made; an unknown tag or class is an error. The matcher is built
anew from the routes; counters begin at zero, or are those of a former configuration.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import orjson

from gateway.config import loaded, snapshot
from gateway.config.loaded import Loaded
from gateway.config.matcher import RouteMatcher
from gateway.errors import Fault
from gateway.rules import limits, plan, units, windows

_LEFT_OUT: Final = frozenset({(snapshot.Snapshot, "matcher"), (snapshot.Route, "counters")})


def _classes(*modules: ModuleType) -> dict[str, type]:
    """Return the dataclasses and enums that these modules define."""
    return {
        name: thing
        for module in modules
        for name, thing in vars(module).items()
        if isinstance(thing, type) and (is_dataclass(thing) or issubclass(thing, Enum))
    }


_KNOWN: Final = _classes(loaded, snapshot, limits, plan, units, windows) | {"Fault": Fault}


class Untransferable(ValueError):  # noqa: N818 - it is the value that is at fault
    """A value that a configuration can't hold, or a tag that nobody wrote."""


def dump(configuration: Loaded) -> bytes:
    """Return a configuration as JSON."""
    return json_bytes(_encode(configuration))


def restore(text: bytes, counters: Mapping[str, snapshot.RouteCounters] | None = None) -> Loaded:
    """Return the configuration of a JSON text.

    Args:
        text: As ``dump`` wrote it.
        counters: By route's name: what these routes go on counting with.

    Raises:
        Untransferable: it is not one.
    """
    try:
        found = _Decoder(counters or {}).decode(json_value(text))
    except (json.JSONDecodeError, TypeError, KeyError, ValueError) as error:
        raise Untransferable(f"not a configuration: {error}") from error
    if not isinstance(found, Loaded):
        raise Untransferable("not a configuration")
    return found


def json_bytes(value: object) -> bytes:
    """Return a value as JSON in ASCII or UTF-8.

    A path's bytes may be no UTF-8: Python has them as lone surrogates, which orjson refuses.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def json_value(text: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return what ``json_bytes`` wrote.

    Raises:
        json.JSONDecodeError: it is no JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _encode(value: object) -> object:
    if value is None or isinstance(value, bool | int | float) or type(value) is str:
        return value
    if isinstance(value, Enum):
        return {"enum": [type(value).__name__, value.value]}
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, IPv4Network | IPv6Network):
        return {"network": str(value)}
    if isinstance(value, tuple | frozenset):
        return {type(value).__name__: [_encode(item) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if is_dataclass(value) and type(value).__name__ in _KNOWN:
        names = [field.name for field in fields(value)]
        kept = [name for name in names if (type(value), name) not in _LEFT_OUT]
        return {type(value).__name__: {name: _encode(getattr(value, name)) for name in kept}}
    raise Untransferable(f"can't be part of a configuration: {type(value).__name__}")


class _Decoder:
    """Makes equal parts one object, as they were."""

    def __init__(self, counters: Mapping[str, snapshot.RouteCounters]) -> None:
        self._counters = counters
        self._made: dict[object, object] = {}
        self._tags: Mapping[str, Callable[[Any], object]] = {
            "enum": lambda told: _KNOWN[told[0]](told[1]),
            "bytes": lambda text: text.encode("latin-1"),
            "path": Path,
            "network": ip_network,
            "tuple": lambda items: tuple(self.decode(item) for item in items),
            "frozenset": lambda items: frozenset(self.decode(item) for item in items),
            "dict": lambda pairs: {self.decode(key): self.decode(item) for key, item in pairs},
        }

    def decode(self, value: object) -> object:
        """Return what an encoded value means."""
        if not isinstance(value, dict):
            return value
        ((tag, content),) = value.items()
        plain = self._tags.get(tag)
        return plain(content) if plain is not None else self._make(_KNOWN[tag], content)

    def _make(self, kind: type, content: Mapping[str, object]) -> object:
        facts = {name: self.decode(item) for name, item in content.items()}
        if kind is snapshot.Snapshot:
            routes = facts["routes"]
            return kind(**facts, matcher=RouteMatcher(routes))  # type: ignore[arg-type]
        if kind is snapshot.Route and facts["name"] in self._counters:
            facts["counters"] = self._counters[str(facts["name"])]
        made: object = kind(**facts)
        try:
            return self._made.setdefault(made, made)
        except TypeError:
            return made
