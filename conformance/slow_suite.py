"""slowhttptest: hundreds of clients that are as slow as they can be, seen from outside.

While they hold their connections a healthy client is served all the time, the gateway's memory
stays bounded, and in the end every slow connection has been closed by the gateway.
"""

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformance.outcome import BUILD, Check, MissingToolError
from conformance.subject import Subject, running

SUITE: Final = "slowhttptest"
TEST_SECONDS: Final = 40
"""How long slowhttptest would hold what is not closed before."""
GONE_LOOKS: Final = 50
"""Every 0.1 s, until no connection is left of those that were closed."""
ANSWER_SECONDS: Final = 5.0
"""A healthy client that waits longer is not served; slowhttptest's own bound."""
GROWTH_BYTES_MAX: Final = 32 * 1024 * 1024
HELD_BYTES_MAX: Final = 640 * 1024
"""Of an answer, for each client that does not read it: a full write buffer and one piece more."""
LARGE_BYTES: Final = 6 * 1024 * 1024
"""More than the kernel takes for a client (4 MB), so that the gateway has to hold some."""
LIMITS: Final = "limits: {head_time: 2s, body_idle: 2s, keep_alive: 2s}"
ROUTES: Final = """\
upstreams:
  app:
    endpoints: ["http://127.0.0.1:{upstream}"]
    timeouts: {{first_byte: 10s, idle: 5s, total: none}}
routes:
  - {{name: open, match: {{methods: [GET, POST], path: "/**"}}, upstream: app, auth: none}}
"""
_PIECE: Final = b"ok" * 131_072
_ENDED: Final = re.compile(r"Exit status:\s+(.+?)\s*$", re.MULTILINE)
_HELD: Final = frozenset({"01", "04", "08", "09", "0B"})
"""States: established, or half closed with something to send (``include/net/tcp_states.h``)."""
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to be slow; ``options`` are slowhttptest's.

    Attributes:
        held_bytes: What the gateway may hold for each connection.
        per_second: New connections. For who reads slowly megabytes are moved at first: on two cores
            that several processes share, more of them at once would measure the machine.
    """

    name: str
    says: str
    path: str
    connections: int
    options: tuple[str, ...]
    held_bytes: int = 0
    per_second: int = 200


ATTACKS: Final = (
    Attack("slow-heads", "heads that never end (-H)", "/", 400, ("-H", "-i", "1", "-x", "8")),
    Attack(
        "slow-bodies", "bodies of a few bytes a second (-B)", "/", 400,
        ("-B", "-i", "1", "-s", "8192", "-x", "8"),
    ),
    Attack(
        "slow-reads", "answers of 6 MB read 32 bytes a second (-X)", "/large", 200,
        ("-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "2"), HELD_BYTES_MAX, 50,
    ),
    Attack(
        "ranges", "Range with hundreds of ranges (-R)", "/", 200, ("-R", "-a", "5", "-b", "1000")
    ),
)  # fmt: skip


def checks(only: str = "") -> Iterator[Check]:
    """Run the attacks one after the other against one gateway."""
    if shutil.which("slowhttptest") is None:
        raise MissingToolError("slowhttptest (package slowhttptest)")
    yield from asyncio.run(_attacked(only))


async def _attacked(only: str) -> list[Check]:
    server = await asyncio.start_server(_upstream, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    try:
        with running("slow", upstream_port=port, routes=ROUTES, top=LIMITS) as subject:
            return [await _held(each, subject) for each in ATTACKS if only in each.name]
    finally:
        server.close()


async def _held(attack: Attack, subject: Subject) -> Check:
    """Let an attack run and return what was seen meanwhile and afterwards."""
    faults = []
    before = rss_bytes(subject.process.pid)
    watch = Watch(subject, attack)
    watching = asyncio.ensure_future(watch.run())
    told = await _slowhttptest(attack, subject.port, watch)
    (BUILD / f"slow-{attack.name}.log").write_text(told)
    left = await _left_open(subject.port)
    watch.ends = True
    await watching
    ended = _ENDED.search(told)
    if not watch.gone.is_set() and (ended is None or "No open connections left" not in ended[1]):
        faults.append(f"not all slow connections were closed: {ended[1] if ended else told[-500:]}")
        faults.append(f"the last seen, by state of the kernel: {watch.states}")
    if left:
        faults.append(f"{left} connections are still open afterwards")
    if watch.failed or not watch.served:
        faults.append(f"a healthy client: {watch.served} served, failed: {watch.failed[:5]}")
    growth = max(0, watch.rss_bytes - before)
    if growth > GROWTH_BYTES_MAX + attack.held_bytes * attack.connections:
        faults.append(f"memory grew by {growth >> 20} MB")
    says = (
        f"{attack.connections} connections, {attack.says}: at most {watch.open_most} open at once, "
        f"all closed; a healthy client was served {watch.served} times, "
        f"memory grew by {growth >> 20} MB"
    )
    return Check(SUITE, attack.name, "\n".join(faults), says)


async def _slowhttptest(attack: Attack, port: int, watch: "Watch") -> str:
    """Run it until it ends, or until the kernel has none of its connections any more.

    It does not notice a reset before it has read what came earlier, which takes its time.
    """
    process = await asyncio.create_subprocess_exec(
        "slowhttptest",
        *(
            "-c",
            str(attack.connections),
            "-r",
            str(attack.per_second),
            "-l",
            str(TEST_SECONDS),
            "-p",
            "3",
        ),
        *attack.options,
        *("-u", f"http://127.0.0.1:{port}{attack.path}"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    ending = asyncio.ensure_future(process.communicate())
    going = asyncio.ensure_future(watch.gone.wait())
    await asyncio.wait({ending, going}, return_when=asyncio.FIRST_COMPLETED)
    going.cancel()
    if process.returncode is None:
        process.terminate()
    out, _ = await ending
    return _COLOURS.sub("", out.decode(errors="replace"))


class Watch:
    """Looks at a gateway from outside: asks it for something small, and reads what it holds."""

    def __init__(self, subject: Subject, attack: Attack) -> None:
        self._subject = subject
        self._many = attack.connections // 2
        self.ends = False
        self.gone = asyncio.Event()
        self.states: Counter[str] = Counter()
        self.served = 0
        self.failed: list[str] = []
        self.open_most = 0
        self.rss_bytes = 0

    async def run(self) -> None:
        """Ask time and again, until told that it ends."""
        while not self.ends:
            try:
                answer = await asyncio.wait_for(self._ask(), ANSWER_SECONDS)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.failed.append(repr(error))
            else:
                if answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nok"):
                    self.served += 1
                else:
                    self.failed.append(repr(answer[:200]))
            self.states = states(self._subject.port)
            is_open = self.states.total()
            self.open_most = max(self.open_most, is_open)
            if is_open <= 1 and self.open_most > self._many:
                self.gone.set()
            self.rss_bytes = max(self.rss_bytes, rss_bytes(self._subject.process.pid))
            await asyncio.sleep(0.05)

    async def _ask(self) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._subject.port)
        try:
            writer.write(b"GET /healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return await reader.read(-1)
        finally:
            writer.close()


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process and of its children."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = path.read_text().splitlines()
        except OSError:  # it ended meanwhile
            continue
        fields = dict(line.split(":", 1) for line in lines)
        if str(pid) in {fields["Pid"].strip(), fields["PPid"].strip()}:
            total += int(fields.get("VmRSS", "0").split()[0]) * 1024
    return total


def states(port: int) -> Counter[str]:
    """Return the gateway's connections with clients that the kernel has to keep anything for."""
    suffix = f":{port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return Counter(row[3] for row in rows if row[1].endswith(suffix) and row[3] in _HELD)


async def _left_open(port: int) -> int:
    """Return how many connections stay open when nobody asks any more."""
    left = 0
    for _ in range(GONE_LOOKS):
        left = states(port).total()
        if left <= 1:  # one may be the healthy client's
            return 0
        await asyncio.sleep(0.1)
    return left


async def _upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer ``/large`` with much, anything else with a little; take bodies of known length."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            size = LARGE_BYTES if head.startswith(b"GET /large") else 2
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for at in range(0, size, len(_PIECE)):
                writer.write(_PIECE[: size - at])
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        pass  # the gateway let it go, or all is over
    finally:
        writer.close()
