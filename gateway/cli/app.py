"""The command line's root: commands, exit codes, and the one place where every error ends.

Exit codes: 0 fine, 1 a problem was found or may pass by itself, 2 wrong usage, 3 can't start and
starting it again will not help (supervisors stop retrying). With ``--json`` an error is one JSON
object on stderr (``output.failure``), wrong usage included.
"""

import os
import sys
from collections.abc import Sequence
from traceback import walk_tb
from typing import Annotated, Any, Final

import typer

from gateway.cli import (
    check,
    demo,
    explain,
    keys,
    output,
    plans,
    routes,
    schema,
    serve,
    statement,
    streams,
    usage,
    workspaces,
)
from gateway.cli.arguments import AsJson, asks_for_json
from gateway.cli.text_command import TextCommand
from gateway.errors import PROBLEM, GatewayError, start_code
from gateway.telemetry.failures import WIDTH
from gateway.telemetry.version import VERSION

OK: Final = 0

_CLICK_ERROR: Final[type[BaseException]] = typer.BadParameter.__mro__[2]
"""``ClickException``: of Click, or of the copy that newer versions of Typer bring."""

_LIBRARY_WORDS: Final = {
    "Value error, ": "",
    "Input should be": "it has to be",
    "extra argument(s)": "extra arguments",
}
"""What the libraries that read the arguments put into their messages, and what it means."""

_START_CODES: Final = frozenset(
    {
        *("admin", "config", "counters", "data_dir", "database"),
        *("directory", "journal", "listen", "stdout"),
    }
)
"""First words of error codes that mean: the command could not even begin."""

app = typer.Typer(
    name="gateway",
    no_args_is_help=True,
    rich_markup_mode=None,  # it takes what stands in [brackets] for markup
    context_settings={"max_content_width": WIDTH},
    pretty_exceptions_enable=False,
    help="Enforcement gateway: authenticates API keys, enforces plans, meters every request once.",
    epilog="Try it without any setup: gateway demo",
)

app.command("serve", rich_help_panel="Run")(serve.run)
app.command("demo", rich_help_panel="Run")(demo.run)
app.command("check", rich_help_panel="Configuration")(check.run)
app.command("routes", rich_help_panel="Configuration")(routes.show)
app.command("plans", rich_help_panel="Configuration")(plans.show)
app.command("schema", rich_help_panel="Configuration")(schema.show)
app.command("explain", rich_help_panel="Understand")(explain.show)
app.command("usage", rich_help_panel="Understand")(usage.show)
app.command("statement", rich_help_panel="Understand")(statement.show)
app.add_typer(workspaces.app, name="workspaces", rich_help_panel="Callers")
app.add_typer(keys.app, name="keys", rich_help_panel="Callers")


def _print_version(asked: bool) -> None:  # noqa: FBT001 - Typer's callback
    if asked:
        show_version(as_json=output.speaks_json())
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --version; with a command it stands behind it.")
    ] = False,
) -> None:
    """Hold the options that stand before a command."""
    if as_json:
        raise typer.BadParameter(f"write: gateway {context.invoked_subcommand} ... --json")


@app.command("version", rich_help_panel="Understand")
def show_version(*, as_json: AsJson = False) -> None:
    """Show the version."""
    if as_json:
        output.document({"version": VERSION})
    else:
        output.line(VERSION)


for group in (app, workspaces.app, keys.app):
    for command in group.registered_commands:
        command.cls = TextCommand


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no error ends in a traceback."""
    streams.prepare()
    output.speak_json(is_json=asks_for_json(sys.argv[1:] if arguments is None else arguments))
    if sys.stdout is None:
        return _failed(
            GatewayError(
                "stdout.closed",
                "stdout is closed: there is nowhere to write an answer to",
                "send it to a file, or to /dev/null",
            )
        )
    code = _run(arguments)
    try:
        output.flush()
    except output.ReaderGone:
        streams.forget(sys.stdout)
    except GatewayError as error:
        streams.forget(sys.stdout)
        return _failed(error)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        # The command's name: of which the shell completes arguments, too.
        code = app(args=arguments, prog_name="gateway", standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else PROBLEM
    except output.ReaderGone:
        streams.forget(sys.stdout)
        return OK
    except _CLICK_ERROR as error:
        return _misused(error)
    except typer.Abort:
        return PROBLEM
    except GatewayError as error:
        return _failed(error)
    except Exception as error:
        if isinstance(error, OSError) and _is_of_help(error):
            streams.forget(sys.stdout)
            return _failed(output.unwritable(error))
        if "GATEWAY_TRACEBACK" in os.environ:
            raise
        return _failed(
            GatewayError(
                "internal",
                f"the gateway itself failed: {type(error).__name__}: {error}",
                "report this, with what GATEWAY_TRACEBACK=1 makes of the same command",
            )
        )
    return code if isinstance(code, int) else OK


def _misused(error: Any) -> int:  # noqa: ANN401 - Click's, of which Typer has a copy of its own
    """Say what is wrong with the arguments; a group without a command gets its help."""
    context = getattr(error, "ctx", None)
    message = _own_words(error.format_message())
    if type(error).__name__ == "NoArgsIsHelpError":
        output.note(message)
    else:
        command = "gateway" if context is None else context.command_path
        usage = "" if context is None else f"; {' '.join(context.get_usage().split())}"
        output.failure(GatewayError("usage.wrong", message, f"see `{command} --help`{usage}"))
    return int(error.exit_code)


def _own_words(message: str) -> str:
    """Return a message without what the libraries behind it put around theirs."""
    for words, better in _LIBRARY_WORDS.items():
        message = message.replace(words, better)
    return " ".join(message.split())


def _failed(error: GatewayError) -> int:
    output.failure(error)
    return start_code(error.code) if error.code.split(".")[0] in _START_CODES else PROBLEM


def _is_of_help(error: OSError) -> bool:
    """Return whether writing failed in Click, which writes help and completions by itself."""
    return any(frame.f_code.co_name == "echo" for frame, _ in walk_tb(error.__traceback__))
