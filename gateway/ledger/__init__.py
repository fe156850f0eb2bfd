"""The ledger: the append-only SQL table of usage events that bills are made of.

Owns: exactly-once insertion by event id, one billed event per run, rollups, sums, export.
Does not own: prices (rules.billing), delivery (metering.shipper).
Invariants: rows are never updated or deleted; sums of events and rollups agree.
"""
