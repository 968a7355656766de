"""Jobs in: taken from the list, checked, accepted or rejected. At no moment does a taken job exist nowhere.

Reading them holds the loop for moments only. And a job over which managers ended, or lost their lease, ends on the dead
stream: what an earlier leader left half done is taken in one job at a time, and each is counted before it is begun.
"""

import asyncio
import re
import uuid
from collections.abc import Callable

from common.runtime import steps
from common.runtime.clock import Clock
from common.runtime.steps import ManagerStep
from common.runtime.turns import Turned, unwatched
from poolmgr.core.events import JobAccepted
from poolmgr.core.record import Job
from poolmgr.intake.job import BadJobError, JobRules, parse_job
from poolmgr.loops.dispatcher import Dispatcher
from poolmgr.store.inbox import Jobs
from poolmgr.store.ledger import Ledger, Rejected

_MOST_AT_ONCE = 256
_WAIT_S = 1.0
_LEFT_OVER_S = 5.0
"""How often jobs that somebody else took and left are looked for under steady load. An idle intake looks at once."""
_BREATH_S = 0.002
"""After so long the other loops get their turn. A job takes a fraction of that, a laborious one some milliseconds."""
_LARGE_BYTES = 16 * 1024
"""Such a job is read beside the loop: a laborious one of a quarter of a megabyte takes tens of milliseconds."""
_MOST_BEGUN = 2
"""How often a job is begun alone. Whoever did not come to an end with it is not the one to try again."""
_NAMED_FIRST = re.compile(rb'\{"bot_id": ?"([A-Za-z0-9][A-Za-z0-9._-]{0,127})"')
"""As the API writes them."""
_AHEAD = 2000
"""How many decisions may be under way to Redis while the next jobs are taken; those jobs stand in `jobs:taken`."""


class Intake:
    """`on_rejected` hears of every rejected job."""

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
        """Take jobs until `stop`; all that was taken is durable when it returns. What an earlier leader left half done
        comes first.
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
        """Take in what another leader took and did not finish: a leader that ended, or one that was frozen and took
        jobs before it learned that it was replaced. Returns the time of this look (steady clock).
        """
        await self._dispatcher.durable()  # from here on none of our own stands in the list
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
        """Those that are jobs, and those that are none. `now`: epoch seconds."""
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
            await self._dispatcher.durable()  # one of them may double a job of this batch
        taken = await self._jobs.conflicts(jobs)
        held: set[str] = set()
        for job in jobs:
            if fault := self._duplicate(job, taken):
                rejected.append(fault)
                continue
            bot_id = job.bot_id or uuid.uuid4().hex
            if job.held_meeting:
                if job.held_meeting in held:
                    await self._dispatcher.durable()  # whether that one is in, or has had its end at once
                held.add(job.held_meeting)
                first = await self._jobs.hold(job.held_meeting, bot_id)
                if first != bot_id:
                    detail = f"one_bot_per_meeting: bot {first} is in this meeting, or will be"
                    rejected.append(Rejected(job.payload.encode(), "duplicate_meeting", detail, job.bot_id))
                    continue
            taken[bot_id] = bot_id
            if job.deduplication_key:
                taken[f"key {job.deduplication_key}"] = bot_id
            self._dispatcher.put(JobAccepted(bot_id, job, self._clock.wall()))
            steps.done(ManagerStep.JOBS_DECIDED)
        if rejected:
            await self._reject(rejected)
        # A few are sent at once; with many, reading and Redis are kept busy in parallel.
        await self._dispatcher.durable(ahead=_AHEAD if len(payloads) == _MOST_AT_ONCE else 0)

    async def _reject(self, rejected: list[Rejected]) -> None:
        # First what was accepted: else a follower of a bot reads that it was rejected, when only a copy was.
        await self._dispatcher.durable()
        await self._ledger.reject(rejected, self._clock.wall())
        steps.done(ManagerStep.JOBS_REJECTED)
        for fault in rejected:
            self._on_rejected(fault)

    def _duplicate(self, job: Job, taken: dict[str, str]) -> Rejected | None:
        """A job that came before is refused, whether its bot lives or has ended: no job joins twice."""
        payload = job.payload.encode()
        if job.bot_id in taken:
            return Rejected(payload, "duplicate_bot_id", f"there is a bot {job.bot_id} already", job.bot_id)
        first = taken.get(f"key {job.deduplication_key}") if job.deduplication_key else None
        if first and first != job.bot_id:  # the API takes the key for the bot before it hands the job in
            detail = f"deduplication_key: bot {first} was made with the same one"
            return Rejected(payload, "duplicate_key", detail, job.bot_id)
        return None


def _poisonous(payload: bytes) -> Rejected:
    detail = f"{_MOST_BEGUN} managers that had nothing else in hand ended, or lost their lease, over this job"
    named = _NAMED_FIRST.match(payload)  # so that it is not read as a whole again
    return Rejected(payload, "poisonous", detail, named[1].decode() if named else "")
