"""The program of a replacement; tests/system/test_journal_is_damaged.py loses and replaces one."""

import subprocess
import sys

PROGRAM = """
import sys
from gateway import compiled
compiled.use()
before = set(sys.modules)
import gateway.process.shipping_program
print(sorted(name for name in set(sys.modules) - before if name.startswith("gateway.")))
"""


def test_nothing_that_is_compiled_is_imported_before_that_is_chosen() -> None:
    """Classes of both forms beside each other: the ledger would take no record."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30
    )

    assert done.stdout == "['gateway.process', 'gateway.process.shipping_program']\n"
