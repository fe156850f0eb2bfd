"""The data plane for the tests of this folder."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from gateway.config.snapshot import Snapshot
from tests.support.data_plane import DataPlane, SteppedLoop, data_plane, snapshot_in


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what uses the data plane in the production loop, with a clock that can be moved."""
    if "plane" in getattr(item, "fixturenames", ()):
        return {"uvloop": SteppedLoop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def upstream_port() -> Iterator[int]:
    """A port that is this process's own; nobody listens there unless a test does."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture(scope="session")
def plane_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the configuration of the data plane is."""
    return tmp_path_factory.mktemp("plane")


@pytest.fixture(scope="session")
def plane_snapshot(plane_folder: Path, upstream_port: int) -> Snapshot:
    """The configuration, read once."""
    return snapshot_in(plane_folder, upstream_port)


@pytest.fixture
async def plane(
    tmp_path: Path, plane_folder: Path, plane_snapshot: Snapshot, upstream_port: int
) -> AsyncIterator[DataPlane]:
    """Give a running data plane with empty books; in the end nothing must be under way."""
    (tmp_path / "keys.yaml").symlink_to(plane_folder / "keys.yaml")
    async with data_plane(tmp_path, plane_snapshot, upstream_port) as running:
        yield running
        await running.settled()
