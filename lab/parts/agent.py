"""An agent without browsers: it holds what an agent has in memory, and sends the real messages by the real script. Its
caller decides when.
"""

import time
import uuid
from pathlib import Path
from typing import Any, Final

import worker
from common.wire import codec
from common.wire.keys import WireKeys
from common.wire.messages import BotEnded, Event, Heartbeat, Join, JoinRefused, WorkerGone, WorkerReport, WorkerWarm
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from worker.link import redis as link

LUA: Final = Path(worker.__file__).parent / "link" / "lua"


class SimulatedVm:
    """`room`: how many workers fit on it. What it says waits until it is written."""

    def __init__(self, vm_id: str, room: int = 100) -> None:
        self.vm_id = vm_id
        self.session = uuid.uuid4().hex
        self.workers: dict[str, WorkerReport] = {}
        self._room = room
        self._unwritten: list[Event] = []
        self._written = 0

    def say(self, *events: Event) -> None:
        self._unwritten += events

    def news(self, keys: WireKeys) -> tuple[list[str], list[Any]]:
        """What was said since, as keys and arguments of write.lua."""
        presence = b'{"session":"%s","host":"lab","state_dir":""}' % self.session.encode()
        lives = (link.ALIVE_S, link.COMMANDS_LIVE_S, link.WRITTEN_LIVES_S, link.HEARTBEATS_UNREAD, link.NOBODY_READS_S)
        numbered: list[int | bytes] = []
        for event in self._unwritten:
            self._written += not isinstance(event, Heartbeat)
            numbered += (0 if isinstance(event, Heartbeat) else self._written, codec.encode(event))
        self._unwritten.clear()
        vm_id = self.vm_id
        where = [keys.events, keys.written(vm_id), keys.alive(vm_id), keys.commands(vm_id)]
        return where, [self.session, presence, *lives, *numbered]

    def beat(self) -> None:
        room = max(0, self._room - len(self.workers))
        self.say(Heartbeat(self.vm_id, self.session, time.time(), dict(self.workers), room))

    def warmed(self, worker_id: str, took_s: float) -> None:
        self.workers[worker_id] = WorkerReport(WorkerState.IDLE)
        self.say(WorkerWarm(self.vm_id, worker_id, time.time(), took_s))

    def begin(self, join: Join) -> None:
        self.workers[join.worker_id] = WorkerReport(WorkerState.BUSY, join.bot_id, join.attempt)

    def refuse(self, join: Join, cause: RefusalCause) -> None:
        self.say(JoinRefused(self.vm_id, join.worker_id, join.bot_id, join.attempt, time.time(), cause))

    def end(self, worker_id: str, reason: Reason) -> None:
        """The bot's end, and that of its worker."""
        bot = self.workers[worker_id]
        self.say(BotEnded(self.vm_id, worker_id, bot.bot_id, bot.attempt, time.time(), reason))
        self.gone(worker_id, GoneCause.SPENT)

    def gone(self, worker_id: str, cause: GoneCause, detail: str = "") -> None:
        self.workers.pop(worker_id, None)
        self.say(WorkerGone(self.vm_id, worker_id, time.time(), cause, detail))
