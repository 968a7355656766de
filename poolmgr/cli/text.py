"""Formats times for people. Does no I/O."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

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


class Word(click.ParamType[str]):
    """An option's value that is one of `words`, in any case. `kind`: what a word is."""

    name = "WORD"

    def __init__(self, kind: str, words: Iterable[str]) -> None:
        self._kind = kind
        self._words = {word.casefold(): word for word in words}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if word := self._words.get(str(value).casefold()):
            return word
        from difflib import get_close_matches  # slow to import

        near = get_close_matches(str(value).casefold(), self._words, n=3)
        which = " or ".join(self._words[each] for each in near)
        where = f"did you mean {which}?" if near else "docs/redis-keys.md lists them"
        return self.fail(f"{value!r} is no {self._kind}: {where}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        begun = incomplete.casefold()
        return [CompletionItem(word) for folded, word in self._words.items() if folded.startswith(begun)]


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
