"""Workspaces at the command line."""

from tests.support.operator_desk import OperatorDesk


def test_a_workspace_is_created_moved_and_listed(desk: OperatorDesk) -> None:
    created = desk.json("workspaces", "create", "acme", "--plan", "SANDBOX")
    desk.run("workspaces", "set", "acme", "--plan", "STARTER", "--status", "suspended")
    desk.run("workspaces", "create", "globex", "--plan", "GROWTH")

    listed = desk.json("workspaces", "list")

    assert created["plan"] == "SANDBOX"
    assert [(entry["workspace_id"], entry["plan"], entry["status"]) for entry in listed] == [
        ("acme", "STARTER", "suspended"),
        ("globex", "GROWTH", "active"),
    ]
    assert desk.json("workspaces", "list", "--after", "acme") == listed[1:]
    assert "acme       STARTER  suspended" in desk.run("workspaces", "list")


def test_an_unknown_plan_is_a_problem_with_a_hint(desk: OperatorDesk) -> None:
    desk.run("workspaces", "create", "acme", "--plan", "GOLD", expect=1)

    assert "[plan.unknown]" in desk.told
    assert "SANDBOX, STARTER, GROWTH, ENTERPRISE" in desk.told


def test_none_yet_is_said(desk: OperatorDesk) -> None:
    desk.ship()  # an empty database
    assert desk.run("workspaces", "list") == ""
    assert desk.told == "There are no workspaces yet.\n"


def test_an_unknown_status_is_wrong_usage(desk: OperatorDesk) -> None:
    desk.run("workspaces", "set", "acme", "--status", "happy", expect=2)


def test_a_list_that_is_cut_says_so_and_how_to_go_on(desk: OperatorDesk) -> None:
    for name in ("a", "b", "c"):
        desk.run("workspaces", "create", name, "--plan", "STARTER")

    first = desk.json("workspaces", "list", "--limit", "2")
    told = desk.told
    rest = desk.json("workspaces", "list", "--limit", "2", "--after", "b")

    assert [found["workspace_id"] for found in first] == ["a", "b"]
    assert "more than these 2" in told
    assert "--after b" in told
    assert [found["workspace_id"] for found in rest] == ["c"]
    assert desk.told == ""
