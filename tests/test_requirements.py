"""docs/requirements.md says of each row what shows it: a test that exists and names the row."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
ROWS = {
    match[1]: (match[2], match[4])
    for match in re.finditer(r"^\| ([A-Z]\d+) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
}
"""By number: what must be, and what shows it."""


def shown_by(row: str) -> list[tuple[Path, str]]:
    """Return files of tests, each with the name of a test or an empty one."""
    found = re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", ROWS[row][1])
    return [(ROOT / path, name) for path, name in found]


def text_of(path: Path, name: str) -> str:
    """Return a test's own source with its file's docstring, or the whole file."""
    text = path.read_text(encoding="utf-8")
    if not name:
        return text
    tree = ast.parse(text)
    (found,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    )
    return (ast.get_docstring(tree) or "") + (ast.get_source_segment(text, found) or "")


def test_the_page_has_rows() -> None:
    assert len(ROWS) > 50


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_shown_by_tests_that_exist(row: str) -> None:
    shown = shown_by(row)

    assert shown
    for path, name in shown:
        assert path.exists(), path
        assert not name or f"def {name}(" in path.read_text(encoding="utf-8"), name


@pytest.mark.parametrize("row", ROWS)
def test_one_of_these_tests_names_the_row(row: str) -> None:
    texts = [text_of(path, name) for path, name in shown_by(row)]

    assert any(re.search(rf"\b{row}\b", text) for text in texts)


@pytest.mark.parametrize("row", ROWS)
def test_what_is_missing_is_called_so(row: str) -> None:
    """A row that says what is not there yet is marked as one."""
    told = ROWS[row][0]

    assert ("not yet" in told or "*yet*" in told) <= ("*not yet*" in told or "*partly*" in told)
