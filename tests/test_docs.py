"""Documents that can't be wrong: what they name exists, and what exists is named."""

import re
from pathlib import Path

import pytest
import yaml

from gateway.config import routes
from gateway.config.settings import load
from gateway.errors import RefusalCode
from tests.support.pricing_files import write_pricing

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(
    r"(?:GatewayError|StoreUnavailable|DirectoryUnavailable|LedgerUnavailable|LedgerRefusesAll)"
    r"\(\s*\"([a-z_]+\.[a-z_]+)\""
)
WORDS = ["workspace", "key", "plan", "meter", "policy", "route", "charge", "settle", "run id"]


def text_of(*names: str) -> str:
    return "\n".join((ROOT / "docs" / name).read_text() for name in names)


def test_every_error_code_has_an_entry() -> None:
    sources = (path.read_text() for path in (ROOT / "gateway").rglob("*.py"))
    codes = {code for source in sources for code in CODE.findall(source)}

    assert len(codes) > 30
    assert sorted(c for c in codes if f"`{c}`" not in text_of("operations/failure-modes.md")) == []


def test_every_refusal_has_an_entry() -> None:
    page = text_of("reference/problems.md")

    assert [code.value for code in RefusalCode if code.value not in page] == []


def test_every_option_has_an_entry() -> None:
    page = text_of("reference/configuration.md")

    missing = [
        name for name, field in routes.RouteFile.model_fields.items()
        if f"`{field.alias or name}`" not in page
    ]  # fmt: skip
    assert missing == []


def test_the_words_of_the_house_are_explained() -> None:
    page = text_of("glossary.md")

    assert [word for word in WORDS if f"\n| {word}" not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_requirements_name_files_and_tests_that_exist() -> None:
    page = text_of("requirements.md")
    for path, test in re.findall(r"`((?:tests|gateway|fixtures|bench)/[\w./]*)(?:::(\w+))?`", page):
        assert (ROOT / path).exists(), path
        if test:
            assert f"def {test}(" in (ROOT / path).read_text(), test


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_route_files_in_the_documents_are_right(page: Path, tmp_path: Path) -> None:
    write_pricing(tmp_path / "pricing.json", lambda _: None)
    for snippet in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        if "routes" in yaml.safe_load(snippet):
            (tmp_path / "gateway.yaml").write_text(snippet)
            load(tmp_path / "gateway.yaml", environ={}, overrides={})


def test_decisions_are_short() -> None:
    long = [p.name for p in (ROOT / "docs" / "decisions").glob("*.md")
            if len(p.read_text().splitlines()) > 40]  # fmt: skip

    assert long == []
