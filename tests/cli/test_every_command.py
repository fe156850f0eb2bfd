"""What holds for each command: it answers in JSON, errors included, and no character ends it.

The table names every command of the app, so that a new one can't be forgotten.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from gateway.cli.app import app, main
from tests.support.operator_desk import OperatorDesk

HOSTILE = "caf\u00e9 \u20a9\U0001f600 \x1b[31m\x9b2J\u202e"
NO_TEXT = "caf\udce9\x1b[31m\u20a9"
ENCODINGS = ("ascii", "latin-1", "utf-8", "utf-16")
SHOWN_RAW = "\x9b\u202e"
WRONG_USAGE = 2

ANSWERS = {
    "gateway routes": [],
    "gateway plans": [],
    "gateway check": [],
    "gateway schema": ["pricing"],
    "gateway version": [],
    "gateway explain": ["GET", f"/{HOSTILE}"],
    "gateway usage": [],
    "gateway statement": ["acme"],
    "gateway workspaces create": ["globex", "--plan", "STARTER"],
    "gateway workspaces list": [],
    "gateway workspaces set": ["acme", "--status", "suspended"],
    "gateway keys create": ["acme", "--name", HOSTILE],
    "gateway keys list": [],
    "gateway keys revoke": ["KEY"],
    "gateway keys expire": ["KEY", "30d"],
    "gateway keys rotate": ["KEY"],
}
"""Arguments with which each command has an answer; KEY is the id of a key."""

FAILURES = {
    "gateway serve": ["--config", f"{NO_TEXT}.yaml"],
    "gateway demo": ["--config", f"{NO_TEXT}.yaml"],
    "gateway routes": ["--config", f"{NO_TEXT}.yaml"],
    "gateway plans": ["--config", f"{NO_TEXT}.yaml"],
    "gateway check": ["--config", f"{NO_TEXT}.yaml"],
    "gateway schema": [HOSTILE],
    "gateway version": [f"--{HOSTILE}"],
    "gateway explain": ["GET", "/", "--key", HOSTILE],
    "gateway usage": ["--period", HOSTILE],
    "gateway statement": [HOSTILE],
    "gateway workspaces create": [HOSTILE, "--plan", "STARTER"],
    "gateway workspaces list": ["--after", NO_TEXT],
    "gateway workspaces set": ["acme", "--plan", HOSTILE],
    "gateway keys create": [HOSTILE],
    "gateway keys list": ["--workspace", NO_TEXT],
    "gateway keys revoke": [HOSTILE],
    "gateway keys expire": ["KEY", HOSTILE],
    "gateway keys rotate": ["KEY", "--overlap", HOSTILE],
}
"""Arguments with which each command fails."""


def leaves(name: str, command: Any) -> Iterator[str]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name
    else:
        for child, found in children.items():
            yield from leaves(f"{name} {child}", found)


COMMANDS = sorted(leaves("gateway", typer.main.get_command(app)))


class Standard(io.TextIOWrapper):
    """A standard stream as the interpreter makes it, kept in memory."""

    def __init__(self, encoding: str) -> None:
        self.kept = io.BytesIO()
        super().__init__(self.kept, encoding=encoding, errors="strict", write_through=True)

    @property
    def told(self) -> str:
        return self.kept.getvalue().decode(self.encoding)


class Terminal(Standard):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def acme(desk: OperatorDesk) -> OperatorDesk:
    """A desk with a workspace and a key with a hostile name."""
    desk.run("workspaces", "create", "acme", "--plan", "STARTER")
    desk.key_id = desk.json("keys", "create", "acme", "--name", HOSTILE)["key_id"]
    desk.ship()
    return desk


def words(desk: OperatorDesk, name: str, arguments: list[str]) -> list[str]:
    return [*name.split()[1:], *(desk.key_id if word == "KEY" else word for word in arguments)]


def run_with(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], stdout: Standard, stderr: Standard
) -> int:
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", stdout)
        patch.setattr("sys.stderr", stderr)
        return main(arguments)


def test_the_tables_name_every_command() -> None:
    assert sorted(FAILURES) == COMMANDS
    assert sorted([*ANSWERS, "gateway serve", "gateway demo"]) == COMMANDS


@pytest.mark.parametrize("name", ANSWERS)
def test_every_command_answers_in_json(acme: OperatorDesk, name: str) -> None:
    main([*words(acme, name, ANSWERS[name]), "--json"])

    captured = acme.captured()
    json.loads(captured.out)
    assert all(json.loads(line) for line in captured.err.splitlines())


@pytest.mark.parametrize("name", FAILURES)
def test_every_error_of_a_json_command_is_one_object(acme: OperatorDesk, name: str) -> None:
    """The rule: exit code as without ``--json``, the object as the one line of stderr."""
    arguments = words(acme, name, FAILURES[name])
    code = main(arguments)
    acme.captured()

    assert main([*arguments, "--json"]) == code != 0
    captured = acme.captured()

    (line,) = captured.err.splitlines()
    error = json.loads(line)
    assert list(error) == ["code", "message", "hint", "problems"]
    assert error["code"] != "internal"
    assert error["message"]
    assert captured.out == "" or name == "gateway check"


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_usage_of_a_json_command_is_json(acme: OperatorDesk, name: str) -> None:
    code = main([*name.split()[1:], "--json", "--fly"])

    (line,) = acme.captured().err.splitlines()
    assert code == WRONG_USAGE
    assert json.loads(line)["code"] == "usage.wrong"
    assert "--fly" in json.loads(line)["message"]


@pytest.mark.parametrize("arguments", [["--json"], ["--json", "usage"], ["keys", "--json"]])
def test_json_stands_behind_a_command(acme: OperatorDesk, arguments: list[str]) -> None:
    assert main(arguments) == WRONG_USAGE
    assert json.loads(acme.captured().err)["code"] == "usage.wrong"


@pytest.mark.parametrize(
    "arguments",
    [
        ["usage", "--export", "csv"],
        ["statement", "acme", "--format", "csv"],
        ["statement", "acme", "--format", "table"],
        ["check", "--format", "text"],
    ],
)
def test_json_and_another_form_exclude_each_other(acme: OperatorDesk, arguments: list[str]) -> None:
    assert main([*arguments, "--json"]) == WRONG_USAGE
    captured = acme.captured()
    assert captured.out == ""
    assert "not both" in json.loads(captured.err)["message"]


def test_faults_of_files_are_problems_with_their_places(desk: OperatorDesk) -> None:
    desk.config.write_text(desk.config.read_text().replace("upstream: runs", "upstream: rums"))

    assert main(["routes", "--json"]) != 0

    error = json.loads(desk.captured().err)
    assert error["code"] == "config.invalid"
    assert error["problems"][0]["line"] > 1
    assert error["problems"][0]["path"]


@pytest.mark.parametrize("stream", [Standard, Terminal])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("table", [ANSWERS, FAILURES], ids=["answers", "failures"])
def test_no_command_dies_of_a_character(
    acme: OperatorDesk,
    monkeypatch: pytest.MonkeyPatch,
    table: dict[str, list[str]],
    as_json: bool,
    encoding: str,
    stream: type[Standard],
) -> None:
    """What an encoding lacks is escaped; what a terminal would obey is escaped in each."""
    for name, arguments in table.items():
        if name in {"gateway serve", "gateway demo"} and (encoding, stream) != ("ascii", Standard):
            continue  # they start processes, and say the same
        stdout, stderr = stream(encoding), stream(encoding)
        asked = words(acme, name, arguments) + ["--json"] * as_json
        run_with(monkeypatch, asked, stdout, stderr)

        told = stdout.told + stderr.told
        assert told, name
        assert "[internal]" not in told, told
        assert '"internal"' not in told, told
        shown = told.replace("\x1b[?25l", "").replace("\x1b[?25h", "")  # a progress bar's own
        assert (table is ANSWERS and stream is Terminal) or not set(SHOWN_RAW) & set(shown), name
        assert "\x1b[31m" not in told, name
        assert "\x9b" not in told, name
        if as_json and stdout.told:
            json.loads(stdout.told)


@pytest.mark.parametrize(
    ("encoding", "told"),
    [("ascii", "KRW 29,000"), ("latin-1", "KRW 29,000"), ("utf-8", "\u20a929,000")],
)
def test_a_sign_that_can_not_be_written_is_its_code(
    acme: OperatorDesk, monkeypatch: pytest.MonkeyPatch, encoding: str, told: str
) -> None:
    stdout = Standard(encoding)

    assert run_with(monkeypatch, ["statement", "acme"], stdout, Standard(encoding)) == 0
    assert f"base price                {told}\n" in stdout.told

    in_json = Standard(encoding)
    run_with(monkeypatch, ["plans", "--json"], in_json, Standard(encoding))
    assert "\u20a929,000" in {plan["base_price"] for plan in json.loads(in_json.told)}


@pytest.mark.parametrize("arguments", [["statement", "acme"], ["keys", "list"]])
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_a_real_process_writes_to_a_poor_terminal(
    acme: OperatorDesk, arguments: list[str], environment: dict[str, str]
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        check=False, capture_output=True, timeout=60, env={**os.environ, **environment},
    )  # fmt: skip

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.isascii()
    assert b"KRW 29,000" in ended.stdout or b"\\u20a9" in ended.stdout


def test_a_file_whose_name_is_no_text_is_a_file(acme: OperatorDesk) -> None:
    folder = acme.folder / NO_TEXT
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    copy = folder / "gateway.yaml"
    copy.write_text(acme.config.read_text())
    (folder / "pricing.json").write_bytes((acme.folder / "pricing.json").read_bytes())

    assert "caf\\udce9\\x1b[31m" in acme.run("check", "--config", str(copy))
    assert str(copy) in acme.json("check", "--config", str(copy))["files"]
    served = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", copy, "--listen", "192.0.2.1:1"],
        check=False, capture_output=True, timeout=60,
        env={**os.environ, "GATEWAY_ADMIN_LISTEN": "127.0.0.1:0"},
    )  # fmt: skip
    assert b"[worker.cannot_listen]" in served.stderr


@pytest.mark.parametrize(("redirected", "code"), [("2>&-", 1), ("2>/dev/full", 1)])
def test_an_error_that_nobody_hears_has_its_code(
    acme: OperatorDesk, redirected: str, code: int
) -> None:
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m gateway keys revoke none {redirected}"],
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip

    assert (ended.returncode, ended.stdout, ended.stderr) == (code, b"", b"")


def test_a_closed_stderr_gets_no_database_file(acme: OperatorDesk) -> None:
    """The next file that is opened would have its number, and events go into it."""
    program = (
        "import os; from gateway.cli import streams; streams.prepare(); "
        "print(*(os.readlink(f'/proc/self/fd/{n}') for n in (0, 2)), os.get_inheritable(2))"
    )
    ended = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{program}" 2>&- <&-'],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert ended.stdout == "/dev/null /dev/null True\n"


def test_a_reader_that_has_had_enough_ends_a_command_well() -> None:
    command = f"{sys.executable} -m gateway schema pricing | true; exit ${{PIPESTATUS[0]}}"

    ended = subprocess.run(["bash", "-c", command], check=False, capture_output=True, timeout=60)

    assert (ended.returncode, ended.stderr) == (0, b"")


def terminal_of_serve(config: Path, *arguments: str) -> list[str]:
    """Return the lines that ``serve`` writes to a terminal as its stderr until it ends."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    told = b""
    try:
        while piece := os.read(ours, 65536):
            told += piece
    except OSError:  # Linux tells the end like this
        pass
    finally:
        os.close(ours)
        process.wait(60)
    return told.decode().splitlines()


def test_events_are_json_on_a_terminal_where_that_is_asked_for(desk: OperatorDesk) -> None:
    """``serve --json``: without it they are written for people there."""
    nowhere = ("--listen", "192.0.2.1:1", "--admin-listen", "127.0.0.1:0")

    in_json = [json.loads(line) for line in terminal_of_serve(desk.config, *nowhere, "--json")]
    in_words = terminal_of_serve(desk.config, *nowhere)

    assert "journal.opened" in {line.get("event") for line in in_json}
    assert in_json[-1]["code"] == "worker.cannot_listen"
    assert any("journal.opened" in line for line in in_words)
    assert not any(line.startswith("{") for line in in_words)
