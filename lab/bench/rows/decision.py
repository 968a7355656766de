"""What an event costs the pool, by the size of the fleet. Pure: no Redis, no loop."""

import asyncio
import time
from typing import Final

from common.config.settings import PoolSettings
from common.jobs.job import JobRules, parse_job
from common.wire.messages import BotEnded, BotMoved, Heartbeat, WorkerGone, WorkerReport, WorkerWarm
from common.wire.vocabulary import BotState, GoneCause, Reason, WorkerState
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, ratio, take_turns
from poolmgr.core.decisions import Assign, Warm
from poolmgr.core.events import CoreEvent, JobAccepted, Tick
from poolmgr.core.pool import Pool

_MOST: Final = 1.3  # times; docs: the budgets
_FEW, _MANY = 10, 10_000
_BOTS_A_ROUND: Final = 200
_HOST: Final = "127.0.0.1:8090"
_EPOCH_S: Final = 1_700_000_000.0


class Life:
    """A fleet with all its workers idle. `bot` takes one bot from its job to the slot warm again."""

    def __init__(self, vms: int) -> None:
        self._settings = PoolSettings()
        self._pool = Pool(self._settings)
        self._now = _EPOCH_S
        self._bots = 0
        job = b'{"meeting_link": "http://%s/r/bench"}' % _HOST.encode()
        self._job = parse_job(job, _EPOCH_S, JobRules(frozenset({_HOST})))
        self._vm_ids = [f"vm-{number:05}" for number in range(vms)]
        for vm_id in self._vm_ids:
            idle = {f"{vm_id}-{n}": WorkerReport(WorkerState.IDLE) for n in range(self._settings.min_idle)}
            self._pool.handle(Heartbeat(vm_id, "session", self._now, idle, 100), self._now)

    def bot(self) -> float:
        """The microseconds for one event, as a mean over the seven of this bot."""
        self._bots += 1
        bot_id = f"bot-{self._bots}"
        spent_ns = 0

        def handle(event: CoreEvent) -> list[object]:
            nonlocal spent_ns
            self._now += 0.001
            began = time.perf_counter_ns()
            decisions = self._pool.handle(event, self._now)
            spent_ns += time.perf_counter_ns() - began
            return list(decisions)

        decisions = handle(JobAccepted(bot_id, self._job, self._now))
        [assign] = [decision for decision in decisions if isinstance(decision, Assign)]
        [warm] = [decision for decision in decisions if isinstance(decision, Warm)]
        vm_id, worker_id = assign.vm_id, assign.join.worker_id
        handle(WorkerWarm(vm_id, warm.worker_id, self._now))
        handle(BotMoved(vm_id, worker_id, bot_id, 1, self._now, BotState.IN_MEETING))
        handle(Tick(self._now))
        vm = self._pool.fleet.vms[vm_id]
        reports = {worker.worker_id: WorkerReport(worker.state, worker.bot_id, 1) for worker in vm.workers.values()}
        handle(Heartbeat(vm_id, "session", self._now, reports, 100))
        handle(BotEnded(vm_id, worker_id, bot_id, 1, self._now, Reason.MEETING_ENDED))
        handle(WorkerGone(vm_id, worker_id, self._now, GoneCause.SPENT))
        return spent_ns / 7 / 1000


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    rounds = 10 if quick else 40
    progress.say(f"builds a pool of {_MANY:,} VMs")
    few, many = Life(_FEW), Life(_MANY)
    subject, floor = Series(f"{_MANY:,} VMs", "µs"), Series(f"{_FEW} VMs", "µs")

    async def lives(life: Life) -> list[tuple[float]]:
        await asyncio.sleep(0)
        return [(life.bot(),) for _ in range(_BOTS_A_ROUND)]

    contenders = [Contender((subject,), lambda: lives(many)), Contender((floor,), lambda: lives(few))]
    await take_turns(rounds, contenders, progress.say)
    grown = ratio(subject, floor) or 0.0
    means = subject.summary().mean / floor.summary().mean
    return [
        Measurement(
            "decision",
            f"decision cost per event, {_MANY:,} VMs beside {_FEW}",
            subject.summary(),
            [floor.summary()],
            grown,
            [Budget("ratio of p50s", "x", grown, _MOST), Budget("ratio of means", "x", means)],
            conditions=f"{rounds} rounds of {_BOTS_A_ROUND} bots, seven events each: job, replacement warm, in the"
            " meeting, tick, heartbeat, bot ended, worker gone; the mean over a bot's events is one sample.",
            limited_by="what does not grow with the fleet. The means hold Python's garbage collection as well, whose"
            " full passes look at every object of a large fleet.",
        )
    ]
