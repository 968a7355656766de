"""Works out who spoke from when to when, from whom the page marked as speaking at each look. Pure."""

from collections.abc import Callable
from typing import Final

from common.wire.minutes import Turn

SAME_TURN_S: Final = 1.2
"""The page's speaker is read every half second. A longer pause between two marks begins a new turn, where nothing is
waited for.
"""
MOST_TURNS: Final = 300
PAUSE_S: Final = 1.5
"""A shorter pause does not end a turn: the page's marks flicker."""
SHORTEST_S: Final = 0.2


class LatestTurns:
    """The latest turns, also those that are not over yet. Call `look` at intervals."""

    def __init__(self) -> None:
        self.turns: tuple[Turn, ...] = ()

    def look(self, now: float, speaker_id: str, speaker: str) -> None:
        """Whom the page marks as speaking; empty if nobody."""
        if not speaker:
            return
        *before, last = self.turns or (Turn("", "", 0.0, 0.0),)
        if last.speaker == speaker and now - last.ended_at <= SAME_TURN_S:
            self.turns = (*before, Turn(speaker_id, speaker, last.began_at, now))
        else:
            self.turns = (*self.turns, Turn(speaker_id, speaker, now, now))[-MOST_TURNS:]


class Turns:
    """Call `look` at intervals, and `end` at the end. Both return the turns that are over."""

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
