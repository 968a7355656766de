"""What the pool knows while it handles an event, and what it has decided so far. It holds no rule and no choice.

The parts of the core are functions that take it as `pool`, and keep nothing themselves.
"""

from collections import deque

from common.config.settings import PoolSettings
from poolmgr.core.decisions import Decision, KeepVm
from poolmgr.core.fleet import Fleet
from poolmgr.core.model import Bot, Vm
from poolmgr.core.queue import BotQueue
from poolmgr.core.timers import Timers


class PoolState:
    """`epoch` makes the worker names of this leader its own; `forget_vm_s`: how long a lost VM is remembered."""

    def __init__(self, settings: PoolSettings, epoch: int, forget_vm_s: float) -> None:
        self.settings = settings
        self.epoch = epoch
        self.forget_vm_s = forget_vm_s

        self.now = 0.0  # the steady clock at this event
        self.wall = 0.0  # the calendar's time at the latest tick
        self.events = 0  # handled so far, with this one
        self.absence_counts_from = float("-inf")  # before that, a heartbeat may be older than what was restored

        self.bots: dict[str, Bot] = {}
        self.queue = BotQueue()
        self.to_reserve: dict[str, Bot] = {}  # scheduled bots whose browser should stand ready, but none is idle
        self.fleet = Fleet(settings)
        self.timers = Timers()
        self.calendar = Timers()

        self.last_seq = 0  # of the bots accepted so far
        self.ordered = 0  # warm-ups, over all VMs
        self.queued_in: dict[str, int] = {}  # which event put the bot in the queue
        self.lost_at: deque[float] = deque()  # the VMs that were taken for lost, for as long as they count
        self.changed: dict[str, Vm] = {}  # the VMs that are to be brought to their target after this event
        self.decided: list[Decision] = []  # because of this event, in the order in which it is to be done

    def keep_vm(self, vm: Vm) -> None:
        """What is known of the VM is to be durable."""
        self.decided.append(KeepVm(vm.vm_id, vm.session, vm.draining, vm.lost, vm.stopping, vm.shunned))

    def touch(self, vm: Vm) -> None:
        """The VM has changed: update its place in the indexes, and bring it to its target after this event."""
        self.changed[vm.vm_id] = vm
        self.fleet.index(vm, self.now)
