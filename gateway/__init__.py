"""The enforcement gateway: authenticate, enforce, forward, meter.

The floors, top first: ``cli`` > ``process`` > ``proxy`` | ``admin`` > ``control`` > ``metering`` |
``config`` > ``counters`` | ``ledger`` | ``keys`` > ``http`` | ``database`` | ``telemetry`` >
``rules`` > ``clock`` | ``errors`` | ``tasks``. Imports go down only.
"""
