"""The clients: they push jobs all the time, good and bad ones, once and twice, and ask bots to leave. They are as
careful as a client has to be: a push that Redis did not answer is repeated only when the job names itself.

What they pushed is written down; lab/chaos/judging/invariants.py compares it with what became of it.
"""

import asyncio
import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from redis.exceptions import ConnectionError, RedisError, TimeoutError

from common.wire.vocabulary import Reason
from lab.chaos.system.stage import ON_ITS_WAY_S, Stage
from poolmgr.core.events import LeaveRequested
from poolmgr.store.reading.views import Views

_AGAIN_S: Final = 0.1
_KNOWN_AFTER_S: Final = 5.0  # a job that Redis has is a bot by then
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

STAYS_S: Final = (2.0, 4.0)
"""How long a meeting goes on. Who is in for less than a second and a half may be missed by the agent's looks."""

LETS_GO_S: Final = (0.0, 0.0, 0.2, 0.6)
"""How long a page takes to be left: so much later an end is reported than it is concluded. Less than an agent waits."""
REJOINS: Final = 0.25
"""How many of the jobs ask to be sent in again when their worker is lost."""


class Push(NamedTuple):
    """A job. `tag` names it to the witness. `times`: how often Redis has it for sure; 0: perhaps once. `rejoins`: it is
    to be sent in again when its worker is lost. `at`: epoch seconds, when Redis was first asked to take it.
    """

    tag: str
    form: str
    bot_id: str = ""
    key: str = ""
    times: int = 1
    ends_as: frozenset[Reason] = frozenset()
    rejoins: bool = False
    at: float = 0.0


class BadPush(NamedTuple):
    """`mark` is in its payload, and in no other."""

    mark: str
    times: int = 1
    at: float = 0.0


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A job that is to be handed in `at_s` into the round. `tag` names it. `form`: of FORMS; `meeting`: of MEETINGS, or
    of BAD when the form is that. `link`: what its meeting's page is told, see lab/chaos/stand_in/page.py.

    `join_in_s`: it is scheduled, so long after it was handed in. `again_s`: it is handed in once more so long after the
    first time. `leaves_s`: it is asked to leave so long after it was handed in. `rejoins`: as for Push.
    """

    at_s: float
    tag: str
    form: str
    meeting: str
    link: str = ""
    rejoins: bool = False
    join_in_s: float = 0.0
    again_s: float = 0.0
    leaves_s: float = 0.0

    @property
    def bot_id(self) -> str:
        """Empty when the job does not name itself so."""
        named = self.form in ("with bot_id", "twice", "scheduled") or self.is_asked_to_leave
        return f"bot-{self.tag}" if named else ""

    @property
    def is_asked_to_leave(self) -> bool:
        return self.form != "bad" and MEETINGS[self.meeting].asked_to_leave


_LINK: Final = "http://{address}/r/chaos"
BAD: Final[dict[str, Callable[[str, str], str]]] = {
    "not JSON": lambda mark, _: f"{{{mark}",
    "a list": lambda mark, _: json.dumps([mark]),
    "without a link": lambda mark, _: json.dumps({"bot_name": mark}),
    "another host": lambda mark, _: json.dumps({"meeting_link": f"https://evil.example/{mark}"}),
    "a bad time": lambda mark, link: json.dumps({"meeting_link": link, "user_id": mark, "join_at": "soon"}),
    "a bad priority": lambda mark, link: json.dumps({"meeting_link": link, "user_id": mark, "priority": "high"}),
    "too long": lambda mark, link: json.dumps({"meeting_link": link, "user_id": mark, "filler": "x" * 300_000}),
}
"""What is wrong with a job that is to be rejected: its payload, by its mark and a meeting's link."""


def plan(chance: random.Random, seconds: float, per_s: float, name: str, *, real: bool = False) -> list[Job]:
    """The jobs of a round of so many seconds, `per_s` a second on average. `name` makes their tags its own; `real`: for
    real browsers, of which a page cannot make an end.
    """
    jobs: list[Job] = []
    at_s = 0.0
    while at_s < seconds:
        form, tag = _choose(chance, FORMS), f"{name}.{len(jobs) + 1}"
        kinds = {meeting: kind.how_often for meeting, kind in MEETINGS.items() if not (real and meeting == "crashes")}
        meeting = chance.choice(list(BAD)) if form == "bad" else _choose(chance, kinds)
        jobs.append(draw(chance, tag, form, meeting, at_s))
        at_s += chance.expovariate(per_s)
    return jobs


