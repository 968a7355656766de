"""Takes jobs from the list, checks them, and accepts or rejects them.

A taken job is in Redis at every moment. Reading jobs holds the event loop only for moments.

A job whose reading made managers die, or lose their lease, goes to the dead stream. To find it, jobs that an earlier
leader left are taken in one at a time, and each is counted before it is begun.
"""

import asyncio
import re
import uuid
from collections.abc import Callable

from common.jobs.job import BadJobError, JobRules, parse_job
from common.jobs.record import Job
from common.runtime import steps
from common.runtime.clock import Clock
from common.runtime.loop.turns import Turned, unwatched
from common.runtime.steps import ManagerStep
from poolmgr.core.events import JobAccepted
from poolmgr.loops.dispatcher import Dispatcher
from poolmgr.store.leader.inbox import Jobs
from poolmgr.store.leader.ledger import Ledger, Rejected

_MOST_AT_ONCE = 256
_WAIT_S = 1.0
_LEFT_OVER_S = 5.0
"""How often to look for jobs that another leader took and left, under steady load. An idle intake looks at once."""
_BREATH_S = 0.002
"""Seconds after which the other loops get their turn. A job takes a fraction of it, a nested one some milliseconds."""
_LARGE_BYTES = 16 * 1024
"""Larger jobs are read in a thread: a nested one of 256 KB takes tens of milliseconds."""
_MOST_BEGUN = 2
"""How often a job is begun alone before it is rejected as poisonous."""
_NAMED_FIRST = re.compile(rb'\{"bot_id": ?"([A-Za-z0-9][A-Za-z0-9._-]{0,127})"')
"""The beginning of a job as the API writes it."""
_AHEAD = 2000
"""How many decisions may be under way to Redis while the next jobs are taken. Their jobs are in `jobs:taken`."""


