#!/usr/bin/env bash
# ensure_peers.sh: see that what `make bench` compares with can be started here.
# Installs Debian's packages where it may (root on Debian); says what is missing where it may not.
# Only nginx, wrk and Redis must be there; without the others the bench leaves them out.
# Envoy and LiteLLM come as wheels, into build/, when they are first asked for.
set -euo pipefail
PATH=$PATH:/usr/sbin:/usr/local/sbin
modules=/usr/lib/nginx/modules

needed=()
need() { needed+=("$@"); }
has() { command -v "$1" >/dev/null; }

has wrk || need wrk
has nginx || need nginx
{ has redis-server && has redis-cli; } || need redis-server
has haproxy || need haproxy
[ -e "$modules/ngx_http_lua_module.so" ] || need libnginx-mod-http-lua
for file in resty/core:lua-resty-core resty/lrucache:lua-resty-lrucache nginx/redis:lua-nginx-redis \
  nginx/string:lua-nginx-string cjson/util:lua-cjson; do
  compgen -G "/usr/share/lua/5.1/${file%%:*}.lua" >/dev/null || need "${file##*:}"
done

if [ ${#needed[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && has apt-get; then
    # RUNLEVEL=1 keeps the packages from starting servers of their own. One that this
    # distribution does not have must not keep the others away.
    apt-get update -qq >&2 || true
    for package in "${needed[@]}"; do
      RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "$package" </dev/null >&2 || echo "not available here: $package" >&2
    done
  else
    echo "for all peers first: sudo apt-get install ${needed[*]}" >&2
  fi
fi

for program in wrk nginx redis-server; do
  if ! has "$program"; then
    echo "the bench can't do without $program" >&2
    exit 1
  fi
done
