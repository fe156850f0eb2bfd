"""Metering: the journal that no answered request escapes, and the shipper that empties it.

Owns: durability on this machine, order, torn ends, replay, delivery to the ledger exactly once.
Does not own: what a record says (rules.record), sums and bills (ledger, rules.billing).
"""
