"""varnishtest: scripts that play client and upstream on both sides of the gateway.

Source of the rules: RFC 9110, RFC 9112, as each script says.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from conformance.outcome import HERE, Check, MissingToolError
from conformance.subject import Subject, running

SUITE: Final = "varnishtest"
SCRIPTS: Final = HERE / "varnish"
SCRIPT_SECONDS: Final = 20
LOG_LINES_MAX: Final = 60
_TITLE: Final = re.compile(r'^varnishtest "(.+)"$', re.MULTILINE)


def checks(only: str = "") -> Iterator[Check]:
    """Run the scripts, one after the other: they share the gateway and its upstream's address."""
    if shutil.which("varnishtest") is None:
        raise MissingToolError("varnishtest (package varnish)")
    with running("varnish") as subject:
        for script in sorted(path for path in SCRIPTS.glob("*.vtc") if only in path.name):
            yield _run(script, subject)


def title_of(script: Path) -> str:
    """Return what a script says that it proves."""
    found = _TITLE.search(script.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{script.name} does not say what it proves")
    return found[1]


def _run(script: Path, subject: Subject) -> Check:
    ended = subprocess.run(
        [
            *("varnishtest", "-t", str(SCRIPT_SECONDS)),
            *("-D", f"gw=127.0.0.1:{subject.port}"),
            *("-D", f"up=127.0.0.1:{subject.upstream_port}"),
            str(script),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    # 77 means skipped: what is not run proves nothing.
    fault = "" if ended.returncode == 0 else _end_of(ended.stdout + ended.stderr)
    return Check(SUITE, script.stem, fault, title_of(script))


def _end_of(log: str) -> str:
    lines = [line for line in log.splitlines() if "top   shell" not in line]
    return "\n".join(lines[-LOG_LINES_MAX:]) or "varnishtest failed and said nothing"
