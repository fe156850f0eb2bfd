"""``gateway demo``: the whole product on this machine, with requests to try. Needs no set-up."""

import http.client
import json
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer

from gateway.cli import output, usage
from gateway.cli.arguments import DEFAULT_CONFIG, AsJson, Config
from gateway.cli.context import Desk, open_desk
from gateway.cli.demo_stage import SHIPPED_CONFIG, Stage, free_port, unsuited
from gateway.control.keys import KeyRequest, create_key
from gateway.control.workspaces import create_workspace
from gateway.errors import GatewayError, start_code

SANDBOX, STARTER = "demo-sandbox", "demo-starter"
TOLD_FIELDS: Final = ("ratelimit-policy", "ratelimit", "retry-after", "x-request-id")


@dataclass(frozen=True, slots=True)
class Try:
    """A request to try: what it shows, and what to send."""

    shows: str
    key: str | None
    body: dict[str, object] = field(default_factory=dict)
    method: str = "POST"
    path: str = "/v1/runs"

    @property
    def fields(self) -> dict[str, str]:
        """The request's header fields."""
        given = {"Content-Type": "application/json"}
        return given if self.key is None else {"Authorization": f"Bearer {self.key}", **given}

    def curl(self, url: str) -> str:
        """Return a command that sends it."""
        fields = "".join(f" -H '{name}: {value}'" for name, value in self.fields.items())
        return f"curl -i {url}{self.path}{fields} -d '{json.dumps(self.body)}'"


def tries(starter: str, sandbox: str) -> list[Try]:
    """Return the demo's requests, for two keys."""
    return [
        Try("passes, and tells where the caller stands", starter, {"estimated_dc": 2}),
        Try("no key: 401", None, {"estimated_dc": 1}),
        Try("the sandbox plan's whole month in one call", sandbox, {"estimated_dc": 50}),
        Try("one more: 429, and when it could pass", sandbox, {"estimated_dc": 1}),
    ]


