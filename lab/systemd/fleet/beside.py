"""What is on the fleet's network beside its machines: VMs without browsers and the bots that they carry, new jobs for
them all the time, and a client that looks. All of it runs in a thread, with the clients that the product itself has.
"""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from common.runtime.redis.roundtrip import carry_out
from lab.parts.bare_agent import BareAgent, Meetings
from lab.systemd.report import FleetError
from poolmgr.core.requests import LeaveRequested
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import Views, VmView

T = TypeVar("T")

SIMULATED: Final = {"kind": "simulated"}
SHORT: Final = "short"
"""The ids of the new jobs begin with this."""

_VMS: Final = 8
_BETWEEN_S: Final = 0.3
_AGAIN_S: Final = 0.05
_END_S: Final = 10.0
_ASK_S: Final = 30.0
_AT_ONCE: Final = 200


class Beside:
    """`meetings`: who of the simulated bots is where; `pushed`: when Redis had confirmed each job. Every call has a
    deadline, also while no Redis takes writes.
    """

    def __init__(self, settings: RedisSettings, folder: Path) -> None:
        self.meetings = Meetings()
        self.keys: Final = Keys(settings.prefix)
        self.pushed: dict[str, float] = {}
        self._settings = settings
        self._folder = folder
        self._link = ""
        self._numbers = 0
        self._lives = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._wanted: asyncio.Event
        self._pushing: asyncio.Lock
        self._stop: asyncio.Event
        self._redis: Any
        self._views: Views

    # In the other thread

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wanted, self._pushing, self._stop = asyncio.Event(), asyncio.Lock(), asyncio.Event()
        self._redis = connect(self._settings)
        self._views = Views(self._redis, self.keys)
        chance = Random(1)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._push_all_the_time(), name="new jobs")]
                for vm_id in (f"simulated-{number + 1}" for number in range(_VMS)):
                    vm = BareAgent(self._settings, vm_id, self._folder, self.meetings, chance, SIMULATED)
                    tasks.append(group.create_task(vm.run(), name=vm_id))
                self._lives.set()
                await self._stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._lives.clear()
            await self._redis.aclose()

    async def _push(self, bot_id: str, link: str, more: dict[str, Any]) -> None:
        """Push until Redis and its replica have it. The bot_id makes it one bot, however often it was pushed."""
        job = json.dumps({"meeting_link": link, "bot_id": bot_id, "bot_name": bot_id, **more})
        while True:
            try:
                await carry_out(self._redis, "LPUSH", self.keys.jobs, job)
            except (RedisError, OSError):
                await asyncio.sleep(_AGAIN_S)
            else:
                self.pushed[bot_id] = time.monotonic()
                return

    async def _push_all_the_time(self) -> None:
        while True:
            await self._wanted.wait()
            async with self._pushing:
                self._numbers += 1
                await self._push(f"{SHORT}-{self._numbers}", self._link, {"requires": SIMULATED})
            await asyncio.sleep(_BETWEEN_S)

    async def _begin(self, link: str) -> None:
        self._link = link
        self._wanted.set()

    async def _cease(self) -> None:
        self._wanted.clear()
        async with self._pushing:  # the last one is confirmed
            pass

    async def _states(self, bot_ids: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for at in range(0, len(bot_ids), _AT_ONCE):
            some = bot_ids[at : at + _AT_ONCE]
            async with self._redis.pipeline(transaction=False) as pipe:
                for bot_id in some:
                    pipe.hget(self.keys.bot(bot_id), "state")
                found |= {id_: (state or b"").decode() for id_, state in zip(some, await pipe.execute(), strict=True)}
        return found

    async def _ends(self) -> Counter[str]:
        ends: Counter[str] = Counter()
        for _, fields in await self._redis.xrange(self.keys.status):
            ends[fields[b"bot_id"].decode()] += fields[b"state"] == b"stopped"
        return ends

    async def _waiting(self) -> int:
        return int(await self._redis.llen(self.keys.jobs)) + int(await self._redis.llen(self.keys.taken))

    # From the fleet's thread

    def push(self, bot_id: str, link: str, **more: Any) -> None:
        self._ask(self._push(bot_id, link, more), _ASK_S)

    def begin_jobs(self, link: str) -> None:
        """From now on new jobs for simulated VMs come all the time."""
        self._ask(self._begin(link), _ASK_S)

    def cease_jobs(self) -> None:
        self._ask(self._cease(), _ASK_S)

    def leave(self, bot_ids: Sequence[str]) -> None:
        for bot_id in bot_ids:
            self._ask(self._views.request(LeaveRequested(bot_id)), _ASK_S)

    def states(self, bot_ids: Sequence[str]) -> dict[str, str]:
        """The state of each bot; empty: no record."""
        return self._ask(self._states(bot_ids), _ASK_S)

    def ends(self) -> Counter[str]:
        """How often each bot's end is in the status stream."""
        return self._ask(self._ends(), _ASK_S)

    def waiting(self) -> int:
        return self._ask(self._waiting(), _ASK_S)

    def vms(self) -> list[VmView]:
        return self._ask(self._views.fleet(), _ASK_S)

    def _ask(self, question: Coroutine[Any, Any, T], within_s: float) -> T:
        """Raises: FleetError when there is no answer, RedisError when Redis refuses."""
        if not self._lives.is_set():
            question.close()
            raise FleetError("the simulated VMs have ended; why, is above")
        asked = asyncio.run_coroutine_threadsafe(question, self._loop)
        try:
            return asked.result(within_s)
        except TimeoutError as error:
            asked.cancel()
            raise FleetError(f"Redis does not answer within {within_s:.0f} s") from error

    @contextmanager
    def living(self) -> Generator[None]:
        """It runs within. Raises: FleetError."""
        thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="beside the fleet", daemon=True)
        thread.start()
        if not self._lives.wait(_END_S):
            raise FleetError("the simulated VMs do not start")
        try:
            yield
        finally:
            if self._lives.is_set():
                self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(_END_S)
