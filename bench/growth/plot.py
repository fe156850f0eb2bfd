"""Draws curves as one SVG, without a plotting library: panels, a logarithmic axis, lines."""

from collections.abc import Mapping, Sequence
from math import log10
from xml.sax.saxutils import escape

from bench.growth.point import Curve, Point

COLUMNS = 2
WIDTH, HEIGHT = 430, 250
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 34, 48
COLOURS = ("#1f5fa8", "#c2571a", "#3c8d40", "#7a4fa3")


def draw(curves: Mapping[str, Curve], points: Mapping[str, Sequence[Point]]) -> str:
    """Return an SVG with a panel for each curve that has points."""
    drawn = [name for name in curves if points.get(name)]
    rows = -(-len(drawn) // COLUMNS)
    panels = []
    for number, name in enumerate(drawn):
        x, y = number % COLUMNS * WIDTH, number // COLUMNS * HEIGHT
        panel = "\n".join(_panel(curves[name], points[name]))
        panels.append(f'<g transform="translate({x},{y})">\n{panel}\n</g>')
    size = f'width="{COLUMNS * WIDTH}" height="{rows * HEIGHT}"'
    style = 'font-family="sans-serif" font-size="11" fill="#222"'
    body = "\n".join(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _panel(curve: Curve, points: Sequence[Point]) -> list[str]:
    sizes = [point.size for point in points]
    highest = top_of(max(value for point in points for value in point.series.values()))
    low, high = log10(min(sizes)), log10(max(sizes))

    def across(size: int) -> float:
        share = (log10(size) - low) / (high - low) if high > low else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        return HEIGHT - BOTTOM - value / highest * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="18" font-size="13">{escape(curve.title)}</text>']
    for step in range(5):
        value = highest * step / 4
        y = down(value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,.4g}</text>'
        )
    below = HEIGHT - BOTTOM + 16
    parts += [
        f'<text x="{across(size):.1f}" y="{below}" text-anchor="middle">{size:,}</text>'
        for size in sizes
    ]
    labels = f"{curve.size_label}; {curve.unit}"
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 12}" fill="#666">{escape(labels)}</text>')
    names = list(dict.fromkeys(name for point in points for name in point.series))
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        spots = [
            (across(point.size), down(point.series[name]))
            for point in points
            if name in point.series
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
        parts.append(
            f'<text x="{WIDTH - RIGHT}" y="{18 + 13 * number}" text-anchor="end" '
            f'fill="{colour}">{escape(name)}</text>'
        )
    return parts


def top_of(value: float) -> float:
    """Return a round number at or above a value, for the top of an axis."""
    if value <= 0:
        return 1.0
    power = 10.0 ** int(log10(value) // 1)
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)
