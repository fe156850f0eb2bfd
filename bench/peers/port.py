"""What a peer is: something that can be started in front of the upstream, and measured."""

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench import ports


class Unavailable(Exception):  # noqa: N818 - an answer, not a malfunction
    """The peer can't be had on this machine; the message says why."""


@dataclass(slots=True)
class Running:
    """A started peer.

    Attributes:
        processes: By the name under which their CPU time is told; the peer itself is the first.
            None for the upstream itself.
        headers: What requests must carry; sent to all peers alike, where they don't differ.
        callers: Fields of further callers, by the names that scenarios use.
        children: Under this name the first process's descendants are told apart from it.
    """

    port: int
    version: str
    processes: dict[str, subprocess.Popen[bytes]]
    headers: dict[str, str] = field(default_factory=dict)
    children: str = ""
    callers: dict[str, dict[str, str]] = field(default_factory=dict)

    def stop(self) -> None:
        """End all processes, the peer first."""
        for process in self.processes.values():
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Peer(Protocol):
    """One file of this folder."""

    name: str

    def start(self, folder: Path, upstream_port: int) -> Running:
        """Start the peer with its files in ``folder``, one worker, in front of the upstream.

        Raises:
            Unavailable: it is not installed and can't be.
            RuntimeError: it did not start.
        """
        ...


def launch(
    command: list[str],
    folder: Path,
    port: int,
    *,
    environment: dict[str, str] | None = None,
    seconds: float = 20.0,
) -> subprocess.Popen[bytes]:
    """Start a server, log to ``server.log`` in the folder, return when it accepts connections."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        ports.wait_until_accepting(process, port, log, seconds=seconds)
    except RuntimeError:
        process.kill()
        process.wait()
        raise
    return process


def installed(home: Path, lock: Path, program: str) -> str:
    """Return a program from a virtual environment of its own, made from a lock file if need be.

    Raises:
        Unavailable: the registry can't be reached, or has nothing for this platform.
    """
    stamp = home / "installed.lock"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        sys.stderr.write(f"installing {program} into {home}\n")
        python = str(home / "bin" / "python")
        steps = (
            [sys.executable, "-m", "venv", "--clear", str(home)],
            [python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)],
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=900)
            if done.returncode != 0:
                raise Unavailable(f"{program} can't be installed: {done.stderr.strip()[-300:]}")
        stamp.write_bytes(lock.read_bytes())
    found = shutil.which(program, path=home / "bin")
    if found is None:
        raise Unavailable(f"{lock.name} has no {program} for this platform")
    return found


def version_of(command: list[str]) -> str:
    """Return the first line that ``--version`` prints, wherever it prints it."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    return next(
        (line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), ""
    )
