"""X8: the rules of the house that no linter knows, as tests; each rule has a test of itself.

A rule is a function from a file's path and text (or from a set of paths) to what is wrong.
"""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = (
    *("gateway", "upstream_stubs", "tests", "bench", "conformance", "tools", ".ci"),
    *("docs", "policies", "fixtures", "examples"),
)
SUFFIXES = {".py", ".lua", ".sh", ".md", ".yaml", ".yml", ".json", ".toml", ".mako", ""}

Rule = Callable[[Path, str], list[str]]

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
BANNED_MODULES = {"utils", "util", "helpers", "common", "manager", "base", "misc"}
# Written in two halves, so that this file keeps its own rules.
BANNED_WORDS = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME)\b")
MACHINE_PATH = re.compile(r"(?<![\w./}*])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me|Us" + r"ers)/[\w.]")

# Modules without a test file of their own. May only shrink: a module that has one must go.
UNTESTED: frozenset[str] = frozenset(
    {
        "gateway/__main__.py",  # three lines; tests/cli starts it
        "gateway/clock.py",  # a protocol
        "gateway/config/snapshot.py",  # data only; tests/config/test_compile.py makes it
        "gateway/errors.py",  # data only
        "gateway/proxy/ports.py",  # types only
        "gateway/rules/charge.py",  # data only
        "gateway/rules/limits.py",  # data only
        "gateway/rules/plan.py",  # data only
    }
)


def test_every_folder_that_is_kept_tidy_is_there() -> None:
    assert [folder for folder in FOLDERS if not (ROOT / folder).is_dir()] == []


