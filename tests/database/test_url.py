"""One rule for what a database's URL means, wherever it stands; a password is never repeated."""

import traceback
from pathlib import Path

import psycopg
import pytest

from gateway.database.engine import create_engine_for
from gateway.database.url import LIBPQ_PARAMETERS, PostgresqlUrl, SqliteUrl, parse_database_url
from gateway.errors import ConfigError, GatewayError
from tests.config.test_settings import GOOD, loaded

SECRET = "hunter2"


def keywords(url: str) -> dict[str, str]:
    parsed = parse_database_url(url)
    assert isinstance(parsed, PostgresqlUrl)
    return dict(parsed.keywords)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///rel.db", "rel.db"),
        ("sqlite:///data/rel.db", "data/rel.db"),
        ("sqlite:////abs/file.db", "/abs/file.db"),
        ("SQLite:///a b@c#d%20.db", "a b@c#d%20.db"),
    ],
)
def test_a_file_is_named_as_it_is(url: str, file: str) -> None:
    assert parse_database_url(url) == SqliteUrl(Path(file))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h/db", {"host": "h", "dbname": "db"}),
        ("postgres://h/db", {"host": "h", "dbname": "db"}),
        ("POSTGRES://h/db", {"host": "h", "dbname": "db"}),
        ("postgresql+psycopg://h/db", {"host": "h", "dbname": "db"}),
        ("postgresql://h", {"host": "h"}),
        ("postgresql:///db", {"dbname": "db"}),
        ("postgresql://u@h:1/db", {"user": "u", "host": "h", "port": "1", "dbname": "db"}),
        ("postgresql://u:a:b@h", {"user": "u", "password": "a:b", "host": "h"}),
        ("postgresql://:p@h", {"password": "p", "host": "h"}),
        (
            "postgresql://u%40x:p%40s%3Ft%2F%23%25@h/d%2Fb",
            {"user": "u@x", "password": "p@s?t/#%", "host": "h", "dbname": "d/b"},
        ),
        ("postgresql://[::1]:5433/db", {"host": "::1", "port": "5433", "dbname": "db"}),
        (
            "postgresql://u:p@a:1,b,[::1]:3/db?target_session_attrs=read-write",
            {
                "user": "u",
                "password": "p",
                "host": "a,b,::1",
                "port": "1,5432,3",
                "dbname": "db",
                "target_session_attrs": "read-write",
            },
        ),
        ("postgresql://a,b/db", {"host": "a,b", "dbname": "db"}),
        ("postgresql:///db?host=a&host=b", {"dbname": "db", "host": "a,b"}),
        ("postgresql://u@/db?host=/run/pg", {"user": "u", "dbname": "db", "host": "/run/pg"}),
        ("postgresql://localhost/db?host=/cloudsql/x", {"dbname": "db", "host": "/cloudsql/x"}),
        ("postgresql://%2Frun%2Fpg/db", {"host": "/run/pg", "dbname": "db"}),
        (
            "postgresql://h/db?sslmode=require&options=-c%20a%3Db&options=-cc%3Dd",
            {"host": "h", "dbname": "db", "sslmode": "require", "options": "-c a=b -cc=d"},
        ),
    ],
)
def test_a_server_is_named_in_libpqs_way(url: str, expected: dict[str, str]) -> None:
    assert keywords(url) == expected


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (f"postgresql://u:{SECRET}@h:1/db?password={SECRET}", "postgresql://h:1/db"),
        (f"postgresql://u:{SECRET}@a:1,[::2]:3/db", "postgresql://a:1,[::2]:3/db"),
        (f"postgresql://u:{SECRET}@/db", "postgresql://(local socket)/db"),
        (f"postgresql://u:{SECRET}@/db?host=/run/pg", "postgresql:///run/pg/db"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
    ],
)
def test_an_address_holds_nothing_secret(url: str, address: str) -> None:
    parsed = parse_database_url(url)
    assert parsed.address == address
    assert SECRET not in repr(parsed)
    if isinstance(parsed, PostgresqlUrl):
        assert SECRET not in repr(create_engine_for(url).url)