def draw(chance: random.Random, tag: str, form: str, meeting: str, at_s: float = 0.0) -> Job:
    """A job of that form for such a meeting; chance decides all the rest."""
    at_s = round(at_s, 3)
    if form == "bad":
        return Job(at_s, tag, form, meeting)
    kind = MEETINGS[meeting]
    lobby_s, lets_go_s = chance.choice([0.0, 0.2, 0.5, 1.5]), chance.choice(LETS_GO_S)
    query = kind.query.format(stay_s=round(chance.uniform(*STAYS_S), 2))
    return Job(
        at_s,
        tag,
        form,
        meeting,
        "&".join(filter(None, (f"lobby_s={lobby_s}", f"lets_go_s={lets_go_s}" if lets_go_s else "", query))),
        # Into a page that breaks every browser it would be sent again and again, up to the last attempt.
        rejoins=chance.random() < REJOINS and meeting not in ("crashes", "hangs"),
        join_in_s=round(chance.uniform(0.5, 2.5), 3) if form == "scheduled" else 0.0,
        again_s=round(chance.uniform(0.0, 1.0), 3) if form in ("twice", "with key") else 0.0,
        leaves_s=round(chance.uniform(0.5, 3.0), 3) if kind.asked_to_leave else 0.0,
    )


def _choose(chance: random.Random, weights: dict[str, float] | dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


class Load:
    """`on_asked` hears of the tag of each job whose bot was asked to leave, as soon as Redis has the request."""

    def __init__(self, stage: Stage, on_asked: Callable[[str], None] = lambda _tag: None) -> None:
        self.pushes: list[Push] = []
        self.bad: list[BadPush] = []
        self.asked: set[str] = set()  # bots that were asked to leave
        self._asked_at: dict[str, tuple[float, float]] = {}  # when, and when its job was pushed
        self._stage = stage
        self._views: Views = stage.views
        self._on_asked = on_asked

    async def run(self, jobs: Sequence[Job]) -> None:
        """Each at its moment; returns when Redis has everything and whoever is to leave was told so."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as clients:
            for job in jobs:
                await asyncio.sleep(max(0.0, began + job.at_s - time.monotonic()))
                clients.create_task(self.take(job), name="client")

    async def take(self, job: Job) -> None:
        if job.form == "bad":
            await self._take_bad(job)
            return
        bot_id, key = job.bot_id, f"key-{job.tag}" if job.form == "with key" else ""
        body: dict[str, str] = {"meeting_link": self._link(job), "bot_name": f"Bot {job.tag}"}
        if bot_id:
            body["bot_id"] = bot_id
        if key:
            body["deduplication_key"] = key
        if job.rejoins:
            body["on_worker_lost"] = "rejoin"
        if job.form == "scheduled":
            body["join_at"] = datetime.fromtimestamp(time.time() + job.join_in_s, UTC).isoformat()
        at = time.time()
        times = await self._hand_in(json.dumps(body), repeat=bool(bot_id or key))
        if job.form in ("twice", "with key"):
            await asyncio.sleep(job.again_s)
            times += await self._hand_in(json.dumps(body), repeat=True)
        meeting = MEETINGS[job.meeting]
        self.pushes.append(Push(job.tag, job.form, bot_id, key, times, frozenset({meeting.ends_as}), job.rejoins, at))
        if meeting.asked_to_leave:
            await asyncio.sleep(job.leaves_s)
            await self._ask_to_leave(bot_id, at)
            self._on_asked(job.tag)

    async def ask_again(self, since: float) -> None:
        """Redis is back with what it had at `since` (epoch seconds): who asked a bot to leave sees that it stays."""
        for bot_id, (at, pushed_at) in list(self._asked_at.items()):
            if at >= since - ON_ITS_WAY_S:
                await self._ask_to_leave(bot_id, pushed_at)

    def _link(self, job: Job) -> str:
        return f"{_LINK.format(address=self._stage.witness.address)}?tag={job.tag}&{job.link}"

    async def _take_bad(self, job: Job) -> None:
        mark = f"bad-{job.tag}"
        payload = BAD[job.meeting](mark, _LINK.format(address=self._stage.witness.address))
        at = time.time()
        self.bad.append(BadPush(mark, await self._hand_in(payload, repeat=True), at))

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

    async def _ask_to_leave(self, bot_id: str, pushed_at: float) -> None:
        """Until Redis has taken the request; not before there is such a bot, for nobody keeps a request to nobody. Or
        until it is plain that Redis has forgotten the job.
        """
        while True:
            try:
                if await self._views.bot(bot_id):
                    await self._views.request(LeaveRequested(bot_id))
                    self.asked.add(bot_id)
                    self._asked_at[bot_id] = (time.time(), pushed_at)
                    return
                if self._is_forgotten(pushed_at):
                    return
            except (RedisError, OSError):
                pass
            await asyncio.sleep(_AGAIN_S)

    def _is_forgotten(self, pushed_at: float) -> bool:
        """Whether it would have become a bot by now if Redis still had it."""
        return any(
            back.may_lack(pushed_at) and time.time() > back.restored_at + _KNOWN_AFTER_S
            for back in self._stage.rollbacks
        )
