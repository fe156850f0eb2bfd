"""nginx twice: the upstream (constant answers at C speed), and a bare proxy before it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers.port import Running, Unavailable, launch, version_of
from bench.ports import free_port

ROOT = Path(__file__).parents[2]
ANSWER = '{"id":"run_1","object":"run","status":"succeeded","dc_used":1,"result":{"ok":true}}'

FRAME = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_max_body_size 0;
  keepalive_requests 100000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {servers}
}}
"""

UPSTREAM = """
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    default_type application/json;
    location / {{ return 200 '{answer}'; }}
    location /v1/broken {{ return 500 '{answer}'; }}
    location = /v1/taken {{
      # The whole body is read before anything is answered.
      client_body_buffer_size 2m;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_pass http://127.0.0.1:{port}/v1/status;
    }}
    location = /v1/megabyte {{ alias {folder}/megabyte; }}
    location = /v1/hundred-megabytes {{ alias {folder}/hundred-megabytes; }}
    location ~ ^/v1/(events|echo|chat/completions)$ {{
      proxy_pass http://127.0.0.1:{streams_port};
      proxy_buffering off;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}
"""
BODIES = {"megabyte": 1, "hundred-megabytes": 100}
UPGRADES = """
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
"""
FORWARDING = """
      proxy_pass http://target;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_buffers 8 64k;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host;
"""
"""Bodies pass without a stop on the disk, WebSockets pass, connections are kept."""

PROXY = f"""{UPGRADES}
  upstream target {{{{
    server 127.0.0.1:{{upstream_port}};
    keepalive 1024;
    keepalive_requests 100000000;
  }}}}
  server {{{{
    listen 127.0.0.1:{{port}} backlog=1024;
    location / {{{{
{FORWARDING}
    }}}}
  }}}}
"""


class Upstream:
    """The server behind all peers."""

    name = "upstream"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Listen on the upstream's port; streams come from a process of Python beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, megabytes in BODIES.items():
            (folder / name).write_bytes(b"0123456789abcdef" * 65_536 * megabytes)
        streams_port = free_port()
        streams = launch(
            [sys.executable, "-m", "bench.streams", str(streams_port)],
            folder / "streams",
            streams_port,
            environment=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        servers = UPGRADES.format() + UPSTREAM.format(
            port=upstream_port, answer=ANSWER, folder=folder, streams_port=streams_port
        )
        return _start(folder, upstream_port, servers, beside={"streams": streams})


class Proxy:
    """nginx as a proxy that decides nothing, with pooled upstream connections."""

    name = "nginx"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Listen on a free port."""
        port = free_port()
        return _start(folder, port, PROXY.format(port=port, upstream_port=upstream_port))


class Direct:
    """The upstream asked directly: what generator and upstream take without anything between."""

    name = "direct"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Start nothing."""
        del folder
        return Running(upstream_port, "the upstream itself", {})


def _start(
    folder: Path,
    port: int,
    servers: str,
    *,
    beside: dict[str, subprocess.Popen[bytes]] | None = None,
) -> Running:
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise Unavailable("nginx is not installed: apt-get install nginx, or brew install nginx")
    folder.mkdir(parents=True, exist_ok=True)
    # A worker that gave up root could not read this folder.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(FRAME.format(user=user, folder=folder, servers=servers))
    process = launch([nginx, "-p", str(folder), "-c", str(configuration)], folder, port)
    return Running(port, version_of([nginx, "-v"]), {"nginx": process, **(beside or {})})
