"""The container is what operators were promised: small, locked, non-root, no secrets, no installer.

There is no engine where tests run, so the file itself is read. Each rule has a test of itself.
"""

import fnmatch
import json
import os
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECRET_NAME = re.compile(r"(?i)secret|passw|token|credential|api_?key|private_?key")

Instruction = tuple[str, str]


def instructions(text: str) -> list[Instruction]:
    """Return (keyword, arguments) of a Dockerfile: comments dropped, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    parts = [line.strip().split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(part[0].upper(), part[1]) for part in parts]


def stages(found: list[Instruction]) -> list[list[Instruction]]:
    """Return the instructions of each stage, its FROM first."""
    result: list[list[Instruction]] = []
    for instruction in found:
        if instruction[0] == "FROM":
            result.append([])
        result[-1].append(instruction)
    return result


def arguments(stage: list[Instruction], keyword: str) -> list[str]:
    return [text for word, text in stage if word == keyword]


def faults(text: str) -> set[str]:
    """Return what is wrong with a Dockerfile, by a word for each rule."""
    all_stages = stages(instructions(text))
    final = all_stages[-1]
    every = [instruction for stage in all_stages for instruction in stage]
    users = arguments(final, "USER")
    health = " ".join(arguments(final, "HEALTHCHECK"))
    commands = " ".join(arguments(final, "RUN"))
    installs = [
        run for run in arguments(every, "RUN") if re.search(r"\bpip\b[^&|;]* install\b", run)
    ]
    broken = {
        "stages": len(all_stages) < 2,
        "base": any(
            not re.match(r"python:3\.11(-slim)?\b", base) for base in arguments(every, "FROM")
        )
        or not arguments(final, "FROM")[0].startswith("python:3.11-slim"),
        "root": not users or not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1]),
        "unlocked": any("--require-hashes" not in run for run in installs),
        "build tools": bool(re.search(r"\b(gcc|build-essential|apt-get|pip install)\b", commands)),
        "health": not health or bool(re.search(r"\b(curl|wget)\b", health)),
        "secret": any(SECRET_NAME.search(text) for text in arguments(every, "ENV"))
        or bool(arguments(every, "ARG")),
        "download": bool(arguments(every, "ADD")),
        "whole context": any(re.match(r"\.\s", text) for text in arguments(every, "COPY")),
        "shell": any(not text.startswith("[") for text in arguments(final, "ENTRYPOINT")),
    }
    return {rule for rule, is_broken in broken.items() if is_broken}


GOOD = """
FROM python:3.11-slim AS a
RUN pip --python x install --require-hashes -r y
FROM python:3.11-slim
USER 10001:10001
HEALTHCHECK CMD ["python", "-c", "pass"]
ENTRYPOINT ["gateway"]
"""


def test_the_rules_accept_a_good_file() -> None:
    assert faults(GOOD) == set()


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (GOOD[: GOOD.rindex("FROM")], "", "stages"),
        ("3.11-slim AS", "latest AS", "base"),
        ("USER 10001:10001", "USER root", "root"),
        ("USER 10001:10001", "USER 0", "root"),
        ("USER 10001:10001\n", "", "root"),
        ("--require-hashes ", "", "unlocked"),
        ("USER 10001", "RUN apt-get install gcc\nUSER 10001", "build tools"),
        ('["python", "-c", "pass"]', "curl -f localhost", "health"),
        ("USER 10001", "ENV DATABASE_PASSWORD=x\nUSER 10001", "secret"),
        ("USER 10001", "ARG TOKEN\nUSER 10001", "secret"),
        ("USER 10001", "ADD https://example.com/x /x\nUSER 10001", "download"),
        ("USER 10001", "COPY . /app\nUSER 10001", "whole context"),
        ('["gateway"]', "gateway", "shell"),
    ],
)
def test_each_rule_finds_its_fault(old: str, new: str, rule: str) -> None:
    assert old in GOOD
    assert rule in faults(GOOD.replace(old, new))


def test_the_dockerfile_breaks_no_rule() -> None:
    assert faults((ROOT / "Dockerfile").read_text()) == set()


def test_it_exposes_the_data_plane_and_the_control_plane() -> None:
    final = stages(instructions((ROOT / "Dockerfile").read_text()))[-1]

    assert arguments(final, "EXPOSE") == ["8080 9090"]
    assert arguments(final, "VOLUME") == ["/data"]
    assert json.loads(arguments(final, "ENTRYPOINT")[0]) == ["gateway"]


@pytest.mark.parametrize(
    ("host", "listen"),
    [("127.0.0.1", "0.0.0.0:{port}"), ("127.0.0.1", "127.0.0.1:{port}"), ("::1", "[::]:{port}")],
)
@pytest.mark.parametrize("status", [200, 503])
def test_the_health_check_asks_where_the_admin_plane_listens(
    host: str, listen: str, status: int
) -> None:
    final = stages(instructions((ROOT / "Dockerfile").read_text()))[-1]
    command = json.loads(arguments(final, "HEALTHCHECK")[0].partition("CMD ")[2])
    asked = []

    class Admin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with Server((host, 0), Admin) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        environment = os.environ | {"GATEWAY_ADMIN_LISTEN": listen.format(port=server.server_port)}
        ended = subprocess.run([sys.executable, *command[1:]], check=False, env=environment)
        thread.join(10)

    assert asked == ["/healthz"]
    assert (ended.returncode == 0) == (status == 200)


def test_what_is_copied_exists_and_is_let_in_by_dockerignore() -> None:
    found = instructions((ROOT / "Dockerfile").read_text())
    sources = [text.split()[0] for text in arguments(found, "COPY") if "--from" not in text]
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}

    assert "*" in lines
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert set(sources) <= let_in


@pytest.mark.parametrize("name", [".git", ".venv", ".env", "data", "tests", "Dockerfile"])
def test_dockerignore_keeps_out_what_is_no_part_of_the_image(name: str) -> None:
    let_in = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]

    assert not any(fnmatch.fnmatch(name, pattern) for pattern in let_in)
