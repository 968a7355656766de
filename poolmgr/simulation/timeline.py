"""Draws a scaled fleet over its time, as SVG: the VMs beside two fixed fleets, and the bots that they are for."""

from collections.abc import Callable, Sequence
from typing import Final

from poolmgr.simulation.plot import STYLE, Axis, axis, text_at
from poolmgr.simulation.scaled import Moment

_BLUE, _RED, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#888"
_WIDTH, _HEIGHT = 980, 560
_LEFT, _RIGHT = 70, 950
_PANELS: Final = ((100, 290), (350, 490))
_COLUMNS: Final = _RIGHT - _LEFT


def timeline(moments: Sequence[Moment], hours: float, same_peak: int, same_cost: int, subtitle: str) -> str:
    """One SVG document. `same_peak`, `same_cost`: VMs of the fixed fleets. Of the looks that share a column of the
    picture the highest shows.
    """
    across = Axis(0, hours, _LEFT, _RIGHT, 24 if hours > 48 else max(1.0, hours // 12))
    vms = _columns(moments, hours, lambda moment: moment.vms)
    bots = _columns(moments, hours, lambda moment: moment.bots)
    top, bottom = _PANELS[0]
    up = axis([*vms.values(), same_peak, same_cost], bottom, top)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"'
        f' viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
        text_at(_LEFT - 45, 30, "VMs that come and go", "title"),
        text_at(_LEFT - 45, 52, subtitle, "small"),
        *_frame(across, up, *_PANELS[0], "VMs"),
        _line(vms, up, _BLUE),
    ]
    for number, colour in ((same_peak, _GREY), (same_cost, _RED)):
        y = up.at(number)
        parts.append(
            f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}" stroke="{colour}" stroke-dasharray="5 4"'
            ' stroke-width="1.5"/>'
        )
    up = axis(list(bots.values()), _PANELS[1][1], _PANELS[1][0])
    parts += [*_frame(across, up, *_PANELS[1], "bots, in meetings and waiting"), _line(bots, up, _GREEN)]
    parts.append(text_at((_LEFT + _RIGHT) / 2, _PANELS[1][1] + 38, "hours", anchor="middle"))
    x = _LEFT
    for name, colour in (("scaled", _BLUE), ("fixed, same peak", _GREY), ("fixed, same cost", _RED)):
        parts.append(f'<line x1="{x}" y1="76" x2="{x + 18}" y2="76" stroke="{colour}" stroke-width="2"/>')
        parts.append(text_at(x + 24, 80, name))
        x += 56 + 7 * len(name)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _columns(moments: Sequence[Moment], hours: float, value: Callable[[Moment], int]) -> dict[int, int]:
    columns: dict[int, int] = {}
    for moment in moments:
        column = int(moment.hour / hours * _COLUMNS)
        columns[column] = max(columns.get(column, 0), value(moment))
    return columns


def _line(columns: dict[int, int], up: Axis, colour: str) -> str:
    path = "".join(
        f"{'L' if number else 'M'}{_LEFT + x} {up.at(y):.1f}" for number, (x, y) in enumerate(columns.items())
    )
    return f'<path fill="none" stroke="{colour}" stroke-width="1.2" d="{path}"/>'


def _frame(across: Axis, up: Axis, top: int, bottom: int, title: str) -> list[str]:
    parts = [text_at(_LEFT, top - 6, title, "small")]
    for mark in up.marks:
        y = up.at(mark)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_RIGHT}" y2="{y:.1f}"/>')
        parts.append(text_at(_LEFT - 8, y + 4, f"{mark:,.6g}", "small", anchor="end"))
    parts += [text_at(across.at(mark), bottom + 18, f"{mark:,.6g}", "small", anchor="middle") for mark in across.marks]
    parts.append(f'<path class="axis" fill="none" d="M{_LEFT} {top}V{bottom}H{_RIGHT}"/>')
    return parts
