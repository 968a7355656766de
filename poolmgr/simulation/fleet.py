"""The agents of a simulated fleet. They obey every order at once, and report the outcome later.

The only simulated fault is a failing warm-up, as often as the options say.
"""

import heapq
from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec

from common.wire.messages import BotEnded, BotMoved, Event, Heartbeat, WorkerGone, WorkerWarm
from common.wire.vocabulary import BotState, GoneCause, Reason
from poolmgr.core.decisions import Assign, Retire, Revoke, Warm
from poolmgr.core.events import Revoked
from poolmgr.core.model import Labels
from poolmgr.simulation.arrivals import Arrival, draw_lognormal

_WARMUP_SIGMA: Final = 0.3
_JOINING_AFTER_S: Final = 0.05  # from the push to the first request: docs/performance.md, warm_join
_ADMITTED_AFTER_S: Final = 10.0  # assumed: a person has to let the bot in
_GONE_AFTER_S: Final = 0.3  # until a browser's processes are gone
_ROOM: Final = 1_000_000_000
"""Room for workers on every VM. Memory is not simulated: only max_workers limits a VM."""

News = Event | Revoked


class Labelled(msgspec.Struct, frozen=True):
    """So many of the VMs have these labels."""

    labels: Labels
    vms: int


class FleetModel(msgspec.Struct, frozen=True):
    """`warmup_s`: the mean of a lognormal. `failing_warmups`: the share of warm-ups that fail, 0 to 1. `processors`: of
    each VM; 0: unknown, and then they limit nothing. `canaries`: how many VMs are. `failing_joins`: the share of joins
    that fail by our doing, 0 to 1; `canarys_failing_joins`: on canaries. `labelled`: each takes
    VMs of its own, the last ones first, while canaries are the first ones. `displays`: VMs make workers with a display.
    """

    vms: int
    warmup_s: float = 2.0
    failing_warmups: float = 0.0
    processors: float = 0.0
    canaries: int = 0
    failing_joins: float = 0.0
    canarys_failing_joins: float = 0.0
    labelled: tuple[Labelled, ...] = ()
    displays: bool = False


class Fleet:
    """The agents, and what they will report when. The bot of `arrivals[n]` has the id `str(n)`."""

    def __init__(self, model: FleetModel, arrivals: Sequence[Arrival], random: Random) -> None:
        self._model = model
        self._arrivals = arrivals
        self._random = random
        self._canaries = {f"vm-{number}" for number in range(model.canaries)}
        self._labels = _labels_of(model)
        self._said = 0
        self._to_say: list[tuple[float, int, News]] = []

    @property
    def next_at(self) -> float:
        return self._to_say[0][0] if self._to_say else float("inf")

    def speak(self) -> News:
        """Remove and return the next report. Raises: IndexError when there is none."""
        return heapq.heappop(self._to_say)[2]

    def _say(self, at: float, news: News) -> None:
        self._said += 1
        heapq.heappush(self._to_say, (at, self._said, news))

    def come_up(self, begin: float, within_s: float) -> None:
        """Let every VM report once, one after another, so that browsers have different ages."""
        for number in range(self._model.vms):
            at = begin + within_s * number / self._model.vms
            self.boot(f"vm-{number}", at)

    def boot(self, vm_id: str, at: float) -> None:
        """Let this VM report at `at` for the first time."""
        processors, canary = self._model.processors, vm_id in self._canaries
        display_room = _ROOM if self._model.displays else None
        is_so = {"processors": processors, "canary": canary, "display_room": display_room}
        beat = Heartbeat(vm_id, "simulated", at, {}, _ROOM, labels=self._labels.get(vm_id, {}))
        self._say(at, msgspec.structs.replace(beat, **is_so))

    def warm(self, order: Warm, now: float) -> None:
        at = now + draw_lognormal(self._model.warmup_s, _WARMUP_SIGMA, self._random)
        if self._model.failing_warmups and self._random.random() < self._model.failing_warmups:
            self._say(at, WorkerGone(order.vm_id, order.worker_id, at, GoneCause.WARMUP_FAILED))
        else:
            self._say(at, WorkerWarm(order.vm_id, order.worker_id, at, at - now))

    def join(self, order: Assign, now: float) -> None:
        join = order.join
        of = (order.vm_id, join.worker_id, join.bot_id, join.attempt)
        joining = now + _JOINING_AFTER_S
        admitted = now + _ADMITTED_AFTER_S
        over = admitted + self._arrivals[int(join.bot_id)].stay_s
        self._say(joining, BotMoved(*of, joining, BotState.JOINING))
        model = self._model
        failing = model.canarys_failing_joins if order.vm_id in self._canaries else model.failing_joins
        if failing and self._random.random() < failing:
            self._say(admitted, BotEnded(*of, admitted, Reason.UI_ELEMENT_NOT_FOUND))
            self._end(order.vm_id, join.worker_id, admitted, GoneCause.SPENT)
            return
        self._say(admitted, BotMoved(*of, admitted, BotState.IN_MEETING))
        self._say(over, BotEnded(*of, over, Reason.MEETING_ENDED))
        self._end(order.vm_id, join.worker_id, over, GoneCause.SPENT)

    def retire(self, order: Retire, now: float) -> None:
        self._end(order.vm_id, order.worker_id, now, GoneCause.RETIRED)

    def refuse_to_give_back(self, order: Revoke, now: float) -> None:
        """Answer a Revoke. An assignment is claimed at once here, so it is never revoked."""
        self._say(now, Revoked(order.bot_id, order.attempt, revoked=False))

    def _end(self, vm_id: str, worker_id: str, now: float, cause: GoneCause) -> None:
        gone = now + _GONE_AFTER_S
        self._say(gone, WorkerGone(vm_id, worker_id, gone, cause))


def _labels_of(model: FleetModel) -> dict[str, dict[str, str]]:
    """The labels of each VM that has some."""
    found: dict[str, dict[str, str]] = {}
    number = model.vms
    for each in model.labelled:
        for _ in range(each.vms):
            number -= 1
            found[f"vm-{number}"] = dict(each.labels)
    return found
