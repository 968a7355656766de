"""Whatever a leader leaves half done leads on: it dies after any of the scripts that carry a decision out, the next one
takes over what is in Redis by then, and hears again what was not acknowledged. At the end nobody is left anywhere.
"""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule
from msgspec.structs import replace

from common.wire.messages import Join, WorkerReport
from common.wire.vocabulary import OnWorkerLost, Reason
from poolmgr.core.decisions import Ask, Decision, KeepWorker, Revoke
from poolmgr.core.events import CoreEvent, Revoked
from poolmgr.core.pool import Pool
from tests.core.builders import BUSY, IDLE, full, of_type
from tests.core.test_pool_properties import Agent, PoolAndFleet


class HalfDone(PoolAndFleet):
    def __init__(self) -> None:
        super().__init__()
        self.lives_for: int | None = None  # so many decisions more

    def handle(self, event: CoreEvent) -> None:
        """An event is acknowledged when all that came of it is durable: to the next leader it comes again."""
        if self.carried_out(self.pool.handle(event, self.now)):
            return
        self.lives_for = None
        self.epoch += 1
        self.pool = Pool(self.settings, epoch=self.epoch, forget_vm_s=90)
        assert self.carried_out(self.durable.restored_into(self.pool, self.now))
        self.handle(event)

    def take(self, decisions: list[Decision]) -> None:
        assert self.carried_out(decisions)

    def carried_out(self, decisions: list[Decision]) -> bool:
        for decision in decisions:
            if self.lives_for == 0:
                return False
            self.lives_for = None if self.lives_for is None else self.lives_for - 1
            self.check_decision(decision)
            self.durable.apply(decision, self.now)
            self.tell(decision)
            assert self.durable.refused == []
        for revoke in of_type(decisions, Revoke):
            self.handle(Revoked(revoke.bot_id, revoke.attempt, self.durable.revoke(revoke)))
        return True

    @rule(decisions=st.integers(0, 6))
    def the_leader_will_die_soon(self, decisions: int) -> None:
        self.lives_for = decisions

    @rule(n=st.integers(0, 2), decisions=st.integers(0, 12))
    def the_leader_dies_while_it_gives_up_a_vm(self, n: int, decisions: int) -> None:
        self.all_is_done_at_once()
        agent = self.agent(n)
        agent.cut_off = True
        for _ in range(12):
            self.time_passes(5.0)
            vm = self.pool.fleet.get(agent.vm_id)
            if vm and vm.silent:
                self.lives_for = decisions
        agent.cut_off = False
        self.beat(agent)
        self.deliver(agent)

    def whose_meetings_end(self, agent: Agent) -> list[Join]:
        """Of those that count. Whoever does not has to be told to leave, and nothing else takes it out."""
        return [
            join
            for join in super().whose_meetings_end(agent)
            if (bot := self.pool.bots.get(join.bot_id)) and bot.attempt == join.attempt
        ]

    def teardown(self) -> None:
        self.lives_for = None
        super().teardown()


TestHalfDone = HalfDone.TestCase
TestHalfDone.settings = settings(
    max_examples=40,
    phases=[Phase.generate],  # what is found is a story to be read, and making it shorter takes minutes
    stateful_step_count=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_an_agent_that_reports_a_bot_of_which_nobody_knows_is_asked_until_it_is_out() -> None:
    """The leader that took its worker over may have died before it asked, and an order may be lost."""
    sc = full()
    unknown = {"w9": WorkerReport(BUSY, "gone", 2)}
    for _ in range(3):
        assert of_type(sc.beat(reports=unknown), Ask) == [Ask("vm", "w9", "gone", 2, Reason.SUPERSEDED)]
    sc.fail_over()
    sc.now += 1e5
    assert of_type(sc.beat(reports=unknown), Ask) == [Ask("vm", "w9", "gone", 2, Reason.SUPERSEDED)]
    assert of_type(sc.beat(reports={"w9": WorkerReport(BUSY)}), Ask) == [], "it is out, and only its browser is not"


def test_a_bot_whose_worker_was_forgotten_by_a_leader_that_died_then_has_it_again() -> None:
    sc = full()
    sc.submit("a")
    worker_id = sc.bot("a").worker_id
    del sc.durable.workers["vm"][worker_id]
    assert of_type(sc.fail_over(), KeepWorker)[0].bot_id == "a"
    assert sc.durable.workers["vm"][worker_id].bot_id == "a"


def test_a_bot_whose_worker_is_kept_as_idle_has_it_all_the_same() -> None:
    sc = full()
    sc.submit("a")
    kept = sc.durable.workers["vm"][sc.bot("a").worker_id]
    kept.state, kept.bot_id = IDLE, ""
    sc.fail_over()
    again = sc.durable.workers["vm"][kept.worker_id]
    assert (again.state, again.bot_id) == (BUSY, "a")


def test_of_two_bots_on_one_worker_one_keeps_it_and_the_other_is_sent_in_again() -> None:
    """No leader does that; but what is read is not to be believed, and whoever is named by no worker would be missed by
    nobody.
    """
    sc = full()
    sc.submit("a", "b")
    sc.durable.bots["b"].worker_id = sc.bot("a").worker_id
    sc.durable.bots["b"].accept = replace(
        sc.durable.bots["b"].accept, job=replace(sc.bot("b").job, on_worker_lost=OnWorkerLost.REJOIN)
    )
    sc.fail_over()
    assert sc.bot("a").attempt == 1
    assert sc.bot("b").failed == 1
