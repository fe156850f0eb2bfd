"""Units that a tunnel reserves before it uses them: one charge and one record for each slice.

A slice is charged like a request on the tunnel's route, settled at what was used of it, and written
under an event id of its own with the request id of the handshake. That the key still holds and the
configuration of that moment are looked at anew each time.
Source: design sections 3, 7 and 8; docs/semantics.md; requirements A8, A9, N1, N5.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.clock import stopwatch_ns
from gateway.config.snapshot import TunnelMeter, TunnelUnit
from gateway.errors import DirectoryUnavailable, Refusal, RefusalCode, StoreUnavailable
from gateway.http.problems import status_of
from gateway.metering.recorder import Callback
from gateway.proxy.active import RoutePlan
from gateway.proxy.books import Draft, record_of
from gateway.proxy.caller import entered, require_access
from gateway.proxy.charging import charge
from gateway.proxy.exchange import Exchange
from gateway.proxy.ports import Ports
from gateway.rules.record import Outcome
from gateway.rules.settlement import Settlement, settle
from gateway.rules.units import MICRO

SLICE: Final = "slice"
"""Flag of every slice's record."""
USED: Final = "tunnel"
"""Reason of a slice that is billed."""
UNUSED: Final = "unused"
_SWITCHING_PROTOCOLS: Final = 101


class Slices:
    """The slices of one tunnel, one after the other.

    Amounts are counted in ticks: messages, bytes, or microseconds.

    Attributes:
        ticks: How many a slice has.
    """

    __slots__ = (
        "_handshake", "_key_hash", "_meter", "_plan", "_ports", "_reserved_micro",
        "_ticks_per_unit", "ticks",
    )  # fmt: skip

    def __init__(
        self,
        handshake: Exchange,
        key_hash: bytes,
        plan: RoutePlan,
        meter: TunnelMeter,
        ports: Ports,
    ) -> None:
        self._handshake = _like(handshake, handshake.event_id)
        self._key_hash = key_hash
        self._plan = plan
        self._meter = meter
        self._ports = ports
        self._reserved_micro = {meter.meter: meter.slice_units * MICRO}
        self._ticks_per_unit = meter.per_unit * (MICRO if meter.by is TunnelUnit.SECONDS else 1)
        self.ticks = meter.slice_units * self._ticks_per_unit

    def begin(self) -> Draft:
        """Return a slice that is not reserved yet."""
        ports = self._ports
        now_micro = ports.clock.now_micro()
        started_ns = stopwatch_ns()
        exchange = _like(self._handshake, ports.event_ids.new(started_ns))
        exchange.started_ns = started_ns
        draft = Draft(exchange, ports, now_micro)
        draft.plan = draft.active.plans.get(self._plan.route.name, self._plan)
        draft.status = _SWITCHING_PROTOCOLS
        draft.reserved_micro = self._reserved_micro
        return draft

    async def reserve(self, draft: Draft) -> None:
        """Charge a slice.

        Raises:
            Refusal: a limit, the key, or that something is away that the route can't do without.
        """
        plan, ports = draft.plan, self._ports
        assert plan is not None
        if not ports.journal.is_available:
            raise Refusal(RefusalCode.RECORDING_UNAVAILABLE)
        try:
            entry = ports.keys.known(self._key_hash)
            entry = entry or await ports.keys.find(self._key_hash, draft.exchange.origin.group)
            draft.caller = entered(entry, draft.active, draft.now_micro)
            require_access(draft.caller, plan.route, draft.exchange.origin.address)
            is_admitted = await charge(draft, plan, ports)
        except StoreUnavailable as error:
            raise Refusal(RefusalCode.STORE_UNAVAILABLE) from error
        except DirectoryUnavailable as error:
            raise Refusal(RefusalCode.DIRECTORY_UNAVAILABLE) from error
        known = draft.refusal
        if not is_admitted and known is not None:
            # A new one: the remembered one lives on, and would keep what each raising adds to it.
            raise Refusal(known.code, **known.facts)

    def settle(
        self,
        draft: Draft,
        ticks: int,
        bytes_in: int,
        bytes_out: int,
        unrecorded: Callable[[], None],
    ) -> None:
        """Give back what was not used of a slice, and write its record.

        Args:
            draft: Reserved.
            ticks: How many were used.
            bytes_in: Passed to the upstream meanwhile.
            bytes_out: Passed to the client meanwhile.
            unrecorded: Called if the record can't be kept; the slice is given back then.
        """
        meter = self._meter.meter
        # Upwards to the next micro-unit, and only at the end of a tunnel: whole slices have none.
        used_micro = -(-ticks * MICRO // self._ticks_per_unit)
        if ticks != self.ticks:
            draft.actual_micro = {meter: used_micro}
        counts = draft.counts
        is_admitted = counts is not None and (counts.admitted or draft.unenforced)
        settlement = settle(
            draft.charge if is_admitted else None,
            draft.reserved_micro,
            draft.actual_micro,
            billable=ticks > 0,
            reason=USED if ticks else UNUSED,
            repeat=False,
            counted=not draft.unenforced,
        )
        if settlement.deltas and draft.standing is not None:
            draft.standing.refused = None
        draft.exchange.body_bytes = bytes_in
        draft.exchange.bytes_out = bytes_out
        self._ports.stats.worker.tunnel_slices += 1
        self._append(draft, settlement, partial(self._released, draft, unrecorded))

    def refuse(self, draft: Draft, refusal: Refusal) -> None:
        """Write that a slice was refused, if anything can be written."""
        draft.refusal = refusal
        draft.outcome = Outcome.REFUSED
        pricing, plan = draft.active.pricing, draft.plan
        is_quota = refusal.code is RefusalCode.QUOTA_EXCEEDED and pricing is not None
        draft.status = (
            pricing.billing.refused_status
            if pricing is not None and is_quota
            else status_of(refusal.code)
        )
        if plan is not None:
            refused = plan.route.counters.refused
            refused[refusal.code.value] = refused.get(refusal.code.value, 0) + 1
        if self._ports.journal.is_available:
            self._append(draft, draft.settle(), _nothing)
        else:
            self._ports.stats.journal.refusals_unrecorded += 1

    def _append(
        self, draft: Draft, settlement: Settlement, released: Callable[[bool], None]
    ) -> None:
        elapsed_micro = (stopwatch_ns() - draft.exchange.started_ns) // 1000
        record = record_of(draft, settlement, elapsed_micro)
        record.flags = sorted([*record.flags, SLICE])
        self._ports.journal.append(record, Callback(released))

    def _released(
        self,
        draft: Draft,
        unrecorded: Callable[[], None],
        written: bool,  # noqa: FBT001 - the journal's callback
    ) -> None:
        if not written:
            draft.give_back()
            unrecorded()


def _like(handshake: Exchange, event_id: str) -> Exchange:
    """Return what stands for a request in the books of a slice."""
    exchange = Exchange(handshake.client)
    exchange.event_id = event_id
    exchange.request_id = handshake.request_id
    exchange.method = handshake.method
    exchange.origin = handshake.origin
    exchange.body_complete = True
    return exchange


def _nothing(_written: bool) -> None:  # noqa: FBT001 - the journal's callback
    """A refusal costs nobody anything: it may go unrecorded."""