def files(folders: Sequence[str]) -> Iterator[Path]:
    """Yield the text files below the folders, as paths from the root."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT)


def top_files() -> Iterator[Path]:
    names = ("Makefile", "Dockerfile", "pyproject.toml", "README.md", "CHANGELOG.md")
    return (Path(name) for name in names if (ROOT / name).exists())


EVERYTHING = [*files(FOLDERS), *top_files()]


def all_faults(rule: Rule, paths: Sequence[Path]) -> list[str]:
    return [
        f"{path}: {fault}"
        for path in paths
        for fault in rule(path, (ROOT / path).read_text(encoding="utf-8"))
    ]


def long_file(path: Path, text: str) -> list[str]:
    lines = text.count("\n")
    is_long = path.suffix in {".py", ".lua", ".sh"} and lines > FILE_LINES_MAX
    return [f"{lines} lines, {FILE_LINES_MAX} allowed"] if is_long else []


def long_functions(path: Path, text: str) -> list[str]:
    if path.suffix != ".py":
        return []
    return [
        f"{node.name} has {length} lines, {FUNCTION_LINES_MAX} allowed"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]


def nameless_module(path: Path, _text: str) -> list[str]:
    parts = {part.removesuffix(".py").strip("_") for part in path.parts}
    found = parts & BANNED_MODULES if path.suffix == ".py" else set()
    return [f"{name}: a name that says nothing" for name in sorted(found)]


def init_with_code(path: Path, text: str) -> list[str]:
    if path.name != "__init__.py":
        return []
    body = ast.parse(text).body
    is_docstring = (
        len(body) == 1
        and isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    )
    return [] if is_docstring else ["must be a docstring and nothing else"]


def machine_paths(_path: Path, text: str) -> list[str]:
    return [f"machine path {found.group()!r}" for found in MACHINE_PATH.finditer(text)]


def banned_words(_path: Path, text: str) -> list[str]:
    return [f"{found.group()} does not belong on main" for found in BANNED_WORDS.finditer(text)]


def silent_script(path: Path, text: str) -> list[str]:
    if path.suffix != ".lua":
        return []
    opening = re.match(r"-- (\S+?)(?:\.lua)?: \S+ \S+", text)
    is_named = opening is not None and opening.group(1) == path.stem
    return [] if is_named else [f"must begin with '-- {path.stem}: ' and its purpose"]


RULES = (
    long_file,
    long_functions,
    nameless_module,
    init_with_code,
    machine_paths,
    banned_words,
    silent_script,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    assert all_faults(rule, EVERYTHING) == []


@pytest.mark.parametrize(
    ("rule", "path", "bad", "good"),
    [
        (long_file, "gateway/x.py", "#\n" * 501, "#\n" * 500),
        (long_functions, "x.py", "def f():\n" + "    x\n" * 60, "def f():\n" + "    x\n" * 59),
        (long_functions, "x.py", "async def f():\n" + "    x\n" * 60, "x = 1\n"),
        (init_with_code, "a/__init__.py", '"""What it owns."""\nx = 1\n', '"""What it owns."""\n'),
        (init_with_code, "a/__init__.py", "", '"""What it owns."""\n'),
        (machine_paths, "x.md", "see /ho" + "me/ann/x", "GET /v1/ho" + "me/ann"),
        (machine_paths, "x.md", "`/ro" + "ot/.cache`", "tmp_path/ro" + "ot/x"),
        (banned_words, "x.py", "# TO" + "DO: later", "# to do it now"),
        (silent_script, "a/charge.lua", "local x = 1", "-- charge: adds all or nothing\n"),
        (silent_script, "a/charge.lua", "-- settle: adds or not", "-- charge.lua: adds amounts\n"),
    ],
)
def test_each_rule_tells_bad_from_good(rule: Rule, path: str, bad: str, good: str) -> None:
    assert rule(Path(path), bad) != []
    assert rule(Path(path), good) == []


@pytest.mark.parametrize("path", ["gateway/utils.py", "gateway/helpers/x.py", "tests/_base.py"])
def test_a_module_named_after_nothing_is_found(path: str) -> None:
    assert nameless_module(Path(path), "") != []
    assert nameless_module(Path("gateway/database/engine.py"), "") == []


def modules_without_tests(modules: Sequence[str], tests: Sequence[str]) -> set[str]:
    """Return modules for which there is no ``tests/<same folders>/test_<module>.py``.

    A ``port.py`` holds types alone: its suite is asked for by a rule of its own. A test of a module
    may be split by subject: ``test_paths_encoding.py`` is a test of ``paths.py``.
    """
    missing = set()
    for module in modules:
        path = Path(module)
        if path.name in {"__init__.py", "port.py"} or "migrations" in path.parts:
            continue
        floor = Path("tests", *path.parent.parts[1:])
        stem = f"{floor}/test_{path.stem.strip('_')}"
        if not any(test == f"{stem}.py" or test.startswith(f"{stem}_") for test in tests):
            missing.add(module)
    return missing


def ports_without_suite(modules: Sequence[str], tests: Sequence[str]) -> set[str]:
    """Return ports without a ``tests/<package>/test_port.py`` (or ``*suite*``) for all adapters."""
    ports = {module for module in modules if Path(module).name == "port.py"}
    suites = {Path(test).parent.name for test in tests if re.search("port|suite", Path(test).name)}
    return {port for port in ports if Path(port).parent.name not in suites}


GATEWAY = [path.as_posix() for path in files(["gateway"]) if path.suffix == ".py"]
TESTS = [path.as_posix() for path in files(["tests"]) if path.name.startswith("test_")]


def test_every_module_has_its_test_file() -> None:
    missing = modules_without_tests(GATEWAY, TESTS)

    assert sorted(missing - UNTESTED) == []


def test_the_list_of_untested_modules_only_shrinks() -> None:
    missing = modules_without_tests(GATEWAY, TESTS)

    assert sorted(UNTESTED & set(GATEWAY) - missing) == [], "these have tests: take them off"


def test_every_port_has_a_suite_for_all_its_adapters() -> None:
    assert sorted(ports_without_suite(GATEWAY, TESTS)) == []


def test_the_rules_about_test_files_find_what_is_missing() -> None:
    modules = ["gateway/a/x.py", "gateway/a/y.py", "gateway/a/__init__.py", "gateway/a/port.py"]
    tests = ["tests/a/test_x.py", "tests/b/test_y.py", "tests/a/test_suite.py"]

    assert modules_without_tests(modules, tests) == {"gateway/a/y.py"}
    assert modules_without_tests(modules, [*tests, "tests/a/test_y_more.py"]) == set()
    assert ports_without_suite(modules, tests) == set()
    assert ports_without_suite(modules, tests[:2]) == {"gateway/a/port.py"}
