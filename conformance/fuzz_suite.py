"""Inputs that coverage leads to, for a bounded time: atheris on what parses, and on exchanges.

The vectors of the probes are where it begins. What breaks a rule is kept in ``build/conformance``.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from conformance.outcome import BUILD, ROOT, Check, MissingToolError
from conformance.vectors import vectors

TARGETS: Final = ("heads", "paths", "chunks", "relay", "answers")
PACKAGES: Final = ROOT / "build" / "conformance-fuzz"
SECONDS: Final = int(os.environ.get("FUZZ_SECONDS", "15"))
"""For each target; all together little more than a minute, unless somebody has the night."""
SEED_BYTES_MAX: Final = 2000
_RUNS: Final = re.compile(r"Done (\d+) runs")
ANSWERS: Final = (
    b"",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nhello",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
)
"""What a service may say to a relayed seed, in turn."""


def checks(only: str) -> Iterator[Check]:
    """Yield a check for each target."""
    if not (PACKAGES / "atheris").exists():
        raise MissingToolError("atheris; tools/ensure_conformance.sh installs it")
    for target in TARGETS:
        if only in target:
            yield _fuzz(target)


def _fuzz(target: str) -> Check:
    folder = BUILD / "fuzz" / target
    shutil.rmtree(folder, ignore_errors=True)
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    for number, seed in enumerate(_seeds(target)):
        (corpus / f"{number}").write_bytes(seed)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "conformance.fuzz.targets",
            target,
            f"-max_total_time={SECONDS}",
            f"-artifact_prefix={folder}/",
            "-max_len=4096",
            str(corpus),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(PACKAGES)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + 60,
        check=False,
    )
    runs = _RUNS.search(done.stderr)
    if done.returncode == 0 and runs is not None:
        return Check("fuzz", target, says=f"{runs[1]} inputs in {SECONDS} seconds")
    kept = ", ".join(str(path.relative_to(ROOT)) for path in sorted(folder.glob("*-*")))
    return Check(
        "fuzz", target, f"{_error_in(done.stdout + done.stderr)}\nkept in {kept or 'nothing'}"
    )


def _error_in(told: str) -> str:
    """Return what is worth reading of the fuzzer's last words."""
    begun = told.find("=== Uncaught Python exception")
    return told[begun:][:3000] if begun >= 0 else told[-3000:]


def _seeds(target: str) -> Iterator[bytes]:
    for number, vector in enumerate(vectors()):
        data = vector.data
        if len(data) > SEED_BYTES_MAX:
            continue
        if target == "heads":
            yield b"\x07" + data
        elif target == "chunks":
            yield b"\x07" + data.partition(b"\r\n\r\n")[2]
        elif target == "paths":
            yield data.split(b" ")[1] if data.count(b" ") > 1 else data
        elif target == "answers":
            fields = data.partition(b"\r\n\r\n")[0].partition(b"\r\n")[2]
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + fields + b"\r\n\r\nok"
        else:
            answer = ANSWERS[number % len(ANSWERS)]
            yield bytes((7, len(answer))) + answer + data
