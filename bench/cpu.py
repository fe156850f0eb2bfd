"""CPU time and memory of a process and its descendants, from Linux' /proc."""

import os
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
IDLE_WINDOW_SECONDS = 1.2


def tree(pid: int) -> set[int]:
    """Return the process and all its living descendants."""
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                parents[int(entry.name)] = int(fields[1])
    found = {pid}
    while added := {child for child, parent in parents.items() if parent in found} - found:
        found |= added
    return found


def cpu_seconds(pid: int, *, descendants: bool = True) -> float:
    """Return user plus system time that the tree has used, of reaped children too.

    Args:
        descendants: False asks for the process alone.

    The kernel counts in ticks, mostly 10 ms: measure seconds, not milliseconds.
    """
    ticks = 0
    for member in tree(pid) if descendants else {pid}:
        # utime, stime, cutime, cstime are fields 14 to 17 of proc(5); two stand before the state.
        ticks += sum(int(field) for field in _stat(member)[11 : 15 if descendants else 13])
    return ticks / TICKS_PER_SECOND


def wait_until_idle(pid: int, *, seconds_max: float = 60.0) -> None:
    """Return once the tree uses less than 4 % of a core: work put off is work, and must count.

    Raises:
        RuntimeError: it is still busy after ``seconds_max``.
    """
    deadline = time.monotonic() + seconds_max
    before = cpu_seconds(pid)
    while time.monotonic() < deadline:
        # Longer than a shipper's interval, so that a pause between two batches is not the end.
        time.sleep(IDLE_WINDOW_SECONDS)
        now = cpu_seconds(pid)
        if now - before <= 0.04 * IDLE_WINDOW_SECONDS:
            return
        before = now
    raise RuntimeError(f"process {pid} is still busy {seconds_max} s after the load")


def pause(seconds: float) -> None:
    """Let what is put off for less than that be done."""
    time.sleep(seconds)


def resident_bytes(pid: int) -> int:
    """Return the tree's resident memory; pages that are shared count for each."""
    total = 0
    for member in tree(pid):
        fields = _stat(member)
        total += int(fields[21]) if fields else 0
    return total * os.sysconf("SC_PAGE_SIZE")


def proportional_bytes(pid: int) -> int:
    """Return the tree's memory, shared pages divided among those who share them (PSS)."""
    total = 0
    for member in tree(pid):
        try:
            lines = (PROC / str(member) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def thread_seconds(pid: int) -> dict[str, float]:
    """Return what the threads of the tree's processes have used, by their names.

    The first thread of the first process is called ``main``. Threads that have ended are missing.
    """
    used: dict[str, float] = {}
    for member in tree(pid):
        for task in (PROC / str(member) / "task").glob("*"):
            fields = _stat(member, task.name)
            if fields:
                name = "main" if int(task.name) == pid else _name(task)
                used[name] = used.get(name, 0.0) + (int(fields[11]) + int(fields[12]))
    return {name: ticks / TICKS_PER_SECOND for name, ticks in used.items()}


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text().strip()
    except OSError:
        return "ended"


def _stat(pid: int, thread: str = "") -> list[str]:
    """Return the fields of /proc/<pid>/stat from the state on, none if the process is gone.

    Args:
        thread: The id of one of its threads, to be asked for that one.
    """
    folder = PROC / str(pid) / "task" / thread if thread else PROC / str(pid)
    try:
        text = (folder / "stat").read_text()
    except OSError:
        return []
    # The name, in brackets, may hold blanks and brackets itself.
    return text.rpartition(")")[2].split()
