"""``gateway demo``: the whole way of a request, from one command, with nothing set up."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.app import main
from gateway.cli.demo import command_line, tries

ROOT = Path(__file__).parents[2]


def test_the_tour_shows_a_pass_a_401_a_429_and_the_usage(tmp_path: Path) -> None:
    """A10, A11, X6: real requests through a real gateway to a real upstream."""
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "--tour", "--port", "0", "--data-dir", tmp_path],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )

    assert ended.returncode == 0, ended.stderr
    told = [line for line in ended.stdout.splitlines() if line.startswith("HTTP/1.1 ")]
    assert [line.split()[1] for line in told] == ["202", "401", "202", "429"]
    assert 'RateLimit: "rpm";r=599' in ended.stdout
    assert '"violated-policies":[{"policy_name":"monthly_dc","limit":50,"current":51' in (
        ended.stdout
    )
    assert "Retry-After: " in ended.stdout
    charged = {tuple(line.split()[:2]): line.split()[-1] for line in ended.stdout.splitlines()[-4:]}
    assert charged["demo-sandbox", "dc"] == "50"
    assert charged["demo-starter", "dc"] == "2"


@pytest.mark.parametrize("begun_by", [[], ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]])
def test_ctrl_c_ends_the_demo_and_all_that_it_started(tmp_path: Path, begun_by: list[str]) -> None:
    """The signal too that a script's background commands ignore unless they listen."""
    command = [sys.executable, "-m", "gateway", "demo", "--port", "0", "--data-dir", str(tmp_path)]
    process = subprocess.Popen(
        [*begun_by, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    told = ""
    while "Ctrl-C ends the demo" not in told:
        line = process.stdout.readline()
        assert line, "the demo ended before it was ready"
        told += line

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "curl -i http://127.0.0.1:" in told
    assert "gateway usage" in told


def test_what_the_demo_needs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ROOT / "examples" / "llm-chat" / "gateway.yaml"

    code = main(["demo", "--port", "0", "--data-dir", str(tmp_path), "--config", str(config)])

    told = " ".join(capsys.readouterr().err.split())
    assert code == 3
    assert "[demo.unsuited]" in told
    assert "has no plan SANDBOX or STARTER" in told
    assert "policies/gateway.yaml" in told


def test_a_port_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--port", "99999999"]) == 2
    assert "65535" in capsys.readouterr().err


def test_every_request_to_try_can_be_pasted() -> None:
    starter, anonymous, *_ = tries("egw_test_a", "egw_test_b")

    assert starter.curl("http://h:1") == (
        "curl -i http://h:1/v1/runs -H 'Authorization: Bearer egw_test_a' "
        "-H 'Content-Type: application/json' -d '{\"estimated_dc\": 2}'"
    )
    assert "Authorization" not in anonymous.curl("http://h:1")


def test_commands_to_try_run_in_a_shell_that_knows_nothing_of_the_gateway(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "bin"
    folder.mkdir(parents=True)
    (folder / "gateway").write_text('#!/bin/sh\necho "$1 of $GATEWAY_DATA_DIR"\n')
    (folder / "gateway").chmod(0o755)

    first, program = command_line({"GATEWAY_DATA_DIR": tmp_path / "a b"}, folder / "python")

    told = subprocess.check_output(["sh", "-c", f"{first}\n{program} usage"], text=True)
    assert told == f"usage of {tmp_path / 'a b'}\n"


def test_without_an_installed_command_the_interpreter_is_named(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)

    first, program = command_line({"GATEWAY_DATA_DIR": tmp_path}, python)

    assert (first, program) == (f"export GATEWAY_DATA_DIR={tmp_path}", f"{python} -m gateway")
