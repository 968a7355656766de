"""Who spoke from when to when, by whom the page marked as speaking at each look. Pure."""

from collections.abc import Callable
from typing import Final

from common.wire.minutes import Turn

PAUSE_S: Final = 1.5
"""Who goes on after so short a pause never stopped: marks come and go."""
SHORTEST_S: Final = 0.2


class Turns:
    """`look` every now and then. Each answers with the turns that are over."""

    def __init__(self) -> None:
        self._under_way: dict[str, Turn] = {}

    def look(self, now: float, speaker_id: str, speaker: str) -> list[Turn]:
        if speaker:
            began_at = self._under_way[speaker].began_at if speaker in self._under_way else now
            self._under_way[speaker] = Turn(speaker_id, speaker, began_at, now)
        return self._over(lambda turn: turn.speaker != speaker and now - turn.ended_at > PAUSE_S)

    def end(self) -> list[Turn]:
        return self._over(lambda _: True)

    def _over(self, is_over: Callable[[Turn], bool]) -> list[Turn]:
        over = [turn for turn in self._under_way.values() if is_over(turn)]
        for turn in over:
            del self._under_way[turn.speaker]
        return [turn for turn in over if turn.ended_at - turn.began_at >= SHORTEST_S]
