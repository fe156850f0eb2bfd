"""WebSocket messages there and back: what a tunnel costs."""

from bench.scenarios.port import Scenario

SCENARIO = Scenario(
    "websocket",
    "64 bytes echoed, 3,000 times a second over all connections, per message",
    path="/v1/echo",
    peers=("nginx", "envoy", "nginx-lua", "gateway"),
    rate=3000.0,
    seconds_max=2,
    unit="message",
    is_websocket=True,
)
