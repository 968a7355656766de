"""The clients: they push jobs all the time, good and bad ones, once and twice, and ask bots to leave. They are as
careful as a client has to be: a push that Redis did not answer is repeated only when the job names itself.

What they pushed is written down; chaos/check.py compares it with what became of it.
"""

import asyncio
import json
import random
import time
from datetime import UTC, datetime
from typing import Final, NamedTuple

from redis.exceptions import ConnectionError, RedisError, TimeoutError

from chaos.stage import Stage
from poolmgr.core.events import LeaveRequested
from poolmgr.store.views import Views
from wire.vocabulary import Reason

_AGAIN_S: Final = 0.1
_UNCLEAR: Final = (ConnectionError, TimeoutError, OSError)
"""No answer: it may have happened. Whatever else Redis says, it did not."""


class Meeting(NamedTuple):
    """What happens in it. `query` for the page; `how_often` beside the others; `asked_to_leave`: somebody does that."""

    query: str
    ends_as: Reason
    how_often: float
    asked_to_leave: bool = False


MEETINGS: Final = {
    "ends": Meeting("stay_s={stay_s}", Reason.MEETING_ENDED, 10),
    "is asked to leave": Meeting("", Reason.USER_REQUESTED, 4, asked_to_leave=True),
    "is removed": Meeting("stay_s={stay_s}&end=removed", Reason.REMOVED_BY_HOST, 1),
    "is denied": Meeting("deny=1", Reason.REQUEST_DENIED, 1),
    "crashes": Meeting("crash_s=1.5", Reason.BROWSER_CRASHED, 1),
    "hangs": Meeting("hang_s=1.5", Reason.BROWSER_HUNG, 0.3),
}
FORMS: Final = {"plain": 3, "with bot_id": 5, "twice": 1, "with key": 1, "scheduled": 2, "bad": 1}
"""How a job is handed in, and how often beside the others."""


REJOINS: Final = 0.25
"""How many of the jobs ask to be sent in again when their worker is lost."""


class Push(NamedTuple):
    """A job. `tag` names it to the witness. `times`: how often Redis has it for sure; 0: perhaps once. `rejoins`: it is
    to be sent in again when its worker is lost.
    """

    tag: str
    form: str
    bot_id: str = ""
    key: str = ""
    times: int = 1
    ends_as: frozenset[Reason] = frozenset()
    rejoins: bool = False


class BadPush(NamedTuple):
    """`mark` is in its payload, and in no other."""

    mark: str
    times: int = 1


class Load:
    """`per_s`: jobs a second, on average. `name` makes its ids its own."""

    def __init__(self, stage: Stage, chance: random.Random, per_s: float, name: str) -> None:
        self.pushes: list[Push] = []
        self.bad: list[BadPush] = []
        self.asked: set[str] = set()  # bots that were asked to leave
        self._stage = stage
        self._views: Views = stage.views
        self._chance = chance
        self._per_s = per_s
        self._name = name
        self._number = 0

    async def run(self, seconds: float) -> None:
        """Push for so long; returns when Redis has everything and whoever is to leave was told so."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as clients:
            while time.monotonic() < until:
                clients.create_task(self.push_any(), name="client")
                await asyncio.sleep(self._chance.expovariate(self._per_s))

    async def push_any(self) -> None:
        """One job of a kind that chance chooses."""
        form = self._choose(FORMS)
        if form == "bad":
            await self.push_bad()
        else:
            real = self._stage.scale.real_browsers  # of which a page cannot make an end
            kinds = {name: one.how_often for name, one in MEETINGS.items() if not (real and name == "crashes")}
            await self.push(form, self._choose(kinds))

    async def push(self, form: str, meeting_name: str) -> None:
        self._number += 1
        chance, meeting, tag = self._chance, MEETINGS[meeting_name], f"{self._name}.{self._number}"
        named = form in ("with bot_id", "twice", "scheduled") or meeting.asked_to_leave
        bot_id, key = f"bot-{tag}" if named else "", f"key-{tag}" if form == "with key" else ""
        job: dict[str, str] = {"meeting_link": self._link(tag, meeting), "bot_name": f"Bot {tag}"}
        if bot_id:
            job["bot_id"] = bot_id
        if key:
            job["deduplication_key"] = key
        # Into a page that breaks every browser it would be sent again and again, up to the last attempt.
        rejoins = chance.random() < REJOINS and meeting_name not in ("crashes", "hangs")
        if rejoins:
            job["on_worker_lost"] = "rejoin"
        if form == "scheduled":
            at = time.time() + chance.uniform(0.5, 2.5)
            job["join_at"] = datetime.fromtimestamp(at, UTC).isoformat()
        stays_s, again_s = chance.uniform(0.5, 3.0), chance.uniform(0.0, 1.0)
        times = await self._hand_in(json.dumps(job), repeat=bool(bot_id or key))
        if form in ("twice", "with key"):
            await asyncio.sleep(again_s)
            times += await self._hand_in(json.dumps(job), repeat=True)
        ends_as = frozenset({meeting.ends_as})
        self.pushes.append(Push(tag, form, bot_id, key, times, ends_as, rejoins))
        if meeting.asked_to_leave:
            await asyncio.sleep(stays_s)
            await self._ask_to_leave(bot_id)

    def _link(self, tag: str, meeting: Meeting) -> str:
        chance = self._chance
        lobby_s = chance.choice([0.0, 0.2, 0.5, 1.5])
        query = meeting.query.format(stay_s=round(chance.uniform(0.5, 4.0), 2))
        return f"http://{self._stage.witness.address}/r/chaos?tag={tag}&lobby_s={lobby_s}&{query}"

    async def push_bad(self) -> None:
        self._number += 1
        mark = f"bad-{self._name}.{self._number}"
        link = f"http://{self._stage.witness.address}/r/chaos"
        payload = self._chance.choice(
            [
                f"{{{mark}",
                json.dumps([mark]),
                json.dumps({"bot_name": mark}),
                json.dumps({"meeting_link": f"https://evil.example/{mark}"}),
                json.dumps({"meeting_link": link, "user_id": mark, "join_at": "soon"}),
                json.dumps({"meeting_link": link, "user_id": mark, "priority": "high"}),
                json.dumps({"meeting_link": link, "user_id": mark, "filler": "x" * 300_000}),
            ]
        )
        self.bad.append(BadPush(mark, await self._hand_in(payload, repeat=True)))

    async def _hand_in(self, payload: str, *, repeat: bool) -> int:
        """How often Redis has it for sure: once, or not at all when it did not answer and nothing may be repeated."""
        while True:
            try:
                await self._stage.redis.lpush(self._stage.keys.jobs, payload)
            except _UNCLEAR:
                if not repeat:
                    return 0
            except RedisError:
                pass
            else:
                return 1
            await asyncio.sleep(_AGAIN_S)

    async def _ask_to_leave(self, bot_id: str) -> None:
        """Until Redis has taken the request; not before there is such a bot, for nobody keeps a request to nobody."""
        while True:
            try:
                if await self._views.bot(bot_id):
                    await self._views.request(LeaveRequested(bot_id))
                    self.asked.add(bot_id)
                    return
            except (RedisError, OSError):
                pass
            await asyncio.sleep(_AGAIN_S)

    def _choose(self, weights: dict[str, float] | dict[str, int]) -> str:
        return self._chance.choices(list(weights), list(weights.values()))[0]
