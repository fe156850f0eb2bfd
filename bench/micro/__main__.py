"""``make bench-quick``: what each pure piece of a request's way costs, beside the baseline.

Exit code 0: nothing became clearly slower; 1: something did, twice; 3: it could not be measured.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.micro import baseline, compare
from bench.micro.baseline import Baseline
from bench.micro.compare import Figure
from bench.micro.configuration import write_configuration

ROOT = Path(__file__).parents[2]
LOOP_MICRO = 50.0
"""As ``worker.NOMINAL_SECONDS``, which can't be imported before it is known what is compiled."""
CHANGED = "the gateway was compiled, or its sources changed, while it was measured"
SLOWER_EXIT = 1
NOT_MEASURED_EXIT = 3


class Changed(Exception):  # noqa: N818 - what was measured did
    """What was measured is not one thing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, tell; return the exit code."""
    options = _options(arguments)
    try:
        return _run(options)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"the measuring process failed with {error.returncode}\n")
    except Changed as error:
        sys.stderr.write(f"{error}\n")
    return NOT_MEASURED_EXIT


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    measured, mode = measure(options.only, options.processes)
    known = baseline.read(mode, options.baseline)
    before = known.figures if known is not None else {}
    figures, suspects = dict(measured.figures), list[str]()
    if not options.update:
        figures, suspects = _look_twice(figures, before, mode, options)
    print(compare.table(figures, before, loop_micro=LOOP_MICRO, threshold=options.threshold))
    print(f"\n{mode}, Python {measured.about['python']}, {time.monotonic() - started:.0f} s")
    if options.update:
        baseline.update(mode, measured, options.baseline, keeps_others=bool(options.only))
        print(f"baseline written: {options.baseline}")
    elif known is None:
        print(f"no baseline of {mode}: --update writes one")
    else:
        for difference in baseline.differences(measured.about, known.about):
            print(f"the baseline is of another {difference}")
    for name in suspects:
        print(f"clearly slower, twice: {name}")
    return SLOWER_EXIT if suspects else 0


def _look_twice(
    figures: dict[str, Figure], before: Mapping[str, Figure], mode: str, options: argparse.Namespace
) -> tuple[dict[str, Figure], list[str]]:
    """Measure again what seems slower; return all figures and what is slower still."""
    suspects = compare.slower(figures, before, options.threshold)
    if suspects:
        sys.stderr.write(f"looking again at {len(suspects)} pieces\n")
        again, mode_again = measure(suspects, options.processes)
        if mode_again != mode:
            raise Changed(CHANGED)
        figures |= {name: again.figures[name] for name in suspects}
    return figures, compare.slower(figures, before, options.threshold)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.micro", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="PIECE", help="parts of names")
    parser.add_argument("--processes", type=int, default=3, help="per piece")
    parser.add_argument("--threshold", type=float, default=compare.THRESHOLD)
    parser.add_argument("--update", action="store_true", help="write the baseline")
    parser.add_argument("--baseline", type=Path, default=baseline.PATH)
    return parser.parse_args(arguments)


def measure(only: Sequence[str], processes: int) -> tuple[Baseline, str]:
    """Return figures and the mode that they were measured in.

    Raises:
        CalledProcessError: the measuring process failed; it said why.
        Changed: some pieces were measured as sources and others compiled.
    """
    with tempfile.TemporaryDirectory(prefix="bench-micro-") as name:
        folder = Path(name)
        written = folder / "values.json"
        command = [sys.executable, "-m", "bench.micro.worker", "--copy-env", "--quiet"]
        command += ["--configuration", str(write_configuration(folder))]
        command += ["--processes", str(processes), "--values", "5", "--warmups", "1"]
        command += ["--only", "|".join(only), "--output", str(written)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return read_values(written)


def read_values(path: Path) -> tuple[Baseline, str]:
    """Return what pyperf wrote: figures, and the mode that they were measured in.

    Raises:
        Changed: that is not one mode.
    """
    document = json.loads(path.read_text())
    figures, modes = {}, set()
    metadata = dict(document.get("metadata", {}))
    for benchmark in document["benchmarks"]:
        metadata |= benchmark.get("metadata", {})
        name = metadata["name"]
        modes.add(baseline.mode(is_compiled=metadata["gateway_compiled"] == "yes"))
        runs = [run.get("values", []) for run in benchmark["runs"]]
        figures[name] = compare.figure(
            [[value / (LOOP_MICRO / 1e6) for value in values] for values in runs]
        )
    about = {
        "python": platform.python_version(),
        "cpu": metadata.get("cpu_model_name", platform.machine()),
        "at": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if len(modes) != 1:
        raise Changed(CHANGED)
    return Baseline(about, figures), modes.pop()


if __name__ == "__main__":
    sys.exit(main())
