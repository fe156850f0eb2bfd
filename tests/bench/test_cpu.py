"""CPU time is that of the whole tree, and only of it."""

import os
import subprocess
import sys

import pytest

from bench import cpu

pytestmark = pytest.mark.skipif(not cpu.PROC.joinpath("self/stat").exists(), reason="needs /proc")

BUSY_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import time
while time.process_time() < 0.2: pass
print("done", flush=True)
time.sleep(60)
'''])
child.wait()
"""


def test_a_childs_time_and_memory_are_its_parents() -> None:
    command = [sys.executable, "-c", BUSY_CHILD]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        members = cpu.tree(process.pid)
        used = cpu.cpu_seconds(process.pid)
        resident = cpu.resident_bytes(process.pid)
        proportional = cpu.proportional_bytes(process.pid)
        threads = cpu.thread_seconds(process.pid)
        for member in members:
            os.kill(member, 9)

    assert len(members) == 2
    assert used >= 0.19
    assert 0 < proportional <= resident
    assert resident > 1024 * 1024
    assert "main" in threads
    assert sum(threads.values()) >= 0.19


def test_a_process_that_is_gone_counts_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()

    assert cpu.resident_bytes(process.pid) == 0
    assert cpu.cpu_seconds(process.pid) == 0


def test_idle_is_told_from_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "IDLE_WINDOW_SECONDS", 0.1)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        with pytest.raises(RuntimeError, match="still busy"):
            cpu.wait_until_idle(busy.pid, seconds_max=0.3)
        busy.kill()
    with subprocess.Popen(["sleep", "60"]) as idle:
        cpu.wait_until_idle(idle.pid, seconds_max=5)
        idle.kill()
