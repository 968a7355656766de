"""Gives failing VMs less work for a while, longer with each failure.

After failed warm-ups a VM gets no warm-ups. After assignments that it did not begin it gets no bots. policy.py says how
long. A VM keeps the bots and workers that it already has.
"""

from poolmgr.core import policy
from poolmgr.core.model import Vm
from poolmgr.core.state import PoolState
from poolmgr.core.timers import Timer


def count_failure(pool: PoolState, vm: Vm) -> None:
    """Count a failure. Failures with less than the longest backoff between them are in a row. The caller
    touches the VM.
    """
    in_a_row = pool.now - vm.last_failure <= pool.settings.backoff_max_s + pool.settings.warmup_timeout_s
    vm.failures = vm.failures + 1 if in_a_row else 1
    vm.last_failure = pool.now
    vm.backoff_until = pool.now + policy.backoff_s(vm.failures, pool.settings)
    pool.timers.set(vm.backoff_until, Timer.BACKOFF, vm.vm_id)


def shun(pool: PoolState, vm: Vm) -> None:
    """The VM did not begin an assignment: it gets no bots for a while."""
    vm.unbegun += 1
    was_shunned = vm.shunned
    vm.shunned, vm.shunned_until = True, pool.now + policy.backoff_s(vm.unbegun, pool.settings)
    pool.timers.set(vm.shunned_until, Timer.BACKOFF, vm.vm_id)
    if not was_shunned:
        pool.keep_vm(vm)
    pool.touch(vm)


def note_begun(pool: PoolState, vm_id: str) -> None:
    """The VM began an assignment: its earlier failures do not count any more."""
    vm = pool.fleet.get(vm_id)
    if vm and vm.unbegun:
        vm.unbegun = 0
        _rested(pool, vm)
        pool.touch(vm)


def over(pool: PoolState, vm_id: str) -> None:
    if vm := pool.fleet.get(vm_id):
        if pool.now >= vm.shunned_until:
            _rested(pool, vm)
        pool.touch(vm)


def _rested(pool: PoolState, vm: Vm) -> None:
    if vm.shunned:
        vm.shunned = False
        pool.keep_vm(vm)
