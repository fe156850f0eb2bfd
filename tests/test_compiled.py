"""Compiled modules are used only where they fit their sources and this Python, all or none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import compiled
from gateway.compiled import FOLDER, MANIFEST, MODULES, digest_of, source_of, usable

TELL = """
from gateway import compiled
print(compiled.use(), compiled.is_used())
from gateway.rules import windows
from gateway.proxy import request
print(windows.__file__)
print(request.__file__)
"""


def manifest_in(folder: Path, **changes: object) -> Path:
    told = {
        "python": sys.implementation.cache_tag,
        "sources": digest_of(),
        "files": {"gateway.rules.windows": "windows.so"},
    }
    (folder / MANIFEST).write_text(json.dumps({**told, **changes}))
    return folder


def test_modules_made_from_these_sources_are_used(tmp_path: Path) -> None:
    assert usable(manifest_in(tmp_path)) == {"gateway.rules.windows": tmp_path / "windows.so"}


@pytest.mark.parametrize(
    "change", [{"sources": "of another version"}, {"python": "cpython-310"}], ids=str
)
def test_modules_made_from_anything_else_are_not(tmp_path: Path, change: dict[str, object]) -> None:
    assert usable(manifest_in(tmp_path, **change)) is None


@pytest.mark.parametrize("content", [None, "", "{", '{"python"'])
def test_half_a_set_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    assert usable(tmp_path) is None


def test_every_change_of_a_compiled_source_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in MODULES:
        copy = tmp_path.joinpath(*module.split(".")[1:]).with_suffix(".py")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source_of(module).read_bytes())
    same = digest_of()
    monkeypatch.setattr(compiled, "_PACKAGE", tmp_path)
    assert digest_of() == same
    for module in MODULES:
        source = source_of(module)
        text = source.read_bytes()
        source.write_bytes(text + b"\n")
        assert digest_of() != same, module
        source.write_bytes(text)
    assert digest_of() == same


def told_by_a_process(**environment: str) -> list[str]:
    known = {name: text for name, text in os.environ.items() if name != compiled.SWITCH}
    process = subprocess.run(
        [sys.executable, "-c", TELL],
        env=known | environment,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stdout.split("\n")


def test_a_process_can_be_kept_on_the_sources() -> None:
    answer, windows, request, _ = told_by_a_process(**{compiled.SWITCH: "no"})
    assert answer == "False False"
    assert windows.endswith("windows.py")
    assert request.endswith("request.py")


@pytest.mark.skipif(usable(FOLDER) is None, reason="nothing was compiled here (no C compiler)")
def test_a_process_takes_the_compiled_modules() -> None:
    answer, windows, request, _ = told_by_a_process()
    assert answer == "True True"
    assert {Path(windows).parent, Path(request).parent} == {FOLDER}
