"""Compile the request path with mypyc into gateway/_compiled (docs/decisions/0010).

usage: python tools/compile_hot_path.py [--required]

Does nothing where the compiled modules fit their sources. Needs what requirements-dev.lock brings,
a C compiler and Python's headers; where they are missing it says so and leaves the gateway on its
sources, which do the same at about twice the CPU time. Takes a minute on two cores.
"""

import argparse
import io
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUP = "gateway_compiled"
WHOLE = ("-flto=auto", "-fvisibility=hidden", "-fno-semantic-interposition", "-fno-plt")
"""Compiled as one: calls between modules go straight and short functions vanish into their callers.
Without it each goes through a table, for somebody might put a function of his own in its place."""
sys.path.insert(0, str(ROOT))

from mypyc.build import mypycify  # noqa: E402
from setuptools import Distribution, Extension  # noqa: E402
from setuptools.command.build_ext import build_ext  # noqa: E402

from gateway.compiled import FOLDER, MANIFEST, MODULES, digest_of, source_of, usable  # noqa: E402


class ParallelBuild(build_ext):
    """Compiles the C files of one extension on all cores."""

    def build_extension(self, ext: Extension) -> None:
        """Build one extension."""
        compiler = self.compiler
        compile_serially = compiler.compile

        def compile_in_parallel(sources: list[str], **options: object) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                made = threads.map(lambda source: compile_serially([source], **options), sources)
                return [built for objects in made for built in objects]

        compiler.compile = compile_in_parallel
        try:
            super().build_extension(ext)
        finally:
            compiler.compile = compile_serially


def main() -> int:
    """Compile what is out of date; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--required", action="store_true", help="fail where nothing can be built")
    required = parser.parse_args().required
    if usable(FOLDER) is not None:
        return 0
    missing = what_is_missing()
    if missing:
        sys.stderr.write(
            f"not compiled, for want of {missing}: the gateway runs from its sources, at about "
            "twice the CPU time (Debian: apt-get install gcc python3-dev, then make compiled)\n"
        )
        return 1 if required else 0
    sys.stderr.write("compiling the request path, which takes about a minute ...\n")
    os.chdir(ROOT)
    told = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with redirect_stdout(told), redirect_stderr(told):
                publish(build_somehow(Path(folder)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a compiler may fail in any way
            sys.stderr.write(f"{told.getvalue()}\nnot compiled: {error}; running from sources\n")
            return 1 if required else 0
    return 0


def build_somehow(work: Path) -> Path:
    """Compile as one, or module by module where the compiler can't; return as ``build``."""
    try:
        return build(work / "whole", WHOLE)
    except (Exception, SystemExit):  # noqa: BLE001 - if it is for another reason, it fails again
        return build(work / "parts", ())


def what_is_missing() -> str:
    """Return what a C extension needs and this machine lacks."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"a C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers"
    return ""


def build(work: Path, further: tuple[str, ...]) -> Path:
    """Compile, with further arguments for the compiler; return where the modules are."""
    extensions = mypycify(
        [str(source_of(module).relative_to(ROOT)) for module in MODULES],
        opt_level="2",  # as fast as 3 here, and a tenth smaller
        debug_level="0",
        multi_file=True,
        target_dir=str(work / "c"),
        group_name=GROUP,
    )
    for extension in extensions:
        extension.extra_compile_args += further
        extension.extra_link_args += further
    command = ParallelBuild(Distribution({"name": GROUP, "ext_modules": extensions}))
    command.build_lib = str(work / "lib")
    command.build_temp = str(work / "objects")
    command.ensure_finalized()
    command.run()
    return work / "lib"


def publish(built: Path) -> None:
    """Move the modules into place; the manifest comes last, so that half a set is never used."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    files = {}
    for path in sorted(built.rglob("*.so")):
        relative = path.relative_to(built)
        module = ".".join((*relative.parent.parts, path.name.partition(".")[0]))
        files[module] = f"{module}.{path.name.partition('.')[2]}"
        shutil.move(path, FOLDER / files[module])
    manifest = {"python": sys.implementation.cache_tag, "sources": digest_of(), "files": files}
    (FOLDER / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
