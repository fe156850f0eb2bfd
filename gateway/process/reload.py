"""A changed configuration is compiled whole, swapped in between two requests, or refused whole.

Folders are watched, not files: Kubernetes swaps a ConfigMap by renaming a symbolic link there.
Source: design section 11; requirement A3.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import structlog
import watchfiles

from gateway.config.loaded import Loaded, changed_options
from gateway.config.snapshot import RouteCounters, Snapshot
from gateway.config.sources import digest, read_all
from gateway.errors import GatewayError
from gateway.process.loading import load_in_child
from gateway.telemetry.metrics import WorkerStats

SETTLE_MILLISECONDS = 100
"""Changes are gathered for so long: an editor writes a file in several steps."""
LOOK_MILLISECONDS = 10_000
"""Without an event the files are looked at this often: network file systems send none, and what
changed between the start and the first watch sent one to nobody. It costs a read of the files."""

_log = structlog.get_logger("config")


def log_warnings(loaded: Loaded) -> None:
    """Name what a configuration allows and probably does not mean."""
    for warning in loaded.warnings:
        _log.warning("config.warning", warning=str(warning))


class Reloader:
    """Watches the files of a configuration.

    Args:
        loaded: What is in force.
        overrides: Command line settings, applied again.
        swap: Puts a snapshot in force.
        stats: Counted up.
        compare: Looks whether a configuration turns the API off for workspaces of a database;
            blocking. Raises ``GatewayError``: it does, or that can't be known now.
    """

    def __init__(
        self,
        loaded: Loaded,
        overrides: Mapping[str, str],
        swap: Callable[[Snapshot], None],
        stats: WorkerStats,
        compare: Callable[[Loaded], None] = lambda _loaded: None,
    ) -> None:
        self._started_with = loaded
        self._loaded = loaded
        self._overrides = overrides
        self._swap = swap
        self._stats = stats
        self._compare = compare
        self._stop = asyncio.Event()
        self._turn = asyncio.Lock()
        self._seen = loaded.snapshot.source_digest
        self._refused: list[str] | None = None
        self._is_blind = False

    async def watch(self) -> None:
        """Reload at every change until ``close``; a reload may add folders to watch."""
        while not self._stop.is_set():
            folders = self._folders()
            try:
                async for changes in self._changes(folders):
                    self._is_blind = False
                    await self._look(bool(changes))
                    if self._folders() != folders:
                        break
            except Exception as error:  # noqa: BLE001 - no more inotify instances, a folder gone ...
                if not self._is_blind:
                    self._is_blind = True
                    _log.warning("config.not_watched", error=str(error) or repr(error))
                await self._pause(LOOK_MILLISECONDS / 1000)
                await self._look(is_changed=False)

    def _changes(self, folders: Iterable[Path]) -> AsyncIterator[set[watchfiles.main.FileChange]]:
        return watchfiles.awatch(
            *folders,
            watch_filter=self._concerns,
            stop_event=self._stop,
            step=SETTLE_MILLISECONDS,
            rust_timeout=LOOK_MILLISECONDS,
            yield_on_timeout=True,
            recursive=False,
        )

    async def _look(self, is_changed: bool) -> None:  # noqa: FBT001 - its only parameter
        """Reload what changed, or try again what was refused: it may name a file that came since.

        Which files that are, nobody knows before it compiles.
        """
        is_retry = self._refused is not None
        if is_changed or is_retry or await self._differs_from_what_was_seen():
            await self.reload(is_retry=is_retry and not is_changed)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond ``close``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def _folders(self) -> frozenset[Path]:
        return frozenset(file.parent for file in self._loaded.files)

    def _concerns(self, _change: watchfiles.Change, path: str) -> bool:
        """Return whether a change may be one of ours: a file of the configuration, or a swap."""
        name = Path(path).name
        return name.startswith("..") or any(name == file.name for file in self._loaded.files)

    async def _differs_from_what_was_seen(self) -> bool:
        return await self._digest() != self._seen

    async def _digest(self) -> str:
        return digest(await asyncio.to_thread(read_all, self._loaded.files))

    @property
    def loaded(self) -> Loaded:
        """What is in force."""
        return self._loaded

    @property
    def is_refused(self) -> bool:
        """Whether what is on disk is not what is in force, because it was refused."""
        return self._refused is not None

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    async def reload(self, *, is_retry: bool = False) -> bool:
        """Compile the files as they are now; return whether a new snapshot is in force.

        Args:
            is_retry: Nobody asked for it: the same faults need not be told again.
        """
        async with self._turn:
            self._seen = await self._digest()
            if self._seen == self._loaded.snapshot.source_digest:
                self._accept_what_is_in_force()
                return False
            version = self._loaded.snapshot.version + 1
            path = self._loaded.files[0]
            try:
                loaded = await asyncio.to_thread(
                    load_in_child, path, self._overrides, version, self._counters()
                )
                await asyncio.to_thread(self._compare, loaded)
            except GatewayError as error:
                self._refuse(error.message, is_retry=is_retry)
                return False
            self._seen = loaded.snapshot.source_digest
            if self._seen == self._loaded.snapshot.source_digest:
                self._accept_what_is_in_force()
                return False
            try:
                self._swap(loaded.snapshot)
            except OSError as error:  # a certificate was replaced since it was read
                self._refuse(str(error), is_retry=is_retry)
                return False
            self._loaded = loaded
            self._refused = None
            self._stats.reload_refused = 0
            self._tell_restart_needed()
            self._stats.reloads += 1
            _log.info("config.reloaded", version=version, routes=len(loaded.snapshot.routes))
            log_warnings(loaded)
            return True

    def _refuse(self, message: str, *, is_retry: bool) -> None:
        faults = message.splitlines()
        if not is_retry or faults != self._refused:
            self._stats.reload_errors += 1
            _log.error("config.reload_refused", faults=faults)
        self._refused = faults
        self._stats.reload_refused = 1

    def _accept_what_is_in_force(self) -> None:
        """Note that the files are again what is in force: an alert on the refusal is over."""
        if self._refused is not None:
            self._refused = None
            self._stats.reload_refused = 0
            _log.info("config.restored", version=self._loaded.snapshot.version)

    def _counters(self) -> dict[str, RouteCounters]:
        """Return what routes counted so far: whoever reads metrics knows a route by its name."""
        return {route.name: route.counters for route in self._loaded.snapshot.routes}

    def _tell_restart_needed(self) -> None:
        """Compare with what the process started with."""
        changed = changed_options(self._started_with.settings, self._loaded.settings)
        # The ledger guards runs as the pricing files said when it was opened.
        if self._started_with.run_retention_seconds != self._loaded.run_retention_seconds:
            changed.append("idempotency_retention_days")
        if changed:
            _log.warning("config.restart_needed", settings=changed)
