"""The state of the pool while it handles an event, and its decisions so far. It contains no rule and no choice.

The other files of the core are functions that take it as `pool`, and keep no state themselves.
"""

from collections import deque

from common.config.settings import CaptureSettings, PoolSettings
from poolmgr.core.decisions import Decision, KeepVm
from poolmgr.core.fleet import Fleet
from poolmgr.core.model import Bot, Joins, Labels, Vm
from poolmgr.core.queue import BotQueue
from poolmgr.core.timers import Timers


class PoolState:
    """`epoch` makes the worker names of this leader unique. `forget_vm_s`: how long a lost VM is remembered. `capture`:
    what is recorded of meetings.
    """

    def __init__(self, settings: PoolSettings, epoch: int, forget_vm_s: float, capture: CaptureSettings) -> None:
        self.settings = settings
        self.capture = capture
        self.epoch = epoch
        self.forget_vm_s = forget_vm_s

        self.now = 0.0  # the steady clock at this event
        self.wall = 0.0  # the calendar's time at the latest tick
        self.events = 0  # handled so far, with this one
        self.absence_counts_from = float("-inf")  # until then a heartbeat may be older than the restored records

        self.bots: dict[str, Bot] = {}
        self.queue = BotQueue()
        self.to_reserve = BotQueue()  # scheduled bots that need a reservation while no worker is idle for them
        self.fleet = Fleet(settings)
        self.timers = Timers()
        self.calendar = Timers()

        self.last_seq = 0  # `seq` of the last accepted bot
        self.ordered = 0  # warm-ups ordered so far, on all VMs
        self.canary_turn = 0.0  # grows with each job by the share of canaries; at 1 one of them gets the next
        self.others_joins = Joins()  # of VMs that are no canaries, while there are some
        self.queued_in: dict[str, int] = {}  # which event put the bot in the queue
        self.lost_at: deque[float] = deque()  # when VMs were declared lost, within lost_after_s
        self.changed: dict[str, Vm] = {}  # VMs to bring to their target after this event
        self.decided: list[Decision] = []  # the decisions of this event, in order

    def keep_vm(self, vm: Vm, *, is_taken_out: bool = False) -> None:
        """Decide to make the VM's state durable. `is_taken_out`: as in the decision."""
        state = (vm.draining, vm.lost, vm.stopping, vm.shunned)
        facts = (vm.processors, dict(sorted(vm.labels)), vm.canary, vm.joins.ok, vm.joins.failed, vm.out)
        own = (vm.makes_displays, is_taken_out)
        self.decided.append(KeepVm(vm.vm_id, vm.session, *state, *facts, *own))

    def wait(self, queue: BotQueue, bot: Bot) -> bool:
        """Put the bot in one of the queues. From then on it is known which VMs have what its job requires. False: it is
        not put there, because too many different label sets are waited for.
        """
        if queue.is_full_for(bot.requires):
            return False
        queue.add(bot)
        if bot.requires:
            self.fleet.make_place(bot.requires, self.now, self._is_required)
        return True

    def _is_required(self, labels: Labels) -> bool:
        return labels in self.queue.required or labels in self.to_reserve.required

    def touch(self, vm: Vm) -> None:
        """The VM has changed: the indexes have to follow, and it is brought to its target after this event."""
        self.changed[vm.vm_id] = vm
        self.fleet.mark(vm)
