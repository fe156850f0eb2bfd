"""Policies as they are written."""

import pytest
from pydantic import ValidationError

from gateway.config.policies import AddressPrefixModel, PolicyModel


def test_addresses_of_a_site_are_one_unless_it_is_said_otherwise() -> None:
    assert AddressPrefixModel().model_dump() == {"ipv4": 32, "ipv6": 64}
    assert PolicyModel(name="a", window="60s", cap=1).address_prefix is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "prefix", [{"ipv4": 0}, {"ipv4": 33}, {"ipv6": 0}, {"ipv6": 129}, {"ipv6": "64"}, {"ipv5": 1}]
)
def test_a_prefix_that_is_none_is_refused(prefix: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AddressPrefixModel.model_validate(prefix)
