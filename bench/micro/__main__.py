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
from collections.abc import Sequence
from pathlib import Path

from bench.micro import baseline, compare
from bench.micro.baseline import Baseline
from bench.micro.configuration import write_configuration

ROOT = Path(__file__).parents[2]
LOOP_MICRO = 50.0
"""As ``worker.NOMINAL_SECONDS``, which can't be imported before it is known what is compiled."""
SLOWER_EXIT = 1
NOT_MEASURED_EXIT = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, compare, look twice at what seems slower; return the exit code."""
    options = _options(arguments)
    started = time.monotonic()
    try:
        measured, mode = measure(options.only, options.processes)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"the measuring process failed with {error.returncode}\n")
        return NOT_MEASURED_EXIT
    known = baseline.read(mode, options.baseline)
    figures = dict(measured.figures)
    before = known.figures if known is not None else {}
    suspects = [] if options.update else compare.slower(figures, before, options.threshold)
    if suspects:
        sys.stderr.write(f"looking again at {len(suspects)} pieces\n")
        figures |= measure(suspects, options.processes)[0].figures
        suspects = compare.slower(figures, before, options.threshold)
    print(compare.table(figures, before, loop_micro=LOOP_MICRO, threshold=options.threshold))
    print(f"\n{mode}, Python {measured.about['python']}, {time.monotonic() - started:.0f} s")
    if options.update:
        baseline.update(mode, measured, options.baseline)
        print(f"baseline written: {options.baseline}")
    elif known is None:
        print(f"no baseline of {mode}: --update writes one")
    else:
        for difference in baseline.differences(measured.about, known.about):
            print(f"the baseline is of another {difference}")
    for name in suspects:
        print(f"clearly slower, twice: {name}")
    return SLOWER_EXIT if suspects else 0


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
    """Return what pyperf wrote: figures, and the mode that they were measured in."""
    document = json.loads(path.read_text())
    figures = {}
    metadata = dict(document.get("metadata", {}))
    for benchmark in document["benchmarks"]:
        metadata |= benchmark.get("metadata", {})
        name = metadata["name"]
        runs = [run.get("values", []) for run in benchmark["runs"]]
        figures[name] = compare.figure(
            [[value / (LOOP_MICRO / 1e6) for value in values] for values in runs]
        )
    about = {
        "python": platform.python_version(),
        "cpu": metadata.get("cpu_model_name", platform.machine()),
        "at": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    return Baseline(about, figures), baseline.mode(
        is_compiled=metadata["gateway_compiled"] == "yes"
    )


if __name__ == "__main__":
    sys.exit(main())
