"""A19, X5: the published examples of problems and fields are what the running gateway sends.

Counters are set in Redis to what an example has used; instants and what follows from them (``t``,
``Retry-After``, ``renews_at``, a month's length) are compared with each other, the rest word for
word.
"""

import json
from collections.abc import Iterator
from typing import Any

import http_sf
import pytest

from gateway.rules.charging import billing_period
from tests.support.gateway_process import ROOT, GatewayProcess, body_of
from tests.support.redis_server import RedisServer
from tests.support.scripted_upstream import ScriptedUpstream

PROBLEMS: dict[str, Any] = json.loads(
    (ROOT / "fixtures" / "problem_details_examples.json").read_text()
)
FIELDS: dict[str, Any] = json.loads(
    (ROOT / "fixtures" / "ratelimit_headers_examples.json").read_text()
)


@pytest.fixture(scope="module")
def gateway(
    redis_session: RedisServer,
    upstream_session: ScriptedUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("examples")
    gateway = GatewayProcess(folder, upstream_session.port, counters=redis_session.url).start()
    yield gateway
    gateway.stop()


def set_used(server: RedisServer, workspace: str, used: dict[str, int]) -> None:
    """Let a workspace have used so much, in this window and the next."""
    with server.client() as client:
        seconds, _ = client.time()
        tag = f"{{{workspace}}}"
        for window in (seconds // 60, seconds // 60 + 1):
            client.set(f"rpm:{tag}:{window}", used.get("rpm", 0) * 10**6, ex=120)
        period = billing_period("UTC", seconds * 10**6)
        client.set(f"usage:{tag}:{period}", used.get("monthly_dc", 0) * 10**6, ex=3600)


def items(text: str) -> dict[str, dict[str, Any]]:
    return dict(http_sf.parse(text.encode(), tltype="list"))


@pytest.mark.parametrize("name", PROBLEMS)
def test_problem_is_the_published_one(
    gateway: GatewayProcess, redis_server: RedisServer, name: str
) -> None:
    example = PROBLEMS[name]
    set_used(redis_server, name, example["used"])

    answer = gateway.call(gateway.make_key(example["tier"], workspace=name))

    told, expected = body_of(answer), dict(example["body"])
    state = items(answer.headers["RateLimit"])
    violated = {policy["policy_name"] for policy in expected["violated-policies"]}
    waits = [state[n]["t"] for n in state if n in violated or "hard_overage_cap" in violated]
    assert int(answer.headers["Retry-After"]) == max(waits)
    for told_by_time in ("instance", "renews_at"):
        assert bool(told.pop(told_by_time)) == bool(expected.pop(told_by_time))
    assert told == expected
    assert answer.headers["Content-Type"] == example["headers"]["Content-Type"]


@pytest.mark.parametrize("name", FIELDS)
def test_fields_are_the_published_ones(
    gateway: GatewayProcess, redis_server: RedisServer, name: str
) -> None:
    example = FIELDS[name]
    used = example["used"]
    expected = items(example["headers"]["RateLimit"])
    is_refusal = expected.get("rpm", {}).get("r") == 0
    before = {policy: count - (0 if is_refusal else 1) for policy, count in used.items()}
    set_used(redis_server, name, before)

    answer = gateway.call(gateway.make_key(example["tier"], workspace=name))

    assert answer.status_code == (429 if is_refusal else 200)
    state, policies = items(answer.headers["RateLimit"]), items(answer.headers["RateLimit-Policy"])
    for policy, item in expected.items():
        assert state[policy]["r"] == item["r"]
        assert 1 <= state[policy]["t"] <= policies[policy]["w"]
    for policy, item in items(example["headers"]["RateLimit-Policy"]).items():
        assert policies[policy]["q"] == item["q"]
        if policy == "rpm":
            assert policies[policy]["w"] == item["w"]
