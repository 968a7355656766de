"""Kills near ends: a bot that is about to end, has just ended, or was just asked to leave is where a kill finds most
faults. The seed and the job decide which ends get a kill, whom it hits and when, and whether the same VM is hit
again while it comes back; the timing of processes does not. Kills nobody itself.
"""

import random
from typing import Final

from lab.chaos.faults.injection import Blow, Moment

WITHIN_S: Final = 0.8  # of the moment: evidence, the emptied page and the report of an end fall into it
_AGAIN: Final = 0.5  # how often another kill of the same VM follows
_AGAIN_S: Final = (0.3, 2.5)  # ... so much later: while the next agent starts, adopts, and goes on
_MOST: Final = 3
_FIRST: Final = {
    "agent killed": 4,
    "agent and driver killed": 2,
    "driver killed": 2,
    "browser in a meeting killed": 3,
    "leader killed": 3,
}
_NEXT: Final = {"agent killed": 4, "agent and driver killed": 1, "driver killed": 2}


class NearEnds:
    """`share`: how many of the ends, denials and requests to leave get a kill, 0 to 1."""

    def __init__(self, seed: int, share: float) -> None:
        self._seed = seed
        self._share = share

    def after(self, tag: str, meeting: str, moment: Moment) -> list[Blow]:
        """The kills that follow on this moment of the job's. A host who denies a bot does so after it came into the
        lobby: a kill that comes then has the denial happen while the agent is down.
        """
        if moment not in (Moment.ASKED, Moment.LEFT) and (meeting, moment) != ("is denied", Moment.LOBBY):
            return []
        chance = random.Random(f"{self._seed} {tag} {moment}")
        if chance.random() >= self._share:
            return []
        at_s = chance.uniform(0.0, WITHIN_S)
        blows = [self._blow(chance, _FIRST, tag, moment, at_s)]
        while len(blows) < _MOST and chance.random() < _AGAIN:
            at_s += chance.uniform(*_AGAIN_S)
            blows.append(self._blow(chance, _NEXT, tag, moment, at_s))
        return blows

    def _blow(self, chance: random.Random, weights: dict[str, int], tag: str, moment: Moment, at_s: float) -> Blow:
        return Blow(round(at_s, 3), chance.choices(list(weights), list(weights.values()))[0], job=tag, after=moment)
