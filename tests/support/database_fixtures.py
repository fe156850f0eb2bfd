"""Databases for tests, each test on both kinds and on an empty database of its own.

``database_url`` is empty, ``database`` is an engine on a migrated one. PostgreSQL starts with the
first test that asks for it and serves the whole session.
"""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.database.engine import create_engine_for
from gateway.database.schema import migrate
from tests.support.postgres_server import PostgresServer, running_postgres

KINDS = ("sqlite", "postgresql")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL, shared by all tests of the session."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """The name of a migrated database, to be used as a template only."""
    postgres_server.execute("CREATE DATABASE migrated")
    engine = create_engine_for(postgres_server.url("migrated"))
    migrate(engine)
    engine.dispose()
    return "migrated"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "template.db"
    engine = create_engine_for(f"sqlite:///{file}")
    migrate(engine)
    engine.dispose()
    return file


@pytest.fixture(params=KINDS)
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on; asking for it runs the test on each."""
    return str(request.param)


@pytest.fixture
def database_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """The URL of an empty database."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
    else:
        yield from _postgres_database(request, "template0")


@pytest.fixture
def migrated_url(
    database_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[str]:
    """The URL of a database of the newest schema."""
    if database_kind == "sqlite":
        file = tmp_path / "migrated.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), file)
        yield f"sqlite:///{file}"
    else:
        yield from _postgres_database(request, request.getfixturevalue("migrated_postgres"))


@pytest.fixture
def database(migrated_url: str) -> Iterator[Engine]:
    """An engine on a database of the newest schema."""
    engine = create_engine_for(migrated_url)
    yield engine
    engine.dispose()


def _postgres_database(request: pytest.FixtureRequest, template: str) -> Iterator[str]:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = f"test_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.url(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
