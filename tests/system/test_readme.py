"""0.27: the commands of the README are run, and what comes back is what stands there.

``gateway demo`` is started as ``make run`` does; what differs from run to run (instants, ids,
waits, the month) is compared by its form.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.gateway_process import ROOT, wait_until

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
VARIES = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
    (re.compile(r"\bt=\d+"), "t=T"),
    (re.compile(r"(?m)^(Retry-After|Content-Length|Date|Server): .*$"), r"\1: ..."),
    (re.compile(r"\b20\d\d-\d\d(-\d\dT\d\d:\d\d:\d\dZ)?\b"), "WHEN"),
    (re.compile(r"w=2(592|678|419|505)\d{3}"), "w=MONTH"),
    (re.compile(r'"created_at": \d+'), '"created_at": N'),
    (re.compile(r"run_\d{12}"), "RUN"),
    (re.compile(r"in \d+ seconds"), "in N seconds"),
    (re.compile(r"(?m)(?<= )\d+( +)(yes|no)$"), r"N \2"),
)


def plain(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block with what stands below it."""
    for part in re.split(r"(?m)^\$ ", block)[1:]:
        command = re.match(r"(?:.*\\\n)*.*\n", part)
        assert command is not None
        yield command[0], part[command.end() :]


class Demo:
    """The demo as README's reader has it, in a shell that knows its variables."""

    def __init__(self, folder: Path) -> None:
        demo = ("demo", "--json", "--port", "0", "--data-dir", folder)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *demo],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        )  # fmt: skip
        assert self.process.stdout is not None
        told = ""
        while not told.endswith("\n}\n"):
            line = self.process.stdout.readline()
            assert line, "the demo ended"
            told += line
        self.told = json.loads(told)
        keys = [re.search(r"Bearer (\S+)'", item["command"]) for item in self.told["requests"]]
        self.starter, self.sandbox = (found[1] for found in (keys[0], keys[2]) if found)

    def run(self, command: str) -> str:
        """Return what a command of README prints; its address is this demo's."""
        command = command.replace("http://127.0.0.1:8080", self.told["url"])
        scripts = Path(sys.executable).parent
        ended = subprocess.run(
            ["bash", "-c", command.replace("curl ", "curl -s ")],
            check=False, capture_output=True, text=True, timeout=60, cwd=ROOT,
            env={
                **os.environ,
                "PATH": f"{scripts}:{os.environ['PATH']}",
                "STARTER": self.starter, "SANDBOX": self.sandbox,
                "GATEWAY_CONFIG": self.told["config"], "GATEWAY_DATA_DIR": self.told["data_dir"],
            },
        )  # fmt: skip
        return ended.stdout

    def call(self, key: str, dc: int, run_id: str = "") -> str:
        """Send what README says in words."""
        run = f" -H 'Idempotency-Key: {run_id}'" if run_id else ""
        return self.run(
            f"curl -i http://127.0.0.1:8080/v1/runs -H 'Authorization: Bearer {key}'"
            f" -H 'Content-Type: application/json'{run} -d '{{\"estimated_dc\": {dc}}}'"
        )

    def shows(self, command: str, wish: str) -> bool:
        """Return whether a command prints what is wished for, by its form."""
        return plain(self.run(command)) == wish

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=30)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.stop()


def test_the_blocks_are_the_known_ones() -> None:
    """A block that is added must be run, too."""
    asked = [[command.split()[0] for command, _ in commands(block)] for block in BLOCKS]

    assert asked == [["curl"], ["curl"], ["curl"], [], ["gateway", "gateway"], ["gateway"]]


def test_what_stands_in_the_readme_is_what_comes_back(demo: Demo) -> None:
    passes, keyless, over, twice, books, why = BLOCKS

    assert [plain(demo.run(command)) for command, _ in commands(passes)] == [
        plain(told) for _, told in commands(passes)
    ]
    assert [plain(demo.run(command)) for command, _ in commands(keyless)] == [
        plain(told) for _, told in commands(keyless)
    ]

    demo.call(demo.sandbox, 50)
    ((command, told),) = commands(over)
    head, _, body = demo.run(command).replace("\r", "").partition("\n\n")
    assert plain(head) == plain(told)
    (shown,) = re.findall(r"```json\n(.*?)```", README.partition(over)[2], re.DOTALL)[:1]
    assert plain(json.dumps(json.loads(body), sort_keys=True)) == plain(
        json.dumps(json.loads(shown), sort_keys=True)
    )

    copies = [demo.call(demo.starter, 5, "order-77") for _ in range(2)]
    kept = ("HTTP/1.1", "RateLimit:")
    lines = [line for copy in copies for line in copy.splitlines() if line.startswith(kept)]
    assert plain("\n".join(lines)) == plain(twice)

    demo.call(demo.starter, 3_013)
    demo.call(demo.starter, 1_000)
    for command, told in commands(books):
        wish = plain(told)
        wait_until(partial(demo.shows, command, wish))

    ((command, told),) = commands(why)
    assert plain(demo.run(command)) == plain(told)
