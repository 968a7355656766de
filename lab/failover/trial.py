"""One failover during calls and a burst of jobs: what Redis kept, who was in a meeting twice, and how long it took
until another server took writes, a manager led, and a new bot was in its meeting.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from redis.exceptions import RedisError

from common.runtime.redis.roundtrip import carry_out
from lab.failover.scene import How, Kind, Launch, Scene, launch, until
from lab.parts.bare_agent import LONG
from poolmgr.core.requests import LeaveRequested

WITHIN_S: Final = 150.0
"""The deadline for everything to work again."""

_AGAIN_S: Final = 0.05
_BETWEEN_S: Final = 0.02
_PATIENCE_S: Final = 0.5  # after this time the next bot is pushed, if none is in its meeting


class Plan(NamedTuple):
    """`jobs`: in the burst, with the fault in its middle; `calls`: bots that are in their meetings before it.
    `silent_s`: the silence after which another server takes over. `wait_replicas`: as redis.wait_replicas; the clients
    that push use it, too.
    """

    kind: Kind
    how: How
    wait_replicas: int = 0
    jobs: int = 40
    calls: int = 8
    silent_s: float = 0.5


class Outcome(NamedTuple):
    """Times are seconds since the fault. `lost`: bots that Redis had confirmed and that no record shows afterwards.
    `doubles`: bots that were in a meeting twice at a time. `wrong`: everything else that must not happen.
    """

    promoted_s: float
    led_s: float
    served_s: float
    pushed: int
    lost: list[str]
    doubles: list[str]
    wrong: list[str]


Say = Callable[[str], None]


async def run(plan: Plan, say: Say, launch: Launch = launch) -> Outcome:
    """One failover. Raises: StageError when the parts do not start, or do not work again after the fault."""
    async with Scene(plan.kind, wait_replicas=plan.wait_replicas, silent_s=plan.silent_s, launch=launch) as scene:
        try:
            return await _Trial(scene, plan, say).run()
        except BaseException:
            say(scene.logs())
            raise


class _Trial:
    def __init__(self, scene: Scene, plan: Plan, say: Say) -> None:
        self._scene = scene
        self._plan = plan
        self._say = say
        self._pushed: list[str] = []
        self._still_in: list[str] = []

    async def run(self) -> Outcome:
        scene, plan = self._scene, self._plan
        long = [f"{LONG}-{number}" for number in range(plan.calls)]
        for bot_id in long:
            await self._push(bot_id)
        await until("the long calls have begun", self._all_in(long), WITHIN_S)
        self._say(f"{plan.calls} calls are under way; a burst of {plan.jobs} jobs, and {plan.how} in its middle")
        struck = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            burst = group.create_task(self._burst(struck), name="burst")
            await struck.wait()
            before, began = scene.primary(), time.monotonic()
            epoch = await scene.epoch_on(before)
            promotion = group.create_task(scene.promoted(before), name="promotion")
            await asyncio.sleep(0)
            await scene.strike(before, plan.how)
            after = await promotion
            promoted_s = time.monotonic() - began
            self._say(f"{promoted_s:6.2f} s  another server takes writes")
            # Until then no write is confirmed.
            if has_to_be_back := plan.wait_replicas > 0 and not scene.has_replica_left:
                await scene.heal(before, plan.how)
                self._say(f"{time.monotonic() - began:6.2f} s  the first one is back, as a replica")

            async def leads() -> bool:
                return await scene.epoch_on(after) > epoch

            await until("a manager leads", leads, WITHIN_S)
            led_s = time.monotonic() - began
            self._say(f"{led_s:6.2f} s  a manager leads there")
            served_s = await self._until_served() - began
            self._say(f"{served_s:6.2f} s  a new bot is in its meeting")
            if not has_to_be_back:
                await scene.heal(before, plan.how)
            await burst
        await self._until_over(long)
        return Outcome(promoted_s, led_s, served_s, len(self._pushed), *await self._judge(long))

    async def _burst(self, struck: asyncio.Event) -> None:
        for number in range(self._plan.jobs):
            if number == self._plan.jobs // 2:
                struck.set()
            await self._push(f"short-{number}")
            await asyncio.sleep(_BETWEEN_S)

    async def _push(self, bot_id: str) -> None:
        """Push until Redis confirms. The bot_id makes it one bot, however often it was pushed."""
        job = json.dumps({"meeting_link": "http://127.0.0.1:8090/r/failover", "bot_id": bot_id})
        while True:
            try:
                await carry_out(self._scene.redis, "LPUSH", self._scene.keys.jobs, job)
            except (RedisError, OSError):
                await asyncio.sleep(_AGAIN_S)
            else:
                self._pushed.append(bot_id)
                return

    async def _until_served(self) -> float:
        """When a bot that was pushed after the fault was in its meeting. Several are pushed, because the first may have
        gone to the old primary.
        """
        after: list[str] = []

        async def is_in() -> bool:
            after.append(f"after-{len(after)}")
            await self._push(after[-1])
            await asyncio.sleep(_PATIENCE_S)
            return any(bot_id in self._scene.meetings.first_at for bot_id in after)

        await until("a new bot is in its meeting", is_in, WITHIN_S)
        return min(at for bot_id in after if (at := self._scene.meetings.first_at.get(bot_id)))

    def _all_in(self, bot_ids: list[str]) -> Callable[[], Any]:
        async def so() -> bool:
            return all(self._scene.meetings.entries[bot_id] for bot_id in bot_ids)

        return so

    async def _until_over(self, long: list[str]) -> None:
        """Wait for the ends: the short bots end by themselves; then the long ones are told to leave, repeatedly."""
        scene = self._scene
        short = [bot_id for bot_id in self._pushed if bot_id not in long]

        async def over(bot_ids: list[str]) -> bool:
            return not await self._waiting() and all(
                [await self._state(bot_id) in ("", "stopped") for bot_id in bot_ids]
            )

        await until("the short bots have ended", lambda: over(short), WITHIN_S)
        self._still_in = [bot_id for bot_id in long if bot_id in scene.meetings.inside]

        async def left() -> bool:
            for bot_id in long:
                if await self._state(bot_id) not in ("", "stopped", "leaving"):
                    await scene.views.request(LeaveRequested(bot_id))
            return await over(long)

        await until("the long bots have left", left, WITHIN_S)

    async def _state(self, bot_id: str) -> str:
        record = await self._scene.views.bot(bot_id)
        return record.state if record else ""

    async def _waiting(self) -> int:
        redis, keys = self._scene.redis, self._scene.keys
        return int(await redis.llen(keys.jobs)) + int(await redis.llen(keys.taken))

    async def _judge(self, long: list[str]) -> tuple[list[str], list[str], list[str]]:
        scene, meetings = self._scene, self._scene.meetings
        states = {bot_id: await self._state(bot_id) for bot_id in self._pushed}
        lost = [bot_id for bot_id, state in states.items() if not state]
        wrong = [f"{bot_id} was taken out of its call" for bot_id in long if bot_id not in self._still_in]
        wrong += [f"{bot_id} is still in its meeting" for bot_id in meetings.inside]
        ends: Counter[str] = Counter()
        for _, fields in await scene.redis.xrange(scene.keys.status):
            ends[fields[b"bot_id"].decode()] += fields[b"state"] == b"stopped"
        for bot_id in (bot_id for bot_id, state in states.items() if state):
            if ends[bot_id] != 1:
                wrong.append(f"{bot_id} ended {ends[bot_id]} times")
            if not meetings.entries[bot_id]:
                wrong.append(f"{bot_id} was never in its meeting")
        return lost, meetings.doubles, wrong
