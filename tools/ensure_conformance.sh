#!/usr/bin/env bash
# ensure_conformance.sh: see that every suite of `make conformance` can be started here.
# Installs Debian's packages where it may (root on Debian), and REDbot from its lock file into an
# environment of its own. Whatever is still missing then is named, and fails: no suite is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/usr/local/sbin
redbot=build/conformance-redbot

has() { command -v "$1" >/dev/null; }

needed=()
has varnishtest || needed+=(varnish)
has slowhttptest || needed+=(slowhttptest)
has nginx || needed+=(nginx)

if [ ${#needed[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && has apt-get; then
    # RUNLEVEL=1 keeps the packages from starting servers of their own.
    apt-get update -qq >&2 || true
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      "${needed[@]}" </dev/null >&2 || true
  else
    echo "first: sudo apt-get install ${needed[*]}" >&2
  fi
fi

if ! cmp -s conformance/redbot.lock "$redbot/installed.lock"; then
  .venv/bin/python -m venv --clear "$redbot"
  "$redbot/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
    -r conformance/redbot.lock
  cp conformance/redbot.lock "$redbot/installed.lock"
fi

missing=()
for program in varnishtest slowhttptest nginx "$redbot/bin/redbot"; do
  has "$program" || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "conformance can't be shown without: ${missing[*]}" >&2
  exit 1
fi
