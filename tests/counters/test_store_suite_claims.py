"""Who pays for a run whose repeats may be billable too: one suite, all adapters (A7, T2, T5)."""

from dataclasses import dataclass

import pytest

from gateway.rules.charge import Charge, Correction, CounterDelta
from gateway.rules.units import MICRO
from tests.support.charges import charge, entry, giving_back, template
from tests.support.stores import Stored


def claiming(repeat: Charge) -> Correction:
    """Return what a billable repeat owes: its whole charge, if its run is not charged."""
    return Correction(
        repeat.template.tag,
        repeat.hold_id,
        tuple(
            CounterDelta(e.key, amount_micro, e.expires_at_seconds)
            for e, amount_micro in zip(repeat.template.entries, repeat.amounts_micro, strict=True)
        ),
        repeat.run_key,
        claimed_until_seconds=repeat.run_expires_at_seconds,
    )


@dataclass
class Tries:
    """A first try of a run and a repeat of it, both charged, each with a quota of its own."""

    stored: Stored
    first: Charge
    repeat: Charge

    async def counted(self) -> tuple[int, ...]:
        keys = [one.template.entries[0].key for one in (self.first, self.repeat)]
        return tuple(n // MICRO for n in await self.stored.store.read("ws", keys))

    async def told(self, *corrections: Correction) -> tuple[int, ...]:
        """Apply corrections, each as often as a replay may, and return what is counted."""
        for correction in corrections:
            await self.stored.store.correct([correction])
        await self.stored.store.correct(corrections)
        return await self.counted()


@pytest.fixture
async def tries(stored: Stored) -> Tries:
    """A month's end between them, say."""
    one = charge(template(entry("november", stored.period)), 3 * MICRO, run="r1")
    other = charge(template(entry("december", stored.period)), 5 * MICRO, run="r1")
    assert not (await stored.store.charge(one)).repeat
    assert (await stored.store.charge(other)).repeat
    return Tries(stored, one, other)


async def test_a_claimed_run_keeps_its_charge_until_that_is_given_back(tries: Tries) -> None:
    """A7, T5: then the claimant's takes its place."""
    back = giving_back(tries.first, release_run=True)

    assert await tries.counted() == (3, 0)
    assert await tries.told(claiming(tries.repeat)) == (3, 0)
    assert await tries.told(back) == (0, 5)
    assert await tries.told(claiming(tries.repeat), back) == (0, 5)
    assert (await tries.stored.store.charge(charge(tries.first.template, run="r1"))).repeat


async def test_a_claim_of_a_run_that_was_given_back_is_charged(tries: Tries) -> None:
    """A7, T5: and its run is taken again."""
    back = giving_back(tries.first, release_run=True)

    assert await tries.told(back) == (0, 0)
    assert await tries.told(claiming(tries.repeat)) == (0, 5)
    assert await tries.told(back, claiming(tries.repeat)) == (0, 5)
    run = tries.repeat.run_key or ""
    assert tries.stored.expiry(run) == tries.repeat.run_expires_at_seconds
    assert (await tries.stored.store.charge(charge(tries.first.template, run="r1"))).repeat


async def test_a_claim_of_a_run_that_is_charged_anew_waits_for_that_charge(tries: Tries) -> None:
    again = charge(tries.first.template, 3 * MICRO, run="r1")
    await tries.told(giving_back(tries.first, release_run=True))
    await tries.stored.store.charge(again)

    assert await tries.told(claiming(tries.repeat)) == (3, 0)
    assert await tries.told(giving_back(again, release_run=True)) == (0, 5)


async def test_of_several_claims_the_first_stands(tries: Tries) -> None:
    second = charge(template(entry("january", tries.stored.period)), run="r1")
    await tries.told(claiming(tries.repeat), claiming(second))

    assert await tries.told(giving_back(tries.first, release_run=True)) == (0, 5)
    assert await tries.told(giving_back(second, release_run=True)) == (0, 5)


async def test_a_claim_moves_no_expiry(tries: Tries) -> None:
    """T2: and no key is without one."""
    run, expires = tries.first.run_key or "", tries.first.run_expires_at_seconds
    tries.repeat.run_expires_at_seconds = expires + 99

    await tries.told(claiming(tries.repeat))
    assert tries.stored.expiry(run) == expires
    await tries.told(giving_back(tries.first, release_run=True))
    assert tries.stored.expiry(run) == expires


async def test_a_run_that_was_forgotten_is_given_back_by_nobody_else(stored: Stored) -> None:
    """What is counted now is another try's."""
    usage = template(entry("usage", stored.period))
    await stored.store.charge(charge(usage, run="r1"))

    await stored.store.correct([giving_back(charge(usage, run="r1"), release_run=True)])

    assert await stored.store.read("ws", [usage.entries[0].key]) == (MICRO,)


async def test_a_claim_of_a_run_without_counters_is_remembered(stored: Stored) -> None:
    first, repeat = charge(template(), run="r1"), charge(template(), run="r1")
    await stored.store.charge(first)
    await stored.store.correct([claiming(repeat), giving_back(first, release_run=True)])
    assert (await stored.store.charge(charge(template(), run="r1"))).repeat
