"""Decides at one look at the fleet which VMs to ask for and which to give back: (standing, look) -> (standing,
actions).

A VM is given back in two steps. First it is drained: it takes no bot any more, and its calls go on. At a later look,
when it is empty and still drained, it is given back. When demand comes back, drained VMs go back into service before
new ones are asked for.

It never gives back a VM that an operator drained, a silent VM (it may have calls), and any VM within cool_down_s after
it was needed.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from common.config.settings import ScalingSettings
from poolmgr.scaling.limits import Limits, limits_at
from poolmgr.scaling.need import Because, Need

BELIEVE_S: Final = 120.0
"""For this long the manager's own last count is used, whatever the provider says, because the provider's answers may be
late.
"""


class Seen(NamedTuple):
    """A VM as the pool knows it. `bots`: its workers that have, had or will have a bot."""

    vm_id: str
    bots: int
    draining: bool = False
    stopping: bool = False
    silent: bool = False
    lost: bool = False

    @property
    def serves(self) -> bool:
        """Whether it counts as serving. A silent VM does, until it is lost."""
        return not (self.draining or self.stopping or self.lost)


class Group(msgspec.Struct, frozen=True):
    """What a provider says about its VMs.

    `wanted`: how many it is to have. `vms`: their names; None: it does not name them, and every VM of the fleet counts
    as one of them. `ends_last`: it can only end the one with the highest number. `leaving`: VMs that it wants to end,
    and for which it waits until they are released; they count among `wanted` until they are gone. `arriving`: new VMs
    for which it waits until they are admitted.
    """

    wanted: int
    vms: frozenset[str] | None = None
    ends_last: bool = False
    leaving: tuple[str, ...] = ()
    arriving: tuple[str, ...] = ()


class Look(NamedTuple):
    """`now`: steady clock. `minute`: of the week."""

    now: float
    minute: int
    need: Need
    vms: Sequence[Seen]
    group: Group


class Grow(msgspec.Struct, frozen=True, tag=True):
    """Ask the provider for `to` VMs in all."""

    to: int


class Drain(msgspec.Struct, frozen=True, tag=True):
    vm_id: str


class Undrain(msgspec.Struct, frozen=True, tag=True):
    vm_id: str


class GiveBack(msgspec.Struct, frozen=True, tag=True):
    """Let the provider end this VM, and have one fewer."""

    vm_id: str


class Release(msgspec.Struct, frozen=True, tag=True):
    """Let the provider end this VM: the provider asked for it, and waits."""

    vm_id: str


class Admit(msgspec.Struct, frozen=True, tag=True):
    """Tell the provider, which waits for this new VM, that its agent is there."""

    vm_id: str


Action = Grow | Drain | Undrain | GiveBack | Release | Admit


class Standing(msgspec.Struct, frozen=True):
    """What is kept between two looks, also for the next leader. Times: steady clock.

    `asked`: how many VMs were last asked for; None: none were ever asked for, and all that the provider has are still
    coming. `asked_at`: when that last changed, `grown_at`: when it last grew. `targets`: (when, VMs) that count for the
    cool-down, each lower than the one before. `draining`: VMs that the scaling drained. `given_back`: VMs given back
    that still report; `given_back_at`: when the last was given back.
    """

    asked: int | None = None
    asked_at: float = 0.0
    grown_at: float = 0.0
    targets: tuple[tuple[float, int], ...] = ()
    draining: tuple[str, ...] = ()
    given_back: tuple[str, ...] = ()
    given_back_at: float = 0.0


class View(msgspec.Struct, frozen=True):
    """What is shown of a look. `target`: VMs that are needed now; `hold`: the same with the cool-down; `asked`: VMs
    that the provider is to have; `serving`: VMs in service; `coming`: VMs that were asked for and do not report yet;
    `draining`: VMs that are being given back.
    """

    target: int
    hold: int
    because: Because
    floor: int
    ceiling: int
    asked: int
    serving: int
    coming: int
    draining: int


class Shown(msgspec.Struct, frozen=True):
    """`at`: of the look, ISO 8601. `fault`: why the provider could not be asked; empty: it answered. `view`: None:
    there was no look yet.
    """

    provider: str
    at: str
    fault: str = ""
    view: View | None = None


class Outcome(NamedTuple):
    standing: Standing
    actions: list[Action]
    view: View


def step(standing: Standing, look: Look, settings: ScalingSettings) -> Outcome:
    """Decide once. The returned standing does not contain the actions yet: `carried_out` adds each that succeeded."""
    limits = limits_at(look.minute, settings)
    target, because = _target(look.need, limits)
    targets = _cooled(standing.targets, look.now, target, settings.cool_down_s)
    hold = min(targets[0][1], limits.ceiling)

    leaving = set(look.group.leaving)
    seen = {vm.vm_id: vm for vm in look.vms if look.group.vms is None or vm.vm_id in look.group.vms}
    kept = _kept_after_all(standing, look, seen, settings)
    given_back = tuple(vm_id for vm_id in standing.given_back if vm_id in seen and vm_id not in kept)
    here = {vm_id: vm for vm_id, vm in seen.items() if not vm.lost and vm_id not in given_back}
    serving = [vm for vm in here.values() if vm.serves and vm.vm_id not in leaving]
    ours = [here[vm_id] for vm_id in (*standing.draining, *kept) if vm_id in here and here[vm_id].draining]
    if standing.asked is None:
        standing = msgspec.structs.replace(standing, asked=look.group.wanted, grown_at=look.now)
    standing = msgspec.structs.replace(
        standing, targets=targets, draining=tuple(vm.vm_id for vm in ours), given_back=given_back
    )

    asked = _asked(standing, look)
    is_overdue = look.now - standing.grown_at >= 2 * settings.lead_time_s
    coming = 0 if is_overdue else max(0, asked - len(here))
    short = target - len(serving) - coming
    spare = len(serving) - hold
    actions: list[Action] = []
    if short > 0:
        back = _to_take_back(ours, look.group)[:short]
        actions += [Undrain(vm.vm_id) for vm in back]
        ours = [vm for vm in ours if vm not in back]
        if (to := min(limits.ceiling, asked + short - len(back))) > asked:
            actions.append(Grow(to))
    elif spare > 0 and not coming:
        actions += [Drain(vm.vm_id) for vm in _to_drain(serving, look.group)[:spare]]
    if not any(isinstance(action, Grow) for action in actions):
        left = asked - max(limits.floor, len(serving))
        actions += [GiveBack(vm.vm_id) for vm in _to_give_back(ours, look.group, asked)[: max(0, left)]]
    actions += _leaving(here, look.group)
    actions += [Admit(vm_id) for vm_id in look.group.arriving if vm_id in here and not here[vm_id].silent]
    drained = len(here) - len(serving)
    view = View(target, hold, because, *limits, asked, len(serving), coming, drained)
    return Outcome(standing, actions, view)


def carried_out(standing: Standing, action: Action, asked: int, now: float) -> Standing:
    """The standing after `action`. `asked`: how many VMs the provider was to have before it."""
    replace = msgspec.structs.replace
    match action:
        case Grow():
            return replace(standing, asked=action.to, asked_at=now, grown_at=now)
        case Drain():
            return replace(standing, draining=(*standing.draining, action.vm_id))
        case Undrain():
            return replace(standing, draining=_without(standing.draining, action.vm_id))
        case GiveBack():
            return replace(
                standing,
                asked=asked - 1,
                asked_at=now,
                draining=_without(standing.draining, action.vm_id),
                given_back=(*standing.given_back, action.vm_id),
                given_back_at=now,
            )
        case _:
            return standing


def _kept_after_all(standing: Standing, look: Look, seen: dict[str, Seen], settings: ScalingSettings) -> list[str]:
    """VMs that were given back long ago, that their provider still names, and that still run: it did not end them."""
    if look.group.vms is None or look.now - standing.given_back_at < 2 * settings.lead_time_s:
        return []
    vms = [seen[vm_id] for vm_id in standing.given_back if vm_id in seen and vm_id not in look.group.leaving]
    return [vm.vm_id for vm in vms if not (vm.silent or vm.stopping or vm.lost)]


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)


def _target(need: Need, limits: Limits) -> Need:
    if need.vms < limits.floor:
        return Need(limits.floor, Because.FLOOR)
    return Need(limits.ceiling, Because.CEILING) if need.vms > limits.ceiling else need


def _cooled(
    targets: tuple[tuple[float, int], ...], now: float, target: int, cool_down_s: float
) -> tuple[tuple[float, int], ...]:
    """The targets of the last cool_down_s that are higher than all later ones. The first is the highest."""
    return (*((at, vms) for at, vms in targets if at > now - cool_down_s and vms > target), (now, target))


def _asked(standing: Standing, look: Look) -> int:
    ours = standing.asked
    return look.group.wanted if ours is None or look.now - standing.asked_at >= BELIEVE_S else ours


def _to_drain(serving: Sequence[Seen], group: Group) -> list[Seen]:
    """The VMs in the order in which they are drained: those with the fewest bots first, or those with the highest
    number if the provider can end only these. Silent VMs are left out, because they may have calls.
    """
    heard = [vm for vm in serving if not vm.silent]
    return sorted(heard, key=lambda vm: -_number(vm.vm_id) if group.ends_last else vm.bots)


def _to_take_back(ours: Sequence[Seen], group: Group) -> list[Seen]:
    """The VMs in the order in which they go back into service: the fullest first, because it would be the last to
    become empty.
    """
    usable = [vm for vm in ours if not (vm.stopping or vm.silent or vm.vm_id in group.leaving)]
    return sorted(usable, key=lambda vm: _number(vm.vm_id) if group.ends_last else -vm.bots)


def _to_give_back(ours: Sequence[Seen], group: Group, asked: int) -> list[Seen]:
    empty = [vm for vm in ours if not (vm.bots or vm.silent or vm.vm_id in group.leaving)]
    if not group.ends_last:
        return empty
    by_number = {_number(vm.vm_id): vm for vm in empty}
    last = asked - 1
    found: list[Seen] = []
    while last in by_number:
        found.append(by_number[last])
        last -= 1
    return found


def _leaving(here: dict[str, Seen], group: Group) -> list[Action]:
    actions: list[Action] = []
    for vm_id in group.leaving:
        vm = here.get(vm_id)
        if vm is None or (vm.draining and not vm.bots and not vm.silent):
            actions.append(Release(vm_id))
        elif not vm.draining:
            actions.append(Drain(vm_id))
    return actions


def _number(vm_id: str) -> int:
    """The number at the end of its name; -1 without one."""
    found = re.search(r"[0-9]+\Z", vm_id)
    return int(found[0]) if found else -1