class Intake:
    """`on_rejected` is called with every rejected job."""

    def __init__(
        self,
        jobs: Jobs,
        dispatcher: Dispatcher,
        ledger: Ledger,
        clock: Clock,
        rules: JobRules,
        on_rejected: Callable[[Rejected], None],
        turned: Turned = unwatched,
    ) -> None:
        self._jobs = jobs
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._clock = clock
        self._rules = rules
        self._on_rejected = on_rejected
        self._turned = turned

    async def run(self, stop: asyncio.Event) -> None:
        """Take jobs until `stop` is set. All taken jobs are durable when it returns. Jobs that an earlier leader left
        come first.
        """
        looked_at = await self._take_in_left_over()
        while not stop.is_set():
            self._turned()
            payloads = await self._jobs.take(_MOST_AT_ONCE, _WAIT_S)
            if payloads:
                steps.done(ManagerStep.JOBS_TAKEN)
                await self._take_in(payloads)
            if not payloads or self._clock.steady() > looked_at + _LEFT_OVER_S:
                looked_at = await self._take_in_left_over()
        await self._dispatcher.durable()

    async def _take_in_left_over(self) -> float:
        """Take in jobs that another leader took and did not finish: it ended, or it was frozen and did not know yet
        that it was replaced. Returns the time of this look (steady clock).
        """
        await self._dispatcher.durable()  # now no job of this leader is in the list
        done = b""
        for payload in await self._jobs.left_over():
            self._turned()
            begun = await self._jobs.begin_alone(payload, done)
            if begun > _MOST_BEGUN:
                await self._reject([_poisonous(payload)])
            else:
                await self._take_in([payload])
                await self._dispatcher.durable()
            done = payload
        if done:
            await self._jobs.ended_alone(done)
        return self._clock.steady()

    async def _read(self, payloads: list[bytes], now: float) -> tuple[list[Job], list[Rejected]]:
        """The valid jobs among the payloads, and the rejected ones. `now`: epoch seconds."""
        jobs: list[Job] = []
        rejected: list[Rejected] = []
        began = self._clock.steady()
        for payload in payloads:
            if self._clock.steady() > began + _BREATH_S:
                await asyncio.sleep(0)
                began = self._clock.steady()
            try:
                if len(payload) > _LARGE_BYTES:
                    jobs.append(await asyncio.to_thread(parse_job, payload, now, self._rules))
                else:
                    jobs.append(parse_job(payload, now, self._rules))
            except BadJobError as error:
                rejected.append(Rejected(payload, error.reason, str(error), error.bot_id))
        return jobs, rejected

    async def _take_in(self, payloads: list[bytes]) -> None:
        jobs, rejected = await self._read(payloads, self._clock.wall())
        if any(job.bot_id or job.deduplication_key or job.held_meeting for job in jobs):
            await self._dispatcher.durable()  # a job of this batch may be a duplicate of an earlier one
        taken = await self._jobs.conflicts(jobs)
        held: set[str] = set()
        for job in jobs:
            if fault := self._duplicate(job, taken):
                rejected.append(fault)
                continue
            bot_id = job.bot_id or uuid.uuid4().hex
            if job.held_meeting in held:
                await self._dispatcher.durable()  # the earlier job's bot is accepted or has ended then
            if job.held_meeting:
                held.add(job.held_meeting)
            if fault := await self._hold(job, bot_id):
                rejected.append(fault)
                continue
            taken[bot_id] = bot_id
            if job.deduplication_key:
                taken[f"key {job.deduplication_key}"] = bot_id
            self._dispatcher.put(JobAccepted(bot_id, job, self._clock.wall()))
            steps.done(ManagerStep.JOBS_DECIDED)
        if rejected:
            await self._reject(rejected)
        # A few jobs wait until they are durable; with many, reading goes on while Redis works.
        await self._dispatcher.durable(ahead=_AHEAD if len(payloads) == _MOST_AT_ONCE else 0)

    async def _reject(self, rejected: list[Rejected]) -> None:
        # Accepted jobs first: otherwise a client that follows a bot would read that it was rejected, when only a copy
        # was.
        await self._dispatcher.durable()
        await self._ledger.reject(rejected, self._clock.wall())
        steps.done(ManagerStep.JOBS_REJECTED)
        for fault in rejected:
            self._on_rejected(fault)

    def _duplicate(self, job: Job, taken: dict[str, str]) -> Rejected | None:
        """The rejection of a repeated job. It does not matter whether its bot has ended: no job joins twice."""
        payload = job.payload.encode()
        if job.bot_id in taken:
            return Rejected(payload, "duplicate_bot_id", f"there is a bot {job.bot_id} already", job.bot_id)
        first = taken.get(f"key {job.deduplication_key}") if job.deduplication_key else None
        if first and first != job.bot_id:  # the API has reserved the key for this bot already
            return _same_key(job, first)
        return None

    async def _hold(self, job: Job, bot_id: str) -> Rejected | None:
        """Hold the job's key and meeting, which the API may have taken since the look for conflicts. The rejection, if
        an earlier bot has one of them.
        """
        if not (job.deduplication_key or job.held_meeting):
            return None
        held = await self._jobs.hold(bot_id, key=job.deduplication_key, meeting=job.held_meeting)
        if held.key != bot_id:
            return _same_key(job, held.key)
        if held.meeting != bot_id:
            detail = f"one_bot_per_meeting: bot {held.meeting} is in this meeting, or will be"
            return Rejected(job.payload.encode(), "duplicate_meeting", detail, job.bot_id)
        return None


def _same_key(job: Job, first: str) -> Rejected:
    detail = f"deduplication_key: bot {first} was made with the same one"
    return Rejected(job.payload.encode(), "duplicate_key", detail, job.bot_id)


def _poisonous(payload: bytes) -> Rejected:
    detail = f"{_MOST_BEGUN} managers that had nothing else in hand ended, or lost their lease, over this job"
    named = _NAMED_FIRST.match(payload)  # without parsing the whole payload again
    return Rejected(payload, "poisonous", detail, named[1].decode() if named else "")