WRONG = [
    ("", "no URL"),
    ("ledger.db", "no URL"),
    (f"{SECRET}", "no URL"),
    ("sqlite:ledger.db", "no URL"),
    ("postgresql:db", "no URL"),
    (f"u:{SECRET}@h://x", "no URL"),
    ("mysql://h/db", "the kind 'mysql' is not known"),
    ("postgresql+asyncpg://h/db", "the kind 'postgresql+asyncpg' is not known"),
    ("postgresql+psycopg2://h/db", "the kind 'postgresql+psycopg2' is not known"),
    ("sqlite+aiosqlite:///x.db", "the kind 'sqlite+aiosqlite' is not known"),
    ("sqlite://", "names no file"),
    ("sqlite:///", "names no file"),
    ("sqlite:///:memory:", "names no file"),
    ("sqlite:///file::memory:", "names no file"),
    ("sqlite:///x.db?mode=ro", "neither host nor parameters"),
    ("sqlite://h/x.db", "neither host nor parameters"),
    ("sqlite://x.db", "neither host nor parameters"),
    (f"postgresql://u:p@{SECRET}@h/db", "write one in a password as %40"),
    (f"postgresql://u:p@s?{SECRET}@h/db=1", "in a password write ? as %3F"),
    (f"postgresql://u:p?{SECRET}@h/db", "in a password write ? as %3F"),
    (f"postgresql://u:p/{SECRET}@h/db", "in a password write / as %2F"),
    (f"postgresql://u:p#{SECRET}@h/db", "in a password write # as %23"),
    (f"postgresql://u:p%{SECRET}@h/db", "write % itself as %25"),
    (f"postgresql://u:{SECRET}@h/db#x", "write one in a password as %23"),
    (f"postgresql://h/db?options={SECRET}@x", "elsewhere @ as %40"),
    (f"postgresql://u:{SECRET}", "a port that is no number"),
    (f"postgresql://u:{SECRET}@h:port/db", "a port that is no number"),
    (f"postgresql://u:{SECRET}@h:0/db", "a port that is no number"),
    (f"postgresql://u:{SECRET}@h:65536/db", "a port that is no number"),
    (f"postgresql://u:{SECRET}@[::1/db", "an IPv6 address that its bracket does not end"),
    (f"postgresql://u:{SECRET}@a,,b/db", "an empty host"),
    ("postgresql://", "neither a host nor a database"),
    ("postgresql:///", "neither a host nor a database"),
    ("postgresql://h/db?sslmod=require", "an unknown parameter sslmod"),
    ("postgresql://h/db?prepare_threshold=5", "an unknown parameter prepare_threshold"),
    ("postgresql://h/db?sslmode", "a parameter without a value"),
    ("postgresql://h/db?sslmode=a&sslmode=b", "the parameter sslmode twice"),
    ("postgresql://h/db?target_session_attrs=standby", "asks for a standby"),
    ("postgresql://h/db?target_session_attrs=read-only", "asks for a standby"),
    (f"postgresql://u:{SECRET}@h/db\n", "a line break"),
    (f" postgresql://u:{SECRET}@h/db", "a blank at an end"),
    (f"postgresql://u:{SECRET}%00@h/db", "a % that begins no code"),
]


@pytest.mark.parametrize(("url", "what"), WRONG)
def test_what_is_wrong_is_named_and_no_password(url: str, what: str) -> None:
    with pytest.raises(GatewayError) as caught:
        create_engine_for(url)
    assert caught.value.code == "database.url_invalid"
    assert what in caught.value.message
    assert "sqlite:///" in caught.value.hint
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("url", "what"), WRONG[1:])  # what is empty has a fault of its own
@pytest.mark.parametrize("setting", ["ledger", "keys"])
def test_settings_and_engines_have_one_rule(
    url: str, what: str, setting: str, tmp_path: Path
) -> None:
    """What one takes the other does not refuse, and both say the same."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, GOOD, {f"GATEWAY_{setting.upper()}": url})
    assert what in caught.value.message
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "POSTGRES"])
@pytest.mark.parametrize("setting", ["ledger", "keys"])
def test_every_spelling_is_good_everywhere(scheme: str, setting: str, tmp_path: Path) -> None:
    url = f"{scheme}://u:{SECRET}@a:1,b:2/db?target_session_attrs=read-write"
    shown = f"{scheme}://u:***@a:1,b:2/db?target_session_attrs=read-write"
    by_variable = loaded(tmp_path, GOOD, {f"GATEWAY_{setting.upper()}": url})
    by_option = loaded(tmp_path, GOOD, **{setting: url})
    by_file = loaded(tmp_path, f"{GOOD}{setting}: {url}\n")
    for one in (by_variable, by_option, by_file):
        assert getattr(one.settings, setting) == url
        assert one.settings.redacted()[setting] == shown
        create_engine_for(getattr(one.settings, setting)).dispose()


def test_all_parameters_of_libpq_are_known() -> None:
    ours = {one.keyword.decode() for one in psycopg.pq.Conninfo.get_defaults()}
    assert ours - LIBPQ_PARAMETERS == {"replication"}
