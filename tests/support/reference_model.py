"""What a counter store must do, said as plainly as possible: no bounds, no concurrency."""

from dataclasses import dataclass, field

from gateway.rules.charge import Charge, Correction, CounterDelta, StaleTemplate
from gateway.rules.units import MICRO, UNLIMITED


@dataclass
class ReferenceModel:
    """A counter store in fifty lines; time is given with each call."""

    counters: dict[str, tuple[int, int]] = field(default_factory=dict)
    runs: dict[str, tuple[str, int]] = field(default_factory=dict)
    corrected: dict[str, int] = field(default_factory=dict)
    claims: dict[str, tuple[str, str, tuple[CounterDelta, ...]]] = field(default_factory=dict)
    """By run: claimant, the hold that charged the run, the claimant's charge."""

    def value(self, key: str, now_micro: int) -> int:
        """Return a counter, 0 if it does not exist or has expired."""
        value, expires = self.counters.get(key, (0, 0))
        return value if now_micro < expires * MICRO else 0

    def run_holder(self, run_key: str | None, now_micro: int) -> str | None:
        """Return the hold that charged a run, None if it may be charged."""
        holder, expires = self.runs.get(run_key or "", ("", 0))
        return holder if now_micro < expires * MICRO else None

    def charge(self, charge: Charge, now_micro: int) -> tuple[bool, bool, tuple[int, ...]]:
        """Return (admitted, repeat, counts after)."""
        entries = charge.template.entries
        for entry in entries:
            if not entry.period.start_micro <= now_micro < entry.period.end_micro:
                raise StaleTemplate(now_micro)
        repeat = self.run_holder(charge.run_key, now_micro) is not None
        judged = [
            (entry, amount)
            for entry, amount in zip(entries, charge.amounts_micro, strict=True)
            if amount > 0 and (entry.counts_repeats or not repeat)
        ]
        admitted = all(
            entry.cap_micro is UNLIMITED
            or self.value(entry.key, now_micro) + amount <= entry.cap_micro
            for entry, amount in judged
        )
        if admitted:
            for entry, amount in judged:
                self._add(entry.key, amount, entry.expires_at_seconds, now_micro)
            if charge.run_key is not None and not repeat:
                self.runs[charge.run_key] = (charge.hold_id, charge.run_expires_at_seconds)
        return admitted, repeat, tuple(self.value(entry.key, now_micro) for entry in entries)

    def correct(self, correction: Correction, now_micro: int) -> None:
        """Apply a correction, once per hold."""
        if now_micro < self.corrected.get(correction.hold_id, 0):
            return
        self.corrected[correction.hold_id] = now_micro + 7 * 86_400 * MICRO
        run = correction.run_key or ""
        has_run = correction.release_run or correction.claimed_until_seconds
        holder = self.run_holder(run, now_micro) if has_run else None
        if holder is not None and correction.claimed_until_seconds:
            self.claims.setdefault(run, (correction.hold_id, holder, correction.deltas))
            return
        if holder is not None:
            claim = self.claims.get(run)
            if correction.hold_id != (claim[1] if claim else holder):
                return
            if claim:
                self._add_all(correction.deltas, now_micro)
                self._add_all(claim[2], now_micro)
                self.runs[run] = (claim[0], self.runs[run][1])
                del self.claims[run]
                return
            del self.runs[run]
        self._add_all(correction.deltas, now_micro)
        if correction.claimed_until_seconds:
            self.runs[run] = (correction.hold_id, correction.claimed_until_seconds)

    def _add_all(self, deltas: tuple[CounterDelta, ...], now_micro: int) -> None:
        for delta in deltas:
            if delta.delta_micro > 0 or self.value(delta.key, now_micro):
                self._add(delta.key, delta.delta_micro, delta.expires_at_seconds, now_micro)

    def _add(self, key: str, amount_micro: int, expires_at_seconds: int, now_micro: int) -> None:
        value, expires = self.counters.get(key, (0, 0))
        if now_micro >= expires * MICRO:
            value, expires = 0, expires_at_seconds
        self.counters[key] = (max(0, value + amount_micro), expires)
