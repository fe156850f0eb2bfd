"""Everything that a command shows: tables, JSON, CSV, errors, progress. Nothing else prints.

Answers go to stdout, everything about them (notes, progress, errors) to stderr. A terminal gets
tables drawn; a pipe gets plain aligned columns that ``grep`` and ``cut`` can read.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from textwrap import fill

from gateway.errors import ConfigError, GatewayError
from gateway.rules.plan import Currency
from gateway.rules.units import MICRO, UNLIMITED, Cap, text_from_micro

Row = Mapping[str, object]
Columns = Mapping[str, str]
"""Heading by the row's key, in order."""

WIDTH = 100

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

_FIRST_SECOND = -62_135_596_800
_LAST_SECOND = 253_402_300_799
"""The ends of the calendar: one stored instant beyond them must not hide a whole list."""


def line(text: str = "") -> None:
    """Write a line of the answer."""
    with _answering():
        sys.stdout.write(f"{text}\n")


def flush() -> None:
    """Write what was told so far.

    Raises:
        GatewayError: it can't be written.
        BrokenPipeError: nobody reads it.
    """
    with _answering():
        sys.stdout.flush()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
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
    """Write a line about the answer."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def document(value: object) -> None:
    """Write an answer as JSON."""
    line(json.dumps(value, indent=2, ensure_ascii=False))


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
    """Return a value as people read it in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, value)) or "-"
    return str(value)


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
        cells = [str(value).lower() if isinstance(value, bool) else value for value in row]
        with _answering():
            writer.writerow(cells)


def callers_text(text: str) -> str:
    """Return a CSV cell that a caller chose so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal's stderr while long work runs; yields a function to advance it."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def failure(error: GatewayError) -> None:
    """Tell the operator what went wrong and what to do: one paragraph, no traceback."""
    if isinstance(error, ConfigError):
        for fault in error.faults:
            note(str(fault))
    else:
        note(_wrapped(f"error: {error.message} [{error.code}]"))
    if error.hint:
        note(_wrapped(f"hint: {error.hint}"))


def _wrapped(text: str) -> str:
    """Return a paragraph whose paths and options can be copied whole."""
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def instant(at_micro: int | None) -> str | None:
    """Return an instant in UTC, to the second; the nearest one where the calendar has none."""
    if at_micro is None:
        return None
    second = min(max(at_micro // MICRO, _FIRST_SECOND), _LAST_SECOND)
    return f"{datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()}Z"


def money(currency: Currency, amount_minor: int) -> str:
    """Return an amount with its currency: ``₩29,000``, ``$12.50``."""
    whole, part = divmod(abs(amount_minor), 10**currency.minor_digits)
    decimals = f".{part:0{currency.minor_digits}d}" if currency.minor_digits else ""
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{currency.symbol or currency.code + ' '}{whole:,}{decimals}"


def cap(value_micro: Cap) -> str:
    """Return a limit in units, ``unlimited`` if it is none."""
    return "unlimited" if value_micro is UNLIMITED else text_from_micro(value_micro)
