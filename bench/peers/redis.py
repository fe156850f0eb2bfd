"""A Redis of a peer's own, and what the peers that are no gateway do in it."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from bench.peers.port import Unavailable, launch
from bench.ports import free_port

CHARGE = """\
local now = redis.call('TIME')
local micro = now[1] * 1000000 + now[2]
local after = {}
for index, key in ipairs(KEYS) do
  local count = tonumber(redis.call('GET', key) or '0')
  if count + 1 > tonumber(ARGV[2 * index - 1]) then
    return {0, micro, count}
  end
  after[index] = count + 1
end
for index, key in ipairs(KEYS) do
  redis.call('INCRBY', key, 1)
  redis.call('EXPIREAT', key, ARGV[2 * index])
end
return {1, micro, unpack(after)}
"""
"""Two limits, all or nothing, by the store's clock: what the gateway's script does, in short."""


SECRET = "bench-key-0123456789abcdef"
LIMITED_SECRET = "bench-key-with-nothing-left"
LIMIT = 1_000_000_000
OTHER_CALLERS = {
    "limited": {"Authorization": f"Bearer {LIMITED_SECRET}"},
    "unknown": {"Authorization": "Bearer bench-key-that-nobody-has"},
}


def enter_keys(port: int) -> None:
    """Write who may call: one with room for all that a bench can ask, one with none."""
    for secret, workspace, limit in ((SECRET, "bench", LIMIT), (LIMITED_SECRET, "limited", 0)):
        caller = {"workspace": workspace, "key": "key_bench", "plan": "STARTER", "limit": limit}
        name = f"key:{hashlib.sha256(secret.encode()).hexdigest()}"
        command = ["redis-cli", "-p", str(port), "SET", name, json.dumps(caller)]
        subprocess.run(command, check=True, capture_output=True)


def start(folder: Path, *, socket: Path | None = None) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a Redis that writes nothing to the disk; return its port and process.

    Args:
        socket: Listen there too.

    Raises:
        Unavailable: it is not installed.
    """
    server = shutil.which("redis-server")
    if server is None:
        raise Unavailable("redis-server is not installed: apt-get install redis-server")
    port = free_port()
    command = [server, "--port", str(port), "--save", "", "--appendonly", "no"]
    command += ["--unixsocket", str(socket)] if socket else []
    return port, launch(command, folder / "redis", port)
