"""The command line as a whole: help everywhere, stable exit codes, never a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gateway.cli import app as root
from gateway.cli.app import OK, app, main
from gateway.errors import (
    CANNOT_START,
    PASSING,
    PROBLEM,
    ConfigError,
    Fault,
    GatewayError,
    StoreUnavailable,
)
from gateway.telemetry.version import VERSION

WRONG_USAGE = 2


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, found in getattr(command, "commands", {}).items():
        yield from commands(f"{name} {child}", found)


ALL = dict(commands("gateway", typer.main.get_command(app)))


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_has_a_help_text(name: str) -> None:
    command = ALL[name]

    assert command.help, name
    assert [parameter.name for parameter in command.params if not parameter.help] == []


@pytest.mark.parametrize("name", ALL)
def test_help_is_shown_and_is_fine(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split()[1:], "--help"]) == OK
    assert "Usage: " in capsys.readouterr().out


@pytest.mark.parametrize("name", ALL)
def test_help_shows_every_word_that_was_written(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rich takes ``[env: GATEWAY_LISTEN]`` for markup and shows nothing of it."""
    main([*name.split()[1:], "--help"])
    shown = "".join(capsys.readouterr().out.split())

    written = [parameter.help for parameter in ALL[name].params if hasattr(parameter, "help")]
    assert [text for text in written if "".join(text.split()) not in shown] == []


def test_help_names_the_variables(capsys: pytest.CaptureFixture[str]) -> None:
    main(["serve", "--help"])

    assert "GATEWAY_LISTEN" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == OK
    assert capsys.readouterr().out == f"{VERSION}\n"


@pytest.mark.parametrize(
    "arguments", [["fly"], ["usage", "--fly"], ["statement"], ["schema", "bills"], ["keys", "x"]]
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == WRONG_USAGE
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (GatewayError("plan.unknown", "no such plan", "choose"), PROBLEM, "[plan.unknown]"),
        (ConfigError([Fault("g.yaml", 1, 1, "$", "bad")]), CANNOT_START, "g.yaml:1:1: $: bad"),
        (StoreUnavailable("counters.away", "it is away"), PROBLEM, "[counters.away]"),
        (GatewayError("counters.url_invalid", "no store"), CANNOT_START, "[counters.url_invalid]"),
        (GatewayError("database.unavailable", "away"), PROBLEM, "[database.unavailable]"),
        (GatewayError("journal.locked", "in use"), PROBLEM, "[journal.locked]"),
        (ZeroDivisionError("x"), PROBLEM, "the gateway itself failed: ZeroDivisionError: x"),
    ],
)
def test_every_error_ends_in_words_and_a_stable_code(
    error: Exception,
    code: int,
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing = typer.Typer()

    @failing.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(root, "app", failing)

    assert main([]) == code
    captured = capsys.readouterr()
    assert told in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["statement", "a", "--format", "xml"], "'xml' is not one of 'table', 'json', 'csv'."),
        (["schema", "route"], "'route' is not one of 'routes', 'pricing', 'keys'."),
        (["schema"], "Missing argument 'file'. Choose from: routes, pricing, keys"),
        (["demo", "--port", "99999"], "'--port': it has to be less than or equal to 65535"),
        (["plans", "extra"], "Got unexpected extra arguments (extra)"),
    ],
)
def test_wrong_usage_is_told_without_the_words_of_libraries(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json"]) == 2

    message = json.loads(capsys.readouterr().err)["message"]
    assert message.endswith(told)
    assert "Value error" not in message


def test_whoever_hunts_a_bug_gets_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = typer.Typer()

    @failing.command()
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(root, "app", failing)
    monkeypatch.setenv("GATEWAY_TRACEBACK", "1")

    with pytest.raises(ZeroDivisionError):
        main([])


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["version"], OK), (["fly"], WRONG_USAGE), (["check", "--config", "/no/such"], PROBLEM)],
)
def test_a_real_process_ends_with_the_code(arguments: list[str], code: int) -> None:
    ended = run(*arguments)

    assert ended.returncode == code
    assert "Traceback" not in ended.stderr


def test_a_worker_without_configuration_can_not_start(tmp_path: Path) -> None:
    """Exit code 3: a supervisor must not start it again and again."""
    ended = run("serve", "--config", str(tmp_path / "none.yaml"))

    assert ended.returncode == CANNOT_START
    assert "Traceback" not in ended.stderr


def test_a_route_file_that_is_a_folder_is_no_wrong_usage(tmp_path: Path) -> None:
    for command in (["serve"], ["usage"], ["routes"]):
        ended = run(*command, "--config", str(tmp_path))

        assert ended.returncode == CANNOT_START
        assert "[config.unreadable]" in ended.stderr
        assert str(tmp_path) in ended.stderr


def test_codes_that_may_pass_are_codes_that_exist() -> None:
    page = (Path(__file__).parents[2] / "docs/operations/failure-modes.md").read_text()

    assert [code for code in PASSING if f"`{code}`" not in page] == []


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    command = f"{sys.executable} -m gateway schema pricing | head -n 1"

    ended = subprocess.run(
        ["bash", "-c", command], check=False, capture_output=True, text=True, timeout=60
    )

    assert ended.stderr == ""
    assert ended.stdout == "{\n"


@pytest.mark.parametrize(
    ("stdout", "code", "told"),
    [
        (">&-", CANNOT_START, "[stdout.closed]"),
        (">/dev/full", PROBLEM, "[output.unwritable]"),
        (">/dev/null", OK, ""),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_answer_that_can_not_be_written_is_said(
    stdout: str, code: int, told: str, unbuffered: str
) -> None:
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gateway schema pricing {stdout}"],
        check=False, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip

    assert ended.returncode == code
    assert told in ended.stderr
    assert "internal" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_that_can_not_be_written_is_no_bug(unbuffered: str) -> None:
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gateway keys list --help >/dev/full"],
        check=False, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip

    assert ended.returncode == PROBLEM
    assert "[output.unwritable]" in ended.stderr
    assert "internal" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_the_version_needs_no_heavy_floor() -> None:
    """A command that is typed often must not wait for SQLAlchemy or the data plane."""
    program = (
        "import sys; from gateway.cli.app import main; main(['version']); "
        "print(sorted({'sqlalchemy', 'aiohttp', 'redis', 'jsonschema', 'structlog', 'httptools'}"
        " & set(sys.modules)))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60
    )

    assert ended.stdout.splitlines()[-1] == "[]"


def test_the_shell_completes_commands() -> None:
    ended = run(_GATEWAY_COMPLETE="complete_bash", COMP_WORDS="gateway wor", COMP_CWORD="1")

    assert ended.stdout.split() == ["workspaces"]
