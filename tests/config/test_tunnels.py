"""Limits on tunnels arrive as they were written; what each mistake is told is in golden_routes."""

import pytest
from pydantic import ValidationError

from gateway.config.snapshot import TunnelMeter, TunnelRules, TunnelUnit
from gateway.config.tunnels import TunnelModel, rules_of


def test_every_field_arrives() -> None:
    model = TunnelModel.model_validate(
        {
            "connections_per_workspace": 3,
            "duration": "1h",
            "idle": "90s",
            "half_close": "5s",
            "meter": {"meter": "dc", "by": "bytes", "per_unit": 1_000_000, "slice": 5},
        }
    )

    assert rules_of(model) == TunnelRules(
        3, 3600.0, 90.0, TunnelMeter("dc", TunnelUnit.BYTES, 1_000_000, 5), 5.0
    )


def test_what_is_not_said_bounds_nothing() -> None:
    assert rules_of(TunnelModel()) == TunnelRules(0, 0.0, 0.0, None, 30.0)


@pytest.mark.parametrize("by", list(TunnelUnit))
def test_a_slice_is_one_unit_of_one_unless_said(by: TunnelUnit) -> None:
    model = TunnelModel.model_validate({"meter": {"meter": "dc", "by": by.value}})

    assert rules_of(model).meter == TunnelMeter("dc", by, 1, 1)


@pytest.mark.parametrize("wrong", [{"slice": 0}, {"per_unit": 0}, {"by": "frames"}, {"units": 1}])
def test_what_can_not_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TunnelModel.model_validate({"meter": {"meter": "dc", "by": "bytes"} | wrong})
