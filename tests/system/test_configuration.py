"""A configuration that would turn the API off never does: the old one serves, and all are told.

On a running gateway: reloads by file and by SIGHUP, a directory in a file and in a database.
"""

import hashlib
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway_process import GatewayProcess, wait_until
from tests.support.pricing_files import Document, write_pricing
from tests.support.scripted_upstream import ScriptedUpstream

SECRET = "foreign-secret-0123456789"
OTHER = "foreign-secret-9876543210"
ALWAYS = "2020-01-01T00:00:00Z"


def keys_text(plan: str = "STARTER", secret: str = SECRET) -> str:
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return (
        "version: 1\nworkspaces:\n"
        f"  - {{id: acme, plan: {plan}, keys: [{{id: k, sha256: '{digest}'}}]}}\n"
    )


@pytest.fixture(params=["file", "database"])
def gateway(
    request: pytest.FixtureRequest, tmp_path: Path, upstream: ScriptedUpstream
) -> Iterator[tuple[GatewayProcess, str]]:
    """Yield a running gateway, and a key of a workspace on STARTER."""
    key, top = SECRET, "foreign_keys: true\n"
    if request.param == "file":
        (tmp_path / "keys.yaml").write_text(keys_text())
        top += "keys: file:keys.yaml\n"
    made = GatewayProcess(tmp_path, upstream.port, top=top)
    if request.param == "database":
        key = made.make_key("STARTER")
    made.start()
    yield made, key
    made.stop()


def hang_up(gateway: GatewayProcess) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGHUP)


def readyz(gateway: GatewayProcess) -> tuple[int, Any]:
    answer = httpx.get(f"{gateway.admin_url}/readyz", timeout=5)
    return answer.status_code, answer.json()


def lists(gateway: GatewayProcess, *changes: Callable[[Document], object]) -> None:
    """Write price lists, one for each change, and have the route file name them."""
    names = []
    for number, change in enumerate(changes):

        def dated(document: Document, change: Callable[[Document], object] = change) -> None:
            document["effective_from"] = ALWAYS
            change(document)

        names.append("pricing.json" if not number else f"pricing-{number}.json")
        write_pricing(gateway.folder / names[-1], dated)
    text = gateway.config.read_text().splitlines(keepends=True)
    text[1] = f"pricing: [{', '.join(names)}]\n"
    gateway.config.write_text("".join(text))


def same(_document: Document) -> None:
    """Change nothing."""


def without_starter(document: Document) -> None:
    document["tiers"] = [tier for tier in document["tiers"] if tier["tier"] != "STARTER"]


def later_without_starter(document: Document) -> None:
    without_starter(document)
    document.update(effective_from="2098-01-01T00:00:00Z", pricing_version="2098-01-01.v1.0.0")


def over(document: Document) -> None:
    document["effective_to"] = "2020-02-01T00:00:00Z"


def not_begun(document: Document) -> None:
    document["effective_from"] = "2098-01-01T00:00:00Z"


def begins_later(document: Document) -> None:
    document.update(effective_from="2098-01-01T00:00:00Z", pricing_version="2098-01-01.v1.0.0")


WRONG: list[tuple[list[Callable[[Document], object]], str]] = [
    ([without_starter], "the plan STARTER is missing|no plan is called STARTER"),
    ([same, later_without_starter], r"the plan STARTER is missing in 2098-01-01\.v1\.0\.0"),
    ([over], "no price list is in force now"),
    ([not_begun], "no price list is in force now"),
    ([over, begins_later], "no price list is in force now"),
]


