"""Takes over the workers of an earlier agent, whose browsers still run. The journal says which they are.

A worker whose browser lives goes on in the state in which it was: idle, or with its bot. A worker whose browser is gone
ends.
"""

import asyncio
from typing import Final

import structlog

from common.wire.vocabulary import GoneCause, Reason, RefusalCause
from worker.chromium.display import is_recordable
from worker.chromium.process import Chromium, Launcher
from worker.decide.worker import Failure, Phase, WorkerStatus
from worker.link.journal import Stage, WorkerNote
from worker.platforms import BLANK, adapter_for
from worker.pool.connections import Connections, Start
from worker.pool.serving import NOT_EMPTY, Serving
from worker.pool.worker import Worker

log: structlog.stdlib.BoundLogger = structlog.get_logger()

NO_BROWSER: Final = "the browser was gone when the agent started again"
LEFT: Final = "left by an earlier run of the agent"


def status_of(vm_id: str, worker_id: str, note: WorkerNote) -> WorkerStatus:
    """The status in which the earlier agent left the worker."""
    with_bot = Phase.CLAIMING if note.state is None else Phase.RETURNING
    phase = with_bot if note.join else Phase.IDLE
    retires = GoneCause.RETIRED if note.retires else None
    return WorkerStatus(vm_id, worker_id, phase, (), note.page, note.join, note.state, ends_when_free=retires)


class Takeover:
    """`done` is set once each worker of the earlier agent is connected to, or ends."""

    def __init__(self, launcher: Launcher, connections: Connections, serving: Serving, start: Start) -> None:
        self._launcher = launcher
        self._connections = connections
        self._serving = serving
        self._start = start
        self._to_connect: set[str] = set()
        self.done = asyncio.Event()

    def begin(self, worker: Worker, note: WorkerNote) -> None:
        """Connect to the worker's browser and go on with it; without a browser the worker ends."""
        chromium = worker.chromium = self._launcher.find(worker.worker_id) if note.stage is Stage.WARM else None
        if chromium:
            worker.display = is_recordable(chromium.folder)
            self._to_connect.add(worker.worker_id)
            worker.work = self._start(self._take_over(worker, chromium), name=f"take over {worker.worker_id}")
        else:
            cause = GoneCause.SPENT if note.stage is Stage.SPENT else GoneCause.MISSING
            worker.tell(Failure(cause, NO_BROWSER if note.join else LEFT))

    def done_if_connected(self) -> None:
        """Set `done`, unless there is still a browser to connect to."""
        if not self._to_connect:
            self.done.set()

    async def _take_over(self, worker: Worker, chromium: Chromium) -> None:
        self._start(worker.watch(chromium), name=f"watch the browser of {worker.worker_id}")
        try:
            await self._connections.restore(worker, chromium)
        finally:
            self._to_connect.discard(worker.worker_id)
            self.done_if_connected()
        if worker.status.is_ending:
            return
        join, page = worker.status.join, worker.page
        assert page
        log.info("worker_adopted", worker_id=worker.worker_id, bot_id=join.bot_id if join else "")
        if join is None:
            if page.url != BLANK:
                worker.tell(Failure(GoneCause.UNRESPONSIVE, NOT_EMPTY))
        elif (adapter := adapter_for(join.platform)) is None:
            why = f"the agent has no adapter for {join.platform} any more"
            refusal = RefusalCause.UNKNOWN_PLATFORM
            worker.tell(Failure(GoneCause.SPENT, why, Reason.UNSUPPORTED_PLATFORM, refusal))
        elif worker.status.phase is Phase.RETURNING:
            self._start(self._serving.check_claim(worker, join), name=f"claim {join.bot_id}")
            await self._serving.attend(worker, join, adapter, page, worker.status.bot)
        else:
            await self._serving.serve(worker, join, adapter)
