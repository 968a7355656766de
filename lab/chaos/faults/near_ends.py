"""Plans kills near bots' ends, where kills find most faults: around an end, and after a request to leave. The seed and
the job decide which ends get a kill, what it hits and when, and whether the same VM is hit again while it restarts; the
timing of processes does not. It kills nothing itself.
"""

import random
from typing import Final

from lab.chaos.faults.injection import Blow, Moment

WITHIN_S: Final = 0.8  # after the moment: in this time come evidence, the emptied page, and the report of the end
_AGAIN: Final = 0.5  # the share of kills that another kill of the same VM follows
_AGAIN_S: Final = (0.3, 2.5)  # how long after the first: while the next agent starts, adopts, and goes on
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
    """`share`: the share of ends, denials and requests to leave that get a kill, 0 to 1."""

    def __init__(self, seed: int, share: float) -> None:
        self._seed = seed
        self._share = share

    def after(self, tag: str, meeting: str, moment: Moment) -> list[Blow]:
        """The kills that follow on this moment of the job. A host denies a bot after it came into the lobby, so with a
        kill at that moment the denial comes while the agent is down.
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
