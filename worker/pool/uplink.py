"""What the workers need of those who are not on this VM: the manager, the locks of accounts, who keeps evidence and
recordings.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Protocol

import structlog
from playwright.async_api import Page

from common.wire.messages import Event, Join, JoinRefused, WorkerGone, WorkerWarm
from worker.chromium.accounts import GUESTS, Accounts
from worker.decide.state import State
from worker.link.journal import Entry
from worker.meeting.evidence import Witness
from worker.platforms import Adapter

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Witnesses = Callable[[Join, Adapter, bool], Witness | None]
"""Who is to see a bot's session, if anybody; True: an earlier agent began it."""


Recorders = Callable[
    [Join, Callable[[], Page | None], Callable[[], float | None], Callable[[str], None]],
    AbstractAsyncContextManager[Callable[[State], None]],
]
"""Records a bot while its session lasts. Of whom, the page, when a voice was received, what tells its story; what it
gives is told where the bot is.
"""


@asynccontextmanager
async def unrecorded(*_: object) -> AsyncGenerator[Callable[[State], None]]:
    yield lambda _state: None


class Report(Protocol):
    """Takes what happened, in order, and together with it what is to be remembered of a worker."""

    def __call__(self, *events: Event, entry: Entry | None = None) -> None: ...


class Uplink(NamedTuple):
    """`claim` answers whether an assignment is still this worker's."""

    vm_id: str
    claim: Callable[[Join], Awaitable[bool]]
    report: Report
    witnesses: Witnesses
    accounts: Accounts = GUESTS
    recorders: Recorders = unrecorded

    def tell(self, *events: Event, entry: Entry | None = None) -> None:
        """Report it; beginnings, refusals and ends also stand in the log."""
        for event in events:
            match event:
                case WorkerWarm(worker_id=worker_id, took_s=took_s):
                    log.info("worker_warmed", worker_id=worker_id, took_s=round(took_s, 3))
                case WorkerGone(worker_id=worker_id, cause=cause, detail=detail):
                    log.info("worker_gone", worker_id=worker_id, cause=cause, detail=detail)
                case JoinRefused(worker_id=worker_id, bot_id=bot_id, attempt=attempt, cause=cause):
                    log.warning("join_refused", worker_id=worker_id, bot_id=bot_id, attempt=attempt, cause=cause)
                case _:
                    pass
        self.report(*events, entry=entry)
