"""Canaries: VMs on which something new is tried. They get a share of the jobs, and one whose joins fail more often than
those of the others is taken out: drained, until somebody takes it back.

policy.py says when that is.
"""

from common.wire.vocabulary import Reason
from poolmgr.core import policy
from poolmgr.core.model import Joins, Vm
from poolmgr.core.state import PoolState


def is_their_turn(pool: PoolState) -> bool:
    """Whether a canary is to have the next job."""
    return pool.canary_turn >= policy.A_TURN


def given(pool: PoolState, vm: Vm) -> None:
    """The VM got a bot, or puts a worker aside for one. Where only canaries take work nothing is shared."""
    everywhere = pool.fleet.everywhere
    if everywhere.canaries.takes_work and everywhere.others.takes_work:
        turn = pool.canary_turn + pool.settings.canary_share - vm.canary
        pool.canary_turn = min(max(turn, 0.0), 1.0)


def joined(pool: PoolState, vm_id: str) -> None:
    _count(pool, vm_id, Joins(ok=1))


def failed(pool: PoolState, vm_id: str, reason: Reason) -> Vm | None:
    """A bot did not get into its meeting for `reason`. The VM, if it is a canary and is taken out for that."""
    if not policy.is_failed_join(reason):
        return None
    vm = _count(pool, vm_id, Joins(failed=1))
    if vm is None or vm.draining or not policy.stands_out(vm.joins, pool.others_joins):
        return None
    ours, theirs = (f"{joins.failed} of {joins.total}" for joins in (vm.joins, pool.others_joins))
    vm.draining, vm.out = True, f"{ours} joins failed, and {theirs} on VMs that are no canaries"
    pool.keep_vm(vm, is_taken_out=True)
    pool.touch(vm)
    return vm


def _count(pool: PoolState, vm_id: str, one: Joins) -> Vm | None:
    """Count a join while there are canaries. The VM, if it is one."""
    pool.fleet.refresh(pool.now)
    vm = pool.fleet.get(vm_id)
    if vm and vm.canary:
        vm.joins = policy.with_one_more(vm.joins, one, policy.CANARYS_JOINS_KEPT)
        pool.keep_vm(vm)
        return vm
    if vm and pool.fleet.everywhere.canaries.takes_work:
        pool.others_joins = policy.with_one_more(pool.others_joins, one, policy.OTHERS_JOINS_KEPT)
    return None