def test_what_turns_the_api_off_is_refused_and_the_old_one_serves(
    gateway: tuple[GatewayProcess, str],
) -> None:
    running, key = gateway
    assert running.call(key).status_code == 200
    good = running.config.read_text()
    for number, (changes, told) in enumerate(WRONG, 1):
        lists(running, *changes)
        hang_up(running)
        wait_until(lambda: running.metric("gateway_config_refused") == 1)

        assert running.call(key).status_code == 200, told
        assert readyz(running) == (
            200, {"status": "ready", "notices": ["configuration on disk refused"]},
        )  # fmt: skip
        assert re.search(told, running.events())
        checked = running.command("check", "--json")
        found = json.loads(checked.stdout)
        assert (checked.returncode, found["valid"]) == (1, False)
        assert any(re.search(told, fault["message"]) for fault in found["faults"])

        lists(running, same)
        running.config.write_text(good)
        hang_up(running)
        wait_until(lambda: running.metric("gateway_config_refused") == 0)
        assert readyz(running) == (200, {"status": "ready"})
        wait_until(lambda: running.events().count("config.restored") == number)  # noqa: B023
    assert running.metric("gateway_config_reloads_total") == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pricing.json", b""),
        ("pricing.json", b"{}"),
        ("gateway.yaml", b""),
        ("gateway.yaml", b"version: ["),
        ("gateway.yaml", b"\xff\xfe"),
    ],
)
def test_an_emptied_or_broken_file_is_refused_until_it_is_restored(
    tmp_path: Path, upstream: ScriptedUpstream, name: str, content: bytes
) -> None:
    running = GatewayProcess(tmp_path, upstream.port)
    key = running.make_key("STARTER")
    running.start()
    try:
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content)
        hang_up(running)
        wait_until(lambda: running.metric("gateway_config_refused") == 1)
        assert running.call(key).status_code == 200

        (tmp_path / name).write_bytes(good)
        hang_up(running)
        wait_until(lambda: "config.restored" in running.events())
        assert running.metric("gateway_config_refused") == 0
        assert running.call(key).status_code == 200
    finally:
        running.stop()


def test_no_route_left_is_refused(gateway: tuple[GatewayProcess, str]) -> None:
    running, key = gateway
    text = running.config.read_text()
    running.config.write_text(text[: text.index("routes:")] + "routes: []\n")
    hang_up(running)
    wait_until(lambda: running.metric("gateway_config_refused") == 1)

    assert running.call(key).status_code == 200
    assert "routes: given, but empty (at least one)" in running.events()


@pytest.mark.parametrize(("changes", "told"), WRONG, ids=[told for _, told in WRONG])
@pytest.mark.parametrize("place", ["file", "database"])
def test_a_start_with_the_same_fault_is_refused(
    tmp_path: Path,
    upstream: ScriptedUpstream,
    changes: list[Callable[[Document], object]],
    told: str,
    place: str,
) -> None:
    """Starting it again can't help: exit code 3."""
    (tmp_path / "keys.yaml").write_text(keys_text())
    top = "keys: file:keys.yaml" if place == "file" else ""
    refused = GatewayProcess(tmp_path, upstream.port, top=top)
    if place == "database":
        refused.make_key("STARTER")
    lists(refused, *changes)

    refused.start(wait=False)

    assert refused.process is not None
    assert refused.process.wait(timeout=30) == 3
    assert re.search(told, refused.events())
    assert "hint: " in refused.events()


def test_both_files_may_change_together(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """The plan goes and its workspaces move, in one change of both files."""
    (tmp_path / "keys.yaml").write_text(keys_text())
    top = "keys: file:keys.yaml\nforeign_keys: true"
    running = GatewayProcess(tmp_path, upstream.port, top=top).start()
    try:
        (tmp_path / "keys.yaml").write_text(keys_text("GROWTH"))
        lists(running, without_starter)
        hang_up(running)
        wait_until(lambda: running.metric("gateway_config_reloads_total") == 1)

        assert running.call(SECRET).status_code == 200
        assert running.metric("gateway_config_refused") == 0
    finally:
        running.stop()


def test_a_keys_file_goes_by_content(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    """Written in place, with its length, and with its time put back."""
    keys = tmp_path / "keys.yaml"
    keys.write_text(keys_text())
    top = "keys: file:keys.yaml\nforeign_keys: true"
    running = GatewayProcess(tmp_path, upstream.port, top=top).start()
    try:
        assert running.call(SECRET).status_code == 200
        before = keys.stat()
        with keys.open("r+") as file:
            file.write(keys_text(secret=OTHER))
        os.utime(keys, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert keys.stat().st_ino == before.st_ino
        assert (keys.stat().st_size, keys.stat().st_mtime_ns) == (
            before.st_size, before.st_mtime_ns,
        )  # fmt: skip

        wait_until(lambda: running.call(OTHER).status_code == 200, 3)
        assert running.call(SECRET).status_code == 401

        keys.write_text("version: [")
        wait_until(lambda: running.metric("gateway_directory_file_refused") == 1)
        assert readyz(running)[1]["notices"] == ["keys on disk refused"]
        keys.write_text(keys_text(secret=OTHER))
        wait_until(lambda: running.metric("gateway_directory_file_refused") == 0)
        assert "keys.file_restored" in running.events()
        assert running.call(OTHER).status_code == 200
    finally:
        running.stop()
