"""How times look. Asks nobody anything."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import click

from common.runtime.cli.text import literal

NOTHING: Final = "–"
_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Ago(click.ParamType[float]):
    """A time ago, as `30m`: in seconds."""

    name = "AGO"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = _AGO.fullmatch(str(value))
        if not match:
            self.fail(f"{value!r} is no time: write 90s, 30m, 1h or 2d", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


def epoch_of(iso: str) -> float | None:
    """Epoch seconds of an ISO 8601 time in Redis; None when it is empty or none."""
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def clock_time(at: float) -> str:
    """UTC, to the millisecond, as the logs have it."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def moment(iso: str, now: float) -> str:
    """UTC, to the second; with the date when that is not today's."""
    at = epoch_of(iso)
    if at is None:
        return literal(iso)
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    return then.strftime("%H:%M:%S" if then.date() == today.date() else "%Y-%m-%d %H:%M")
