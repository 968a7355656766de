"""Inflicts the faults: those drawn at random, those that follow on bots' ends, or those of a schedule. It records each,
so that it can be repeated.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from common.wire.vocabulary import Reason
from lab.chaos.faults.catalogue import (
    BY_NAME,
    CRASHED,
    EXPLAINS_FOR_S,
    OLD_COPY,
    Aim,
    Excuse,
    Fault,
    Planned,
    Still,
    Target,
)
from lab.chaos.faults.injection import Blow, Moment
from lab.chaos.faults.near_ends import NearEnds
from lab.chaos.observers.processes import Running, driver_of
from lab.chaos.observers.witness import Mark
from lab.chaos.system.stage import Stage

_REST_S: Final = 4.0  # between two faults that silence a target, so that two short silences are not one long one
_RETRIES_WITHIN_S: Final = 2.0  # an agent whose write was refused tries again after this time at the latest
_COMES_WITHIN_S: Final = 30.0  # how long a fault waits for its moment

OnFault = Callable[[Blow, Target], None]


class Inflictor:
    """`on_fault` is called with each fault and its target when it begins. `meetings`: by tag, what happens in each
    job's meeting. `dealt`: what was inflicted. `stood_still`: processes that were frozen, once they go on. `missed`:
    the faults of a schedule that found no target.
    """

    def __init__(
        self, stage: Stage, on_fault: OnFault, meetings: Mapping[str, str], near_ends: NearEnds | None = None
    ) -> None:
        self.excuses: list[Excuse] = []
        self.dealt: list[Blow] = []
        self.stood_still: list[Still] = []
        self.missed: list[Blow] = []
        self._stage = stage
        self._on_fault = on_fault
        self._meetings = meetings
        self._near_ends = near_ends
        self._free_at: dict[str, float] = {}
        self._unwritable_until: dict[str, float] = {}  # by part, epoch seconds
        self._began = time.monotonic()
        self._group: asyncio.TaskGroup | None = None
        self._where: dict[str, Running] = {}  # the latest browser of each job
        self._heard_at: dict[tuple[str, Moment], float] = {}
        self._heard: defaultdict[tuple[str, Moment], asyncio.Event] = defaultdict(asyncio.Event)

    def see(self, mark: Mark) -> None:
        """Take note of what the witness saw."""
        if mark.seen in ("lobby", "inside") and (browser := self._stage.table.browser_of(mark.pid)):
            self._where[mark.tag] = browser
        self._hear(mark.tag, Moment(mark.seen))

    def note_asked(self, tag: str) -> None:
        self._hear(tag, Moment.ASKED)

    async def run(self, planned: Sequence[Planned], seconds: float) -> None:
        """Inflict the planned faults, and return when all are undone. A fault without a target at its moment does not
        happen.
        """
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as self._group:
            for fault in planned:
                await asyncio.sleep(max(0.0, self._began + fault.at_s - time.monotonic()))
                if target := await self._choose(fault):
                    self._deal(self._as_dealt(fault, target), target)
            await asyncio.sleep(max(0.0, self._began + seconds - time.monotonic()))
            self._near_ends = None

    async def play(self, blows: Sequence[Blow]) -> None:
        """Inflict the faults of a schedule, each at its moment. Returns when all are undone."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as self._group:
            for blow in blows:
                self._group.create_task(self._deal_later(blow), name=blow.fault)

    # Chance

    async def _choose(self, planned: Planned) -> Target | None:
        stage, now = self._stage, time.monotonic()
        targets = [
            target for target in await self._candidates(planned.fault.aim) if self._is_fit(planned.fault, target)
        ]
        if planned.fault is not OLD_COPY:  # a round has exactly one, whatever else happens to Redis
            targets = [target for target in targets if self._free_at.get(target.label, 0.0) <= now]
        if not targets:
            return None
        target = targets[int(planned.pick * len(targets))]
        assert target.name in stage.parts or planned.fault.aim is Aim.PRIMARY
        return target

    def _as_dealt(self, planned: Planned, target: Target) -> Blow:
        fault, at_s = planned.fault, round(time.monotonic() - self._began, 3)
        leads = fault.aim in (Aim.LEADER, Aim.PRIMARY)
        return Blow(at_s, fault.name, planned.lasts_s, "" if leads or target.job else target.name, target.job)

    async def _candidates(self, aim: Aim) -> list[Target]:
        stage = self._stage
        match aim:
            case Aim.LEADER:
                leader = await stage.leader()
                names = [leader] if leader else []
            case Aim.MANAGER:
                names = list(stage.managers)
            case Aim.REDIS:
                names = ["redis"] if "redis" in stage.parts else []
            case Aim.PRIMARY:
                server = await stage.primary()
                return [Target("redis", server.pid, aim)] if server and server.pid else []
            case Aim.AGENT | Aim.DRIVER:
                names = list(stage.agents)
            case Aim.IDLE_BROWSER | Aim.MEETING_BROWSER:
                return self._browsers(in_meeting=aim is Aim.MEETING_BROWSER)
        return [target for name in names if (target := self._part(name, aim))]

    def _is_fit(self, fault: Fault, target: Target) -> bool:
        return fault.needs is None or self._stage.has(fault.needs, target.name)

    def _part(self, name: str, aim: Aim) -> Target | None:
        pid = self._stage.part(name).pid
        if aim is not Aim.DRIVER:
            return Target(name, pid, name) if pid else None
        driver = driver_of(pid) if pid else None
        return Target(name, driver, f"the driver of {name}") if driver else None

    def _browsers(self, *, in_meeting: bool) -> list[Target]:
        present = {mark.pid: mark.tag for mark in self._stage.witness.present.values()}
        browsers = [browser for browser in self._stage.table.browsers() if (browser.pid in present) is in_meeting]
        browsers.sort(key=lambda browser: browser.worker_id)
        return [
            Target(browser.vm_id, browser.pid, browser.worker_id, present.get(browser.pid, "")) for browser in browsers
        ]

    # Faults that follow on a moment, or come from a schedule

    def _hear(self, tag: str, moment: Moment) -> None:
        if tag not in self._meetings or (tag, moment) in self._heard_at:
            return
        self._heard_at[tag, moment] = time.monotonic()
        self._heard[tag, moment].set()
        if self._near_ends and self._group:
            for blow in self._near_ends.after(tag, self._meetings[tag], moment):
                self._group.create_task(self._deal_later(blow), name=blow.fault)

    async def _deal_later(self, blow: Blow) -> None:
        began = self._began
        if blow.after:
            heard = self._heard[blow.job, blow.after]
            try:
                async with asyncio.timeout(_COMES_WITHIN_S):
                    await heard.wait()
            except TimeoutError:
                self.missed.append(blow)
                return
            began = self._heard_at[blow.job, blow.after]
        await asyncio.sleep(max(0.0, began + blow.at_s - time.monotonic()))
        target = await self._aim(blow)
        if target and self._is_fit(BY_NAME[blow.fault], target):
            self._deal(blow, target)
        else:
            self.missed.append(blow)

    async def _aim(self, blow: Blow) -> Target | None:
        """The target that the schedule names, if it is there."""
        aim = BY_NAME[blow.fault].aim
        if aim in (Aim.LEADER, Aim.PRIMARY):
            return next(iter(await self._candidates(aim)), None)
        browser = self._where.get(blow.job)
        if aim is Aim.MEETING_BROWSER:
            alive = browser and self._stage.table.browser_of(browser.pid) == browser
            return Target(browser.vm_id, browser.pid, browser.worker_id, blow.job) if browser and alive else None
        name = "redis" if aim is Aim.REDIS else blow.target or (browser.vm_id if browser else "")
        if aim is Aim.IDLE_BROWSER:
            return next((browser for browser in self._browsers(in_meeting=False) if browser.name == name), None)
        return self._part(name, aim) if name else None

    # One fault

    def _deal(self, blow: Blow, target: Target) -> None:
        assert self._group
        fault, now = BY_NAME[blow.fault], time.monotonic()
        rests_s = blow.lasts_s + _REST_S if fault.lasts_s[1] else 0.0
        self._free_at[target.label] = max(self._free_at.get(target.label, 0.0), now + rests_s)
        self.dealt.append(blow)
        # Noted before it happens, so that a check in the middle of it finds its excuse.
        begin, of_one = time.time(), target.pid if _is_of_one_bot(fault) else 0
        end = begin + blow.lasts_s + EXPLAINS_FOR_S
        self.excuses.append(Excuse(target.name, fault.may_end, begin - 0.5, end, of_one))
        if fault.stops_writing:
            self._unwritable_until[target.name] = begin + blow.lasts_s + _RETRIES_WITHIN_S
        if fault.is_of_a_process and fault.aim is Aim.AGENT and self._loses_ends(target.name, begin):
            self.excuses.append(Excuse(target.name, CRASHED, begin - 0.5, end))
        self._on_fault(blow, target)
        self._group.create_task(self._inflict(blow, target), name=blow.fault)

    def _loses_ends(self, vm_id: str, now: float) -> bool:
        """Whether an agent that dies now knows ends that it could write down nowhere: neither on its disk nor in Redis.
        The next agent finds browsers gone, and cannot know that their meetings had ended before.
        """
        return all(now <= self._unwritable_until.get(name, 0.0) for name in (vm_id, "redis"))

    async def _inflict(self, blow: Blow, target: Target) -> None:
        fault, begin = BY_NAME[blow.fault], time.time()
        async with fault.inflict(self._stage, target):
            await asyncio.sleep(blow.lasts_s)
        if fault.is_a_freeze:
            ends = [time.time()]
            if fault.aim is Aim.AGENT:  # if it was killed meanwhile, its successor was not frozen
                ends += [end for end in self._stage.part(target.name).ends if end > begin]
            self.stood_still.append(Still(fault.aim, target.name, target.pid, begin, min(ends)))


def _is_of_one_bot(fault: Fault) -> bool:
    """Whether it explains only the end of the bot in that browser. A bot that comes into a hanging browser may never be
    seen.
    """
    return fault.aim is Aim.MEETING_BROWSER or (
        fault.aim is Aim.IDLE_BROWSER and Reason.BROWSER_CRASHED in fault.may_end
    )
