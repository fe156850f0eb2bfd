"""A chat completion: tokens reserved by the request, settled by the answer."""

import json

from bench.scenarios.port import Scenario

SCENARIO = Scenario(
    "chat",
    "a POST /v1/chat/completions; the gateway reserves tokens and settles what the answer tells",
    method="POST",
    path="/v1/chat/completions",
    body=json.dumps(
        {
            "model": "bench",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "count to three"}],
        }
    ).encode(),
    peers=("envoy", "litellm", "gateway"),
    seconds_max=2,
)
