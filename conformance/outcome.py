"""What a check found, and how it is told."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
HERE: Final = Path(__file__).parent
BUILD: Final = ROOT / "build" / "conformance"
"""Folders of running gateways, logs, and the results of the last run."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        suite: The suite that it belongs to.
        name: What it proves, in a few words.
        fault: What is wrong; empty where it holds.
        says: A sentence or a figure for who reads the results.
    """

    suite: str
    name: str
    fault: str = ""
    says: str = ""


class MissingToolError(Exception):
    """A program that a suite is made of is not here: the run fails, nothing is left out."""


def tell(checks: Iterable[Check]) -> list[Check]:
    """Print what is wrong as it is found, and return all checks."""
    found = []
    for check in checks:
        found.append(check)
        if check.fault:
            sys.stdout.write(f"FAIL {check.suite}: {check.name}\n{check.fault.rstrip()}\n")
            sys.stdout.flush()
    return found
