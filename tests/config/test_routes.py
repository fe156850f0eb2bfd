"""One mistake, one exact message; and every option of the route file is described.

Every ``golden_routes/<case>.yaml`` is a route file with a mistake, ``<case>.error`` what is told.
Source: design section 11; requirement X3, item 0.4.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.config import routes
from gateway.config.settings import load
from gateway.errors import ConfigError
from tests.support.pricing_files import PRICING_FIXTURE

GOLDEN = Path(__file__).parent / "golden_routes"
CASES = sorted(GOLDEN.glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_mistake_is_told_with_its_place(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PRICING_FIXTURE, "pricing.json")
    shutil.copy(case, "gateway.yaml")

    with pytest.raises(ConfigError) as caught:
        load(Path("gateway.yaml"), environ={"CAP": "5"}, overrides={})

    assert caught.value.message + "\n" == case.with_suffix(".error").read_text(encoding="utf-8")


def test_every_case_is_complete() -> None:
    assert {case.stem for case in CASES} == {path.stem for path in GOLDEN.glob("*.error")}
    assert len(CASES) > 60


def models() -> Iterator[type[BaseModel]]:
    for thing in vars(routes).values():
        if isinstance(thing, type) and issubclass(thing, routes.Model):
            yield thing


def test_every_option_is_described() -> None:
    silent = [
        f"{model.__name__}.{name}"
        for model in models()
        for name, field in model.model_fields.items()
        if not field.description
    ]

    assert silent == []


def test_unknown_keys_are_mistakes_everywhere() -> None:
    assert all(model.model_config.get("extra") == "forbid" for model in models())
