"""Draws the results of a sweep: waiting against cost, as SVG and as characters for a terminal. Writes no file."""

import math
from collections.abc import Callable, Sequence
from html import escape
from string import ascii_letters
from typing import Final, NamedTuple

MOST_POINTS: Final = len(ascii_letters)
"""At most so many points: each has its own letter in the table and in the terminal's plot."""

# The palette of Okabe and Ito, for colour-blind readers (jfly.uni-koeln.de/color).
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WIDTH, _HEIGHT = 980, 500
_LEFT, _TOP, _PANEL_WIDTH, _PANEL_HEIGHT, _BETWEEN = 70, 92, 380, 330, 90
_ONE_SPOT: Final = 8.0
STYLE: Final = (
    "text{font-family:system-ui,sans-serif;font-size:12px;fill:#222}"
    ".title{font-size:16px;font-weight:600}.small{fill:#555}.axis{stroke:#888}.grid{stroke:#e6e6e6}"
    ".front{fill:none;stroke:#999;stroke-width:1.5;stroke-dasharray:5 4}"
)


class Point(NamedTuple):
    """One run. `series`: points with the same series have one colour. `label`: what differs within the series."""

    series: str
    label: str
    idle_worker_h: float
    warm_hit_rate: float
    wait_p99_s: float
    is_best: bool


class Axis(NamedTuple):
    """An axis: `low` to `high` of the data is drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    step: float

    def at(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def marks(self) -> list[float]:
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [number * self.step for number in range(first, last + 1)]


def letter(number: int) -> str:
    return ascii_letters[number]


def terminal_plot(points: Sequence[Point], width: int = 64, height: int = 14) -> str:
    """Warm hits over idle worker-hours, each point as its `letter`. If several points share a place, the first
    shows.
    """
    across = axis([point.idle_worker_h for point in points], 0, width - 1)
    up = axis([point.warm_hit_rate * 100 for point in points], height - 1, 0, percent=True)
    rows = [[" "] * width for _ in range(height)]
    for number, point in reversed(list(enumerate(points))):
        rows[round(up.at(point.warm_hit_rate * 100))][round(across.at(point.idle_worker_h))] = letter(number)
    marks = {round(up.at(mark)): f"{mark:.6g} %" for mark in up.marks}
    lines = ["warm hits"]
    lines += [f"{marks.get(number, ''):>8} |{''.join(row).rstrip()}" for number, row in enumerate(rows)]
    lines.append(f"{'':>8} +{'-' * width}")
    ends = f"{across.low:,.0f}", f"{across.high:,.0f}"
    lines.append(f"{'':>10}{ends[0]}{'idle worker-hours':^{width - len(ends[0]) - len(ends[1])}}{ends[1]}")
    return "\n".join(lines)


def svg(points: Sequence[Point], subtitle: str) -> str:
    """Warm hits and waits over idle worker-hours, as one SVG document. Best points are filled and joined by a line."""
    series = list(dict.fromkeys(point.series for point in points))
    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(series)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"'
        f' viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
        text_at(_LEFT - 45, 30, "What a warm browser for everybody costs", "title"),
        text_at(_LEFT - 45, 52, subtitle, "small"),
        *_panel(points, colours, 0, "warm hits, % of all jobs", lambda point: point.warm_hit_rate * 100, percent=True),
        *_panel(points, colours, 1, "wait p99, seconds", lambda point: point.wait_p99_s),
        *_legend(colours),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(
    points: Sequence[Point],
    colours: dict[str, str],
    number: int,
    title: str,
    value: Callable[[Point], float],
    *,
    percent: bool = False,
) -> list[str]:
    left = _LEFT + number * (_PANEL_WIDTH + _BETWEEN)
    right, bottom = left + _PANEL_WIDTH, _TOP + _PANEL_HEIGHT
    across = axis([point.idle_worker_h for point in points], left + 8, right - 24)
    up = axis([value(point) for point in points], bottom - 8, _TOP + 8, percent=percent)
    parts = [text_at(left, _TOP - 10, title)]
    for mark in up.marks:
        y = up.at(mark)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(text_at(left - 8, y + 4, f"{mark:,.6g}", "small", anchor="end"))
    for mark in across.marks:
        x = across.at(mark)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(text_at(x, bottom + 18, f"{mark:,.6g}", "small", anchor="middle"))
    parts.append(f'<path class="axis" fill="none" d="M{left} {_TOP}V{bottom}H{right}"/>')
    parts.append(text_at((left + right) / 2, bottom + 38, "idle worker-hours", anchor="middle"))
    front = sorted((across.at(point.idle_worker_h), up.at(value(point))) for point in points if point.is_best)
    if len(front) > 1:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in front)
        parts.append(f'<path class="front" d="M{path}"/>')
    spots: list[tuple[float, float, list[Point]]] = []
    for point in points:
        x, y = across.at(point.idle_worker_h), up.at(value(point))
        here = next((there for cx, cy, there in spots if math.dist((x, y), (cx, cy)) < _ONE_SPOT), None)
        if here is None:
            spots.append((x, y, here := []))
        # Points at the same place become rings around the first.
        fill = colours[point.series] if point.is_best and not here else "none"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 + 3.5 * len(here):g}" fill="{fill}"'
            f' stroke="{colours[point.series]}" stroke-width="2"/>'
        )
        labels = dict.fromkeys(other.label for other in here)
        if point.label not in labels:
            parts.append(text_at(x + 9, y - 7 + 13 * len(labels), point.label))
        here.append(point)
    return parts


def _legend(colours: dict[str, str]) -> list[str]:
    x, y = _LEFT, _HEIGHT - 18
    parts: list[str] = []
    for name, colour in colours.items():
        parts.append(f'<circle cx="{x}" cy="{y - 4}" r="5" fill="{colour}" stroke="{colour}" stroke-width="2"/>')
        parts.append(text_at(x + 11, y, name))
        x += 34 + 7 * len(name)
    parts.append(f'<circle cx="{x}" cy="{y - 4}" r="5" fill="none" stroke="#555" stroke-width="2"/>')
    parts.append(text_at(x + 11, y, "hollow: another run has at least its warm hits for no more idle time", "small"))
    return parts


def axis(values: Sequence[float], start: float, end: float, *, percent: bool = False) -> Axis:
    """The axis from 0 to a round number above the values. An axis of percentages ends at 100 and may begin above 0, but
    keeps a minimum span, so that a tiny difference does not look large.
    """
    low, high = min(values) if percent else 0.0, max(values)
    step = max(_round_step((high - low) / 5 or 1.0), 0.2 if percent else 0.0)
    low = math.floor(low / step + 1e-9) * step
    high = max(math.ceil(high / step - 1e-9) * step, low + step)
    if percent and high > 100:
        low, high = low - step, 100.0
    return Axis(low, high, start, end, step)


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def text_at(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    attributes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{attributes}>{escape(text)}</text>'
