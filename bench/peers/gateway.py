"""The gateway."""

from pathlib import Path

from bench.peers.port import Running, Unavailable


class Gateway:
    """Filled in below once it can be started."""

    name = "gateway"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Refuse."""
        raise Unavailable("not yet")
