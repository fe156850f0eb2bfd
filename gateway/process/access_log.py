"""Samples the access log and gives each line the record's names."""

from random import Random

from gateway.proxy.exchange import Exchange
from gateway.proxy.ports import Lines
from gateway.rules.record import Record
from gateway.telemetry.logs import AccessLog


class SampledAccessLog(Lines):
    """One canonical line per request that is chosen; a refusal is chosen like any other."""

    def __init__(self, log: AccessLog, sample_per_million: int, random: Random) -> None:
        self._log = log
        self._sample_per_million = sample_per_million
        self._random = random

    def sample(self, per_million: int) -> None:
        """Change the share of requests that are logged (on reload)."""
        self._sample_per_million = per_million

    def chooses(self) -> bool:
        """Return whether a request is to be logged."""
        per_million = self._sample_per_million
        if per_million >= 1_000_000:
            return True
        return per_million > 0 and self._random.randrange(1_000_000) < per_million

    def write_request(self, record: Record, exchange: Exchange) -> None:
        """Log a request that was chosen."""
        self._log.write(
            {
                "event": "request",
                "occurred_at_micro": record.occurred_at_micro,
                "event_id": record.event_id,
                "request_id": record.request_id,
                "workspace_id": record.workspace_id,
                "key_id": record.key_id,
                "route": record.route,
                "method": record.method,
                "path": exchange.path.decode("latin-1"),
                "status": record.status,
                "outcome": record.outcome,
                "code": record.code,
                "billable": record.billable,
                "reason": record.reason,
                "flags": record.flags,
                "bytes_in": record.bytes_in,
                "bytes_out": record.bytes_out,
                "latency_micro": record.latency_micro,
                "upstream_micro": record.upstream_micro,
            }
        )
