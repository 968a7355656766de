"""The clients. They push jobs all the time, good and bad ones, once and twice, and ask bots to leave. Like careful
clients they repeat a push that Redis did not answer only if the job has an id of its own.

What they pushed is noted, and compared with what became of it (lab/chaos/judging/invariants.py).
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
_KNOWN_AFTER_S: Final = 5.0  # a job that Redis has is a bot after this time
_UNCLEAR: Final = (ConnectionError, TimeoutError, OSError)
"""After these errors the command may have been carried out. After any other it was not."""


class Meeting(NamedTuple):
    """What happens in a meeting. `query`: for its page. `how_often`: its weight. `asked_to_leave`: somebody asks its
    bot to leave.
    """

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
"""The ways in which a job is handed in, with their weights."""

STAYS_S: Final = (2.0, 4.0)
"""How long a meeting goes on. The agent's looks may miss a bot that is in for less than a second and a half."""

LETS_GO_S: Final = (0.0, 0.0, 0.2, 0.6)
"""How long a page takes to leave. The end is reported this much later than it is concluded. It is less than an agent
waits.
"""
REJOINS: Final = 0.25
"""The share of jobs that ask to be sent in again when their worker is lost."""


class Push(NamedTuple):
    """A job that was pushed. `tag`: its name for the witness. `times`: how often Redis confirmed it; 0: it may have it
    once. `rejoins`: it is sent in again when its worker is lost. `at`: epoch seconds of the first push.
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
    """A bad job. `mark`: a text that is in its payload only."""

    mark: str
    times: int = 1
    at: float = 0.0


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A planned job. `at_s`: when in the round it is handed in. `tag`: its name. `form`: of FORMS. `meeting`: of
    MEETINGS, or of BAD for a bad job. `link`: what its meeting's page does, see lab/chaos/stand_in/page.py.
    `join_in_s`: it is scheduled this long after it was handed in. `again_s`: it is handed in a second time, this long
    after the first. `leaves_s`: it is asked to leave this long after it was handed in. `rejoins`: as for Push.
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
        """The job's own bot_id; empty: it has none."""
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
"""The bad jobs: for each fault a function that makes a payload from its mark and a meeting's link."""


def plan(chance: random.Random, seconds: float, per_s: float, name: str, *, real: bool = False) -> list[Job]:
    """The jobs of a round of `round_s` seconds, on average `per_s` a second. `name`: begins their tags. `real`: for
    real browsers, whose pages cannot be made to crash.
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
    """A job of that form for such a meeting; chance decides the rest."""
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
        # A page that crashes every browser would get the bot again and again, up to the last attempt.
        rejoins=chance.random() < REJOINS and meeting not in ("crashes", "hangs"),
        join_in_s=round(chance.uniform(0.5, 2.5), 3) if form == "scheduled" else 0.0,
        again_s=round(chance.uniform(0.0, 1.0), 3) if form in ("twice", "with key") else 0.0,
        leaves_s=round(chance.uniform(0.5, 3.0), 3) if kind.asked_to_leave else 0.0,
    )


def _choose(chance: random.Random, weights: dict[str, float] | dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]


class Load:
    """`on_asked` is called with the tag of each job whose bot was asked to leave, once Redis has the request."""

    def __init__(self, stage: Stage, on_asked: Callable[[str], None] = lambda _tag: None) -> None:
        self.pushes: list[Push] = []
        self.bad: list[BadPush] = []
        self.asked: set[str] = set()  # bots that were asked to leave
        self._asked_at: dict[str, tuple[float, float]] = {}  # when, and when its job was pushed
        self._stage = stage
        self._views: Views = stage.views  # its Redis is chosen by now
        self._on_asked = on_asked

    async def run(self, jobs: Sequence[Job]) -> None:
        """Hand in each job at its moment. Returns when Redis has all of them, and all requests to leave."""
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
        """Redis was set back to its state at `since` (epoch seconds): repeat the requests to leave that it forgot."""
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
        """How often Redis confirmed the job: once; or 0 if it did not answer and the push must not be repeated."""
        while True:
            try:
                await self._stage.push(payload)
            except _UNCLEAR:
                if not repeat:
                    return 0
            except RedisError:
                pass
            else:
                return 1
            await asyncio.sleep(_AGAIN_S)

    async def _ask_to_leave(self, bot_id: str, pushed_at: float) -> None:
        """Ask a bot to leave, and repeat it until Redis has the request. Waits until the bot exists, because a request
        for an unknown bot is dropped; gives up when Redis has plainly forgotten the job.
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
        """Whether the job would be a bot by now if Redis still had it."""
        return any(
            back.may_lack(pushed_at) and time.time() > back.restored_at + _KNOWN_AFTER_S
            for back in self._stage.rollbacks
        )
