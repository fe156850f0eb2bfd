"""A worker's life: it starts whole or not at all, says when it should be left alone, and tidies up.

What happens to requests meanwhile is proved in tests/system.
"""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvloop

from gateway.config.loaded import Address
from gateway.errors import ConfigError, GatewayError
from gateway.keys.yaml_file import YamlKeyDirectory
from gateway.metering.courier import ThreadCourier
from gateway.metering.journal_segments import SegmentWriter
from gateway.process import wiring
from gateway.process import worker as life
from gateway.process.listeners import bound_addresses
from gateway.process.worker import Worker
from gateway.tasks import spawn
from tests.process.configurations import loaded_in

NOWHERE = "redis://127.0.0.1:1/0"


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Worker]:
    made = life.build(loaded_in(tmp_path), {})
    await life.start(made)
    yield made
    await life.stop(made)


def url_of(worker: Worker) -> str:
    (address,) = bound_addresses(worker.servers)
    return f"http://{address}"


async def test_it_listens_and_stops_listening(tmp_path: Path) -> None:
    made = life.build(loaded_in(tmp_path), {})
    await life.start(made)
    url = url_of(made)
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/one")
        assert (answer.status_code, answer.json()["code"]) == (401, "key_missing")
        assert (await client.get(f"{url}/three")).status_code == 404

    await life.stop(made)

    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/one")


