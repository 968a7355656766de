"""Waits until the system is quiet, then judges. A violation that is there by then does not heal."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from lab.chaos.faults.catalogue import Excuse, Still
from lab.chaos.judging.invariants import Violation, story, violations
from lab.chaos.judging.outside import Outside, World
from lab.chaos.observers.starvation import REPORTED_FROM_S, patience_s
from lab.chaos.system.load import BadPush, Load, Push
from lab.chaos.system.stage import Stage
from lab.parts import StageError

QUIET_WITHIN_S: Final = 60.0
"""How long to wait, counted in time that the machine gave (lab/chaos/observers/starvation.py)."""
_LOOK_EVERY_S: Final = 0.3
_REST_SHARE: Final = 2.0  # the pause after each look, in times that the look took: the parts need the machine
_TELL_EVERY_S: Final = 5.0

Say = Callable[[str], None]


class Judge:
    """Judges one stage. `say` gets each violation once, with its story. `world`: what was seen last."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self.world = World(stage.scale.min_idle, stage.scale.max_workers)
        self.found: list[Violation] = []
        self.starved_s = 0.0  # in all rounds so far
        self._outside = Outside(stage)
        self._given = stage.given
        self._say = say
        self._pushes: list[Push] = []
        self._bad: list[BadPush] = []
        self._asked: set[str] = set()
        self._excuses: list[Excuse] = []
        self._still: list[Still] = []
        self._flooded: list[tuple[int, int]] = []

    def take_note(self, load: Load, excuses: Sequence[Excuse] = (), still: Sequence[Still] = ()) -> None:
        """Take what the clients did, what the faults may explain, and which processes were frozen."""
        self._pushes += load.pushes
        self._bad += load.bad
        self._asked |= load.asked
        self._excuses += excuses
        self._still += still

    def note_flooded(self, before: int, after: int) -> None:
        """Note the epochs before and after a round whose only faults were floods of jobs."""
        self._flooded.append((before, after))

    async def settle(self, within_s: float = QUIET_WITHIN_S) -> list[Violation]:
        """Wait until no violation is left that may heal. Returns the new violations. Raises: StageError when Redis does
        not answer.
        """
        began = written_at = time.monotonic()
        starved_before_s = self._given.starved_s
        seen: list[Violation] | None = None
        at_all = False
        while True:
            looks_at, heals = time.monotonic(), True
            try:
                seen = await self._look(at_all=at_all)
                heals = any(violation.heals for violation in seen)
            except (RedisError, OSError) as error:
                self._say(f"Redis does not answer yet: {error}")
            now = time.monotonic()
            is_over = now - began > patience_s(within_s, self._given.starved_s - starved_before_s)
            if at_all and (is_over or not heals):
                break
            # Everything is checked only when nothing else is wrong any more, or at the last check.
            at_all = is_over or not heals
            if seen and heals and now > written_at + _TELL_EVERY_S:
                written_at = now
                self._say(f"still to heal: {'; '.join(violation.sentence for violation in seen if violation.heals)}")
            if not at_all:
                await asyncio.sleep(max(_LOOK_EVERY_S, (now - looks_at) * _REST_SHARE))
        if seen is None:
            raise StageError(f"cannot judge: Redis did not answer within {within_s:g} s")
        news = [violation for violation in seen if violation not in self.found]
        for violation in news:
            self._tell(violation)
        self.found += news
        ended = len(self.world.records) - len(self.world.live)
        took_s = time.monotonic() - began
        self._tell_starved()
        self._say(f"quiet after {took_s:.1f} s: {len(self.world.records)} bots, {ended} ended, {len(news)} violations")
        return news

    async def _look(self, *, at_all: bool) -> list[Violation]:
        """Look once. Raises: RedisError, OSError."""
        facts = (self._pushes, self._bad, self._asked, self._excuses, self._still)
        world = await self._outside.look(*facts, at_all=at_all)
        self.world = world._replace(flooded=tuple(self._flooded))
        return await asyncio.to_thread(violations, self.world)

    def _tell_starved(self) -> None:
        starved_s, self.starved_s = self._given.starved_s - self.starved_s, self._given.starved_s
        if starved_s >= REPORTED_FROM_S:
            self._say(f"this machine was starved: in this round parts waited {starved_s:.1f} s for a processor")

    def _tell(self, violation: Violation) -> None:
        self._say(f"VIOLATION {violation.kind}: {violation.sentence}")
        for line in story(self.world, violation.bot_id) if violation.bot_id else ():
            self._say(f"    {line}")
