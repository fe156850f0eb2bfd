"""The command line's root: commands, exit codes, and the one place where every error ends.

Exit codes: 0 fine, 1 a problem was found or may pass by itself, 2 wrong usage, 3 can't start and
starting it again will not help (supervisors stop retrying).
"""

import os
import sys
from collections.abc import Sequence
from traceback import walk_tb
from typing import Annotated, Final

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
    usage,
    workspaces,
)
from gateway.errors import PROBLEM, GatewayError, start_code
from gateway.telemetry.version import VERSION

OK: Final = 0

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
    context_settings={"max_content_width": output.WIDTH},
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
        output.line(VERSION)
        raise typer.Exit


@app.callback()
def root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


@app.command("version", rich_help_panel="Understand")
def show_version() -> None:
    """Show the version."""
    output.line(VERSION)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no error ends in a traceback."""
    if sys.stdout is None:
        # The next file that is opened would become stdout, and the access log go into it.
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
    except BrokenPipeError:  # a reader that has had enough (``| head``) is not an error
        _forget_answer()
    except GatewayError as error:
        _forget_answer()
        return _failed(error)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    try:
        app(args=arguments, prog_name="gateway")  # of which the shell completes arguments, too
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else PROBLEM
    except GatewayError as error:
        return _failed(error)
    except Exception as error:
        if isinstance(error, OSError) and _is_of_help(error):
            _forget_answer()
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
    return OK


def _failed(error: GatewayError) -> int:
    output.failure(error)
    return start_code(error.code) if error.code.split(".")[0] in _START_CODES else PROBLEM


def _is_of_help(error: OSError) -> bool:
    """Return whether writing failed in Click, which writes help and completions by itself."""
    return any(frame.f_code.co_name == "echo" for frame, _ in walk_tb(error.__traceback__))


def _forget_answer() -> None:
    """Let the interpreter write at its end, into nothing, what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
