"""Follows the agent's workers by its events, and says how many of the wanted browsers are warm. Pure."""

from typing import Final, NamedTuple

from common.config.settings import PoolSettings
from common.wire.messages import BotEnded, BotMoved, Event, Heartbeat, WorkerGone, WorkerReport, WorkerWarm
from common.wire.vocabulary import BotState, WorkerState
from poolmgr.one_machine.news import Ready, Warming

PATIENCE_S: Final = 2.0  # if it takes longer, that is printed
PROGRESS_EVERY_S: Final = 5.0


class Browsers(NamedTuple):
    """The agent's workers by id. `room`: for how many more there is memory. `displays`: it makes workers with a
    display.
    """

    workers: dict[str, WorkerReport]
    room: int
    displays: bool = False

    @property
    def idle(self) -> int:
        return self._in(WorkerState.IDLE)

    @property
    def warming(self) -> int:
        return self._in(WorkerState.WARMING)

    @property
    def bots(self) -> int:
        return sum(bool(worker.bot_id) for worker in self.workers.values())

    def wanted(self, pool: PoolSettings) -> int:
        """How many browsers should be idle: the manager's target, up to the limit of the VM."""
        return min(pool.idle_target(displays=self.displays), max(0, pool.max_workers - self.bots))

    def _in(self, state: WorkerState) -> int:
        return sum(worker.state is state for worker in self.workers.values())


def after(before: Browsers | None, event: Event) -> Browsers | None:
    """The agent's workers after `event`; None until the first heartbeat, because only heartbeats list all workers."""
    if isinstance(event, Heartbeat):
        return Browsers(dict(event.workers), event.room, event.display_room is not None)
    if before is None:
        return None
    workers = dict(before.workers)
    match event:
        case WorkerWarm(worker_id=worker_id):
            workers[worker_id] = WorkerReport(WorkerState.IDLE)
        case BotMoved(worker_id=worker_id, bot_id=bot_id, state=state) if state is not BotState.STOPPED:
            workers[worker_id] = WorkerReport(WorkerState.BUSY, bot_id)
        case BotEnded(worker_id=worker_id):
            workers[worker_id] = WorkerReport(WorkerState.RETIRING)
        case WorkerGone(worker_id=worker_id):
            workers.pop(worker_id, None)
        case _:
            return before
    return before._replace(workers=workers)


class Warmth:
    """Reports how many browsers are warm: at intervals, and once when all are."""

    def __init__(self, pool: PoolSettings) -> None:
        self._pool = pool
        self._is_said = False
        self._last_s = 0.0

    def look(self, browsers: Browsers | None, *, works: bool, after_s: float) -> Ready | Warming | None:
        """The report that is due now, if any. `works`: manager and agent work. `after_s`: seconds since the start."""
        if self._is_said:
            return None
        if browsers is not None and works:
            wanted = browsers.wanted(self._pool)
            is_full = browsers.room == 0 and browsers.warming == 0 and after_s > PATIENCE_S
            if browsers.idle >= wanted or is_full:
                self._is_said = True
                return Ready(browsers.idle, wanted, browsers.bots, after_s)
        if after_s < PATIENCE_S or after_s - self._last_s < PROGRESS_EVERY_S:
            return None
        self._last_s = after_s
        idle, wanted = (browsers.idle, browsers.wanted(self._pool)) if browsers else (0, self._pool.min_idle)
        return Warming(idle, wanted, after_s)
