"""The metering record: what is known of one request once it is over. One JSON line in the journal.

Refusals that are alike share a record (``count``): docs/semantics.md, "Refusals in the books".

Source: design section 8; requirements X6, A9, A22, C7, D1.
"""

from dataclasses import dataclass
from enum import Enum

RECORD_VERSION = 1


class Outcome(Enum):
    """How a request ended."""

    COMPLETED = "completed"
    """The upstream's whole answer went to the client."""
    REFUSED = "refused"
    """The gateway answered instead of the upstream."""
    UPSTREAM_FAILED = "upstream_failed"
    """The upstream refused, hung, or broke off."""
    CLIENT_GONE = "client_gone"
    """The client left before the end."""
    STOPPED = "stopped"
    """The gateway cut it off: it was still under way when the drain was over."""


@dataclass(slots=True, init=False)
class Record:
    """One request, as the journal and the ledger keep it. No secrets, bodies or query strings.

    A record whose ``count`` is above 1 stands for so many refusals of one second.

    Attributes:
        event_id: UUIDv7, the identity of the record and of the charge (``hold_id``).
        request_id: The caller's ``X-Request-Id`` if it sent a sound one, else the event id; of
            several requests the first one's.
        occurred_at_micro: When it was charged, by the store's clock; if it was not, when it came;
            of several requests when the first one came.
        workspace_id: Whose key it was; None without a valid key.
        key_id: Which key it was; None without a valid key.
        plan: The workspace's plan.
        route: Name of the route; None if none took it.
        method: The request's method.
        run_id: What the route's ``run_id`` read; None of several requests.
        status: The answer's; if there was none yet, 499 where the client left, 503 where the
            gateway stopped.
        outcome: How it ended.
        code: The refusal's code, or None.
        billable: Whether the status bills by the pricing file and the run was not billed before.
        reason: The rule that decided: ``success``, ``http_5xx``, ``repeat``, ``client_gone``,
            ``abandoned`` ...; of a tunnel's slice ``tunnel``, or ``unused``.
        repeat: The run id had been charged before (CSV: ``deduplication_status`` is ``duplicate``).
        quantities_micro: Per meter what the request used, settled; of several what each of them
            asked for, 0 where they differ.
        charged_micro: Per meter what the bill counts: the same, or 0 when not billable.
        pricing_version: Which version of the pricing file it was judged by.
        period: Billing period of the charge, ``2026-11``.
        flags: ``overage``, ``grace``, ``slice``, ``warn:<policy>``, ``unenforced``, sorted.
        violated: Names of the violated policies of a refusal.
        bytes_in: Bytes of the request's body, without the framing of chunks; of a tunnel's slice
            all that passed; of several requests their sum.
        bytes_out: Bytes of the answer's body, likewise.
        latency_micro: From its whole head until the last bytes were ready to leave; of several
            requests their sum.
        upstream_micro: From sending it to the upstream until the head of its answer.
        deltas: Correction that the store owes: ``[key, delta_micro, expires_at_seconds]`` each.
        run_key: Idempotency key of the charge in the store, if the run must be released or claimed.
        claimed_reason: What ``reason`` becomes if the ledger bills this repeat, whose run no other
            try was billed for; empty if it claims none. ``deltas`` are what it would be charged.
        claimed_until_seconds: Unix time at which the store forgets the run that is claimed.
        v: Version of this form.
        count: How many requests it stands for.
    """

    event_id: str
    request_id: str
    occurred_at_micro: int
    workspace_id: str | None
    key_id: str | None
    plan: str | None
    route: str | None
    method: str
    run_id: str | None
    status: int
    outcome: str
    code: str | None
    billable: bool
    reason: str
    repeat: bool
    quantities_micro: dict[str, int]
    charged_micro: dict[str, int]
    pricing_version: str | None
    period: str | None
    flags: list[str]
    violated: list[str]
    bytes_in: int
    bytes_out: int
    latency_micro: int
    upstream_micro: int
    deltas: list[list[str | int]]
    run_key: str | None
    claimed_reason: str
    claimed_until_seconds: int
    v: int
    count: int

    # Written out: the generated one can't be compiled, and every request makes one.
    def __init__(
        self,
        *,
        event_id: str,
        request_id: str,
        occurred_at_micro: int,
        workspace_id: str | None,
        key_id: str | None,
        plan: str | None,
        route: str | None,
        method: str,
        run_id: str | None,
        status: int,
        outcome: str,
        code: str | None,
        billable: bool,
        reason: str,
        repeat: bool,
        quantities_micro: dict[str, int],
        charged_micro: dict[str, int],
        pricing_version: str | None,
        period: str | None,
        flags: list[str] | None = None,
        violated: list[str] | None = None,
        bytes_in: int = 0,
        bytes_out: int = 0,
        latency_micro: int = 0,
        upstream_micro: int = 0,
        deltas: list[list[str | int]] | None = None,
        run_key: str | None = None,
        claimed_reason: str = "",
        claimed_until_seconds: int = 0,
        v: int = RECORD_VERSION,
        count: int = 1,
    ) -> None:
        self.event_id = event_id
        self.request_id = request_id
        self.occurred_at_micro = occurred_at_micro
        self.workspace_id = workspace_id
        self.key_id = key_id
        self.plan = plan
        self.route = route
        self.method = method
        self.run_id = run_id
        self.status = status
        self.outcome = outcome
        self.code = code
        self.billable, self.reason = billable, reason
        self.repeat = repeat
        self.quantities_micro, self.charged_micro = quantities_micro, charged_micro
        self.pricing_version = pricing_version
        self.period = period
        self.flags = [] if flags is None else flags
        self.violated = [] if violated is None else violated
        self.bytes_in, self.bytes_out = bytes_in, bytes_out
        self.latency_micro, self.upstream_micro = latency_micro, upstream_micro
        self.deltas = [] if deltas is None else deltas
        self.run_key = run_key
        self.claimed_reason, self.claimed_until_seconds = claimed_reason, claimed_until_seconds
        self.v, self.count = v, count
