"""A sample upstream: small APIs that know nothing of plans or money, for demo, tests and bench.

Not a part of the gateway and never imported by its data plane. Everything a client may ask for is
bounded, nothing is kept but the most recent runs.
"""
