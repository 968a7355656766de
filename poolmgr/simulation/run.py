"""The virtual clock: it jumps to the next event, hands it to the real pool, and lets the fleet obey.

The next event is a job, an agent's event or a deadline of the pool; at the same time deadlines come first.
`Pool.handle` makes all decisions, as in the daemon.
"""

from collections.abc import Callable, Sequence
from math import ceil
from random import Random
from typing import Any, Final

import msgspec

from common.config.settings import CaptureSettings, PoolSettings
from common.jobs.record import Job
from poolmgr.core.decisions import Assign, End, ForgetWorker, KeepVm, Retire, Revoke, Warm
from poolmgr.core.events import CoreEvent, JobAccepted, Tick
from poolmgr.core.load import JobKind, expected_processors
from poolmgr.core.pool import Pool
from poolmgr.simulation.arrivals import Arrival
from poolmgr.simulation.fleet import Fleet, FleetModel
from poolmgr.simulation.report import Meter, Outcome

BEGIN: Final = 86_400.0
"""When measuring begins, on both clocks. They are equal: a jumping calendar is not simulated."""

SETTLING_S: Final = 900.0  # between the last VM and the first job, for warming up
_LONGEST_LEAD_S: Final = BEGIN - SETTLING_S
_LOOKS_PER_S: Final = 16
"""How often deadlines are checked in a second, about as often as in the daemon. A power of two is exact in floats."""
_JOB: Final = Job(platform="room", meeting_url="", bot_name="", payload="")
_JOBS: Final = {
    JobKind.LISTENS: msgspec.structs.replace(_JOB, no_audio=True),
    JobKind.SOUND: _JOB,
    JobKind.PICTURE: msgspec.structs.replace(_JOB, video=True),
}
_RECORDS: Final = CaptureSettings(store="/simulated")


class Simulation:
    """A fleet that serves `arrivals`. Its VMs come up before them over `max_age_s`, so that browsers have different
    ages.

    Each VM sends one heartbeat, when it comes up, and never falls silent: heartbeat_timeout_s and lost_after_s of
    `settings` are not used.
    """

    def __init__(
        self, settings: PoolSettings, model: FleetModel, arrivals: Sequence[Arrival], hours: float, random: Random
    ) -> None:
        self.hours = hours
        self._end = BEGIN + hours * 3600
        unheard = msgspec.structs.replace(settings, heartbeat_timeout_s=self._end, lost_after_s=self._end)
        self.pool = Pool(unheard, capture=_RECORDS)
        self._meter = Meter(
            self.pool.fleet.workers,
            BEGIN,
            lambda: expected_processors(self.pool.fleet.carried, settings),
            model.vms * model.processors * settings.cpu_limit,
            self._requires if any(arrival.requires for arrival in arrivals) else None,
        )
        self.fleet = Fleet(model, arrivals, random)
        lead_s = min(settings.max_age_s, _LONGEST_LEAD_S)
        earliest = BEGIN - SETTLING_S - lead_s
        self.fleet.come_up(earliest, lead_s)
        # Sorted with the last first, so that the next one is taken from the end.
        self._jobs = sorted(
            (
                (max(earliest, BEGIN + arrival.at_s - arrival.ahead_s), number)
                for number, arrival in enumerate(arrivals)
            ),
            reverse=True,
        )
        self._job_at = self._jobs[-1][0] if self._jobs else float("inf")
        self._arrivals = arrivals
        self._carry_out: dict[type, Callable[[Any, float], None]] = {
            Warm: self._warm,
            Assign: self._assign,
            Retire: self.fleet.retire,
            Revoke: self.fleet.refuse_to_give_back,
            End: self._meter.end,
            ForgetWorker: self._meter.forget_worker,
            KeepVm: self._meter.keep_vm,
        }

    def advance(self, to_h: float) -> None:
        """Run until `to_h` hours after the beginning (0: only until the fleet is up)."""
        until = min(BEGIN + to_h * 3600, self._end)
        # Attributes are looked up once, because the loop runs millions of times.
        handle, carry_out, pass_time = self.pool.handle, self._carry_out.get, self._meter.pass_time
        timers, calendar, fleet = self.pool.timers, self.pool.calendar, self.fleet
        while True:
            deadline, scheduled, news_at, job_at = timers.next_at, calendar.next_at, fleet.next_at, self._job_at
            if scheduled < deadline:
                deadline = scheduled
            if deadline < news_at and deadline < job_at:
                deadline = ceil(deadline * _LOOKS_PER_S) / _LOOKS_PER_S
            if deadline <= news_at and deadline <= job_at:
                if deadline >= until:
                    break
                now, event = deadline, Tick(deadline)
            elif news_at <= job_at:
                if news_at >= until:
                    break
                now, event = news_at, fleet.speak()
            else:
                if job_at >= until:
                    break
                now, event = job_at, self._next_job()
            pass_time(now)
            for decision in handle(event, now):
                if obey := carry_out(type(decision)):
                    obey(decision, now)
        pass_time(until)

    def put(self, event: CoreEvent, now: float) -> None:
        """Let the pool handle an event from outside, at the time up to which was advanced."""
        for decision in self.pool.handle(event, now):
            if obey := self._carry_out.get(type(decision)):
                obey(decision, now)

    def outcome(self) -> Outcome:
        """The results so far."""
        return self._meter.outcome(still_waiting=len(self.pool.queue))

    def _next_job(self) -> JobAccepted:
        at, number = self._jobs.pop()
        self._job_at = self._jobs[-1][0] if self._jobs else float("inf")
        arrival = self._arrivals[number]
        job = _JOBS[arrival.kind]
        if arrival.ahead_s:
            job = msgspec.structs.replace(job, join_at=BEGIN + arrival.at_s)
        if arrival.requires:
            job = msgspec.structs.replace(job, requires=dict(arrival.requires))
        return JobAccepted(str(number), job, at)

    def _requires(self, bot_id: str) -> str:
        return ",".join(f"{name}={value}" for name, value in sorted(self._arrivals[int(bot_id)].requires))

    def _warm(self, order: Warm, now: float) -> None:
        self._meter.warm(order, now)
        self.fleet.warm(order, now)

    def _assign(self, order: Assign, now: float) -> None:
        self._meter.assign(order, now)
        self.fleet.join(order, now)
