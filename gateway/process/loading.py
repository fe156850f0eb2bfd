"""The configuration is read by a child process: what reading needs, serving need not carry.

pydantic, YAML and JSON Schema take 17 MB and, at a reload, the interpreter from the event loop.
Source: docs/decisions/0009-configuration-in-a-child.md.
"""

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from gateway.config.loaded import Loaded
from gateway.config.snapshot import RouteCounters
from gateway.config.transfer import Untransferable, json_bytes, json_value, restore
from gateway.errors import ConfigError, Fault, GatewayError
from gateway.process.clock import SystemClock

ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_TOP_PAD_": "4194304"}
"""Otherwise glibc gives memory back to the kernel and soon asks for it again: 2 to 4 us of system
time a request (measured). What the environment says wins."""

CHILD_SECONDS = 120
"""Far longer than 5,000 routes and 100 plans take."""


def become_worker(path: Path, overrides: Mapping[str, str], *, as_json: bool = False) -> NoReturn:
    """Read the configuration, then replace this program by a worker that serves it.

    The process keeps its id and its standard streams.

    Args:
        path: The route file.
        overrides: Settings of the command line.
        as_json: Whether events and errors are JSON even on a terminal.

    Raises:
        ConfigError: with every fault found; this program goes on.
        GatewayError: see ``load_in_child``.
    """
    with _heeding_signals():
        text = _read_in_child(path, overrides, version=1)
        _answered(text)
        _execute(text, overrides, as_json=as_json)


@contextmanager
def _heeding_signals() -> Iterator[None]:
    """End at SIGTERM and ignore SIGHUP: the first process of a container has no defaults."""
    former = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0)),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _execute(text: bytes, overrides: Mapping[str, str], *, as_json: bool) -> NoReturn:
    told = json_bytes(
        {"configuration": text.decode(), "overrides": dict(overrides), "as_json": as_json}
    )
    handed = handed_file(told)
    command = [sys.executable, "-m", "gateway.process", str(handed.fileno())]
    # A signal that comes between the programs would meet nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    os.execve(sys.executable, command, ALLOCATOR | os.environ)  # noqa: S606 - no shell; itself


def handed_file(told: bytes) -> BinaryIO:
    """Return a file without a name that the next program inherits and reads from its beginning.

    Raises:
        GatewayError: ``config.not_handed``; there is no place for it.
    """
    try:
        file = _nameless_file()
        file.write(told)
        file.seek(0)
    except OSError as error:
        raise GatewayError(
            "config.not_handed",
            f"the configuration can't be passed on to the worker: {error.strerror}",
            "let this user write in a temporary folder (/tmp, or what TMPDIR names)",
        ) from error
    os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - it has no name
    return file


def _nameless_file() -> BinaryIO:
    """Return a file in memory, where all folders may be read-only; else a temporary one."""
    with suppress(AttributeError, OSError):  # Linux alone has it, and a sandbox may refuse it
        return os.fdopen(os.memfd_create("gateway-configuration"), "w+b")
    return cast("BinaryIO", tempfile.TemporaryFile())


def load_in_child(
    path: Path,
    overrides: Mapping[str, str],
    version: int = 1,
    counters: Mapping[str, RouteCounters] | None = None,
    now_micro: int | None = None,
) -> Loaded:
    """Return the configuration of a route file. Blocking.

    Args:
        path: The route file.
        overrides: Settings of the command line; they go through a pipe, since URLs hold passwords.
        version: Counts the configurations of a process.
        counters: By name: what routes of the former configuration counted, to go on with.
        now_micro: The instant at which it is to serve; None takes the machine's clock.

    Raises:
        ConfigError: with every fault found.
        GatewayError: a file can't be read, or the child failed.
    """
    text = _read_in_child(path, overrides, version=version, now_micro=now_micro)
    return _answered(text, counters)


def _read_in_child(
    path: Path, overrides: Mapping[str, str], *, version: int, now_micro: int | None = None
) -> bytes:
    asked = {
        "path": str(path),
        "overrides": dict(overrides),
        "version": version,
        "now_micro": SystemClock().now_micro() if now_micro is None else now_micro,
    }
    try:
        child = subprocess.run(
            [sys.executable, "-m", "gateway.config"],
            input=json_bytes(asked),
            stdout=subprocess.PIPE,
            timeout=CHILD_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise GatewayError(
            "config.child_failed",
            f"the configuration could not be read by a child process: {_reason(error)}",
            "see what it wrote to stderr; memory and process limits are the usual cause",
        ) from error
    return child.stdout


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    """Return why there is no answer, with what the system says; never what the child was given."""
    match error:
        case subprocess.TimeoutExpired():
            return f"no answer within {CHILD_SECONDS} s"
        case subprocess.CalledProcessError() if error.returncode < 0:
            return f"it was ended by signal {-error.returncode} ({_signal_name(-error.returncode)})"
        case subprocess.CalledProcessError():
            return f"it ended with exit code {error.returncode}"
        case OSError():
            named = errno.errorcode.get(error.errno or 0, type(error).__name__)
            file = f": {error.filename}" if error.filename else ""
            return f"{error.strerror or type(error).__name__} ({named}, errno {error.errno}){file}"
        case _:
            return type(error).__name__


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _answered(text: bytes, counters: Mapping[str, RouteCounters] | None = None) -> Loaded:
    try:
        told = json_value(text)
    except ValueError as error:
        raise GatewayError(
            "config.child_failed",
            "the child process that reads the configuration gave no whole answer",
            "see what it wrote to stderr; memory and process limits are the usual cause",
        ) from error
    if "faults" in told:
        raise ConfigError([Fault(**fault) for fault in told["faults"]])
    if "error" in told:
        raise GatewayError(*told["error"])
    try:
        return restore(text, counters)
    except Untransferable as error:
        raise GatewayError("config.child_failed", str(error), "report this: it is a bug") from error
