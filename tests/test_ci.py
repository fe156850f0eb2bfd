"""A20: the check that every change goes through turns red on a bad pricing or route file."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def steps() -> list[str]:
    """Return the make targets that the check runs, in order."""
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    named = re.findall(r"^step (?:make --no-print-directory )?(\w[\w-]*)$", text, re.MULTILINE)
    return ["test" if name == "tested" else name for name in named]


def make_check(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run ``make check`` as the check does, on the files of a folder."""
    venv = Path(sys.executable).parent.parent
    return subprocess.run(
        ["make", "--no-print-directory", "--old-file=venv", "check", f"VENV={venv}"],
        cwd=folder, check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the files that are checked."""
    for name in ("policies", "fixtures"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def test_each_step_that_fails_fails_the_check() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert "set -euo pipefail" in text
    assert {"lint", "check", "test", "coverage"} <= set(steps())
    assert not re.search(r"^step .*\|\|", text, re.MULTILINE)


def test_the_shipped_files_pass(project: Path) -> None:
    done = make_check(project)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no faults") == len(list((ROOT / "policies").glob("*.yaml"))) - 1


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replaced("fixtures/pricing_ssot.json", '"rate_limit_rpm": 600', '"rate_limit_rpm": "x"'),
         "pricing_ssot.json:"),
        (replaced("fixtures/pricing_ssot.json", '"tiers"', '"teirs"'), "pricing_ssot.json:"),
        (replaced("fixtures/pricing_ssot.json", "{", "{,"), "pricing_ssot.json:"),
        (replaced("policies/gateway.yaml", "upstream: runs", "upstream: rums"), "gateway.yaml:"),
        (replaced("policies/sidecar.yaml", "version: 1", "version: 2"), "sidecar.yaml:"),
    ],
)  # fmt: skip
def test_a_bad_file_turns_it_red(project: Path, change: Callable[[Path], None], told: str) -> None:
    change(project)

    done = make_check(project)

    assert done.returncode != 0
    assert told in done.stderr
