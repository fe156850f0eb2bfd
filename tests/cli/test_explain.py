"""``gateway explain`` at the command line (N6, C5)."""

import pytest

from tests.support.fake_clock import RunningClock
from tests.support.operator_desk import OperatorDesk, record_of, this_month
from tests.support.redis_server import RedisServer


@pytest.fixture
def acme(desk: OperatorDesk) -> OperatorDesk:
    desk.run("workspaces", "create", "acme", "--plan", "STARTER")
    return desk


def test_a_request_that_would_pass_is_exit_code_0(acme: OperatorDesk) -> None:
    out = acme.run("explain", "POST", "/v1/runs", "-w", "acme", "-d", '{"estimated_dc": 3}')

    assert "pass  route: POST /v1/runs is route 'create-run'" in out
    assert "The request would be forwarded to 'runs'." in out


def test_a_request_that_would_be_refused_is_exit_code_1(acme: OperatorDesk) -> None:
    out = acme.run("explain", "POST", "/v1/runs/r/replay", "-w", "acme", expect=1)

    assert "STOP  feature_unavailable: Missing: replay." in out


def test_counts_come_from_the_ledger_where_counters_are_in_memory(acme: OperatorDesk) -> None:
    acme.ship(
        record_of(1, dc=3_030, period=this_month(), occurred_at_micro=RunningClock().now_micro())
    )

    found = acme.json("explain", "POST", "/v1/runs", "-w", "acme", expect=1)

    assert (found["status"], found["code"]) == (429, "quota_exceeded")
    by_name = {policy["policy"]: policy for policy in found["policies"]}
    assert by_name["monthly_dc"]["count"] == "3030"
    assert by_name["rpm"]["count"] is None
    assert found["retry_after_seconds"] > 0


def test_counts_come_from_a_shared_store_where_there_is_one(
    acme: OperatorDesk, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_COUNTERS", redis_server.url)
    with redis_server.client() as client:
        client.set(f"usage:{{acme}}:{this_month()}", 3_030_000_000)

    found = acme.json("explain", "POST", "/v1/runs", "-w", "acme", expect=1)

    assert found["policies"][1]["count"] == "3030"
    assert found["policies"][0]["count"] == "0"


def test_a_run_that_was_charged_is_told_by_its_event(acme: OperatorDesk) -> None:
    charged = record_of(
        1, dc=3_030, period=this_month(), occurred_at_micro=RunningClock().now_micro()
    )
    acme.ship(charged)
    asked = ("explain", "POST", "/v1/runs", "-w", "acme", "-H")

    again = acme.json(*asked, "Idempotency-Key: run-1")
    another = acme.json(*asked, "Idempotency-Key: run-2", expect=1)

    assert again["repeat_of"] == charged.event_id
    assert another["repeat_of"] is None
    assert another["code"] == "quota_exceeded"


def test_a_key_is_asked_for_by_its_id(acme: OperatorDesk) -> None:
    key_id = acme.json("keys", "create", "acme")["key_id"]

    assert acme.json("explain", "POST", "/v1/runs", "--key", key_id)["key_id"] == key_id
    acme.run("keys", "revoke", key_id)
    assert acme.json("explain", "POST", "/v1/runs", "--key", key_id, expect=1)["code"] == (
        "key_revoked"
    )


def test_methods_that_never_come_to_a_route_are_told_as_the_gateway_does(
    acme: OperatorDesk,
) -> None:
    assert acme.json("explain", "FOO", "/v1/runs", expect=1)["status"] == 501
    assert acme.json("explain", "TRACE", "/v1/runs", expect=1)["status"] == 405


def test_without_a_caller_the_answer_is_401(acme: OperatorDesk) -> None:
    assert acme.json("explain", "POST", "/v1/runs", expect=1)["status"] == 401


@pytest.mark.parametrize("option", ["--key", "--workspace"])
def test_an_empty_caller_is_no_request_without_a_key(acme: OperatorDesk, option: str) -> None:
    """As a shell gives it for a variable that is not set."""
    told = acme.run("explain", "POST", "/v1/runs", option, "", expect=1)

    assert told == ""
    assert "unknown" in acme.told


def test_fields_of_the_request_are_heeded(acme: OperatorDesk) -> None:
    found = acme.json("explain", "POST", "/v1/runs", "-w", "acme", "-H", "Idempotency-Key: run-1")

    assert "run id" in [step["name"] for step in found["steps"]]


def test_a_field_may_be_given_twice_as_a_client_may_send_it(acme: OperatorDesk) -> None:
    twice = ["-H", "Idempotency-Key: run-1", "-H", "idempotency-key: run-2"]

    found = acme.json("explain", "POST", "/v1/runs", "-w", "acme", *twice, expect=1)

    assert (found["status"], found["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-H", "no colon"],
        ["--key", "k", "-w", "acme"],
        ["--address", "notanip"],
        ["--address", "10.0.0.1:808080"],
        ["--address", "10.0.0.0/8"],
        ["--address", "010.0.0.1"],
        ["--address", ""],
    ],
)
def test_a_question_that_makes_no_sense_is_wrong_usage(
    acme: OperatorDesk, arguments: list[str]
) -> None:
    acme.run("explain", "POST", "/v1/runs", *arguments, expect=2)


@pytest.mark.parametrize("path", ["v1/runs", "http://api.example/v1/runs", ""])
def test_what_is_no_path_is_wrong_usage(acme: OperatorDesk, path: str) -> None:
    acme.run("explain", "POST", path, expect=2)

    assert "is no path; write /v1/runs, its host as -H 'Host: ...'" in " ".join(acme.told.split())


@pytest.mark.parametrize("address", ["10.0.0.1:80", "::ffff:10.0.0.1", "[::ffff:a00:1]:443"])
def test_an_address_may_be_written_as_a_proxy_writes_it(acme: OperatorDesk, address: str) -> None:
    key_id = acme.json("keys", "create", "acme", "--network", "10.0.0.0/8")["key_id"]

    told = acme.run("explain", "POST", "/v1/runs", "--key", key_id, "--address", address)

    assert "address: 10.0.0.1 lies in the key's networks" in told


def test_without_an_address_the_networks_of_a_key_are_not_judged_and_that_is_said(
    acme: OperatorDesk,
) -> None:
    key_id = acme.json("keys", "create", "acme", "--network", "10.0.0.0/8")["key_id"]

    told = acme.run("explain", "POST", "/v1/runs", "--key", key_id)

    assert "address: not judged: the key is bound to 10.0.0.0/8; give --address" in told
    acme.run("explain", "POST", "/v1/runs", "--key", key_id, "--address", "192.0.2.1", expect=1)
