"""nginx with Lua and Redis doing the gateway's job, as well as one can write it there.

A key by its SHA-256 from Redis, kept in a cache of the worker; two limits in one EVALSHA over a
pooled connection; the RateLimit fields; one record a request, gathered in the worker and sent to a
Redis stream ten times a second, many in one round trip.
"""

import os
import shutil
import subprocess
from pathlib import Path

from bench.peers import redis
from bench.peers.nginx import FORWARDING, FRAME, UPGRADES
from bench.peers.port import Running, Unavailable, launch, version_of
from bench.ports import free_port

MODULES = Path("/usr/lib/nginx/modules")

SERVER = """{upgrades}
  lua_package_path "/usr/share/lua/5.1/?.lua;;";
  upstream target {{
    server 127.0.0.1:{upstream_port};
    keepalive 1024;
    keepalive_requests 100000000;
  }}
  init_by_lua_block {{
    redis = require "nginx.redis"
    sha256 = require "nginx.sha256"
    text = require "nginx.string"
    json = require "cjson.safe"
    callers = require("resty.lrucache").new(10000)
    records = {{}}
    function connected()
      local link = redis:new()
      link:set_timeout(50)
      local done, why = link:connect("127.0.0.1", {redis_port})
      if not done then return nil, why end
      return link
    end
  }}
  init_worker_by_lua_block {{
    ngx.timer.every(0.1, function()
      if #records == 0 then return end
      local taken = records
      records = {{}}
      local link = connected()
      if not link then return end
      link:init_pipeline()
      for _, record in ipairs(taken) do
        link:xadd("records", "MAXLEN", "~", "1000000", "*", "record", record)
      end
      link:commit_pipeline()
      link:set_keepalive(60000, 1024)
    end)
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      access_by_lua_block {{
        local given = ngx.var.http_authorization
        local secret = given and given:match("^Bearer (.+)$")
        if not secret then return ngx.exit(401) end
        local caller = callers:get(secret)
        if caller == false then return ngx.exit(401) end
        local link = connected()
        if not link then return ngx.exit(503) end
        if not caller then
          local hash = sha256:new()
          hash:update(secret)
          local found = link:get("key:" .. text.to_hex(hash:final()))
          if not found then return ngx.exit(503) end
          if found == ngx.null then
            link:set_keepalive(60000, 1024)
            callers:set(secret, false, 5)
            return ngx.exit(401)
          end
          caller = json.decode(found)
          callers:set(secret, caller, 30)
        end
        local now = ngx.now()
        local minute = now - now % 60
        local month = os.date("!%Y-%m", now)
        local ends = minute + 60
        if caller.month ~= month then
          local parts = os.date("!*t", now)
          caller.month = month
          caller.month_ends =
            os.time{{year = parts.year, month = parts.month + 1, day = 1, hour = 0}}
        end
        local answer, why = link:evalsha("{digest}", 2,
          "rpm:{{" .. caller.workspace .. "}}:" .. minute,
          "monthly:{{" .. caller.workspace .. "}}:" .. month,
          caller.limit, ends + 60, caller.limit, caller.month_ends + 86400)
        if not answer then
          ngx.log(ngx.ERR, why)
          return ngx.exit(503)
        end
        link:set_keepalive(60000, 1024)
        ngx.ctx.caller = caller
        if answer[1] == 0 then return ngx.exit(429) end
        local header = ngx.header
        header["RateLimit-Policy"] = '"rpm";q={limit};w=60, "monthly";q={limit};w=2592000'
        header["RateLimit"] = '"rpm";r=' .. ({limit} - answer[3]) .. ";t=" ..
          math.ceil(ends - now) .. ', "monthly";r=' .. ({limit} - answer[4]) .. ";t=" ..
          math.ceil(caller.month_ends - now)
        header["X-Request-Id"] = ngx.var.request_id
      }}
      {forwarding}
      proxy_set_header Authorization "";
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $remote_addr;
      log_by_lua_block {{
        local caller = ngx.ctx.caller
        if not caller then return end
        records[#records + 1] = json.encode{{
          event_id = ngx.var.request_id, workspace_id = caller.workspace, key_id = caller.key,
          plan = caller.plan, route = "status", method = ngx.var.request_method,
          occurred_at = ngx.now(), status = ngx.status, bytes_out = tonumber(ngx.var.bytes_sent),
          latency = tonumber(ngx.var.request_time), charged = {{dc = 1}}, billable = true,
        }}
      }}
    }}
  }}
"""


class NginxLua:
    """nginx, Lua and Redis before the upstream."""

    name = "nginx-lua"

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Listen on a free port, with a Redis of its own that knows one key."""
        nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        needed = [MODULES / "ngx_http_lua_module.so", Path("/usr/share/lua/5.1/nginx/redis.lua")]
        if nginx is None or not all(path.exists() for path in needed):
            raise Unavailable(
                "apt-get install libnginx-mod-http-lua lua-resty-core lua-resty-lrucache "
                "lua-nginx-redis lua-nginx-string lua-cjson"
            )
        folder.mkdir(parents=True, exist_ok=True)
        redis_port, store = redis.start(folder)
        digest = _prepare(redis_port)
        port = free_port()
        server = SERVER.format(
            port=port,
            upstream_port=upstream_port,
            redis_port=redis_port,
            digest=digest,
            limit=redis.LIMIT,
            upgrades=UPGRADES.format(),
            forwarding=FORWARDING,
        )
        modules = "".join(
            f"load_module {MODULES / name};\n"
            for name in ("ndk_http_module.so", "ngx_http_lua_module.so")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        file = folder / "nginx.conf"
        file.write_text(modules + FRAME.format(user=user, folder=folder, servers=server))
        try:
            process = launch([nginx, "-p", str(folder), "-c", str(file)], folder, port)
        except RuntimeError:
            store.kill()
            store.wait()
            raise
        return Running(
            port=port,
            version=version_of([nginx, "-v"]),
            processes={"nginx-lua": process, "redis": store},
            headers={"Authorization": f"Bearer {redis.SECRET}"},
            callers=redis.OTHER_CALLERS,
        )


def _prepare(redis_port: int) -> str:
    """Enter the keys and the script; return the script's digest."""
    redis.enter_keys(redis_port)
    command = ["redis-cli", "-p", str(redis_port)]
    loaded = subprocess.run(
        [*command, "SCRIPT", "LOAD", redis.CHARGE], check=True, capture_output=True, text=True
    )
    return loaded.stdout.strip()
