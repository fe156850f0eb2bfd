"""``python -m bench.micro.worker``: measures the pieces; pyperf runs it in processes of its own.

A value is the CPU time of one call, divided by what the calibration loop took right before and
after it, times ``NOMINAL_SECONDS``: microseconds of a machine that takes so long for the loop. CPU
time, because a neighbour that takes the core away is not what is measured.
"""

import gc
import tempfile
from pathlib import Path
from time import thread_time

import pyperf
import uvloop

from gateway import compiled

# Before any module that may be compiled is imported.
IS_COMPILED = compiled.use()

from bench.micro.calibration import calibration_seconds  # noqa: E402
from bench.micro.pieces import PIECES, Call, Piece  # noqa: E402
from bench.micro.stage import Stage  # noqa: E402
from gateway.telemetry import logs  # noqa: E402

NOMINAL_SECONDS = 50e-6
"""What the calibration loop took on the machine on which the first baseline was made."""
CALIBRATION_LOOPS = 60
VALUE_SECONDS = 0.015
"""How long one value is measured: long beside the clock's resolution, short beside a test."""


class Measured:
    """Times one piece; what it needs is made when the first value is asked for."""

    def __init__(self, piece: Piece, configuration: Path) -> None:
        self._piece = piece
        self._configuration = configuration
        self._call: Call | None = None
        self._count = 1

    def __call__(self, loops: int) -> float:
        """Return the calibrated time of so many loops: pyperf's time function."""
        if self._call is None:
            self._prepare()
        return loops * self._value()

    def _prepare(self) -> None:
        folder = Path(tempfile.mkdtemp(dir=self._configuration.parent))
        loop = uvloop.new_event_loop()

        async def build() -> Stage:
            stage = Stage(self._configuration, folder)
            await stage.fill_key_cache()
            return stage

        self._call = self._piece.prepare(loop.run_until_complete(build()))
        # As a worker does, so that no value pays for the garbage of another.
        gc.collect()
        gc.freeze()
        gc.disable()
        while (seconds := self._timed()) < VALUE_SECONDS / 4:
            self._count *= 2
        self._count = max(1, round(self._count * VALUE_SECONDS / seconds))

    def _value(self) -> float:
        before = calibration_seconds(CALIBRATION_LOOPS)
        seconds = self._timed()
        calibration = (before + calibration_seconds(CALIBRATION_LOOPS)) / (2 * CALIBRATION_LOOPS)
        per_call = seconds / (self._count * self._piece.works_off)
        return per_call / calibration * NOMINAL_SECONDS

    def _timed(self) -> float:
        call, count = self._call, self._count
        assert call is not None
        started = thread_time()
        for _ in range(count):
            call()
        return thread_time() - started


def main() -> None:
    """Measure; the options are pyperf's and two of our own."""
    runner = pyperf.Runner(
        program_args=("-m", "bench.micro.worker"), add_cmdline_args=_hand_on, loops=1
    )
    runner.argparser.add_argument("--configuration", type=Path, required=True)
    runner.argparser.add_argument("--only", default="", help="parts of names, by |")
    arguments = runner.parse_args()
    logs.configure("error", console=False)
    runner.metadata["gateway_compiled"] = "yes" if IS_COMPILED else "no"
    wanted = [part for part in arguments.only.split("|") if part]
    for piece in PIECES:
        if not wanted or any(part in piece.name for part in wanted):
            runner.bench_time_func(piece.name, Measured(piece, arguments.configuration))


def _hand_on(command: list[str], arguments: object) -> None:
    """Give our own options to the processes that pyperf starts."""
    command += ["--configuration", str(getattr(arguments, "configuration"))]  # noqa: B009
    command += ["--only", str(getattr(arguments, "only"))]  # noqa: B009


if __name__ == "__main__":
    main()
