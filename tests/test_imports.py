"""Imports go down only: the contracts of pyproject.toml hold, and each would notice its breach."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parent.parent


def test_the_contracts_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)

    status = lint_imports(no_cache=True)

    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_no_contract_has_an_exception() -> None:
    assert "ignore_imports" not in (ROOT / "pyproject.toml").read_text()


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the packages in which breaches can be planted."""
    folder = tmp_path_factory.mktemp("planted")
    for name in ("gateway", "upstream_stubs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    ("module", "planted", "contract"),
    [
        ("gateway/rules/units.py", "import gateway.config.snapshot", "Imports go down only"),
        ("gateway/undeclared/__init__.py", "", "Imports go down only"),
        ("gateway/rules/units.py", "import time", "What decides does no I/O"),
        ("gateway/proxy/request.py", "import sqlalchemy", "carries no control-plane library"),
        ("gateway/cli/planted.py", "import gateway.counters.redis", "knows adapters"),
        ("gateway/cli/planted.py", "import gateway.keys.environment", "knows adapters"),
        ("gateway/cli/planted.py", "import gateway.control.written_registry", "knows adapters"),
        ("gateway/config/planted.py", "import upstream_stubs.app", "sample upstream"),
    ],
)
def test_a_planted_breach_breaks_the_contract_meant_for_it(
    copy: Path, module: str, planted: str, contract: str
) -> None:
    path = copy / module
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n{planted}\n")
    linter = Path(sysconfig.get_path("scripts")) / "lint-imports"
    try:
        # The path puts the copy before the packages that are installed.
        done = subprocess.run(
            [sys.executable, linter, "--no-cache"],
            cwd=copy,
            env={"PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
        if module.endswith("undeclared/__init__.py"):
            path.parent.rmdir()

    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert done.returncode != 0
    assert any(contract in line for line in broken), done.stdout
