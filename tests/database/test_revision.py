"""A start that has nothing to migrate finds that out without Alembic."""

from pathlib import Path

from alembic.script import ScriptDirectory

import gateway.database.migrations
from gateway.database.engine import create_engine_for
from gateway.database.revision import HEAD, is_current
from gateway.database.schema import migrate


def test_head_is_the_newest_migration() -> None:
    folder = Path(gateway.database.migrations.__file__).parent

    assert ScriptDirectory(str(folder)).get_current_head() == HEAD


def test_database_is_current_once_it_is_migrated(tmp_path: Path) -> None:
    engine = create_engine_for(f"sqlite:///{tmp_path}/ledger.db")

    assert not is_current(engine)
    migrate(engine)
    assert is_current(engine)
