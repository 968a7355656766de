"""Ends the workers that hold too much memory, flood the driver, or outlive every limit of their own."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import structlog

from common.wire.vocabulary import GoneCause, Reason
from worker.chromium import processes
from worker.chromium.driver import Driver
from worker.decide.overdue import Limits, Patience
from worker.decide.worker import Failure, LeaveOrdered, Phase
from worker.pool.worker import Worker

MEMORY_CHECK_S: Final = 2.0
NOISE_CHECK_S: Final = 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()

LOUD_BYTES: Final = 100_000  # unread by the driver: a calm page has 0, a flood fills the kernel's buffer (200 KB)
LOUD_LOOKS: Final = 5  # looks in a row, two seconds apart; what a loading page sends is read within one look
LEAVES_WITHIN_SHARE: Final = 0.5  # of leave_when_cut_off_s, for leaving; then its browser is ended
_IN_A_MEETING: Final = (Phase.RETURNING, Phase.SERVING)


class Watch:
    """`workers`: all workers, by id, as they are at each look. `limit_mb`: what each may hold. `limits`: of
    sessions.
    """

    def __init__(self, workers: Mapping[str, Worker], driver: Driver, limit_mb: int, limits: Limits) -> None:
        self._workers = workers
        self._driver = driver
        self._limit_mb = limit_mb
        self._limits = limits
        self._patience: dict[str, Patience] = {}
        self._loud: dict[int, int] = {}  # by port: in how many looks in a row more than LOUD_BYTES were unread

    def end_those_too_large(self) -> None:
        """End each worker that holds more memory than it may. Blocks for some ms."""
        limit_mb = self._limit_mb
        of_group = {worker.chromium.leader.pid: worker for worker in self._workers.values() if worker.chromium}
        for group, held_mb in processes.private_memory_mb(of_group).items():
            worker = of_group[group]
            worker.memory.note(held_mb, time.monotonic())
            if held_mb > limit_mb and not worker.status.is_ending:
                detail = f"it held {held_mb} MB, more than worker.memory_limit_mb ({limit_mb})"
                log.warning("memory_limit_reached", worker_id=worker.worker_id, held_mb=held_mb, limit_mb=limit_mb)
                worker.tell(Failure(GoneCause.MEMORY_LIMIT, detail, Reason.MEMORY_LIMIT))

    def end_those_overdue(self) -> None:
        """End each worker whose session has outlived its own limits. To be called every overdue.LOOK_S."""
        before, self._patience = self._patience, {}
        for worker in self._workers.values():
            if (session := worker.session) and worker.status.phase is Phase.SERVING:
                patience = before.get(worker.worker_id) or Patience(self._limits)
                self._patience[worker.worker_id] = patience
                if detail := patience.look(session.steps, session.state, time.monotonic()):
                    worker.end_by_force(detail)

    async def end_those_too_loud(self) -> None:
        """End the worker whose page sends more events than the driver can read: they delay the events of all workers.

        Only the loudest page is ended, because behind it the events of calm pages go unread, too. If the driver reads
        nothing at all, the fault is the driver's, and no page is ended.
        """
        if not self._loudest() or not await self._driver.answers():
            return
        loudest = self._loudest()
        if not loudest or loudest.status.phase is not Phase.SERVING:
            return
        self._loud.clear()
        log.warning("page_too_loud", worker_id=loudest.worker_id)
        detail = "its page made more events than the driver, which all workers share, can read"
        loudest.tell(Failure(GoneCause.UNRESPONSIVE, detail, Reason.BROWSER_HUNG))

    async def leave_if_cut_off(self, silent_s: float) -> None:
        """Make bots leave while this VM is cut off from Redis, before the manager sends them in again from another VM.
        `silent_s`: how long ago Redis last answered.

        A bot with `leave_when_cut_off_s` is told to leave after that time. Half as long later its browser is killed,
        without asking page, driver or session: any of them may hang.
        """
        async with asyncio.TaskGroup() as killing:
            for worker in self._workers.values():
                limit_s = worker.status.join.leave_when_cut_off_s if worker.status.join else 0.0
                if worker.status.phase not in _IN_A_MEETING or not 0.0 < limit_s < silent_s:
                    continue
                worker.tell(LeaveOrdered(Reason.CUT_OFF))
                if silent_s > limit_s * (1 + LEAVES_WITHIN_SHARE) and worker.chromium:
                    log.warning("cut_off_browser_ended", worker_id=worker.worker_id)
                    detail = "it did not leave in time when its VM was cut off"
                    worker.tell(Failure(GoneCause.UNRESPONSIVE, detail, Reason.CUT_OFF))
                    killing.create_task(worker.chromium.kill(), name=f"end the browser of {worker.worker_id}")

    def _loudest(self) -> Worker | None:
        """The worker with most unread bytes of those that were too loud at LOUD_LOOKS looks in a row; None:
        none was.
        """
        of_port = {worker.chromium.port: worker for worker in self._workers.values() if worker.chromium}
        unread = processes.unread_bytes(of_port)  # browsers to which the driver is not connected are missing here
        before = self._loud
        self._loud = {port: before.get(port, 0) + 1 if waiting > LOUD_BYTES else 0 for port, waiting in unread.items()}
        loud = [port for port, looks in self._loud.items() if looks >= LOUD_LOOKS]
        return of_port[max(loud, key=lambda port: unread[port])] if loud else None
