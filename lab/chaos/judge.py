"""Waits for quiet, then judges: whatever is wrong by then is wrong for good."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from lab.chaos.check import Violation, story, violations
from lab.chaos.faults import Excuse
from lab.chaos.load import BadPush, Load, Push
from lab.chaos.outside import Outside, World
from lab.chaos.stage import Stage
from lab.parts import StageError

QUIET_WITHIN_S: Final = 60.0
_LOOK_EVERY_S: Final = 0.3
_TELL_EVERY_S: Final = 5.0

Say = Callable[[str], None]


class Judge:
    """Of one stage. `say` hears of each violation once, with its story; `world` is what was seen last."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self.world = World(stage.scale.min_idle, stage.scale.max_workers)
        self.found: list[Violation] = []
        self._outside = Outside(stage)
        self._say = say
        self._pushes: list[Push] = []
        self._bad: list[BadPush] = []
        self._asked: set[str] = set()
        self._excuses: list[Excuse] = []
        self._flooded: list[tuple[int, int]] = []

    def take_note(self, load: Load, excuses: Sequence[Excuse] = ()) -> None:
        """What the clients did, and what the faults may explain."""
        self._pushes += load.pushes
        self._bad += load.bad
        self._asked |= load.asked
        self._excuses += excuses

    def note_flooded(self, before: int, after: int) -> None:
        """The epochs before and after a round in which managers and Redis had no other fault than floods of jobs."""
        self._flooded.append((before, after))

    async def settle(self, within_s: float = QUIET_WITHIN_S) -> list[Violation]:
        """Wait until nothing is wrong that may heal. Returns what is new since the last time.

        Raises: StageError when Redis never answers.
        """
        began = time.monotonic()
        told_at = began
        seen: list[Violation] | None = None
        while time.monotonic() < began + within_s:
            if seen and time.monotonic() > told_at + _TELL_EVERY_S:
                told_at = time.monotonic()
                self._say(f"still to heal: {'; '.join(one.sentence for one in seen if one.heals)}")
            try:
                world = await self._outside.look(self._pushes, self._bad, self._asked, self._excuses)
                self.world = world._replace(flooded=tuple(self._flooded))
            except (RedisError, OSError) as error:
                self._say(f"Redis does not answer yet: {error}")
            else:
                seen = violations(self.world)
                if not any(violation.heals for violation in seen):
                    break
            await asyncio.sleep(_LOOK_EVERY_S)
        if seen is None:
            raise StageError(f"cannot judge: Redis did not answer within {within_s:g} s")
        news = [violation for violation in seen if violation not in self.found]
        for violation in news:
            self._tell(violation)
        self.found += news
        ended = len(self.world.records) - len(self.world.live)
        took_s = time.monotonic() - began
        self._say(f"quiet after {took_s:.1f} s: {len(self.world.records)} bots, {ended} ended, {len(news)} violations")
        return news

    def _tell(self, violation: Violation) -> None:
        self._say(f"VIOLATION {violation.kind}: {violation.sentence}")
        for line in story(self.world, violation.bot_id) if violation.bot_id else ():
            self._say(f"    {line}")
