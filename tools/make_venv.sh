#!/usr/bin/env bash
# make_venv.sh: make a virtual environment that holds exactly what requirements-dev.lock says.
# usage: [PYTHON=python3.12] tools/make_venv.sh .venv
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1

is_new_enough() {
  command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if is_new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  echo "no Python 3.11 or newer found; install one, or say PYTHON=/path/to/python" >&2
  exit 1
}

# Debian and Ubuntu keep ensurepip, without which venv can't work, in a package of its own.
ensure_venv_module() {
  if "$1" -c 'import ensurepip, venv' 2>/dev/null; then
    return
  fi
  local package
  package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >&2
  else
    echo "this Python can't make virtual environments; first: sudo apt-get install $package" >&2
    exit 1
  fi
}

python=$(find_python)
ensure_venv_module "$python"
if [ -x "$venv/bin/python" ] && ! is_new_enough "$venv/bin/python"; then
  rm -rf "$venv"
fi
if [ ! -x "$venv/bin/pip" ]; then
  "$python" -m venv "$venv"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
"$venv/bin/pip" install --quiet --require-hashes -r requirements-dev.lock
# The project itself is linked, not copied. Where the lock brings setuptools nothing else is fetched.
isolation=()
if "$venv/bin/python" -c 'import setuptools as s; assert int(s.__version__.split(".")[0]) >= 77' 2>/dev/null; then
  isolation=(--no-build-isolation)
fi
"$venv/bin/pip" install --quiet --no-deps ${isolation[@]+"${isolation[@]}"} -e .
