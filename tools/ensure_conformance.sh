#!/usr/bin/env bash
# ensure_conformance.sh: see that every suite of `make conformance` can be started here.
# Installs Debian's packages where it may (root on Debian), and REDbot and the parsers of other
# servers from lock files into environments of their own. Whatever is still missing then is named,
# and fails: no suite is left out.
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

install() { # LOCK FOLDER
  cmp -s "$1" "$2/installed.lock" && return
  .venv/bin/python -m venv --clear "$2"
  "$2/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$1"
  cp "$1" "$2/installed.lock"
}
install conformance/redbot.lock "$redbot"
install conformance/judges.lock build/conformance-judges
# Beside the gateway's own packages: what is fuzzed is the gateway's code.
fuzz=build/conformance-fuzz
if ! cmp -s conformance/fuzz.lock "$fuzz/installed.lock"; then
  rm -rf "$fuzz"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
    --only-binary :all: --target "$fuzz" -r conformance/fuzz.lock
  cp conformance/fuzz.lock "$fuzz/installed.lock"
fi

missing=()
for program in varnishtest slowhttptest nginx "$redbot/bin/redbot"; do
  has "$program" || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "conformance can't be shown without: ${missing[*]}" >&2
  exit 1
fi
