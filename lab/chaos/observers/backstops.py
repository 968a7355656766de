"""Finds in the logs which backstops acted; only the logs have all of them.

A bot that was asked to leave ends with that reason even if its agent had to end it by force, or its worker had to be
ordered to end twice. So its end does not show the backstop.
"""

from pathlib import Path
from typing import Final, NamedTuple

import msgspec

_WORD: Final = b"overdue"


class Backstop(NamedTuple):
    """`of`: the log. `bot_id`: the bot in whose story it belongs, if any."""

    of: str
    bot_id: str
    sentence: str


class _Line(msgspec.Struct):
    event: str = ""
    bot_id: str = ""
    worker_id: str = ""
    reason: str = ""
    step: str = ""
    detail: str = ""


class Backstops:
    """Reads the new lines of each log, whole lines only."""

    def __init__(self) -> None:
        self.found: list[Backstop] = []
        self._read: dict[Path, int] = {}

    def look(self, log: Path) -> None:
        with log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            for raw in file:
                if not raw.endswith(b"\n"):
                    break
                self._read[log] = self._read.get(log, 0) + len(raw)
                if _WORD in raw and (sentence := _said(raw)):
                    self.found.append(Backstop(log.stem, *sentence))


def _said(raw: bytes) -> tuple[str, str] | None:
    """The bot and a sentence, if the line is about a backstop."""
    try:
        line = msgspec.json.decode(raw, type=_Line)
    except msgspec.DecodeError:  # a traceback, or half a line before a kill
        return None
    match line.event:
        case "bot_overdue":
            return line.bot_id, f"a backstop had to act for bot {line.bot_id}: {line.step or line.detail}"
        case "worker_overdue":
            return "", f"worker {line.worker_id} had to be ended by force"
        case "worker_retired" if line.reason == "retire_overdue":
            return "", f"worker {line.worker_id} did not go when it was ordered to"
        case _:
            return None
