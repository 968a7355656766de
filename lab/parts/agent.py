"""An agent without browsers: it has an agent's state in memory, and sends the real messages by the real script. Its
caller decides when.
"""

import time
import uuid

from common.runtime.redis.lua import Call
from common.wire import codec
from common.wire.keys import WireKeys
from common.wire.messages import BotEnded, Event, Heartbeat, Join, JoinRefused, WorkerGone, WorkerReport, WorkerWarm
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from worker.link import scripts
from worker.link.redis import HEARTBEATS_UNREAD


class SimulatedVm:
    """`room`: how many workers fit on it. Events wait until they are written."""

    def __init__(self, vm_id: str, room: int = 100) -> None:
        self.vm_id = vm_id
        self.session = uuid.uuid4().hex
        self.workers: dict[str, WorkerReport] = {}
        self._room = room
        self._unwritten: list[Event] = []
        self._written = 0

    def say(self, *events: Event) -> None:
        self._unwritten += events

    def news(self, keys: WireKeys) -> Call[bytes | None]:
        """The events since the last call, which are to be written."""
        numbered: list[int | bytes] = []
        for event in self._unwritten:
            self._written += not isinstance(event, Heartbeat)
            numbered += (0 if isinstance(event, Heartbeat) else self._written, codec.encode(event))
        self._unwritten.clear()
        vm_id = self.vm_id
        return scripts.write(
            events=keys.events,
            written=keys.written(vm_id),
            alive=keys.alive(vm_id),
            commands=keys.commands(vm_id),
            session=self.session,
            presence=b'{"session":"%s","host":"lab","state_dir":""}' % self.session.encode(),
            most_unread=HEARTBEATS_UNREAD,
            entries=numbered,
        )

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
        """End the bot and its worker."""
        bot = self.workers[worker_id]
        self.say(BotEnded(self.vm_id, worker_id, bot.bot_id, bot.attempt, time.time(), reason))
        self.gone(worker_id, GoneCause.SPENT)

    def gone(self, worker_id: str, cause: GoneCause, detail: str = "") -> None:
        self.workers.pop(worker_id, None)
        self.say(WorkerGone(self.vm_id, worker_id, time.time(), cause, detail))
