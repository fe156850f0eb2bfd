"""Documents that can't be wrong: what they name exists, what exists is named, snippets run."""

import ast
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from gateway.cli.app import app
from gateway.clock import Clock
from gateway.config import routes, upstreams
from gateway.config.loaded import OPTIONS, Settings
from gateway.config.model import Model
from gateway.config.pricing_schema import schema_bytes
from gateway.config.settings import load
from gateway.counters.redis import RedisCounterStore
from gateway.errors import RefusalCode
from gateway.keys.document import parse_document
from gateway.process.clock import SystemClock
from gateway.rules.charge import Correction, CounterDelta
from gateway.rules.identifiers import ID_WORDS, NAME_WORDS
from gateway.rules.record import Record
from gateway.telemetry.exposition import families
from gateway.telemetry.metrics import StoreStats
from tests.support.charges import around, charge, entry, giving_back, template
from tests.support.pricing_files import write_pricing
from tests.support.redis_server import RedisServer
from tests.test_tidy import MACHINE_PATH

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted((ROOT / "examples").glob("*/gateway.yaml"))
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CHANGELOG.md", "bench/README.md", "conformance/README.md")
    ),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
SOURCES = sorted((ROOT / "gateway").rglob("*.py"))
REDIS_URL = "redis://127.0.0.1:6379/0"

