"""Two families of errors: a ``Refusal`` is the caller's, a ``GatewayError`` is the operator's.

A ``Refusal`` carries facts; what it looks like on the wire is decided in ``gateway.http.problems``.
A ``GatewayError`` carries a stable code, one sentence of what happened, and a hint at what to do.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final


class RefusalCode(Enum):
    """Why the gateway answers instead of the upstream; the value is the problem's ``code``."""

    BAD_REQUEST = "bad_request"
    KEY_MISSING = "key_missing"
    KEY_AMBIGUOUS = "key_ambiguous"
    KEY_INVALID = "key_invalid"
    KEY_REVOKED = "key_revoked"
    KEY_EXPIRED = "key_expired"
    PAYMENT_REQUIRED = "payment_required"
    WORKSPACE_SUSPENDED = "workspace_suspended"
    PLAN_UNKNOWN = "plan_unknown"
    FEATURE_UNAVAILABLE = "feature_unavailable"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    ROUTE_UNKNOWN = "route_unknown"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    TARGET_TOO_LONG = "target_too_long"
    HEAD_TOO_LARGE = "head_too_large"
    CONTENT_CODING_UNSUPPORTED = "content_coding_unsupported"
    EXPECTATION_FAILED = "expectation_failed"
    COST_INVALID = "cost_invalid"
    QUOTA_EXCEEDED = "quota_exceeded"
    TOO_MANY_TUNNELS = "too_many_tunnels"
    STORE_UNAVAILABLE = "store_unavailable"
    DIRECTORY_UNAVAILABLE = "directory_unavailable"
    RECORDING_UNAVAILABLE = "recording_unavailable"
    OVERLOADED = "overloaded"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_CIRCUIT_OPEN = "upstream_circuit_open"
    EXECUTION_TIMEOUT = "execution_timeout"
    NOT_IMPLEMENTED = "not_implemented"
    VERSION_UNSUPPORTED = "version_unsupported"


class Refusal(Exception):  # noqa: N818 - the design's word; it is an answer, not a malfunction
    """A request is answered by the gateway itself.

    Args:
        code: Which refusal.
        facts: What the problem may tell the caller. Never addresses, traces or key material.
    """

    def __init__(self, code: RefusalCode, **facts: Any) -> None:  # noqa: ANN401 - facts of all kinds
        super().__init__(code.value)
        self.code = code
        self.facts = facts

    def forget_frames(self) -> None:
        """Let go of where it was raised: those frames refer to the request, and that to this."""
        self.__traceback__ = self.__cause__ = self.__context__ = None


class GatewayError(Exception):
    """Something the operator must know.

    Args:
        code: Stable, dotted, documented in docs/operations/failure-modes.md.
        message: What happened, one sentence.
        hint: What to do about it, one sentence.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


PROBLEM: Final = 1
CANNOT_START: Final = 3
PASSING: Final = frozenset(
    {
        *("admin.cannot_listen", "config.child_failed", "counters.away", "counters.clock"),
        *("counters.connection_lost", "counters.store_error", "counters.timeout"),
        *("database.absent", "database.access_refused", "database.connections_exhausted"),
        *("database.full", "database.not_permitted", "database.out_of_memory"),
        *("database.pooler_unfit", "database.read_only", "database.schema_absent", "database.tls"),
        *("database.unavailable", "directory.lookups_exhausted", "directory.slow"),
        *("directory.unavailable", "journal.locked", "ledger.unavailable", "recovery.backlog"),
        "worker.cannot_listen",
    }
)
"""Codes of trouble that may be over by the next start."""


def start_code(code: str) -> int:
    """Return the exit code of what could not start: 3 only if starting it again can't help."""
    return PROBLEM if code in PASSING else CANNOT_START


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a file: where it stands, what was found, what would be right."""

    file: str
    line: int
    column: int
    path: str
    message: str
    expected: str = ""

    def __str__(self) -> str:
        wanted = f" ({self.expected})" if self.expected else ""
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.message}{wanted}"


@dataclass(eq=False)
class ConfigError(GatewayError):
    """All mistakes of the configuration at once, each with file, line and column."""

    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        GatewayError.__init__(
            self,
            "config.invalid",
            "\n".join(str(fault) for fault in self.faults),
            "correct the lines above; `gateway check` repeats this test without starting anything",
        )


class StoreUnavailable(GatewayError):  # noqa: N818 - the design's words, as below
    """The counter store did not answer within its deadline, or is known to be away."""


class DirectoryUnavailable(GatewayError):  # noqa: N818
    """The key directory can't be asked now."""


class LedgerUnavailable(GatewayError):  # noqa: N818
    """The ledger can't be reached; records wait in the journal."""
