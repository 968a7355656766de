"""A fleet whose VMs come and go: looks every `every_s`, as the manager does, and carries out what poolmgr.scaling
decides.

The simulated provider obeys at once. A VM that was asked for reports after the time that a boot takes. A VM is paid
from the request for it until it is given back.
"""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Final, NamedTuple

import msgspec

from common.config.settings import PoolSettings, ScalingSettings
from poolmgr.core.events import DrainRequested
from poolmgr.scaling.history import BUCKET_S, History
from poolmgr.scaling.limits import MINUTES_A_DAY, limits_at
from poolmgr.scaling.need import need_of
from poolmgr.scaling.seen import demand_of, seen
from poolmgr.scaling.steps import Action, Drain, GiveBack, Group, Grow, Look, Standing, Undrain, View, carried_out, step
from poolmgr.simulation.arrivals import DAY_BEGINS_AT_HOUR, Arrival, draw_lognormal
from poolmgr.simulation.fleet import FleetModel
from poolmgr.simulation.report import Outcome
from poolmgr.simulation.run import BEGIN, SETTLING_S, Simulation

_BOOT_SIGMA: Final = 0.2
_BEGINS_AT_MINUTE: Final = DAY_BEGINS_AT_HOUR * 60
"""A simulated week begins on a Monday, when drawn days begin."""


class Cost(msgspec.Struct, frozen=True):
    """`vm_h`: hours of VMs that were paid. `asked`, `given_back`: how many VMs, after the beginning."""

    vm_h: float
    peak_vms: int
    asked: int
    given_back: int


class Moment(NamedTuple):
    """The fleet at one look. `bots`: those that have a worker and those that wait."""

    hour: float
    vms: int
    target: int
    bots: int


class ScaledSimulation:
    """`model.vms` is not used: the fleet begins with the floor of that hour. `boot_s`: the mean time from the request
    for a VM to its first report. `known`: arrivals of the week before, from which the scaling derives what to expect.
    """

    def __init__(
        self,
        settings: PoolSettings,
        scaling: ScalingSettings,
        model: FleetModel,
        arrivals: Sequence[Arrival],
        hours: float,
        random: Random,
        *,
        boot_s: float,
        known: Iterable[Arrival] = (),
    ) -> None:
        self._settings, self._scaling = settings, scaling
        self._random, self._boot_s = random, boot_s
        at_first = max(1, limits_at(_BEGINS_AT_MINUTE, scaling).floor)
        self._displays = model.displays
        self.simulation = Simulation(settings, msgspec.structs.replace(model, vms=at_first), arrivals, hours, random)
        self.hours = hours
        self._paid_from = {f"vm-{number}": BEGIN for number in range(at_first)}
        self._named = at_first
        self._standing = Standing()
        self._history = History()
        for arrival in known:
            self._history.note(BEGIN + arrival.at_s - 7 * 24 * 3600)
        # Sorted with the last first, so that the next one is taken from the end.
        self._due = sorted((BEGIN + arrival.at_s for arrival in arrivals), reverse=True)
        self._look_at = BEGIN - SETTLING_S
        self._paid_s = 0.0
        self._asked = self._given_back = 0
        self.moments: list[Moment] = []

    def advance(self, to_h: float) -> None:
        """Run until `to_h` hours after the beginning."""
        until = BEGIN + min(to_h, self.hours) * 3600
        while self._look_at < until:
            self.simulation.advance((self._look_at - BEGIN) / 3600)
            self._look(self._look_at)
            self._look_at += self._scaling.every_s
        self.simulation.advance((until - BEGIN) / 3600)

    def outcome(self) -> Outcome:
        return self.simulation.outcome()

    def cost(self) -> Cost:
        """The VM hours that were paid until the end."""
        end = BEGIN + self.hours * 3600
        paid_s = self._paid_s + sum(end - since for since in self._paid_from.values())
        peak = max((moment.vms for moment in self.moments), default=len(self._paid_from))
        return Cost(round(paid_s / 3600, 3), peak, self._asked, self._given_back)

    def _look(self, now: float) -> None:
        while self._due and self._due[-1] < now:
            self._history.note(self._due.pop())
        pool, scaling = self.simulation.pool, self._scaling
        expected = self._history.expected(now, scaling.lead_time_s + BUCKET_S)
        demand = demand_of(pool, now, scaling.lead_time_s, scaling.labels)
        vms = [vm for vm_id in self._paid_from if (vm := pool.fleet.get(vm_id))]
        minute = (int((now - BEGIN) // 60) + _BEGINS_AT_MINUTE) % (7 * MINUTES_A_DAY)
        need = need_of(demand, expected, self._settings, scaling, displays=self._displays)
        group = Group(len(self._paid_from), frozenset(self._paid_from))
        self._standing, actions, view = step(self._standing, Look(now, minute, need, seen(vms), group), scaling)
        for action in actions:
            self._do(action, view, now)
        if now >= BEGIN:
            hour = (now - BEGIN) / 3600
            self.moments.append(Moment(hour, len(self._paid_from), view.target, demand.bots + demand.waiting))

    def _do(self, action: Action, view: View, now: float) -> None:
        asked = len(self._paid_from)
        match action:
            case Drain(vm_id=vm_id) | Undrain(vm_id=vm_id):
                self.simulation.put(DrainRequested(vm_id, isinstance(action, Drain)), now)
            case Grow(to=to):
                for _ in range(to - asked):
                    self._boot(now)
            case GiveBack(vm_id=vm_id):
                paid_from = self._paid_from.pop(vm_id)
                self._paid_s += max(0.0, now - paid_from)
                self._given_back += now >= BEGIN
            case _:
                raise AssertionError(f"nobody waits for a release: {action}")
        self._standing = carried_out(self._standing, action, asked, now)

    def _boot(self, now: float) -> None:
        vm_id = f"vm-{self._named}"
        self._named += 1
        self._paid_from[vm_id] = max(now, BEGIN)
        self._asked += now >= BEGIN
        self.simulation.fleet.boot(vm_id, now + draw_lognormal(self._boot_s, _BOOT_SIGMA, self._random))
