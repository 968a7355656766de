"""VMs and their workers: kept, lost, forgotten and ordered about, while agents take their orders and time passes.

What a new leader would read back is what the model says, and the orders stand in their order.
"""

from functools import partial
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from common.jobs.record import iso
from common.wire import codec, messages
from common.wire.vocabulary import GoneCause, WorkerState
from poolmgr.core.decisions import Decision, ForgetVm, ForgetWorker, KeepVm, KeepWorker, Retire, Warm, Why
from poolmgr.store import record
from poolmgr.store.leader.snapshot import load_vms
from poolmgr.store.leader.upkeep import Upkeep
from tests.store.model import DAY_S, HOUR_S, RETENTION, OnRedis, break_script, finds_fault, run

VMS: Final = ("vm1", "vm2")
vm_ids = st.sampled_from(VMS)
worker_ids = st.sampled_from(["w1", "w2", "w3"])


class Fleet(OnRedis):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.states: dict[str, dict[str, WorkerState]] = {vm_id: {} for vm_id in VMS}
        self.lead(1)

    @initialize(kept=st.sets(vm_ids), warmed=st.lists(st.tuples(vm_ids, worker_ids), max_size=4))
    def begin(self, kept: set[str], warmed: list[tuple[str, str]]) -> None:
        for vm_id in sorted(kept):
            self.a_vm_is_kept(vm_id, draining=False, lost=False)
        for vm_id, worker_id in warmed:
            self.one_is_warmed(vm_id, worker_id)

    def expect(self, vm_id: str, worker_id: str, state: WorkerState, kept: bytes) -> None:
        workers = self.keys.workers(vm_id)
        self.states[vm_id][worker_id] = state
        self.plain.hashes[workers][worker_id] = kept.decode()
        self.plain.ends_in(workers, DAY_S)

    def expect_order(self, vm_id: str, command: messages.Command) -> None:
        commands = self.keys.commands(vm_id)
        self.plain.add(commands, m=codec.encode(command).decode())
        self.plain.ends_in(commands, DAY_S)

    @rule(vm_id=vm_ids, worker_id=worker_ids)
    def one_is_warmed(self, vm_id: str, worker_id: str) -> None:
        warm = Warm(vm_id, worker_id, self.moment(), Why.BELOW_MIN_IDLE)
        self.expect(vm_id, worker_id, WorkerState.WARMING, record.worker_record(warm, self.now))
        self.expect_order(vm_id, messages.Warm(worker_id))
        self.apply(warm)

    @rule(vm_id=vm_ids, worker_id=worker_ids)
    def one_is_retired(self, vm_id: str, worker_id: str) -> None:
        retire = Retire(vm_id, worker_id, self.moment(), Why.IDLE_TTL)
        self.expect(vm_id, worker_id, WorkerState.RETIRING, record.worker_record(retire, self.now))
        self.expect_order(vm_id, messages.Retire(worker_id))
        self.apply(retire)

    @rule(vm_id=vm_ids, worker_id=worker_ids, state=st.sampled_from(WorkerState))
    def one_is_kept(self, vm_id: str, worker_id: str, state: WorkerState) -> None:
        keep = KeepWorker(vm_id, worker_id, state, self.moment(), self.now - 3, "b1")
        self.expect(vm_id, worker_id, state, record.worker_record(keep, self.now))
        self.apply(keep)

    @rule(vm_id=vm_ids, worker_id=worker_ids)
    def one_is_forgotten(self, vm_id: str, worker_id: str) -> None:
        workers = self.keys.workers(vm_id)
        self.states[vm_id].pop(worker_id, None)
        self.plain.hashes[workers].pop(worker_id, None)
        self.plain.ends_in(workers, DAY_S)
        self.apply(ForgetWorker(vm_id, worker_id, GoneCause.SPENT))

    @rule(vm_id=vm_ids, draining=st.booleans(), lost=st.sampled_from([False, False, True]))
    def a_vm_is_kept(self, vm_id: str, draining: bool, lost: bool) -> None:
        k, at = self.keys, iso(self.moment())
        facts = {
            "session": "s1",
            "draining": str(int(draining)),
            "lost": str(int(lost)),
            "stopping": "0",
            "resting": "0",
            "processors": "0",
            "labels": "{}",
            "canary": "0",
            "makes_displays": "0",
            "joins_ok": "0",
            "joins_failed": "0",
            "out": "",
            "at": at,
        }
        self.plain.hashes[k.vm(vm_id)].update(facts)
        self.plain.sets[k.vms].add(vm_id)
        self.plain.ends_in(k.vm(vm_id), RETENTION.vm_s)
        self.plain.ends_in(k.vms, RETENTION.vm_s)
        if lost:
            self.states[vm_id].clear()
            self.plain.drop(k.workers(vm_id), k.commands(vm_id))
        self.apply(KeepVm(vm_id, "s1", draining, lost))

    @rule(vm_id=vm_ids)
    def a_vm_is_forgotten(self, vm_id: str) -> None:
        k = self.keys
        self.states[vm_id].clear()
        self.plain.drop(k.vm(vm_id), k.workers(vm_id), k.commands(vm_id))
        self.plain.sets[k.vms].discard(vm_id)
        self.apply(ForgetVm(vm_id))

    @rule(vm_id=vm_ids, how_many=st.integers(1, 3))
    def an_agent_takes_orders(self, vm_id: str, how_many: int) -> None:
        commands = self.keys.commands(vm_id)
        entries = self.do(self.redis.xrange(commands, count=how_many))
        if entries:
            self.do(self.redis.xdel(commands, *[entry_id for entry_id, _ in entries]))
            del self.plain.streams[commands][:how_many]

    @rule(known=st.sets(vm_ids))
    def the_leader_renews(self, known: set[str]) -> None:
        for key in [self.keys.vms, *map(self.keys.vm, known), *map(self.keys.workers, known)]:
            self.plain.ends_in(key, RETENTION.vm_s)
        self.do(Upkeep(self.redis, self.keys, RETENTION).renew(known))

    @rule(seconds=st.sampled_from([HOUR_S, HOUR_S, DAY_S // 2, DAY_S]))
    def time_passes(self, seconds: int) -> None:
        self.let_pass(seconds)
        self.lead(self.epoch)
        for vm_id in VMS:
            if not self.plain.hashes[self.keys.workers(vm_id)]:
                self.states[vm_id].clear()

    @rule(vm_id=vm_ids, worker_id=worker_ids)
    def one_writes_that_was_replaced(self, vm_id: str, worker_id: str) -> None:
        self.lead(self.epoch + 1)
        ledger = self.ledger(self.epoch - 1)
        writes: list[Decision] = [
            Warm(vm_id, worker_id, self.now, Why.JOBS_WAIT),
            ForgetWorker(vm_id, worker_id, GoneCause.SPENT),
            KeepVm(vm_id, "s9", draining=True, lost=True),
            ForgetVm(vm_id),
        ]
        self.refused(*[partial(ledger.apply, [write], self.now) for write in writes])

    def promises(self, held: dict[str, Any]) -> None:
        facts = {vm_id: held.get(self.keys.vm(vm_id), {}) for vm_id in held.get(self.keys.vms, ())}
        known = {vm_id for vm_id, fields in facts.items() if fields.get("lost") != "1"}
        vms = self.do(load_vms(self.redis, self.keys))
        assert {vm.vm_id for vm in vms} == known
        for vm in vms:
            assert vm.draining is (facts[vm.vm_id].get("draining") == "1")
            assert {worker_id: worker.state for worker_id, worker in vm.workers.items()} == self.states[vm.vm_id]


def test_vms_and_workers_are_what_they_should_be_in_whatever_order_they_are_written(redis_server: str) -> None:
    run(Fleet, redis_server)


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        ("keep_vm", "DEL', workers, commands)", "DEL', commands)"),
        ("keep_vm", "DEL', workers, commands)", "DEL', workers)"),
        ("forget_vm", ", commands)", ")"),
        ("order", "if message ~= '' then", "if true then"),
        ("order", "redis.call('EXPIRE', workers, VM_LIFE_S)", ""),
    ],
    ids=["workers of a lost VM", "orders to a lost VM", "orders to a forgotten VM", "an empty order", "kept for ever"],
)
def test_a_script_that_leaves_something_behind_is_found_out(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, script: str, old: str, new: str
) -> None:
    break_script(monkeypatch, script, old, new)
    finds_fault(Fleet, redis_server)
