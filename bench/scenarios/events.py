"""Server-sent events: a stream of small pieces, each of which must go out at once."""

from bench.scenarios.port import Scenario
from bench.streams import CHUNK_BYTES, EVENTS, PACE_SECONDS

SCENARIO = Scenario(
    "events",
    f"streams of {EVENTS} events of 104 bytes, one each {PACE_SECONDS * 1000:.0f} ms, per event",
    path="/v1/events",
    unit="event",
    unit_bytes=CHUNK_BYTES,
)
