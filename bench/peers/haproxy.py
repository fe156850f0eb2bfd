"""HAProxy as a bare proxy: one thread, pooled upstream connections, nothing decided."""

import os
import shutil
from pathlib import Path

from bench.peers.port import Running, Unavailable, launch, version_of
from bench.ports import free_port

CONFIGURATION = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
  option http-keep-alive
  http-reuse always
frontend clients
  bind 127.0.0.1:{port} backlog 1024
  default_backend target
backend target
  server one 127.0.0.1:{upstream_port} pool-max-conn 1024
"""


class Haproxy:
    """HAProxy before the upstream."""

    name = "haproxy"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Listen on a free port."""
        program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise Unavailable("haproxy is not installed: apt-get install haproxy")
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        file = folder / "haproxy.cfg"
        file.write_text(CONFIGURATION.format(port=port, upstream_port=upstream_port))
        process = launch([program, "-db", "-f", str(file)], folder, port)
        return Running(port, version_of([program, "-v"]), {"haproxy": process})
