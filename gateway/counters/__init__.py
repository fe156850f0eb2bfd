"""Counter stores: add all or nothing, correct once, by the store's clock.

Owns: atomicity, expiry, idempotency of runs and corrections. Does not own: names, plans, HTTP.
Invariants: a refused charge changes nothing; no counter exists without an expiry; both adapters
pass one suite (tests/counters).
"""
