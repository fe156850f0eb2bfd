#!/usr/bin/env bash
# lock.sh: write requirements.lock and requirements-dev.lock, for all platforms, with hashes.
# usage: tools/lock.sh .venv [uv options, such as --upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
shift

# uv only resolves; it is not needed to use the locks, so it is not in them.
if ! "$venv/bin/python" -m uv --version >/dev/null 2>&1; then
  "$venv/bin/pip" install --quiet uv
fi
# A release that is withdrawn for cause mostly is so within its first days.
week_ago=$("$venv/bin/python" -c 'import datetime as d
print((d.datetime.now(d.timezone.utc) - d.timedelta(days=7)).date())')

resolve() {
  "$venv/bin/python" -m uv pip compile --quiet --universal --generate-hashes \
    --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
    --exclude-newer "$week_ago" "$@" pyproject.toml
}
resolve "$@" --output-file requirements.lock
# The second is held to the first, so that what is tested is what is shipped.
resolve "$@" --extra dev --constraint requirements.lock --output-file requirements-dev.lock
