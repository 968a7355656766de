"""Compares demand and fleet at intervals, and has the provider create VMs and delete them. poolmgr/scaling/ decides.

Before each request that changes something, the state of the scaling is written with the fence of the epoch, so a leader
that was replaced requests nothing. A provider that does not answer is asked again at growing intervals. Meetings, jobs
and the rest of the term are not affected.
"""

import asyncio
import random
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from common.config.settings import PoolSettings, ScalingSettings
from common.jobs.record import iso
from common.runtime.clock import Clock
from poolmgr.core.decisions import Decision
from poolmgr.core.events import DrainRequested
from poolmgr.loops.dispatcher import Dispatcher
from poolmgr.observe.scaling import ScalingMetrics
from poolmgr.providers.provider import CannotScaleError, Provider, ProviderError
from poolmgr.scaling.history import BUCKET_S, History
from poolmgr.scaling.limits import MINUTES_A_DAY
from poolmgr.scaling.need import need_of
from poolmgr.scaling.seen import came_due, demand_of, seen
from poolmgr.scaling.steps import (
    Action,
    Admit,
    Drain,
    GiveBack,
    Grow,
    Look,
    Outcome,
    Release,
    Shown,
    Standing,
    Undrain,
    carried_out,
    step,
)
from poolmgr.store.leader.scaling import KeptScaling

_log = structlog.stdlib.get_logger()
_REST_MOST_S: Final = 300.0
"""The longest wait for a provider that does not answer, unless the provider asks for a longer one."""


def zone_of(settings: ScalingSettings) -> ZoneInfo:
    """The time zone of scaling.hours. Raises: CannotScaleError."""
    try:
        return ZoneInfo(settings.timezone)
    except (OSError, ValueError, ZoneInfoNotFoundError) as error:
        raise CannotScaleError(
            f"cannot find scaling.timezone {settings.timezone}: write one as Europe/Berlin, and apt install tzdata"
        ) from error


class Scaling:
    """The scaling of one term of the leader. `run` runs until it is cancelled."""

    def __init__(
        self,
        settings: ScalingSettings,
        pool: PoolSettings,
        provider: Provider,
        kept: KeptScaling,
        dispatcher: Dispatcher,
        clock: Clock,
        metrics: ScalingMetrics,
        *,
        displays: bool = False,
    ) -> None:
        """`displays`: the VMs make workers with a display."""
        self._settings, self._pool_settings, self._displays = settings, pool, displays
        self._provider = provider
        self._kept = kept
        self._dispatcher = dispatcher
        self._clock = clock
        self._metrics = metrics
        self._zone = zone_of(settings)
        self._standing = Standing()
        self._history = History()
        self._shown = Shown(settings.provider, "")
        self._fails = 0

    def decided(self, decision: Decision) -> None:
        """Count a bot that came to be due. `decision` is durable."""
        if came_due(decision, self._dispatcher.pool, self._settings.labels):
            self._history.note(self._clock.wall())

    async def run(self) -> None:
        """Raises: Redis' errors, StaleEpochError."""
        await self.begin()
        try:
            while True:
                rest_s = await self.turn()
                await asyncio.sleep(rest_s)
        finally:
            self._metrics.forget()

    async def begin(self) -> None:
        """Take over what the earlier leader kept."""
        before = self._history
        self._standing, self._history = await self._kept.load()
        for bucket, bots in before.counts.items():  # bots that became due while it was loaded
            self._history.note(bucket * BUCKET_S, bots)

    async def turn(self) -> float:
        """Look once, and carry out what follows. Returns the pause until the next look, in seconds."""
        every_s = self._settings.every_s
        try:
            await self._look()
        except ProviderError as error:
            await self._failed(error)
            rest_s = min(every_s * 2 ** min(self._fails, 16), max(every_s, _REST_MOST_S))
            return max(rest_s * random.uniform(0.75, 1.0), error.retry_after_s)  # noqa: S311 - spreads load, no secret
        if self._fails:
            self._fails = 0
            _log.info("provider_reached", provider=self._settings.provider)
        return every_s

    async def _look(self) -> None:
        group = await self._provider.look()
        pool, settings = self._dispatcher.pool, self._settings
        now, wall = self._clock.steady(), self._clock.wall()
        expected = self._history.expected(wall, settings.lead_time_s + BUCKET_S)
        demand = demand_of(pool, wall, settings.lead_time_s, settings.labels)
        need = need_of(demand, expected, self._pool_settings, settings, displays=self._displays)
        outcome = step(self._standing, Look(now, self._minute(wall), need, seen(pool.fleet), group), settings)
        self._standing = outcome.standing
        self._shown = Shown(settings.provider, iso(wall), view=outcome.view)
        self._metrics.looked(outcome.view)
        await self._keep()
        asked = outcome.view.asked
        for action in outcome.actions:
            await self._do(action, asked, outcome)
            asked = self._standing.asked if isinstance(action, Grow | GiveBack) and self._standing.asked else asked

    async def _do(self, action: Action, asked: int, outcome: Outcome) -> None:
        """Carry the step out. A change by the provider is noted after its answer, a change by the pool before it."""
        view = outcome.view
        noted = carried_out(self._standing, action, asked, self._clock.steady())
        match action:
            case Drain(vm_id=vm_id):
                self._standing = noted
                await self._keep()  # so that the next leader knows that it was not an operator
                await self._drain(vm_id, draining=True)
                _log.info("vm_set_aside", vm_id=vm_id, target=view.target, hold=view.hold)
            case Undrain(vm_id=vm_id):
                await self._drain(vm_id, draining=False)
                _log.info("vm_taken_back", vm_id=vm_id, target=view.target, hold=view.hold)
            case Grow(to=to):
                await self._keep()
                await self._provider.grow(to)
                _log.info("vms_asked_for", to=to, before=asked, target=view.target, because=view.because)
            case GiveBack(vm_id=vm_id):
                if not self._is_empty(vm_id):
                    return
                await self._keep()
                await self._provider.give_back(vm_id, asked - 1)
                _log.info("vm_given_back", vm_id=vm_id, left=asked - 1, target=view.target)
            case Release(vm_id=vm_id):
                await self._keep()
                await self._provider.release(vm_id)
                _log.info("vm_released", vm_id=vm_id)
            case Admit(vm_id=vm_id):
                await self._keep()
                await self._provider.admit(vm_id)
                _log.info("vm_admitted", vm_id=vm_id)
        self._standing = noted
        self._metrics.did(action)
        await self._keep()

    async def _drain(self, vm_id: str, *, draining: bool) -> None:
        self._dispatcher.put(DrainRequested(vm_id, draining))
        await self._dispatcher.durable()

    def _is_empty(self, vm_id: str) -> bool:
        """Whether the VM is still drained: an operator may have put it back into service since the look."""
        vm = self._dispatcher.pool.fleet.get(vm_id)
        return vm is not None and vm.draining and not seen([vm])[0].bots

    async def _failed(self, error: ProviderError) -> None:
        self._fails += 1
        self._metrics.failed()
        fault = str(error)
        if self._shown.fault != fault:
            _log.warning("provider_unreachable", provider=self._settings.provider, error=fault)
        self._shown = Shown(self._settings.provider, iso(self._clock.wall()), fault, self._shown.view)
        await self._keep()

    async def _keep(self) -> None:
        await self._kept.keep(self._standing, self._history, self._shown)

    def _minute(self, wall: float) -> int:
        """The minute of the week, in the time zone of the settings."""
        local = datetime.fromtimestamp(wall, self._zone)
        return local.weekday() * MINUTES_A_DAY + local.hour * 60 + local.minute
