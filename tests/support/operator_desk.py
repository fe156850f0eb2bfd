"""An operator at a command line: a folder with configuration and data, and commands run on it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.app import main
from gateway.config.settings import load
from gateway.process.wiring import open_ledger
from gateway.rules.charging import billing_period
from gateway.rules.record import Record
from gateway.rules.units import MICRO
from tests.support.fake_clock import RunningClock
from tests.support.pricing_files import write_pricing

ROUTES = """\
version: 1
pricing: pricing.json
upstreams:
  runs: {endpoints: ["http://127.0.0.1:9"]}
routes:
  - name: create-run
    match: {methods: [POST], path: /v1/runs}
    upstream: runs
    cost: {dc: {reserve: {json: /estimated_dc, default: 1}, settle: {header: X-DC-Used}}}
    run_id: {header: Idempotency-Key}
  - name: replay-run
    match: {methods: [POST], path: "/v1/runs/{run}/replay"}
    upstream: runs
    requires: [replay]
"""


class OperatorDesk:
    """Runs commands with ``GATEWAY_CONFIG`` and ``GATEWAY_DATA_DIR`` set."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.config = folder / "gateway.yaml"
        self.config.write_text(ROUTES)
        write_pricing(
            folder / "pricing.json",
            lambda document: document.update(effective_from="2020-01-01T00:00:00Z"),
        )
        self._capsys = capsys

    def run(self, *arguments: str, expect: int = 0) -> str:
        """Return what a command says on stdout; its exit code must be the expected one."""
        self._capsys.readouterr()
        code = main(arguments)
        captured = self._capsys.readouterr()
        self.told = captured.err
        assert code == expect, f"{code}: {captured.err}{captured.out}"
        assert "Traceback" not in captured.err
        return captured.out

    def json(self, *arguments: str, expect: int = 0) -> Any:
        """Return what a command says with ``--json``."""
        return json.loads(self.run(*arguments, "--json", expect=expect))

    def told_of(self, *arguments: str) -> str:
        """Return the line of a command's answer that begins with the last argument."""
        *command, first = arguments
        (found,) = (line for line in self.run(*command).splitlines() if line.startswith(first))
        return found

    def captured(self) -> Any:
        """Return what was written since the last command."""
        return self._capsys.readouterr()

    def ship(self, *records: Record) -> None:
        """Put records into the ledger."""
        loaded = load(self.config, environ=os.environ, overrides={})
        ledger = open_ledger(loaded.settings)
        ledger.append(records)
        ledger.close()


def record_of(
    number: int, *, workspace: str = "acme", dc: int = 1, period: str = "2020-02", **facts: Any
) -> Record:
    """Return a billable record of the year 2020."""
    quantities = {"dc": dc * MICRO, "requests": MICRO}
    return Record(
        **{
            "event_id": f"00000000-0000-7000-8000-{number:012d}",
            "request_id": f"r{number}",
            "occurred_at_micro": 1_581_000_000 * MICRO + number,
            "workspace_id": workspace,
            "key_id": "key_a",
            "plan": "STARTER",
            "route": "create-run",
            "method": "POST",
            "run_id": f"run-{number}",
            "status": 202,
            "outcome": "completed",
            "code": None,
            "billable": True,
            "reason": "success",
            "repeat": False,
            "quantities_micro": quantities,
            "charged_micro": quantities,
            "pricing_version": "v",
            "period": period,
            **facts,
        }
    )


def this_month() -> str:
    """Return the present billing period in UTC, by the machine's clock."""
    return billing_period("UTC", RunningClock().now_micro())
