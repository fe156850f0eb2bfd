"""``python -m conformance.differential``: write what differs now into ``differences.yaml``.

Classes of known cases are kept; new cases get the class ``unexplained``, which no run accepts.
"""

import asyncio
import sys
from dataclasses import replace
from typing import Final

from conformance.differential import nginx
from conformance.differential.suite import compared, difference, explained, write

UNEXPLAINED: Final = "unexplained"


def main() -> int:
    """Compare all cases and write the table; return the number of unexplained ones."""
    known = explained()
    cases = {}
    for case, theirs, ours in asyncio.run(compared()):
        found = difference(theirs, ours)
        if found:
            entry = known.cases.get(case.name, {})
            cases[case.name] = {"class": entry.get("class", UNEXPLAINED), **found}
    write(replace(known, nginx=nginx.version(), cases=cases))
    new = [name for name, entry in cases.items() if entry["class"] == UNEXPLAINED]
    sys.stdout.write("".join(f"{name}\n" for name in new))
    return len(new)


if __name__ == "__main__":
    sys.exit(main())
