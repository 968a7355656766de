"""Draws a dashboard with its data as SVG: each panel from Prometheus' answers to the panel's own queries. Pure: answers
in, text out.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final, NamedTuple

ACROSS: Final = 3
_WIDTH, _HEIGHT, _GAP, _HEAD = 420, 220, 14, 58
_LEFT, _RIGHT, _TOP, _FOOT = 64, 12, 34, 68
_MOST_SERIES: Final = 8
_COLUMNS: Final = 3
"""The columns of a panel's legend."""
_CHARACTER: Final = 6.2
"""The approximate width of a character."""
_COLOURS: Final = ("#2a78d2", "#d2691e", "#2e9e44", "#8a4fc8", "#c8324b", "#0d9aa0", "#b08a00", "#7a7a7a")
_STYLE: Final = """
svg { --paper: #fff; --card: #f6f8fa; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de }
svg { font: 12px system-ui, sans-serif }
@media (prefers-color-scheme: dark) {
  svg { --paper: #14171a; --card: #1c2025; --ink: #e6e8eb; --quiet: #9aa4af; --line: #3a4048 }
}
.paper { fill: var(--paper) } .card { fill: var(--card); stroke: var(--line) } text { fill: var(--quiet) }
.title { fill: var(--ink); font-size: 13px; font-weight: 600 }
.head { fill: var(--ink); font-size: 18px; font-weight: 600 }
.stat { fill: var(--ink); font-size: 40px } .grid { stroke: var(--line); stroke-width: 1 }
polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round }
"""


class Shown(NamedTuple):
    """A panel with its data. `kind`: timeseries or stat. `series`: name -> (epoch seconds, value) in order."""

    title: str
    unit: str
    kind: str
    series: Mapping[str, Sequence[tuple[float, float]]]


def named(legend: str, answer: Iterable[Any]) -> dict[str, list[tuple[float, float]]]:
    """The series of one answer of query_range, named as in the panel's legend."""
    found: dict[str, list[tuple[float, float]]] = {}
    for each in answer:
        found[_called(legend, each["metric"])] = [(float(at), float(value)) for at, value in each["values"]]
    return found


def _called(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{\s*(\w+)\s*}}", lambda match: labels.get(match[1], ""), legend)


def draw(title: str, says: str, panels: Sequence[Shown], start: float, end: float) -> str:
    """The dashboard as an SVG. `says`: what the data is, and from when."""
    width = ACROSS * (_WIDTH + _GAP) + _GAP
    height = _HEAD + math.ceil(len(panels) / ACROSS) * (_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}"/>',
        f'<text class="head" x="{_GAP}" y="28">{escape(title)}</text>',
        f'<text x="{_GAP}" y="47">{escape(says)}</text>',
    ]
    for number, panel in enumerate(panels):
        x = _GAP + number % ACROSS * (_WIDTH + _GAP)
        y = _HEAD + number // ACROSS * (_HEIGHT + _GAP)
        parts += [
            f'<g transform="translate({x} {y})">',
            f'<rect class="card" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>',
            f'<text class="title" x="12" y="21">{escape(panel.title)}</text>',
            *(_stat(panel) if panel.kind == "stat" else _lines(panel, start, end)),
            "</g>",
        ]
    return "\n".join([*parts, "</svg>", ""])


def written(value: float, unit: str) -> str:
    """A value in a panel's unit, short."""
    if not math.isfinite(value):
        return "–"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"
    step, suffixes = (1024, ("B", "KiB", "MiB", "GiB", "TiB")) if unit == "bytes" else (1000, ("", "k", "M", "G", "T"))
    power = 0
    while abs(value) >= step and power < len(suffixes) - 1:
        value, power = value / step, power + 1
    number = f"{value:.3g} {suffixes[power]}".rstrip()
    return f"{number}/s" if unit == "reqps" else number


def _stat(panel: Shown) -> Iterator[str]:
    latest = [points[-1][1] for points in panel.series.values() if points]
    text = written(latest[0], panel.unit) if latest else "no data"
    yield f'<text class="stat" x="{_WIDTH / 2:g}" y="{_HEIGHT / 2 + 20:g}" text-anchor="middle">{escape(text)}</text>'


def _lines(panel: Shown, start: float, end: float) -> Iterator[str]:
    values = [value for points in panel.series.values() for _, value in points if math.isfinite(value)]
    if not values:
        yield f'<text x="{_WIDTH / 2:g}" y="{_HEIGHT / 2:g}" text-anchor="middle">no data</text>'
        return
    low, high = min(0.0, *values), _above(max(values))
    bottom, right = _HEIGHT - _FOOT, _WIDTH - _RIGHT

    def at(moment: float, value: float) -> tuple[float, float]:
        x = _LEFT + (moment - start) / (end - start) * (right - _LEFT)
        return x, bottom - (value - low) / (high - low) * (bottom - _TOP)

    for value in (low, (low + high) / 2, high):
        y = at(start, value)[1]
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(written(value, panel.unit))}</text>'
    for moment, anchor in ((start, "start"), ((start + end) / 2, "middle"), (end, "end")):
        clock = datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S")
        yield f'<text x="{at(moment, low)[0]:.0f}" y="{bottom + 15}" text-anchor="{anchor}">{clock}</text>'
    most = sorted(panel.series.items(), key=lambda item: -max((value for _, value in item[1]), default=0.0))
    kept = sorted(most[:_MOST_SERIES])
    for colour, (_, points) in zip(_COLOURS, kept, strict=False):
        for run in _runs(points):
            path = " ".join(f"{x:.0f},{y:.1f}" for x, y in (at(*point) for point in run))
            yield f'<polyline stroke="{colour}" points="{path}"/>'
    yield from _legend([name for name, _ in kept], len(most) - len(kept), bottom + 32)


def _above(value: float) -> float:
    """The next round number, for the end of an axis."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if value <= step * power * 1.000001)


def _runs(points: Iterable[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """The runs of points without gaps; a value that is no number makes a gap."""
    run: list[tuple[float, float]] = []
    for point in [*points, (0.0, math.nan)]:
        if math.isfinite(point[1]):
            run.append(point)
        elif run:
            yield run * 2 if len(run) == 1 else run
            run = []


def _legend(names: Sequence[str], left_out: int, y: float) -> Iterator[str]:
    words = [name or "value" for name in names]
    each = (_WIDTH - 24) / (_COLUMNS if len(words) > 1 else 1)
    most = int((each - 14) / _CHARACTER)
    if left_out:
        words[-1] = f"{words[-1]} (+{left_out})"
    for number, word in enumerate(words):
        x, row = 12 + number % _COLUMNS * each, y + number // _COLUMNS * 15
        short = word if len(word) <= most else f"{word[: most - 1]}…"
        yield f'<rect x="{x:.0f}" y="{row - 8:.0f}" width="8" height="8" fill="{_COLOURS[number]}"/>'
        yield f'<text x="{x + 12:.0f}" y="{row:.0f}">{escape(short)}</text>'
