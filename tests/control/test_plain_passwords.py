"""B11: secrets come from the environment; one that is written out is found, never repeated."""

import pytest

from gateway.control.plain_passwords import lines_with_passwords


@pytest.mark.parametrize(
    "line",
    [
        "counters: redis://:hunter2@10.0.0.1:6379/0",
        "ledger: 'postgresql://gw:hunter2@db/gw'",
        'keys: "postgresql+psycopg://gw:a${b}c@db/gw"',
        "counters: redis://user:half${SECRET}@host",
        "{counters: rediss://u:p@h}",
    ],
)
def test_a_password_that_is_written_out_is_found(line: str) -> None:
    assert lines_with_passwords(f"version: 1\n{line}\n") == [2]


@pytest.mark.parametrize(
    "line",
    [
        "counters: redis://:${REDIS_PASSWORD}@10.0.0.1:6379/0",
        "ledger: postgresql://${USER}:${PASSWORD}@db/gw",
        "counters: ${REDIS_URL}",
        "ledger: postgresql://gw@db:5432/gw",
        "endpoints: ['http://a:80', 'http://b:80/@x']",
        "# redis://:hunter2@host",
        "counters: memory",
    ],
)
def test_one_from_the_environment_is_none(line: str) -> None:
    assert lines_with_passwords(f"version: 1\n{line}\n") == []
