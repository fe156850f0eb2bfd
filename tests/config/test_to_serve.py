"""What only a gateway that serves needs: prices in force, and plans for keys written by hand."""

import hashlib
from pathlib import Path

import pytest

from gateway.config.pricing import PriceLists, read_pricings
from gateway.config.to_serve import check_to_serve
from tests.support.pricing_files import Document, write_pricing

NOW = 1_790_000_000_000_000
"""2026-09-21: the fixture is in force."""
DIGEST = hashlib.sha256(b"x").hexdigest()


@pytest.fixture
def lists(tmp_path: Path) -> PriceLists:
    return read_pricings([write_pricing(tmp_path / "pricing.json", lambda _: None)])


def keys_of(folder: Path, plan: str, workspace: str = "acme") -> str:
    (folder / "keys.yaml").write_text(
        f"version: 1\nworkspaces: [{{id: {workspace}, plan: {plan}}}]\n"
    )
    return f"file:{folder}/keys.yaml"


def test_a_sound_configuration_has_no_faults(tmp_path: Path, lists: PriceLists) -> None:
    for keys in (keys_of(tmp_path, "STARTER"), "sqlite:///x", "", "file:", "env:"):
        found = check_to_serve(lists, keys, {}, NOW)
        assert (found.faults, found.warnings) == ([], [])


def test_a_plan_that_nobody_sells_is_told_in_the_keys_file(
    tmp_path: Path, lists: PriceLists
) -> None:
    (fault,) = check_to_serve(lists, keys_of(tmp_path, "STARTR"), {}, NOW).faults

    assert fault.file.endswith("keys.yaml")
    assert fault.message == "no plan is called STARTR"
    assert fault.expected.startswith("did you mean STARTER?")


def test_a_variable_is_looked_at_as_well(lists: PriceLists) -> None:
    keys = {"K": f"acme:GOLD:{DIGEST}"}

    (fault,) = check_to_serve(lists, "env:K", keys, NOW).faults
    assert (fault.file, fault.message) == ("$K", "no plan is called GOLD")
    (fault,) = check_to_serve(lists, "env:GONE", keys, NOW).faults
    assert str(fault) == "$GONE:1:1: (file): this environment variable is not set"


def test_a_file_that_is_not_there_is_a_fault(tmp_path: Path, lists: PriceLists) -> None:
    (fault,) = check_to_serve(lists, f"file:{tmp_path}/gone", {}, NOW).faults

    assert fault.message == "can't be read: No such file or directory"


def test_faulty_prices_hide_no_fault_of_the_keys(tmp_path: Path) -> None:
    """And make none: plans may stand in the list that can't be read."""
    (tmp_path / "bad.json").write_text("{")
    lists = read_pricings([tmp_path / "bad.json"])

    assert check_to_serve(lists, keys_of(tmp_path, "GOLD"), {}, NOW).faults == []
    fault, *_ = check_to_serve(lists, keys_of(tmp_path, "'GO}LD'"), {}, NOW).faults
    assert fault.message == "not a name: it holds '}'"


def test_without_an_instant_nothing_is_asked_of_the_prices(tmp_path: Path) -> None:
    def over(document: Document) -> None:
        document["effective_to"] = "2026-03-02T00:00:00Z"

    lists = read_pricings([write_pricing(tmp_path / "p.json", over)])

    assert check_to_serve(lists, keys_of(tmp_path, "GOLD"), {}, None).faults == []
    found = check_to_serve(lists, keys_of(tmp_path, "GOLD"), {}, NOW).faults
    assert found[0].path == "effective_to"


def test_an_id_with_a_slash_is_read_and_warned_of(tmp_path: Path, lists: PriceLists) -> None:
    found = check_to_serve(lists, keys_of(tmp_path, "STARTER", "org/team"), {}, NOW)

    assert found.faults == []
    (warning,) = found.warnings
    assert "separates a namespace from an id" in warning.message


def test_a_feature_that_no_plan_has_is_warned_of(tmp_path: Path, lists: PriceLists) -> None:
    (tmp_path / "keys.yaml").write_text(
        "version: 1\nworkspaces:\n  - {id: w, plan: GROWTH, keys: [{id: k, sha256: "
        f"'{DIGEST}', features: [replay, repla]}}]}}\n"
    )

    found = check_to_serve(lists, f"file:{tmp_path}/keys.yaml", {}, NOW)

    assert found.faults == []
    (warning,) = found.warnings
    assert warning.message == "no plan has the feature repla"
    assert warning.expected.startswith("did you mean replay?")


def test_faulty_prices_do_not_hide_a_plan_that_they_do_not_name(tmp_path: Path) -> None:
    def change(document: Document) -> None:
        document["tiers"][1]["monthly_base_price"] = -5

    lists = read_pricings([write_pricing(tmp_path / "pricing.json", change)])
    assert lists.faults

    (fault,) = check_to_serve(lists, keys_of(tmp_path, "STARTR"), {}, NOW).faults
    assert fault.message == "no plan is called STARTR"
    assert check_to_serve(lists, keys_of(tmp_path, "STARTER"), {}, NOW).faults == []


@pytest.mark.parametrize("name", ["MY PLAN", 5, None])
def test_a_plan_is_not_missed_in_prices_that_name_one_wrongly(tmp_path: Path, name: object) -> None:
    """It may be the very plan."""

    def change(document: Document) -> None:
        document["tiers"][1]["tier"] = name

    lists = read_pricings([write_pricing(tmp_path / "pricing.json", change)])
    assert lists.faults

    assert check_to_serve(lists, keys_of(tmp_path, "STARTER"), {}, NOW).faults == []
