"""Server-sent events: a stream of small pieces, each of which must go out at once."""

from bench.scenarios.port import MOVING_BYTES, Scenario
from bench.streams import CHUNK_BYTES, EVENTS, PACE_SECONDS

SCENARIO = Scenario(
    "events",
    f"streams of {EVENTS} events of 104 bytes, one each {PACE_SECONDS * 1000:.0f} ms, per event",
    path="/v1/events",
    peers=(*MOVING_BYTES, "haproxy"),
    seconds_max=2,
    unit="event",
    unit_bytes=CHUNK_BYTES,
)
