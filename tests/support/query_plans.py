"""What a database would do to answer a statement."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ClauseElement, Connection, text


def whole_table_reads(
    connection: Connection, statement: ClauseElement, values: Mapping[str, Any]
) -> list[str]:
    """Return the steps of a statement's plan that read a whole table without an index."""
    compiled = statement.compile(connection.engine, compile_kwargs={"render_postcompile": True})
    is_sqlite = connection.dialect.name == "sqlite"
    prefix = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
    if not is_sqlite:  # its planner would rather read a small table whole
        connection.execute(text("SET LOCAL enable_seqscan = off"))
    given = {**compiled.params, **values}
    if compiled.positiontup is not None:
        bound: Any = tuple(given[column] for column in compiled.positiontup)
    else:
        bound = given
    rows = connection.exec_driver_sql(prefix + str(compiled), bound).all()
    steps = [str(row[-1]) for row in rows]
    assert steps
    return [step for step in steps if _reads_all(step)]


def _reads_all(step: str) -> bool:
    reads = step.startswith("SCAN ") and "INDEX" not in step and "CONSTANT ROW" not in step
    return reads or "Seq Scan" in step
