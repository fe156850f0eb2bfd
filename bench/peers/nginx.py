"""nginx twice: the upstream (a constant JSON answer at C speed), and a bare proxy before it."""

import os
import shutil
from pathlib import Path

from bench.peers.port import Running, Unavailable, launch, version_of
from bench.ports import free_port

ANSWER = '{"id":"run_1","object":"run","status":"succeeded","dc_used":1,"result":{"ok":true}}'

FRAME = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
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
  }}
"""

PROXY = """
  upstream target {{
    server 127.0.0.1:{upstream_port};
    keepalive 128;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://target;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
    }}
  }}
"""


class Upstream:
    """The server behind all peers."""

    name = "upstream"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Listen on the upstream's port."""
        return _start(folder, upstream_port, UPSTREAM.format(port=upstream_port, answer=ANSWER))


class Proxy:
    """nginx as a proxy that decides nothing, with pooled upstream connections."""

    name = "nginx"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Listen on a free port."""
        port = free_port()
        return _start(folder, port, PROXY.format(port=port, upstream_port=upstream_port))


def _start(folder: Path, port: int, servers: str) -> Running:
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if nginx is None:
        raise Unavailable("nginx is not installed: apt-get install nginx, or brew install nginx")
    folder.mkdir(parents=True, exist_ok=True)
    # A worker that gave up root could not read this folder.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(FRAME.format(user=user, folder=folder, servers=servers))
    process = launch([nginx, "-p", str(folder), "-c", str(configuration)], folder, port)
    return Running(port, version_of([nginx, "-v"]), {"nginx": process})
