"""``python -m bench.growth``: how cost grows with what there is, as JSON, table and plot.

Sizes of a curve are its own unless given: ``--curves keys --sizes 10 1000000``.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from bench import ports
from bench.growth import requests, shipping
from bench.growth.plot import draw
from bench.growth.point import Curve, Figures, Point, Surroundings, summarise
from bench.peers.nginx import Upstream
from bench.peers.port import Unavailable
from gateway import compiled

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"
CURVES: dict[str, Curve] = {**requests.CURVES, **shipping.CURVES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each size of each curve; write JSON and SVG after every curve."""
    options = _options(arguments)
    about = _about(options)
    with ExitStack() as stack:
        url = stack.enter_context(_postgresql(options.postgresql, options.curves))
        about["postgresql"] = "none" if url is None else "given" if options.postgresql else "wheel"
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="growth-")))
        try:
            upstream = Upstream().start(folder / "upstream", ports.free_port())
        except Unavailable as reason:
            sys.stderr.write(f"{reason}\n")
            return 3
        stack.callback(upstream.stop)
        for name in options.curves:
            points = _measure(CURVES[name], folder, upstream.port, url, options)
            for point in points:
                print(_line(name, point), flush=True)
            _write(options.output, name, about, points)
    print(f"\n{options.output}.json, {options.output}.svg")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.growth", description=__doc__)
    parser.add_argument("--curves", nargs="+", choices=[*CURVES], default=[*CURVES])
    parser.add_argument("--sizes", nargs="+", type=int, default=[], help="of each curve")
    parser.add_argument("--seconds", type=int, default=2, help="of load, per round")
    parser.add_argument("--rounds", type=int, default=2, help="per size, alternating")
    parser.add_argument("--postgresql", help="URL of a server; without, one of the wheel is used")
    parser.add_argument("--output", type=Path, default=RESULTS / "growth", help="without suffix")
    return parser.parse_args(arguments)


@contextmanager
def _postgresql(given: str | None, curves: Sequence[str]) -> Iterator[str | None]:
    """Give the URL of a server, starting one if none is given; None if there can't be one."""
    if given is not None or not set(curves) & set(shipping.CURVES):
        yield given
        return
    from tests.support.postgres_server import running_postgres  # noqa: PLC0415 - a heavy start

    with ExitStack() as stack:
        try:
            url = stack.enter_context(running_postgres()).url()
        except RuntimeError as error:
            sys.stderr.write(f"without PostgreSQL: {error}\n")
            yield None
            return
        yield url


def _measure(
    curve: Curve, folder: Path, upstream_port: int, url: str | None, options: argparse.Namespace
) -> list[Point]:
    """Make all sizes ready, then measure them in turn: a noisy minute hits all alike."""
    sizes = list(options.sizes or curve.sizes)
    rounds: dict[int, list[Figures]] = {size: [] for size in sizes}
    with ExitStack() as stack:
        begun = {}
        for size in sizes:
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            around = Surroundings(own, stack, upstream_port, options.seconds, url)
            begun[size] = curve.begin(size, around)
        for number in range(options.rounds):
            first = number % len(sizes)
            for size in sizes[first:] + sizes[:first]:
                rounds[size].append(begun[size].measure())
        return [summarise(size, rounds[size], begun[size].tell()) for size in sizes]


def _line(name: str, point: Point) -> str:
    told = {**point.series, **point.beside}
    return f"{name} {point.size:,}: " + ", ".join(f"{key} {told[key]:,.1f}" for key in told)


def _about(options: argparse.Namespace) -> dict[str, object]:
    is_compiled = (
        compiled.usable(ROOT / "gateway" / "_compiled") is not None
        and os.environ.get(compiled.SWITCH) != "no"
    )
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "gateway": "compiled" if is_compiled else "sources",
        "seconds": options.seconds,
        "rounds": options.rounds,
    }


def _write(path: Path, name: str, about: dict[str, object], points: Sequence[Point]) -> None:
    """Write a curve beside those of earlier runs, and draw all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".json")
    document = json.loads(written.read_text()) if written.exists() else {}
    document[name] = {"about": about, "points": [asdict(point) for point in points]}
    written.write_text(json.dumps(document, indent=1) + "\n")
    drawn = {
        known: [Point(**point) for point in document[known]["points"]]
        for known in CURVES
        if known in document
    }
    path.with_suffix(".svg").write_text(draw(CURVES, drawn))


if __name__ == "__main__":
    sys.exit(main())
