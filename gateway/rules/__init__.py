"""The domain: plans, limits, windows, charges, decisions, settlement, bills. Pure.

Owns: every rule that decides about money or admission. Does not own: HTTP, stores, files, clocks.
Invariants: quantities are integers in micro-units, money is integer minor units, instants are
integers in microseconds since the Unix epoch; no floats anywhere.
"""
