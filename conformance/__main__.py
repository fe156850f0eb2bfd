"""``python -m conformance``: run the suites, tell what is wrong, write down what was found."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from conformance import (
    crowd_suite,
    fuzz_suite,
    probe_suite,
    redbot_suite,
    slow_suite,
    varnish_suite,
)
from conformance.differential import suite as differential
from conformance.outcome import BUILD, Check, MissingToolError, tell

SUITES: Final[dict[str, Callable[[str], Iterator[Check]]]] = {
    "varnishtest": varnish_suite.checks,
    "differential": differential.checks,
    "slowhttptest": slow_suite.checks,
    "redbot": redbot_suite.checks,
    "probes": probe_suite.checks,
    "crowds": crowd_suite.checks,
    "fuzz": fuzz_suite.checks,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if everything holds, 1 if something does not, 2 if a tool is missing."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help="all of them without it")
    parser.add_argument("--only", default="", help="checks whose name holds this")
    options = parser.parse_args(arguments)
    failed = False
    for name in options.suites or SUITES:
        began = time.monotonic()
        try:
            checks = tell(SUITES[name](options.only))
        except MissingToolError as error:
            sys.stdout.write(f"MISSING {name}: {error}\n")
            return 2
        faults = sum(1 for check in checks if check.fault)
        failed |= bool(faults) or not checks
        seconds = time.monotonic() - began
        sys.stdout.write(f"{name}: {len(checks) - faults} of {len(checks)} hold ({seconds:.0f}s)\n")
        _write_down(name, checks)
    return int(failed)


def _write_down(suite: str, checks: Sequence[Check]) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    rows = [{"name": check.name, "holds": not check.fault, "says": check.says} for check in checks]
    document = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    (BUILD / f"{suite}.json").write_text(document, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
