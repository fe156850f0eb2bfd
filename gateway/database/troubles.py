"""What a database's refusal means, and what an operator can do: one table for all of them.

A server that answers a statement gives an SQLSTATE (PostgreSQL documentation, appendix A). One that
refuses a connection gives text alone, since libpq keeps the code to itself; the text is matched in
English, and what is in another language gets the general hint. A pooler has texts of its own.
"""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of refusal.

    Attributes:
        code: The error's; empty where the caller's own ("ledger.unavailable") says enough.
        hint: What to do.
        states: SQLSTATEs, or their first two characters for a whole class.
        says: Matches what comes without a state.
    """

    code: str
    hint: str
    states: frozenset[str] = frozenset()
    says: re.Pattern[str] | None = None


def _trouble(code: str, hint: str, *states: str, says: str = "") -> Trouble:
    pattern = re.compile(says, re.IGNORECASE) if says else None
    return Trouble(code, hint, frozenset(states), pattern)


GENERAL: Final = Trouble(
    "", "see that the database runs and that this user may reach and change it"
)

READ_ONLY: Final = _trouble(
    "database.read_only",
    "let the URL lead to the primary, or name all servers in it: "
    "postgresql://user:password@a:5432,b:5432/name?target_session_attrs=read-write; "
    "default_transaction_read_only of server, database or role has to be off",
    "25006",
    says=r"read-only transaction|session is read-only|session is not read-write"
    r"|hot standby|server is in recovery",
)

TOO_OLD: Final = Trouble("database.too_old", "use PostgreSQL 13 or newer")

_TLS: Final = _trouble(
    "database.tls",
    "see sslmode and sslrootcert in the URL, and pg_hba.conf or the pooler's TLS settings there",
    says=r"no encryption|SSL off|SSL (connection )?is required|SSL required|does not support SSL"
    r"|certificate|SSL error|SSL SYSCALL|hostssl|sslmode value",
)

_ACCESS: Final = _trouble(
    "database.access_refused",
    "see user and password in the URL (%40 for @, %25 for %), and pg_hba.conf or the pooler's "
    "list of users there",
    "28",
    says=r"password authentication failed|authentication failed|no password supplied"
    r"|no pg_hba\.conf entry|role \".*\" (does not exist|is not permitted)|no such user"
    r"|server login failed|auth failed|SASL|pg_hba\.conf rejects",
)

_ABSENT: Final = _trouble(
    "database.absent",
    "create the database (CREATE DATABASE name OWNER user), or see the name at the URL's end",
    "3D",
    says=r"database \".*\" does not exist|no such database",
)

_SCHEMA: Final = _trouble(
    "database.schema_absent",
    "create the schema, or see search_path: of the role (ALTER ROLE user SET search_path = ...), "
    "of the database, or in the URL's options",
    "3F",
)

_NOT_PERMITTED: Final = _trouble(
    "database.not_permitted",
    "let this user use and create tables in the schema (GRANT USAGE, CREATE ON SCHEMA), connect "
    "to the database, and own or use the gateway's tables",
    "42501",
    says=r"permission denied|User does not have CONNECT",
)

_POOLER: Final = _trouble(
    "database.pooler_unfit",
    "let the pooler pool by transaction or session (pool_mode), leave `options` out of the URL, "
    "and set what it says for the role (ALTER ROLE user SET ...)",
    *("26", "42P05", "25P02"),
    says=r"unsupported startup parameter|statement pooling mode|Transaction blocks not allowed",
)

_CROWDED: Final = _trouble(
    "database.connections_exhausted",
    "raise max_connections or the pooler's pool_size and max_client_conn, or use a pooler: a "
    "gateway has some 12 connections",
    "53300",
    says=r"too many clients|too many connections|connection slots are reserved|reserved connection"
    r"|no more connections allowed|query_wait_timeout",
)

_FULL: Final = _trouble(
    "database.full",
    "free or add disk space where the database keeps its data; records wait in the journal",
    "53100",
    says=r"database or disk is full|no space left",
)

_MEMORY: Final = _trouble(
    "database.out_of_memory",
    "give the database's machine more memory, or lower shipper.batch",
    "53200",
    says=r"out of memory",
)

TROUBLES: Final = (
    READ_ONLY,
    _POOLER,
    _TLS,
    _CROWDED,
    _ABSENT,
    _ACCESS,
    _SCHEMA,
    _NOT_PERMITTED,
    _FULL,
    _MEMORY,
    _trouble(
        "",
        "the server starts, stops or recovers: it is asked again",
        "57P",
        says=r"the database system is|pgbouncer cannot connect to server|server conn(ection)? crash"
        r"|shutting down|server_login_retry",
    ),
    _trouble(
        "",
        "see the host's name in the URL, and this machine's name server",
        says=r"failed to resolve host|could not translate host name|Name or service not known",
    ),
    _trouble(
        "",
        "see host and port in the URL, that PostgreSQL runs and listens there (listen_addresses), "
        "and firewalls between",
        says=r"connection refused|no route to host|network is unreachable|No such file or directory"
        r"|\.s\.PGSQL\.|connection reset",
    ),
    _trouble(
        "",
        "see the server's load and the network: it was reached, or should have been, and gave no "
        "answer",
        says=r"timeout expired|timed out|no answer within",
    ),
    _trouble(
        "",
        "other transactions hold or take too long what this one waits for; see pg_stat_activity "
        "and the server's load",
        *("40", "55P03", "57014"),
    ),
    _trouble(
        "",
        "the tables are not those that this release made: another database, or changed by hand?",
        "42",
        says=r"no such (table|column)",
    ),
    _trouble(
        "",
        "correct the parameter in the URL",
        says=r"invalid .*value|bad value for|invalid connection",
    ),
    _trouble(
        "",
        "another process holds the file: a backup, a tool with an open transaction?",
        says=r"database is locked|database table is locked",
    ),
    _trouble(
        "database.not_writable",
        "let this user write the file and its folder, on a volume that is not mounted read-only",
        says=r"readonly database|unable to open database file|disk I/O error",
    ),
    _trouble(
        "",
        "restore the file from a copy, or name another: records wait in the journal",
        says=r"not a database|malformed",
    ),
    _trouble(
        "",
        "all of this process's connections are in use: see the database's load",
        says=r"QueuePool limit",
    ),
)


def trouble_of(state: str | None, text: str) -> Trouble:
    """Return what a refusal means.

    Args:
        state: Its SQLSTATE, if it has one: then the text, which may repeat names, is not looked at.
            A pooler gives the one of protocol errors (08P01) to all that it refuses.
        text: All that the driver says.
    """
    speaks = state is None or state.startswith("08")
    for trouble in TROUBLES:
        if state is not None and any(state.startswith(one) for one in trouble.states):
            return trouble
        if speaks and trouble.says is not None and trouble.says.search(text):
            return trouble
    return GENERAL
