"""``python -m conformance.report``: write the generated parts of ``docs/conformance.md``.

They are made from what the runs are held to (scripts, table of differences), not from a run.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from conformance import redbot_suite, slow_suite
from conformance.differential.corpus import CORPUS
from conformance.differential.suite import Explained, explained
from conformance.outcome import ROOT
from conformance.varnish_suite import SCRIPTS, title_of

PAGE: Final = ROOT / "docs" / "conformance.md"
TOLD_MAX: Final = 60


def page(text: str) -> str:
    """Return the page with its generated parts made anew."""
    for name, made in {
        "varnishtest": _scripts(),
        "differences": _differences(explained()),
        "slowhttptest": (f"- {each.connections}: {each.says}" for each in slow_suite.ATTACKS),
        "redbot": (f"- {each.name}" for each in redbot_suite.ASKS),
    }.items():
        begin, end = f"<!-- {name}: generated -->\n", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = before + begin + "\n".join(made) + "\n" + end + after
    return text


def _scripts() -> Iterator[str]:
    yield "| script | proves |"
    yield "|---|---|"
    for script in sorted(SCRIPTS.glob("*.vtc")):
        yield f"| {script.stem} | {title_of(script)} |"


def _differences(table: Explained) -> Iterator[str]:
    same = len(CORPUS) - len(table.cases)
    yield f"nginx {table.nginx}: {same} of {len(CORPUS)} cases end alike, {len(table.cases)} don't."
    for name, why in table.classes.items():
        cases = {case: entry for case, entry in table.cases.items() if entry["class"] == name}
        yield f"\n**{name}** ({len(cases)}). {why}\n"
        yield "| case | nginx | gateway |"
        yield "|---|---|---|"
        for case, entry in cases.items():
            yield f"| {case} | {_told(entry, 0)} | {_told(entry, 1)} |"


def _told(entry: dict[str, Any], side: int) -> str:
    """Return what one side did, in the aspects that differ."""
    said = [entry[aspect][side] for aspect in ("answer", "connection") if aspect in entry]
    reached = entry.get("upstream")
    if reached is not None and "nothing" not in reached:
        said.append(f"`{_cell(reached[side])}`")
    return ", ".join(said)


def _cell(text: str) -> str:
    """Return what reached the upstream, short and without what a table can't hold."""
    plain = text.replace(" | ", "; ").replace("|", "\\|").replace("`", "'").replace("\n", "; ")
    return plain if len(plain) <= TOLD_MAX * 2 else plain[:TOLD_MAX] + "..." + plain[-TOLD_MAX:]


def main(path: Path = PAGE) -> int:
    """Write the page anew."""
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
