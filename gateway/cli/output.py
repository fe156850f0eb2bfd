"""Everything that a command shows: tables, JSON, CSV, errors, progress. Nothing else prints.

Answers go to stdout, everything about them (notes, progress, errors) to stderr. A terminal gets
tables drawn; a pipe gets plain aligned columns that ``grep`` and ``cut`` can read. With ``--json``
stdout gets one JSON document and stderr one JSON object a line.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

from gateway.cli import streams
from gateway.errors import GatewayError
from gateway.rules.plan import Currency
from gateway.rules.units import MICRO, UNLIMITED, Cap, text_from_micro
from gateway.telemetry.failures import failure_text
from gateway.telemetry.printable import has_characters, json_text, one_line, printable

Row = Mapping[str, object]
Columns = Mapping[str, str]
"""Heading by the row's key, in order."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

_FIRST_SECOND = -62_135_596_800
_LAST_SECOND = 253_402_300_799
"""The ends of the calendar: one stored instant beyond them must not hide a whole list."""


class ReaderGone(Exception):  # noqa: N818 - no error: a reader that has had enough (``| head``)
    """The reader of the answer has closed its end."""


@dataclass(slots=True)
class _Manner:
    """How the command that runs was asked to speak."""

    is_json: bool = False


_manner = _Manner()


def speak_json(*, is_json: bool) -> None:
    """Settle whether notes and errors are JSON, for the command that begins."""
    _manner.is_json = is_json


def speaks_json() -> bool:
    """Return whether notes and errors are JSON."""
    return _manner.is_json


def line(text: str = "") -> None:
    """Write a line of the answer."""
    with _answering():
        sys.stdout.write(f"{printable(text)}\n")


def flush() -> None:
    """Write what was told so far.

    Raises:
        GatewayError: it can't be written.
        ReaderGone: its reader has closed its end.
    """
    with _answering():
        sys.stdout.flush()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> GatewayError:
    """Return what an operator is told of an answer that could not be written."""
    return GatewayError(
        "output.unwritable",
        f"the answer can't be written: {error.strerror}",
        "what the command did is done; see where stdout leads",
    )


def note(text: str) -> None:
    """Write a line about the answer; with ``--json`` as ``{"note": ...}``."""
    _say(json_text({"note": text}, _stderr_encoding()) if speaks_json() else printable(text))


def _say(text: str) -> None:
    """Write to stderr if that is possible: a caller that closed it wants no lines."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        streams.forget(sys.stderr)


def _stderr_encoding() -> str:
    return streams.encoding_of(sys.stderr)


def document(value: object) -> None:
    """Write an answer as JSON."""
    line(json_text(value, streams.encoding_of(sys.stdout), indent=2))


def rows(found: Sequence[Row], columns: Columns, *, as_json: bool, empty: str) -> None:
    """Write a list: all facts as JSON, or the chosen columns as a table.

    Args:
        found: One mapping per row.
        columns: What the table shows.
        as_json: Whether ``--json`` was given.
        empty: What to tell people when there is nothing.
    """
    if as_json:
        document([dict(row) for row in found])
    elif not found:
        note(empty)
    else:
        _table(list(columns.values()), [[cell(row[key]) for key in columns] for row in found])


def facts(found: Row, *, as_json: bool) -> None:
    """Write the facts about one thing."""
    if as_json:
        document(dict(found))
        return
    width = max(map(len, found))
    for name, value in found.items():
        line(f"{name.replace('_', ' '):<{width}}  {cell(value)}")


def cell(value: object) -> str:
    """Return a value as people read it in a table, on one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return one_line(", ".join(map(str, value))) or "-"
    return one_line(str(value))


def _table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    if sys.stdout.isatty():
        _drawn_table(headings, cells)
        return
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in (headings, *cells):
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        line("  ".join(padded).rstrip())


def _drawn_table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich import box  # noqa: PLC0415 - only a terminal needs it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415 - plain text: an id is never read as markup

    table = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)


def csv_rows(header: Sequence[str], found: Iterable[Sequence[object]]) -> None:
    """Write CSV (RFC 4180) as it comes, row by row; true and false as JSON has them."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in chain([header], found):
        with _answering():
            writer.writerow(map(_csv_cell, row))


def _csv_cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return one_line(value) if isinstance(value, str) else value


def callers_text(text: str) -> str:
    """Return a CSV cell that a caller chose so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal's stderr while long work runs; yields a function to advance it."""
    if speaks_json() or not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def failure(error: GatewayError) -> None:
    """Tell the operator what went wrong and what to do: one paragraph, no traceback.

    With ``--json`` it is one object: ``code``, ``message``, ``hint``, and ``problems`` for the
    faults of files with their places.
    """
    _say(failure_text(error, as_json=speaks_json(), encoding=_stderr_encoding()))


def instant(at_micro: int | None) -> str | None:
    """Return an instant in UTC, to the second; the nearest one where the calendar has none."""
    if at_micro is None:
        return None
    second = min(max(at_micro // MICRO, _FIRST_SECOND), _LAST_SECOND)
    return f"{datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()}Z"


def money(currency: Currency, amount_minor: int) -> str:
    """Return an amount with its currency: ``₩29,000``, ``$12.50``.

    Where stdout can't write the sign, the code stands for it: ``KRW 29,000``.
    """
    whole, part = divmod(abs(amount_minor), 10**currency.minor_digits)
    decimals = f".{part:0{currency.minor_digits}d}" if currency.minor_digits else ""
    sign = "-" if amount_minor < 0 else ""
    is_writable = speaks_json() or has_characters(streams.encoding_of(sys.stdout), currency.symbol)
    symbol = currency.symbol if is_writable else ""
    return f"{sign}{symbol or currency.code + ' '}{whole:,}{decimals}"


def cap(value_micro: Cap) -> str:
    """Return a limit in units, ``unlimited`` if it is none."""
    return "unlimited" if value_micro is UNLIMITED else text_from_micro(value_micro)
