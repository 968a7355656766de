"""Whatever the scripts can leave in Redis, a leader that takes it over brings to its end, though no agent ever speaks:
every bot ends once, carried out on that Redis, and no VM, worker or line is left.
"""

from collections.abc import Iterable
from functools import partial
from typing import Final, cast

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from common.config.settings import PoolSettings
from common.wire.vocabulary import BotState
from poolmgr.core.decisions import Decision, End, Unsaid
from poolmgr.core.events import CoreEvent, Tick
from poolmgr.core.pool import Pool
from poolmgr.store.leader.snapshot import load_bots, load_vms
from tests.store.test_bots_machine import Bots

SETTINGS: Final = PoolSettings(min_idle=0, queue_timeout_s=100, lost_after_s=60)
LEAPS_S: Final = 100.0
LONG_S: Final = 1500.0  # longer than every deadline together: one VM after the other is lost, and each bot waits anew
FORGET_VM_S: Final = 300.0


class TakenOver(Bots):
    """The machine of the bots, at the end of whose run a new leader comes."""

    def teardown(self) -> None:
        try:
            self.a_leader_takes_over()
        finally:
            super().teardown()

    def redis_holds_what_it_should(self) -> None:
        """Looked at by the machine of the bots itself; here only the end counts."""

    def a_leader_takes_over(self) -> None:
        self.epoch += 1
        self.lead(self.epoch)
        bots = self.do(load_bots(self.redis, self.keys))
        vms = self.do(load_vms(self.redis, self.keys))
        pool = Pool(SETTINGS, epoch=self.epoch, forget_vm_s=FORGET_VM_S)
        alive, ended = {bot.bot_id for bot in bots}, list[str]()
        now = until = self.moment()
        until += LONG_S
        decisions: Iterable[Decision] = pool.restore(bots, vms, now)
        while True:
            events = self.carried_out(decisions, ended, now)
            decisions = [decision for event in events for decision in pool.handle(event, now)]
            if events:
                continue
            if now >= until:
                break
            now += LEAPS_S / 10
            decisions = pool.handle(Tick(now), now)
        assert pool.bots == {}, "nobody is left"
        assert sorted(ended) == sorted(alive), "each ended once"
        assert not list(pool.fleet), "no VM is believed in of which nobody has heard"
        assert self.do(self.redis.zcard(self.keys.live)) == 0
        states = {bot_id: self.do(self.redis.hget(self.keys.bot(bot_id), "state")) for bot_id in alive}
        assert set(states.values()) <= {BotState.STOPPED.encode()}

    def carried_out(self, decisions: Iterable[Decision], ended: list[str], now: float) -> list[CoreEvent]:
        """On the Redis of the machine, whose agents obey nobody."""
        writes = [decision for decision in decisions if not isinstance(decision, Unsaid)]
        ended += [decision.bot_id for decision in writes if isinstance(decision, End)]
        return list(self.do(self.ledger().apply(writes, now))) if writes else []


def test_a_leader_brings_to_its_end_whatever_the_scripts_have_left(redis_server: str) -> None:
    run_state_machine_as_test(
        seed(1)(cast("type[RuleBasedStateMachine]", partial(TakenOver, redis_server))),
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            phases=[Phase.generate],  # what is found is a story to be read, and making it shorter takes minutes
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
