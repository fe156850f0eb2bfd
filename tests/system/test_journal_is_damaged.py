"""A damaged journal, a ledger that went back, a shipping process that is lost: nothing is lost."""

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import GatewayProcess, wait_until
from tests.support.scripted_upstream import ScriptedUpstream

CALLS = 60
SMALL = "journal: {segment_bytes: 4KB, max_bytes: 4MB}"


def children(gateway: GatewayProcess) -> list[int]:
    assert gateway.process is not None
    pid = gateway.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def events(gateway: GatewayProcess) -> list[dict[str, Any]]:
    lines = gateway.events().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def told(gateway: GatewayProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in events(gateway) if line["event"] == event]


def notes(gateway: GatewayProcess) -> list[str]:
    answer = httpx.get(f"{gateway.admin_url}/readyz", timeout=5)
    assert answer.status_code == 200
    found: list[str] = answer.json().get("notices", [])
    return found


def damage(gateway: GatewayProcess) -> dict[str, float]:
    text = httpx.get(f"{gateway.admin_url}/metrics", timeout=5).text
    samples = [
        line for line in text.splitlines() if line.startswith("gateway_journal_damage_total{")
    ]
    return {line.split('"')[1]: float(line.split()[-1]) for line in samples}


@pytest.fixture(scope="module")
def killed(
    tmp_path_factory: pytest.TempPathFactory, upstream_session: ScriptedUpstream
) -> GatewayProcess:
    """Give a gateway that was killed: of its 60 answers the ledger has the first 20."""
    folder = tmp_path_factory.mktemp("killed")
    gateway = GatewayProcess(folder, upstream_session.port, top=SMALL).start()
    key = gateway.make_key("ENTERPRISE")
    for _ in range(20):
        assert gateway.call(key).status_code == 200
    gateway.wait_for_records(20)
    (shipper,) = children(gateway)
    os.kill(shipper, signal.SIGSTOP)
    for _ in range(CALLS - 20):
        assert gateway.call(key).status_code == 200
    gateway.kill()
    os.kill(shipper, signal.SIGKILL)
    assert len(gateway.records()) < CALLS
    shutil.copytree(folder / "data", folder / "as it was")
    return gateway


@pytest.fixture
def lagging(killed: GatewayProcess) -> GatewayProcess:
    """Give it as it was."""
    shutil.rmtree(killed.folder / "data")
    shutil.copytree(killed.folder / "as it was", killed.folder / "data")
    (killed.folder / "events.log").unlink()
    return killed


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))


def older_form(folder: Path) -> None:
    (folder / "checkpoint.json").write_bytes(b'{"v":1,"segment":999,"offset":0}')


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (older_form, "checkpoint"),
        (lambda at: rewrite(at / "checkpoint.json", b'"segment":', b'"segment":9'), "checkpoint"),
        (lambda at: (at / "checkpoint.json").unlink(), "checkpoint"),
        (lambda at: (at / "manifest.json").write_bytes(b""), "manifest"),
        (lambda at: shutil.copy(at / "manifest.json", at / "manifest (copy).json"), "foreign_file"),
    ],
    ids=["older form", "another segment", "gone", "empty", "copy"],
)
def test_a_damaged_note_loses_nothing(
    lagging: GatewayProcess, spoil: Callable[[Path], object], kind: str
) -> None:
    spoil(lagging.folder / "data" / "journal")
    lagging.start()
    try:
        assert len(lagging.wait_for_records(CALLS)) == CALLS
        assert notes(lagging) == [f"journal damaged: {kind}"]
        assert damage(lagging) == {kind: 1}
    finally:
        assert lagging.stop() == 0


def test_a_missing_segment_is_an_alarm_and_costs_no_more_than_itself(
    lagging: GatewayProcess,
) -> None:
    segments = sorted((lagging.folder / "data" / "journal").glob("*.journal"))
    lost = segments[-2].read_bytes().count(b"\n")
    segments[-2].unlink()
    lagging.start()
    try:
        assert len(lagging.wait_for_records(CALLS - lost)) == CALLS - lost
        assert notes(lagging) == ["journal damaged: segment_missing"]
        (event,) = told(lagging, "journal.segment_missing")
        assert event["level"] == "error"
    finally:
        assert lagging.stop() == 0


def test_a_gateway_that_nobody_damaged_says_nothing(lagging: GatewayProcess) -> None:
    for _ in range(2):
        lagging.start()
        try:
            assert len(lagging.wait_for_records(CALLS)) == CALLS
            assert (notes(lagging), damage(lagging)) == ([], {})
        finally:
            assert lagging.stop() == 0


def test_a_restored_ledger_gets_back_what_it_lost_and_no_quota_comes_back(
    tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """SANDBOX has 50 units a month, counted in memory, from ledger and journal."""
    gateway = GatewayProcess(tmp_path, upstream.port, top=SMALL, routes=METERED).start()
    ledger, copy = tmp_path / "data" / "ledger.db", tmp_path / "copy.db"
    key = gateway.make_key("SANDBOX")
    answers = [gateway.call(key).status_code for _ in range(10)]
    gateway.wait_for_records(10)
    with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    answers += [gateway.call(key).status_code for _ in range(40)]
    assert answers == [200] * 50
    assert gateway.call(key).status_code == 429
    gateway.wait_for_records(51)
    gateway.stop()
    for suffix in ("-wal", "-shm"):
        Path(f"{ledger}{suffix}").unlink(missing_ok=True)
    ledger.unlink()  # this process may have it open still, and what belonged to it mapped
    shutil.copy(copy, ledger)
    gateway.start()
    try:
        assert gateway.call(key).status_code == 429
        assert len(gateway.wait_for_records(52)) == 52
        assert notes(gateway) == ["ledger went back"]
        assert gateway.metric("gateway_ledger_went_back_total") == 1
        assert told(gateway, "ledger.went_back")
    finally:
        assert gateway.stop() == 0


METERED = """\
- name: runs
  match: {methods: [GET], path: "/**"}
  upstream: app
  limits: [monthly_dc]
  cost: {dc: 1}
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_shipping_process_that_is_lost_is_replaced(
    tmp_path: Path, upstream: ScriptedUpstream, number: int
) -> None:
    """Killed or stopped for good: the ledger waits some seconds, and misses nothing."""
    gateway = GatewayProcess(tmp_path, upstream.port).start()
    try:
        key = gateway.make_key("ENTERPRISE")
        for call in range(CALLS):
            assert gateway.call(key).status_code == 200
            if call == 20:
                gateway.wait_for_records(1)
                (shipper,) = children(gateway)
                os.kill(shipper, number)
        wait_until(lambda: len(gateway.records()) == CALLS, 25)
        (other,) = children(gateway)
        assert other != shipper
        assert gateway.metric("gateway_shipper_processes_replaced_total") == 1
        (lost,) = told(gateway, "shipper.process_lost")
        assert lost["is_hung"] is (number == signal.SIGSTOP)
        assert gateway.metric("gateway_shipper_lag_records") == 0
    finally:
        assert gateway.stop() == 0
    wait_until(lambda: not Path(f"/proc/{other}").exists(), 10)
