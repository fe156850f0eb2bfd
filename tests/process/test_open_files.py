"""A worker takes as many open files as it may, and keeps clients from using all of them."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.config.settings import load
from gateway.process.open_files import CLIENTS_MIN, RESERVED, clients_max, raise_bound

ROOT = Path(__file__).parents[2]
SNAPSHOT = load(ROOT / "policies" / "gateway.yaml", environ={}, overrides={}).snapshot
WANTED = SNAPSHOT.limits.connections_max
UPSTREAMS = sum(upstream.connections_max for upstream in SNAPSHOT.upstreams)


@pytest.fixture
def bound() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_bound_is_raised_as_far_as_it_may_be(bound: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, bound[1]))

    assert raise_bound() == bound[1]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == bound[1]
    assert raise_bound() == bound[1]


def test_clients_get_what_is_configured_if_there_is_room() -> None:
    with capture_logs() as log:
        assert clients_max(SNAPSHOT, WANTED + UPSTREAMS + RESERVED) == WANTED
        assert clients_max(SNAPSHOT, resource.RLIM_INFINITY) == WANTED
    assert log == []


def test_clients_leave_room_for_everything_else() -> None:
    with capture_logs() as log:
        assert clients_max(SNAPSHOT, UPSTREAMS + RESERVED + 100) == 100
        assert clients_max(SNAPSHOT, 64) == CLIENTS_MIN
    assert [event["event"] for event in log] == ["worker.few_open_files"] * 2


def test_a_process_that_may_not_raise_it_goes_on() -> None:
    script = (
        "import resource\n"
        "from gateway.process.open_files import raise_bound\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))\n"
        "print(raise_bound())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )

    assert done.stdout == "200\n"