async def test_written_keys_have_plans_of_the_prices_in_force(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text("version: 1\nworkspaces: [{id: acme, plan: NOPE}]\n")
    loaded = loaded_in(tmp_path)
    loaded = replace(loaded, settings=replace(loaded.settings, keys=f"file:{keys}"))
    refused = life.build(loaded, {})
    with pytest.raises(ConfigError, match="no plan is called NOPE"):
        await life.start(refused)
    await life.stop(refused)
    keys.write_text("version: 1\nworkspaces: [{id: acme, plan: STARTER}]\n")
    made = life.build(loaded, {})
    await life.start(made)
    assert isinstance(made.directory, YamlKeyDirectory)
    assert "STARTER" in (made.directory._plans() or ())

    (pricing,) = loaded.snapshot.pricings
    made.reloader._swap(replace(loaded.snapshot, pricings=(replace(pricing, tiers={}),), version=2))

    assert made.directory._plans() == frozenset()
    await life.stop(made)


async def test_what_was_answered_is_in_the_ledger_when_it_has_stopped(tmp_path: Path) -> None:
    loaded = loaded_in(tmp_path)
    made = life.build(loaded, {})
    await life.start(made)
    async with httpx.AsyncClient() as client:
        for _ in range(3):
            await client.get(f"{url_of(made)}/one")

    await life.stop(made)

    again = life.build(loaded, {})
    await life.start(again)  # the journal's lock is free
    records = again.ledger.events(workspace_id=None, period=None)
    assert [record.code for record in records] == ["key_missing"] * 3
    assert again.journal.unshipped_records == 0
    await life.stop(again)


@pytest.mark.parametrize("drains", [True, False])
async def test_no_refusal_is_lost_at_a_stop(tmp_path: Path, drains: bool) -> None:
    """Those after the tenth of a second wait for its end; a stop does not."""
    loaded = loaded_in(tmp_path)
    made = life.build(loaded, {})
    await life.start(made)
    async with httpx.AsyncClient() as client:
        for _ in range(40):
            await client.get(f"{url_of(made)}/one")

    if drains:
        await life.drain(made)
    await life.stop(made)

    ledger = wiring.open_ledger(loaded.settings)
    records = ledger.events(workspace_id=None, period=None)
    ledger.close()
    assert sum(record.count for record in records) == 40
    assert len(records) < 40


async def test_a_background_task_that_died_does_not_keep_it_from_stopping(tmp_path: Path) -> None:
    loaded = loaded_in(tmp_path)
    made = life.build(loaded, {})
    await life.start(made)

    async def dies() -> None:
        raise RuntimeError("a bug")

    made.background.append(spawn(dies(), name="dies", on_error=lambda *_: None))
    async with httpx.AsyncClient() as client:
        await client.get(f"{url_of(made)}/one")

    await life.stop(made)

    ledger = wiring.open_ledger(loaded.settings)
    assert len(ledger.events(workspace_id=None, period=None)) == 1
    ledger.close()


async def test_a_start_that_waits_is_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B11: SIGTERM ends a gateway that waits for its ledger, and leaves nothing locked."""
    loaded = loaded_in(tmp_path)
    waiting = asyncio.Event()

    async def waits(*_: object) -> None:
        waiting.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as changed:
        changed.setattr(life, "rebuild_memory", waits)
        courier = ThreadCourier(wiring.open_carrier(loaded))
        living = asyncio.get_running_loop().create_task(life._live(loaded, {}, courier))
        await waiting.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(living, 20) == 0

    again = life.build(loaded, {})
    await life.start(again)
    await life.stop(again)


async def test_an_address_in_use_is_told_and_nothing_is_left_open(tmp_path: Path) -> None:
    loaded = loaded_in(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = replace(loaded.settings, listen=(Address("127.0.0.1", port),))
        made = life.build(replace(loaded, settings=settings), {})

        with pytest.raises(GatewayError) as caught:
            await life.start(made)
        await life.stop(made)

    assert caught.value.code == "worker.cannot_listen"
    assert str(port) in caught.value.message
    again = life.build(loaded, {})
    await life.start(again)
    await life.stop(again)


async def test_two_workers_do_not_share_a_journal(running: Worker, tmp_path: Path) -> None:
    second = life.build(loaded_in(tmp_path), {})

    with pytest.raises(GatewayError) as caught:
        await life.start(second)
    await life.stop(second)

    assert caught.value.code == "journal.locked"
    assert life.readiness(running) == []


@pytest.mark.parametrize("wanted", [True, False])
async def test_its_memory_is_put_into_huge_pages_unless_told_otherwise(
    wanted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def keep_joined() -> None:
        begun.set()

    monkeypatch.setattr(life, "keep_joined", keep_joined)
    loaded = loaded_in(tmp_path)
    assert loaded.settings.uses_huge_pages
    made = life.build(
        replace(loaded, settings=replace(loaded.settings, uses_huge_pages=wanted)), {}
    )
    await life.start(made)
    await asyncio.sleep(0)
    await life.stop(made)

    assert begun.is_set() is wanted


async def test_ages_are_those_of_the_scrape(running: Worker) -> None:
    """What hangs updates no numbers of its own."""
    running.stats.shipper.lag_records = 7
    running.stats.directory.feed_age_micro = -1
    assert running.admin is not None
    host, port = running.admin.addresses[0][:2]
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://{host}:{port}/metrics")).text

    assert "gateway_shipper_lag_records 0.0" in text
    assert "gateway_directory_feed_age_seconds 0." in text


async def test_readiness_says_why_not(running: Worker) -> None:
    assert life.readiness(running) == []

    running.ports.is_draining = True
    assert life.readiness(running) == ["draining"]


async def test_a_worker_without_journal_is_not_ready(tmp_path: Path) -> None:
    made = life.build(loaded_in(tmp_path), {})

    assert life.readiness(made) == ["journal unavailable"]
    await life.stop(made)


@pytest.mark.parametrize(("two", "reasons"), [("closed", ["counter store away"]), ("open", [])])
async def test_store_away_matters_if_every_route_is_closed(
    two: str, reasons: list[str], tmp_path: Path
) -> None:
    made = life.build(loaded_in(tmp_path, counters=NOWHERE, two=two), {})
    await life.start(made)

    assert life.readiness(made) == reasons
    await life.stop(made)


async def test_drain_waits_for_nobody_if_nobody_is_there(running: Worker) -> None:
    url = url_of(running)
    async with httpx.AsyncClient() as client:
        await client.get(f"{url}/one")  # kept alive, idle

        await life.drain(running)

        assert life.readiness(running) == ["draining"]
        assert not running.ports.exchanges
        with pytest.raises(httpx.TransportError):
            await client.get(f"{url}/one")


async def test_the_drain_waits_for_answers_that_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loaded_in(tmp_path)
    made = life.build(replace(loaded, settings=replace(loaded.settings, fsync_seconds=0)), {})
    await life.start(made)
    monkeypatch.setattr(life, "READY_SECONDS", 0)
    is_asked_for = threading.Event()
    sync, flush = SegmentWriter.sync, made.journal.flush

    def sync_when_asked(writer: SegmentWriter) -> None:
        is_asked_for.wait()
        sync(writer)

    async def ask() -> None:
        is_asked_for.set()
        await flush()

    monkeypatch.setattr(SegmentWriter, "sync", sync_when_asked)
    monkeypatch.setattr(made.journal, "flush", ask)
    async with httpx.AsyncClient() as client, asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(client.get(f"{url_of(made)}/one"))
        while not made.stats.journal.writes:
            await asyncio.sleep(0)
        assert not life.is_busy(made.ports)

        await life.drain(made)
        await life.stop(made)

        assert (await answer).status_code == 401
