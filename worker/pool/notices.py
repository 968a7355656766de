"""Watches for the cloud's notice that it takes this VM away, and has the pool do what follows.

A notice does not end the agent: it goes on without work until it is stopped or the VM is gone. So a notice that is
withdrawn costs idle browsers, but no call. While the metadata server does not answer, its last answer stays valid.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

from common.runtime.waiting import backoff
from common.wire.vocabulary import Reason
from worker.decide.notice import Notice, NoticeTracker, Step
from worker.link.spot import Cloud, UnknownError
from worker.pool.pool import Pool

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOOK_S: Final = 2.0  # Google gives 30 s in all
UNKNOWN_S: Final = 10.0  # between two looks at a server that says nothing, at most
LEAD_S: Final = 10.0  # on top of worker.leave_timeout_s: for a late look, and for the manager to learn of the ends


class Notices:
    """`changed`: called when the VM takes no more work, and when it does again. `ends`: whether the agent was asked to
    end; then it takes no work, whatever the cloud says. `leave_s`: how long a bot may take to leave.
    """

    def __init__(
        self, cloud: Cloud, pool: Pool, changed: Callable[[], None], ends: Callable[[], bool], leave_s: float
    ) -> None:
        self._cloud = cloud
        self._pool = pool
        self._changed = changed
        self._ends = ends
        self._tracker = NoticeTracker(leave_s + LEAD_S)
        self._unknown = False

    async def run(self, look_s: float = LOOK_S) -> None:
        """Run for as long as the agent lives."""
        waits = backoff(look_s, UNKNOWN_S)
        async with self._cloud:
            while True:
                found = await self._look()
                self._carry_out(self._tracker.look(found, time.time()))
                if not self._unknown:
                    waits = backoff(look_s, UNKNOWN_S)
                await asyncio.sleep(look_s if self._tracker.notice else next(waits))

    async def _look(self) -> Notice | None:
        try:
            found = await self._cloud.ask()
        except UnknownError as error:
            if not self._unknown:
                log.warning("spot_notices_unknown", why=str(error))
            self._unknown = True
            return self._tracker.notice
        if self._unknown:
            log.info("spot_notices_known")
        self._unknown = False
        return found

    def _carry_out(self, step: Step) -> None:
        notice = self._tracker.notice
        match step:
            case Step.REFUSE_WORK:
                assert notice
                log.warning("vm_taken_away", what=notice.what, in_s=round(notice.at - time.time(), 1))
                self._pool.refuse_work()
                self._changed()
            case Step.LEAVE_ALL:
                log.warning("bots_leave_with_vm", bots=sum(bool(each.bot_id) for each in self._pool.reports().values()))
                self._pool.leave_all(Reason.SHUTDOWN)
            case Step.TAKE_WORK:
                log.info("vm_stays")
                if not self._ends():
                    self._pool.take_work()
                    self._changed()
            case Step.NOTHING:
                pass