def run(
    *,
    tour: Annotated[
        bool, typer.Option("--tour", help="Send the requests, show the answers, and end.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where to listen; another if it is taken.")
    ] = 8080,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the demo's data here [a new temporary folder].")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Run sample upstream and gateway with two workspaces, and show what to try. Ctrl-C ends it.

    Without policies/gateway.yaml in this folder it runs on a copy of its own.
    """
    source = config if config.exists() or config != DEFAULT_CONFIG else SHIPPED_CONFIG
    # Whole, because what is shown is typed in another terminal.
    folder = (data_dir or Path(tempfile.mkdtemp(prefix="gateway-demo-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    stage = Stage(folder)
    try:
        with _ended_properly(stage):
            desk, requests = _set_up(stage, source, port)
            if tour:
                _tour(stage, requests, as_json=as_json)
            else:
                _show_commands(stage, desk, requests, as_json=as_json)
                stage.await_end()
    except GatewayError as error:
        output.failure(error)
        raise typer.Exit(start_code(error.code)) from None


@contextmanager
def _ended_properly(stage: Stage) -> Iterator[None]:
    """End the processes however the demo ends; Ctrl-C is the normal way.

    Its signal is ignored by what a script runs in the background, unless somebody listens.
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        output.note("Ending; what was counted is kept in the ledger.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stage.stop()


def _set_up(stage: Stage, config: Path, port: int) -> tuple[Desk, list[Try]]:
    with output.progress("Starting", total=4) as advance:
        upstream = stage.start_upstream()
        advance(1)
        stage.write_config(config, upstream)
        desk = open_desk(stage.config, makes_databases=True, data_dir=str(stage.data_dir))
        advance(1)
        _require_plans(desk, config)
        starter, sandbox = (_key(desk, name) for name in (STARTER, SANDBOX))
        advance(1)
        stage.port = free_port(stage.host, port)
        stage.start_gateway()
        advance(1)
    return desk, tries(starter, sandbox)


def _require_plans(desk: Desk, config: Path) -> None:
    plans = [workspace.removeprefix("demo-").upper() for workspace in (SANDBOX, STARTER)]
    missing = [plan for plan in plans if plan not in desk.pricing.tiers]
    if missing:
        raise unsuited(
            config,
            f"its pricing has no plan {' or '.join(missing)}",
            "the demo needs these two plans and a route for POST /v1/runs: leave out --config, or "
            "start from policies/gateway.yaml",
        )


def _key(desk: Desk, workspace_id: str) -> str:
    plan = workspace_id.removeprefix("demo-").upper()
    registry = desk.registry
    if registry.workspace(workspace_id) is None:
        create_workspace(registry, desk.pricing, desk.clock, workspace_id=workspace_id, plan=plan)
    request = KeyRequest(workspace_id, environment="test", name="demo")
    return create_key(registry, desk.pricing, desk.clock, request).secret


def command_line(environment: Mapping[str, Path], python: Path) -> tuple[str, str]:
    """Return what a shell anywhere must be told first, and what the gateway is called then.

    Args:
        environment: Variables that commands need.
        python: The interpreter; the command stands beside it where it is installed.
    """
    given = [f"{name}={shlex.quote(str(path))}" for name, path in environment.items()]
    if (python.parent / "gateway").exists():
        return f'export PATH={shlex.quote(str(python.parent))}:"$PATH" {" ".join(given)}', "gateway"
    return f"export {' '.join(given)}", f"{shlex.quote(str(python))} -m gateway"


def _show_commands(stage: Stage, desk: Desk, requests: list[Try], *, as_json: bool) -> None:
    pricing = desk.loaded.files[-1]
    environment = {"GATEWAY_CONFIG": stage.config, "GATEWAY_DATA_DIR": stage.data_dir}
    first, gateway = command_line(environment, Path(sys.executable))
    commands = {
        "what was used, a second later": f"{gateway} usage",
        "what a request would meet, and why": f"{gateway} explain POST /v1/runs -w {SANDBOX}",
        f"the bill of {desk.period}": f"{gateway} statement {STARTER}",
    }
    metrics = f"http://{stage.host}:{stage.admin_port}/metrics"
    if as_json:
        output.document(
            {
                "url": stage.url,
                "metrics": metrics,
                "data_dir": str(stage.data_dir),
                "config": str(stage.config),
                "pricing": str(pricing),
                "requests": [
                    {"shows": request.shows, "command": request.curl(stage.url)}
                    for request in requests
                ],
                "set_up": first,
                "commands": [{"shows": what, "command": told} for what, told in commands.items()],
            }
        )
        output.flush()
        return
    told = [
        f"The gateway listens on {stage.url}; its upstream knows nothing of keys or plans.",
        f"Metrics: {metrics}",
        f"Logs and data: {stage.data_dir}",
        "",
        "Try, in another terminal:",
        "",
        first,
        *(f"\n# {request.shows}\n{request.curl(stage.url)}" for request in requests),
        *(f"\n# {what}\n{command}" for what, command in commands.items()),
        "",
        f"Then change a plan in {pricing} or a route in {stage.config}:",
        "the gateway takes the new file while it runs. Ctrl-C ends the demo.",
    ]
    output.line("\n".join(told))
    output.flush()


def _tour(stage: Stage, requests: list[Try], *, as_json: bool) -> None:
    answers = []
    for request in requests:
        answer = _answer(stage, request)
        answers.append(answer)
        if not as_json:
            _show(answer)
    stage.stop()  # which sends what waits in the journal to the ledger
    if as_json:
        desk = open_desk(stage.config, data_dir=str(stage.data_dir))
        output.document({"answers": answers, "usage": usage.used(desk, desk.period)})
        return
    output.line("# what was used")
    usage.show(config=stage.config, data_dir=str(stage.data_dir))


def _show(answer: Mapping[str, Any]) -> None:
    output.line(f"# {answer['shows']}\n{answer['command']}")
    output.line(f"HTTP/1.1 {answer['status']} {answer['reason']}")
    for name, value in answer["fields"].items():
        output.line(f"{name}: {value}")
    output.line(f"\n{answer['body']}\n")


def _answer(stage: Stage, request: Try) -> dict[str, Any]:
    """Send a request; return what it shows and what was answered. Raises ``GatewayError``."""
    connection = http.client.HTTPConnection(stage.host, stage.port, timeout=10)
    try:
        connection.request(request.method, request.path, json.dumps(request.body), request.fields)
        answer = connection.getresponse()
        return {
            "shows": request.shows,
            "command": request.curl(stage.url),
            "status": answer.status,
            "reason": answer.reason,
            "fields": {
                name: value for name, value in answer.getheaders() if name.lower() in TOLD_FIELDS
            },
            "body": answer.read().decode("utf-8", "backslashreplace"),
        }
    except (OSError, http.client.HTTPException) as error:
        raise GatewayError("demo.no_answer", f"the gateway does not answer: {error}") from error
    finally:
        connection.close()
