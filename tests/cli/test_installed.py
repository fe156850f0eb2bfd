"""The package as pip installs it: it brings its files, and works in any folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("gateway", "upstream_stubs", "policies", "fixtures")
FILES = ("pyproject.toml", "README.md", "LICENSE")


def run(*command: object, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [str(word) for word in command],
        check=False, capture_output=True, text=True, timeout=120, cwd=folder,
        env={**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the command of a package installed from a wheel, with our libraries beside it."""
    folder = tmp_path_factory.mktemp("installed")
    project = folder / "project"
    leave_out = shutil.ignore_patterns("__pycache__", "_compiled")
    for name in SOURCES:
        shutil.copytree(ROOT / name, project / name, symlinks=True, ignore=leave_out)
    for name in FILES:
        shutil.copy(ROOT / name, project)
    made = run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index",
        "--wheel-dir", folder, project, folder=folder,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(project)
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    done = run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
        wheel, folder=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # A path in a .pth file is searched after the package; the links to our sources in it are not
    # followed, since only those of a site folder are.
    scheme = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "gateway"


def test_it_is_the_installed_one_that_runs(installed: Path, tmp_path: Path) -> None:
    python = installed.parent / "python"

    found = run(python, "-c", "import gateway; print(gateway.__file__)", folder=tmp_path)

    assert found.stdout.startswith(str(installed.parents[1]))


def test_the_demo_needs_no_project_folder(installed: Path, tmp_path: Path) -> None:
    """Its help ends with: try it without any setup."""
    ended = run(installed, "demo", "--tour", "--port", "0", folder=tmp_path)

    assert ended.returncode == 0, ended.stderr
    told = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("HTTP/1.1 ")]
    assert told == ["202", "401", "202", "429"]
    assert list(tmp_path.iterdir()) == []


def test_the_demo_answers_in_json(installed: Path, tmp_path: Path) -> None:
    ended = run(installed, "demo", "--tour", "--port", "0", "--json", folder=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    found = json.loads(ended.stdout)
    assert [answer["status"] for answer in found["answers"]] == [202, 401, 202, 429]
    charged = {(row["workspace_id"], row["meter"]): row["charged"] for row in found["usage"]}
    assert charged["demo-sandbox", "dc"] == "50"


@pytest.mark.parametrize("arguments", [["version"], ["schema", "routes"], ["schema", "pricing"]])
def test_commands_without_configuration_work(
    installed: Path, tmp_path: Path, arguments: list[str]
) -> None:
    ended = run(installed, *arguments, "--json", folder=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)


def test_files_of_the_demo_are_those_of_the_project() -> None:
    """They are links: the pricing file stays the single source."""
    files = ROOT / "gateway" / "cli" / "demo_files"

    for name in ("policies/gateway.yaml", "fixtures/pricing_ssot.json"):
        assert (files / name).resolve() == (ROOT / name).resolve()
