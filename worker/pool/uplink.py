"""What the workers need from outside the pool: the manager, locks of accounts, and who keeps evidence and
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
from worker.meeting.evidence import EvidenceKeeper
from worker.platforms import Adapter

log: structlog.stdlib.BoundLogger = structlog.get_logger()

EvidenceKeepers = Callable[[Join, Adapter, bool], EvidenceKeeper | None]
"""Makes the keeper of a bot's session, if evidence is kept. The third argument: whether an earlier agent began it."""

Recorders = Callable[
    [Join, Callable[[], Page | None], Callable[[], State | None], Callable[[str], None], Callable[[str], None]],
    AbstractAsyncContextManager[Callable[[State], None]],
]
"""Records a bot while the context is open. Arguments: the order, the bot's page, where the bot is by the last look, and
a function that reports an action of the recorder, and one that has a text written in the chat, once, because the bot
is recorded. The context gives a function that takes each new state of the session.
"""


@asynccontextmanager
async def unrecorded(*_: object) -> AsyncGenerator[Callable[[State], None]]:
    yield lambda _state: None


async def as_it_is(_page: Page) -> None:
    pass


class Report(Protocol):
    """Reports events in order. `entry`: what the journal is to hold of a worker from then on, written together with
    them.
    """

    def __call__(self, *events: Event, entry: Entry | None = None) -> None: ...


class Uplink(NamedTuple):
    """`claim` answers whether an assignment is still this worker's. `report` sends events. `equip` makes the page of
    a worker ready, when it is warm and each time that its browser is connected to.
    """

    vm_id: str
    claim: Callable[[Join], Awaitable[bool]]
    report: Report
    keepers: EvidenceKeepers
    accounts: Accounts = GUESTS
    recorders: Recorders = unrecorded
    equip: Callable[[Page], Awaitable[None]] = as_it_is

    def tell(self, *events: Event, entry: Entry | None = None) -> None:
        """Report these events. Warm workers, removed workers and refused bots are also logged."""
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
