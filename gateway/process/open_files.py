"""How many files a worker may have open, and how many of them may be clients.

Sockets are files. A worker that runs into the bound can't reach its upstreams, its store or its
journal any more; so it takes what the system allows, and of that leaves something to the others.
"""

import resource
from typing import Final

import structlog

from gateway.config.snapshot import Snapshot

RESERVED: Final = 128
"""For the journal, the store, the ledger, admin, logs and libraries."""
CLIENTS_MIN: Final = 16
"""Where even the upstreams' share is more than there is, somebody must still be served."""

_log = structlog.get_logger("worker")


def raise_bound() -> int:
    """Raise the process's bound of open files as far as it may; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard or hard == resource.RLIM_INFINITY:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft  # macOS allows less than it says
        return hard
    return soft


def clients_max(snapshot: Snapshot, open_files_max: int) -> int:
    """Return how many clients there may be, so that everything else finds room.

    Args:
        snapshot: Whose upstreams need connections too.
        open_files_max: The process's bound.
    """
    wanted = snapshot.limits.connections_max
    upstreams = sum(upstream.connections_max for upstream in snapshot.upstreams)
    if open_files_max < 0 or wanted + upstreams + RESERVED <= open_files_max:
        return wanted
    left = max(CLIENTS_MIN, open_files_max - upstreams - RESERVED)
    _log.warning(
        "worker.few_open_files",
        open_files_max=open_files_max,
        clients_wanted=wanted,
        clients_max=left,
        upstream_connections=upstreams,
    )
    return left
