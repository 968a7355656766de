"""Formats times for people. Does no I/O."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import click

from common.runtime.cli.text import literal

NOTHING: Final = "–"
_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Ago(click.ParamType[float]):
    """An option's value such as `30m`, converted to seconds."""

    name = "AGO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = _AGO.fullmatch(str(value))
        if not match:
            self.fail(f"{value!r} is no time: write 90s, 30m, 1h or 2d", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


def epoch_of(iso: str) -> float | None:
    """Epoch seconds of an ISO 8601 time in Redis; None when it is empty or invalid."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def clock_time(at: float) -> str:
    """The time in UTC to the millisecond, as in the logs."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def moment(iso: str, now: float) -> str:
    """The time in UTC to the second; with the date if it is not today."""
    at = epoch_of(iso)
    if at is None:
        return literal(iso)
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%Y-%m-%d %H:%M")