ERRORS = {
    *("GatewayError", "StoreUnavailable", "DirectoryUnavailable", "LedgerUnavailable"),
    *("LedgerRefusesAll", "Trouble", "_note_away", "_trouble"),
}
"""Calls whose first argument is an error's code."""
LEVELS = {"warning", "error", "critical"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def page_text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Yield the code blocks of a page in some languages, without their indentation."""
    fence = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
    for indent, language, text in fence.findall(page.read_text(encoding="utf-8")):
        if language in languages:
            yield re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


def calls_of(tree: ast.Module) -> Iterator[tuple[ast.expr, str, list[ast.expr]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else ""
            yield function, function.id if isinstance(function, ast.Name) else name, node.args


def error_codes() -> set[str]:
    """Return every code that the source gives an error, named constants included."""
    found = set()
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        constants = {
            node.target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for _, name, arguments in calls_of(tree):
            for argument in arguments if name in ERRORS | {"reading", "writing"} else ():
                value = constants.get(argument.id) if isinstance(argument, ast.Name) else None
                value = argument.value if isinstance(argument, ast.Constant) else value
                if isinstance(value, str) and re.fullmatch(r"[a-z_]+\.[a-z_]+", value):
                    found.add(value)
    return found | {"config.invalid", "internal"}


def alarming_events() -> set[str]:
    found = set()
    for source in SOURCES:
        for function, name, arguments in calls_of(ast.parse(source.read_text(encoding="utf-8"))):
            is_log = (
                isinstance(function, ast.Attribute)
                and isinstance(function.value, ast.Name)
                and function.value.id == "_log"
                and name in LEVELS
            )
            if (is_log or name == "_lose_disk") and isinstance(arguments[0], ast.Constant):
                found.add(str(arguments[0].value))
            if name == "StateLog" and isinstance(arguments[1], ast.Constant):
                found.add(str(arguments[1].value))
    return found - RECOVERIES


RECOVERIES = {
    *("corrections.store_back", "shipper.ledger_back", "journal.has_room", "journal.recovered"),
}
"""Good news, told as loudly as the bad before it."""


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_error_code_has_an_entry() -> None:
    page = page_text("operations/failure-modes.md")
    codes = error_codes()

    assert len(codes) > 50
    assert sorted(code for code in codes if f"`{code}`" not in page) == []


def test_the_failure_modes_invent_no_code() -> None:
    table = page_text("operations/failure-modes.md").partition("## Events")[0]
    first_cells = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    told = {code for cell in first_cells for code in re.findall(r"`([a-z_.]+)`", cell)}

    known = error_codes() | {code.value for code in RefusalCode}
    assert sorted(told - known) == []


def test_no_code_has_two_rows_in_one_table() -> None:
    for table in page_text("operations/failure-modes.md").split("\n## ")[1:]:
        first_cells = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
        told = [code for cell in first_cells for code in re.findall(r"`([a-z_.]+)`", cell)]
        assert sorted({code for code in told if told.count(code) > 1}) == [], table[:40]


def test_every_alarming_event_has_an_entry() -> None:
    page = page_text("operations/failure-modes.md")
    events = alarming_events()

    assert len(events) > 25
    assert sorted(event for event in events if f"`{event}`" not in page) == []


def test_every_refusal_has_its_entries() -> None:
    codes = [f"| `{code.value}` |" for code in RefusalCode]

    assert [c for c in codes if c not in page_text("reference/problems.md")] == []
    assert [c for c in codes if c not in page_text("operations/failure-modes.md")] == []


def test_every_option_has_an_entry_with_its_meaning() -> None:
    page = page_text("reference/configuration.md")
    models = {
        thing
        for module in (routes, upstreams)
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, Model) and thing is not Model
    }

    assert len(models) > 15
    for model in models:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} says nothing"
            told = f"| `{field.alias or name}` |"
            assert told in page, f"{model.__name__}.{name}"


def test_every_member_of_the_pricing_file_has_an_entry() -> None:
    page = page_text("reference/pricing.md")
    schema = json.loads(schema_bytes())
    members = {
        name
        for model in [schema, *schema["$defs"].values()]
        for name in model.get("properties", ())
    }

    assert len(members) > 60
    assert sorted(name for name in members if f"| `{name}` |" not in page) == []


def test_what_needs_a_restart_is_listed_as_it_is_written() -> None:
    page = page_text("reference/configuration.md")

    assert list(OPTIONS) == [field.name for field in fields(Settings)]
    for option in (option for options in OPTIONS.values() for option in options):
        assert f"`{option}`" in page.partition("## RouteFile")[0]
        group, _, name = option.rpartition(".")
        model: Any = routes.RouteFile.model_fields[group].annotation if group else routes.RouteFile
        assert name in model.model_fields, option


def test_no_generated_table_has_an_empty_cell() -> None:
    for name in generator().PAGES:
        assert not re.search(r"\| +\|", page_text(f"reference/{name}")), name


def test_every_reason_flag_and_field_of_a_record_has_an_entry() -> None:
    page = page_text("reference/records.md")
    sources = ("rules/settlement.py", "rules/decision.py", "proxy/books.py", "proxy/slices.py")
    text = "".join((ROOT / "gateway" / name).read_text(encoding="utf-8") for name in sources)
    reasons = re.findall(r'return False, "(\w+)"|reason="(\w+)"|else "(open_route)"', text)
    reasons += re.findall(r'ABANDONED: Final = "(\w+)"()', text)
    flags = re.findall(r'flags\.append\("(\w+)"\)|flags = \["(\w+)"\]', text)
    told = {"".join(found) for found in (*reasons, *flags)}

    assert told >= {
        "refused",
        "client_gone",
        "abandoned",
        "open_route",
        "overage",
        "grace",
        "unenforced",
    }
    assert sorted(word for word in told if f"| `{word}` |" not in page) == []
    rows = [f"| `{field.name}` |" for field in fields(Record)]
    assert [row for row in rows if row not in page] == []


def test_metrics_that_are_named_exist() -> None:
    known = {family.sample_name.removesuffix("_bucket") for family in families()}
    table = page_text("reference/metrics.md")

    assert sorted(name for name in known if f"`{name}" not in table) == []
    for page in PAGES:
        named = set(re.findall(r"`(gateway_[a-z_]+[a-z])(?:\{|`)", page.read_text()))
        assert {name.removesuffix("_bucket") for name in named} <= known, page


def test_the_words_of_the_house_are_explained() -> None:
    page = page_text("glossary.md")
    words = (
        "workspace", "key", "plan", "meter", "policy", "route", "charge", "settle", "run id",
        "record", "journal", "ledger", "snapshot", "repeat", "refusal", "correction", "grace",
    )  # fmt: skip

    assert [word for word in words if f"\n| {word} |" not in page] == []


def leaf_commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    waiting: list[tuple[str, Any]] = [("gateway", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        children = getattr(command, "commands", None)
        if children is None:
            found[name] = command
        else:
            waiting += [(f"{name} {child}", made) for child, made in children.items()]
    return found


COMMANDS = leaf_commands()


def test_every_command_has_an_entry() -> None:
    page = page_text("reference/commands.md")

    assert [name for name in COMMANDS if f"\n## {name}\n" not in page] == []


def split_command(line: str) -> tuple[str, list[str]]:
    """Return the longest command that a line begins with, and its arguments."""
    words = shlex.split(line, comments=True)
    name = next((" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in COMMANDS), "")
    return name, words[len(name.split()) :]


@pages
def test_commands_are_typed_as_they_can_be(page: Path) -> None:
    for block in blocks(page, "sh", "console"):
        whole = block.replace("\\\n", " ")
        for line in re.findall(r"^(?:\$ )?(?:\.venv/bin/)?(gateway .*)$", whole, re.MULTILINE):
            name, arguments = split_command(line)
            assert name, f"no such command: {line}"
            with COMMANDS[name].make_context(name, arguments):
                pass


@pages
def test_commands_that_prose_names_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for span in re.findall(r"`gateway ([a-z]+)\b[^`]*`", text):
        assert any(name.split()[1] == span for name in COMMANDS), f"gateway {span}"


@pages
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z]+)(?=`| +#|$)", page.read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def slugs(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as Markdown viewers make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in slugs(linked), target


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    folders = "tests|gateway|fixtures|bench|policies|examples|docs"
    for path, test in re.findall(rf"`((?:{folders})/[\w./-]+)(?:::(\w+))?`", text):
        assert (ROOT / path).exists(), path
        if test:
            assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_every_row_of_the_first_stage_is_answered() -> None:
    rows = re.findall(r"^\| ([A-Z]\d+) \|", page_text("requirements.md"), re.MULTILINE)

    assert rows == [
        *(f"X{n}" for n in range(1, 10)),
        *(f"A{n}" for n in range(1, 24)),
        *("B2", "B3", "B5", "B6", "B11", "B12"),
        *("C1", "C7", "C11", "C12", "C13", "C14", "C16"),
        *("D1", "E1", "E5", "E10", "N1", "N6", "N2", "N5", "N7"),
    ]


@pages
def test_yaml_in_the_documents_is_right(page: Path, tmp_path: Path) -> None:
    write_pricing(tmp_path / "pricing.json", lambda _: None)
    for snippet in blocks(page, "yaml"):
        document = yaml.safe_load(snippet)
        if "routes" in document:
            (tmp_path / "gateway.yaml").write_text(snippet)
            load(tmp_path / "gateway.yaml", environ={}, overrides={})
        elif "workspaces" in document:
            parse_document(snippet, "keys.yaml")


@pages
def test_json_in_the_documents_is_json(page: Path) -> None:
    for snippet in blocks(page, "json"):
        json.loads(snippet)


@pages
def test_pages_name_no_place_of_one_machine(page: Path) -> None:
    assert MACHINE_PATH.findall(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_load(example: Path) -> None:
    loaded = load(example, environ={"REDIS_URL": REDIS_URL}, overrides={})

    assert (example.parent / "README.md").exists()
    if loaded.settings.keys.startswith("file:"):
        keys = Path(loaded.settings.keys.removeprefix("file:"))
        plans = {plan for pricing in loaded.snapshot.pricings for plan in pricing.tiers}
        assert {
            entry.plan for entry in parse_document(keys.read_text(), str(keys)).values()
        } <= plans


def test_llm_example_reserves_and_settles_tokens() -> None:
    loaded = load(ROOT / "examples/llm-chat/gateway.yaml", environ={}, overrides={})
    (route,) = loaded.snapshot.routes
    free = loaded.snapshot.pricings[0].tiers["FREE"]

    costs = {cost.meter: cost for cost in route.cost}
    assert costs["llm_tokens"].reserve.pointer == ("max_tokens",)
    assert costs["llm_tokens"].settle is not None
    assert costs["llm_tokens"].settle.pointer == ("usage", "total_tokens")
    assert {"tokens_minute", "tokens_month"} <= set(route.limits) & set(free.ladders)


async def test_the_acl_of_the_operations_page_suffices() -> None:
    (line,) = re.findall(r"^ *(ACL SETUSER .*)$", page_text("operations.md"), re.MULTILINE)
    clock: Clock = SystemClock()
    server = RedisServer().start()
    try:
        with server.client() as client:
            if int(client.info("server")["redis_version"].split(".")[0]) < 7:
                line = line.replace("script|load", "script")
            client.execute_command(*line.replace(">PASSWORD", ">secret").split())  # type: ignore[no-untyped-call]
        url = f"redis://gateway:secret@127.0.0.1:{server.port}/1"
        store = RedisCounterStore(url, deadline_seconds=2, clock=clock, stats=StoreStats())
        await store.start()
        try:
            period = around(clock.now_micro())
            asked = charge(template(entry("rpm", period), entry("usage", period)), run="order-1")
            assert (await store.charge(asked)).admitted
            assert (await store.charge(asked)).repeat
            expires = asked.run_expires_at_seconds
            owed = tuple(CounterDelta(e.key, 7, expires) for e in asked.template.entries)
            claim = Correction("ws", "h", owed, asked.run_key, claimed_until_seconds=expires)
            await store.correct([claim, giving_back(asked, release_run=True)])
            assert await store.read("ws", [e.key for e in asked.template.entries]) == (7, 7)
        finally:
            await store.close()
    finally:
        server.stop()


def test_decisions_are_short_and_numbered_without_gaps() -> None:
    decisions = sorted((DOCS / "decisions").glob("*.md"))
    texts = [path.read_text(encoding="utf-8") for path in decisions]

    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for text in texts:
        assert len(text.splitlines()) <= 40
        assert all(f"**{part}." in text for part in ("Context", "Decision", "Regrets")), text[:40]


def test_the_architecture_names_every_floor() -> None:
    page = page_text("architecture.md")
    folders = [path.parent.name for path in (ROOT / "gateway").glob("*/__init__.py")]

    assert sorted(name for name in folders if f"`{name}`" not in page) == []


def test_the_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)

    assert version is not None
    assert "## [Unreleased]" in text
    assert re.search(rf"^## \[{re.escape(version[1])}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)


def test_the_rules_for_names_are_told_as_they_are() -> None:
    text = " ".join(page_text("semantics.md").split())

    assert NAME_WORDS in text
    assert ID_WORDS in text
