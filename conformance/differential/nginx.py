"""nginx as a plain reverse proxy, as one would set it up for an API."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from conformance.outcome import BUILD, MissingToolError
from conformance.subject import free_port

READY_SECONDS: Final = 10.0
_CONFIGURATION: Final = """\
daemon off;
worker_processes 1;
{user}
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_max_body_size 0;
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
      proxy_buffering off;
    }}
  }}
}}
"""


def version() -> str:
    """Return nginx's version, such as ``1.22.1``."""
    if shutil.which("nginx") is None:
        raise MissingToolError("nginx")
    told = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True)
    return (told.stdout + told.stderr).strip().rpartition("/")[2].split()[0]


@asynccontextmanager
async def proxying(upstream_port: int) -> AsyncIterator[int]:
    """Start nginx before an upstream; yield its port."""
    folder = BUILD / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        _CONFIGURATION.format(user=user, upstream=upstream_port, port=port)
    )
    process = await asyncio.create_subprocess_exec(
        "nginx", "-p", str(folder), "-c", "nginx.conf", stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield port
    finally:
        process.terminate()
        await process.wait()
