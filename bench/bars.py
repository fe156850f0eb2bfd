"""Draws what was measured as SVG, without a plotting library: bars with spread, and dots."""

from collections.abc import Mapping, Sequence
from math import log10
from xml.sax.saxutils import escape

from bench.report import Line

WIDTH, ROW, LEFT, RIGHT, TITLE = 640, 20, 110, 90, 34
OURS, OTHERS, BESIDE = "#1f5fa8", "#9aa5b1", "#cfd8e3"
DOTS = ("#3c8d40", "#c2871a", "#b3261e")


def draw_cpu(panels: Mapping[str, Sequence[Line]]) -> str:
    """Return bars of CPU time a panel: the peer's own, what it needs beside it paler, spread."""
    return _document([_bars(title, lines) for title, lines in panels.items()])


def draw_latency(panels: Mapping[str, Sequence[Line]]) -> str:
    """Return p50, p99 and p99.9 as dots on a logarithmic axis."""
    return _document([_dots(title, lines) for title, lines in panels.items()])


def _document(panels: Sequence[tuple[int, list[str]]]) -> str:
    body, y = [], 0
    for height, elements in panels:
        body.append(f'<g transform="translate(0,{y})">\n' + "\n".join(elements) + "\n</g>")
        y += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{max(y, 1)}" '
        'font-family="sans-serif" font-size="11" fill="#222">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _bars(title: str, lines: Sequence[Line]) -> tuple[int, list[str]]:
    longest = max(
        (max(line.cpu_micros.highest, _whole(line)) for line in lines),
        default=1.0,
    )
    scale = (WIDTH - LEFT - RIGHT) / (longest or 1.0)
    elements = [_text(8, 20, title, bold=True)]
    for number, line in enumerate(lines):
        y = TITLE + number * ROW
        own, whole = line.cpu_micros.median * scale, _whole(line) * scale
        low, high = line.cpu_micros.lowest * scale, line.cpu_micros.highest * scale
        colour = OURS if line.peer.startswith("gateway") else OTHERS
        elements += [
            _text(8, y + 11, line.peer),
            _rectangle(LEFT, y, whole, BESIDE),
            _rectangle(LEFT, y, own, colour),
            f'<path d="M{LEFT + low:.1f} {y + 7}H{LEFT + high:.1f}" stroke="#222"/>',
            _text(LEFT + max(whole, high) + 6, y + 11, f"{line.cpu_micros.median:.1f}"),
        ]
    return TITLE + len(lines) * ROW + 10, elements


def _dots(title: str, lines: Sequence[Line]) -> tuple[int, list[str]]:
    values = [value for line in lines for value in _latencies(line) if value > 0]
    lowest, highest = log10(min(values, default=1.0)), log10(max(values, default=10.0))
    scale = (WIDTH - LEFT - RIGHT) / ((highest - lowest) or 1.0)
    elements = [_text(8, 20, title, bold=True)]
    for number, line in enumerate(lines):
        y = TITLE + number * ROW
        elements.append(_text(8, y + 11, line.peer))
        for value, colour in zip(_latencies(line), DOTS, strict=True):
            if value > 0:
                x = LEFT + (log10(value) - lowest) * scale
                elements.append(f'<circle cx="{x:.1f}" cy="{y + 7}" r="4" fill="{colour}"/>')
        shown = " / ".join(f"{value:.2g}" for value in _latencies(line))
        elements.append(_text(WIDTH - RIGHT + 8, y + 11, shown))
    return TITLE + len(lines) * ROW + 10, elements


def _latencies(line: Line) -> tuple[float, float, float]:
    return line.p50_ms.median, line.p99_ms.median, line.p999_ms.median


def _whole(line: Line) -> float:
    return line.cpu_micros.median + sum(line.beside_micros.values())


def _rectangle(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="14" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}"{weight}>{escape(text)}</text>'
