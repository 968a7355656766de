"""Labels of VMs, and the VMs that have all that a job requires: which of them takes a bot, which warms one more worker.

A place is made for what jobs require when the first one waits for it, and followed from then on. So an event costs the
same whatever labels the fleet has, and jobs that require nothing have one place, which is the whole fleet.
"""

from collections.abc import Iterable
from typing import TypeAlias

from common.config.settings import PoolSettings
from poolmgr.core.load import JobKind, wants_display
from poolmgr.core.model import Labels, Vm
from poolmgr.core.policy import bears, can_warm

_Rank: TypeAlias = tuple[bool, int]
"""Of a VM for a kind of job; the lowest comes first. Whether all its idle workers are of the other kind; its bots."""


class Side:
    """Indexes of the VMs of a place that can do something now: of its canaries, or of the others."""

    def __init__(self, settings: PoolSettings) -> None:
        self.warming = 0
        """Workers on their way on VMs that take work: those that whoever waits may count on."""
        self.warming_displays = 0
        """Those of them that will have a display."""
        self._settings = settings
        # For each kind of job, the VMs with an idle worker that bear one more: first those with one of the right kind
        # (policy.pick_worker), then by the number of their bots. A dict keeps the order in which they came.
        self._claimable: dict[JobKind, dict[_Rank, dict[str, Vm]]] = {kind: {} for kind in JobKind}
        self._claimable_at: dict[str, tuple[_Rank, _Rank]] = {}  # for who wants no display, and for who wants one
        self._can_warm: dict[JobKind, dict[str, Vm]] = {kind: {} for kind in JobKind}
        self._can_warm_display: dict[str, Vm] = {}  # that would bear a bot that wants one
        self._warming_at: dict[str, tuple[int, int]] = {}  # of all VMs that take work: workers, those with a display

    def index(self, vm: Vm, now: float) -> None:
        """Update the indexes for this VM."""
        self.unindex(vm)
        if not vm.takes_work:
            return
        self._warming_at[vm.vm_id] = (vm.warming, vm.warming_displays)
        self.warming += vm.warming
        self.warming_displays += vm.warming_displays
        is_claimable, is_warmable = vm.idle and vm.takes_bots, can_warm(vm, self._settings, now)
        if not (is_claimable or is_warmable):
            return
        bots, on_their_way = vm.bots, len(vm.idle) + vm.warming
        ranks = ((vm.idle_displays == len(vm.idle), bots), (not vm.idle_displays, bots))
        if is_claimable:
            self._claimable_at[vm.vm_id] = ranks
        for kind, claimable in self._claimable.items():
            borne = bears(vm, kind, self._settings)
            if is_claimable and borne:
                claimable.setdefault(ranks[wants_display(kind)], {})[vm.vm_id] = vm
            if is_warmable and borne > on_their_way:
                self._can_warm[kind][vm.vm_id] = vm
        if vm.vm_id in self._can_warm[JobKind.PICTURE] and can_warm(vm, self._settings, now, display=True):
            self._can_warm_display[vm.vm_id] = vm

    def unindex(self, vm: Vm) -> None:
        for warmable in self._can_warm.values():
            warmable.pop(vm.vm_id, None)
        self._can_warm_display.pop(vm.vm_id, None)
        warming, displays = self._warming_at.pop(vm.vm_id, (0, 0))
        self.warming -= warming
        self.warming_displays -= displays
        ranks = self._claimable_at.pop(vm.vm_id, None)
        if ranks:
            for kind, claimable in self._claimable.items():
                rank = ranks[wants_display(kind)]
                of_that_rank = claimable.get(rank, {})
                of_that_rank.pop(vm.vm_id, None)
                if not of_that_rank:
                    claimable.pop(rank, None)

    def vm_for(self, kind: JobKind, *, has_time: bool = False) -> Vm | None:
        """Of the VMs with an idle worker that bear one more bot of that kind, one with a worker of the right kind, if
        there is such a VM; and of these one with the fewest bots: this spreads the load.

        `has_time`: the bot may wait for a warm-up. So if it wants a display, and one is on its way or can be, there is
        no VM for it yet.
        """
        claimable = self._claimable[kind]
        if not claimable:
            return None
        best = min(claimable)
        if has_time and best[0] and wants_display(kind) and (self.warming_displays or self._can_warm_display):
            return None
        return next(iter(claimable[best].values()))

    @property
    def takes_work(self) -> bool:
        """Whether one of the VMs does."""
        return bool(self._warming_at)

    @property
    def has_idle(self) -> bool:
        """Whether there is an idle worker on a VM that takes bots, whatever that one bears."""
        return bool(self._claimable_at)

    def vm_to_warm_on(self, kinds: Iterable[JobKind]) -> Vm | None:
        """A VM that may start one more warm-up now, and would bear a bot of one of these kinds with it; None: there is
        none.
        """
        return next((vm for kind in kinds for vm in self._can_warm[kind].values()), None)

    def vm_to_warm_display_on(self) -> Vm | None:
        """The same of a worker with a display, and a bot that wants one."""
        return next(iter(self._can_warm_display.values()), None)


class Place:
    """The VMs that have all of `labels`. Canaries get a share of the jobs (`pool.canary_share`), beside other VMs that
    take work; where there are none they are VMs like others.
    """

    def __init__(self, labels: Labels, settings: PoolSettings) -> None:
        self.labels = labels
        self.vms: dict[str, Vm] = {}
        self.canaries = Side(settings)
        self.others = Side(settings)

    def index(self, vm: Vm, now: float) -> None:
        """Update the indexes for this VM, which has the labels."""
        (self.canaries if vm.canary else self.others).index(vm, now)

    def unindex(self, vm: Vm) -> None:
        (self.canaries if vm.canary else self.others).unindex(vm)

    @property
    def serving(self) -> Side:
        """The side that whoever waits may count on."""
        return self.others if self.others.takes_work or not self.canaries.takes_work else self.canaries

    def vm_for(self, kind: JobKind, *, is_canarys: bool, has_time: bool = False) -> Vm | None:
        """Which VM the next bot of that kind gets; None: there is none now. `is_canarys`: a canary is to have it, if
        one can. `has_time`: as for a side.
        """
        if is_canarys and (vm := self.canaries.vm_for(kind, has_time=has_time)):
            return vm
        return self.serving.vm_for(kind, has_time=has_time)
