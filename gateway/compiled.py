"""Compiled modules in the place of their sources, if they were made from exactly these sources.

``tools/compile_hot_path.py`` compiles the request path with mypyc into the package's folder
``_compiled``. A process that calls ``use`` before it imports any of them takes those modules; every
other process (tests among them) runs the sources. A source that was changed since makes all of them
count as absent: compiled modules know each other's memory layout, so it is all or none.
Source: docs/decisions/0010-compiled-request-path.md.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

MANIFEST: Final = "manifest.json"
SWITCH: Final = "GATEWAY_COMPILED"
"""Environment variable; ``no`` keeps a process on the sources."""

MODULES: Final = (
    "gateway.clock",
    "gateway.telemetry.metrics",
    "gateway.http.credentials",
    "gateway.http.event_ends",
    "gateway.http.fields",
    "gateway.http.field_lines",
    "gateway.http.forwarding",
    "gateway.http.frames",
    "gateway.http.hosts",
    "gateway.http.methods",
    "gateway.http.chunks",
    "gateway.http.addresses",
    "gateway.http.origins",
    "gateway.http.json_bodies",
    "gateway.http.paths",
    "gateway.http.problems",
    "gateway.http.ratelimit",
    "gateway.http.run_ids",
    "gateway.http.trailers",
    "gateway.http.usage",
    "gateway.rules.access",
    "gateway.rules.address_groups",
    "gateway.rules.billing",
    "gateway.rules.charge",
    "gateway.rules.charging",
    "gateway.rules.decision",
    "gateway.rules.limits",
    "gateway.rules.plan",
    "gateway.rules.record",
    "gateway.rules.settlement",
    "gateway.rules.units",
    "gateway.rules.windows",
    "gateway.counters.memory",
    "gateway.counters.port",
    "gateway.counters.redis",
    "gateway.counters.redis_commands",
    "gateway.counters.redis_link",
    "gateway.counters.redis_connection",
    "gateway.keys.cache",
    "gateway.keys.format",
    "gateway.keys.last_used",
    "gateway.keys.port",
    "gateway.metering.event_ids",
    "gateway.metering.recorder",
    "gateway.metering.journal",
    "gateway.metering.journal_format",
    "gateway.metering.journal_reader",
    "gateway.metering.journal_segments",
    "gateway.metering.journal_sync",
    "gateway.ledger.rollups",
    "gateway.ledger.rows",
    "gateway.config.snapshot",
    "gateway.config.matcher",
    "gateway.process.clock",
    "gateway.process.access_log",
    "gateway.proxy.active",
    "gateway.proxy.admission",
    "gateway.proxy.answer",
    "gateway.proxy.balancing",
    "gateway.proxy.books",
    "gateway.proxy.caller",
    "gateway.proxy.charging",
    "gateway.proxy.circuit",
    "gateway.proxy.client_times",
    "gateway.proxy.connection",
    "gateway.proxy.costs",
    "gateway.proxy.exchange",
    "gateway.proxy.flow",
    "gateway.proxy.forward",
    "gateway.proxy.head",
    "gateway.proxy.incoming",
    "gateway.proxy.incoming_body",
    "gateway.proxy.outcomes",
    "gateway.proxy.leaving",
    "gateway.proxy.limited_tunnel",
    "gateway.proxy.metered_tunnel",
    "gateway.proxy.openings",
    "gateway.proxy.origins",
    "gateway.proxy.parting",
    "gateway.proxy.pool",
    "gateway.proxy.ports",
    "gateway.proxy.refusal_sums",
    "gateway.proxy.repetition",
    "gateway.proxy.request",
    "gateway.proxy.request_head",
    "gateway.proxy.resolver",
    "gateway.proxy.slices",
    "gateway.story",
    "gateway.proxy.tunnel",
    "gateway.proxy.upstream",
)

_PACKAGE: Final = Path(__file__).parent
FOLDER: Final = _PACKAGE / "_compiled"


class CompiledFinder(MetaPathFinder):
    """Finds modules by name among the compiled ones."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol of import
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        file = self._files.get(fullname)
        if file is None:
            return None
        loader = ExtensionFileLoader(fullname, str(file))
        return spec_from_file_location(fullname, file, loader=loader)


def use() -> bool:
    """Let this process import the compiled modules; return whether it will.

    To be called before any of them is imported.
    """
    if os.environ.get(SWITCH) == "no":
        return False
    files = usable(FOLDER)
    if files is None:
        return False
    sys.meta_path.insert(0, CompiledFinder(files))
    return True


def is_used() -> bool:
    """Return whether this process runs compiled modules."""
    return any(isinstance(finder, CompiledFinder) for finder in sys.meta_path)


def usable(folder: Path) -> Mapping[str, Path] | None:
    """Return the compiled modules of a folder by name, None unless they fit sources and Python."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None
    if manifest["python"] != sys.implementation.cache_tag or manifest["sources"] != digest_of():
        return None
    return {module: folder / name for module, name in manifest["files"].items()}


def source_of(module: str) -> Path:
    """Return the source file of a module of this package."""
    return _PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")


def digest_of() -> str:
    """Return a digest of the sources that are compiled."""
    digest = blake2b(digest_size=16)
    for module in MODULES:
        source = source_of(module).read_bytes()
        digest.update(b"%b %d\n" % (module.encode(), len(source)) + source)
    return digest.hexdigest()
