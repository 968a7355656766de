"""The pool against agents that obey late, fall silent, restart, refuse and crash, and leaders that die.

After every step the invariants and limits hold. At the end, with all agents well again, nobody waits any more.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from common.config.settings import CaptureSettings, PoolSettings
from common.wire import messages
from common.wire.messages import (
    BotEnded,
    BotMoved,
    BotVitals,
    Command,
    Event,
    Heartbeat,
    Join,
    JoinRefused,
    Leave,
    Say,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from common.wire.vocabulary import BotState, GoneCause, OnWorkerLost, Reason, RefusalCause, WorkerState
from poolmgr.core.decisions import Ask, Assign, Decision, End, Retire, Revoke, Warm
from poolmgr.core.events import (
    CoreEvent,
    DrainRequested,
    JobAccepted,
    LeaveRequested,
    RescheduleRequested,
    Revoked,
    Tick,
)
from poolmgr.core.invariants import broken_invariants
from poolmgr.core.load import wants_display
from poolmgr.core.pool import Pool
from tests.core.builders import START, WALL, job, of_type
from tests.core.durable import Durable
from tests.examples import examples

BEAT_S: Final = 5.0
HEALED_S: Final = 400.0
"""Longer than every deadline below together with a warm-up after the longest backoff."""

MEMORY: Final = 5
"""Workers that fit into the memory of one VM."""

LABELS: Final[list[dict[str, str]]] = [{}, {"region": "eu"}, {"region": "eu", "account": "a"}]
"""Of a VM, and what jobs require. No VM has all that some require at the beginning, and any may later."""

CAPTURE: Final = CaptureSettings(store="/recordings")

SETTINGS: Final = PoolSettings(
    min_idle=1,
    max_workers=4,
    idle_ttl_s=30,
    max_age_s=100,
    warmups_at_once=2,
    warmup_timeout_s=20,
    backoff_s=2,
    backoff_max_s=16,
    claim_timeout_s=10,
    heartbeat_timeout_s=12,
    lost_after_s=30,
    queue_timeout_s=200,
    reserve_ahead_s=30,
    max_attempts=3,
    canary_share=0.3,
)


@dataclass
class Browser:
    state: WorkerState = WorkerState.WARMING
    join: Join | None = None
    reached: BotState = BotState.ASSIGNED
    display: bool = False

    def report(self) -> WorkerReport:
        if self.join:
            return WorkerReport(self.state, self.join.bot_id, self.join.attempt, display=self.display)
        return WorkerReport(self.state, display=self.display)


@dataclass
class Agent:
    """One VM. What it does is up to the machine; what it has to say waits in `outbox` until Redis can be reached."""

    vm_id: str
    session: int = 1
    browsers: dict[str, Browser] = field(default_factory=dict[str, Browser])
    orders: deque[Command] = field(default_factory=deque[Command])
    outbox: deque[Event] = field(default_factory=deque[Event])
    cut_off: bool = False
    heard_at: float = START
    stopping: bool = False
    labels: dict[str, str] = field(default_factory=dict[str, str])
    canary: bool = False
    makes_displays: bool = False

    def with_bot(self) -> list[tuple[str, Browser, Join]]:
        return [(worker_id, b, b.join) for worker_id, b in self.browsers.items() if b.join]

    def in_state(self, state: WorkerState) -> list[str]:
        return [worker_id for worker_id, browser in self.browsers.items() if browser.state is state]


class PoolAndFleet(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.settings = SETTINGS
        self.now = START
        self.epoch = 1
        self.pool = Pool(SETTINGS, epoch=1, forget_vm_s=90, capture=CAPTURE)
        self.durable = Durable()
        self.agents: dict[str, Agent] = {}
        self.ends: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.submitted = 0
        self.unacknowledged: list[Event] = []

    @initialize(vms=st.integers(1, 3), idle=st.sampled_from([(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (4, 0)]))
    def begin(self, vms: int, idle: tuple[int, int]) -> None:
        self.settings = replace(SETTINGS, min_idle=idle[0], min_idle_display=idle[1])
        self.pool = Pool(self.settings, epoch=1, forget_vm_s=90, capture=CAPTURE)
        self.agents = {f"vm{n}": Agent(f"vm{n}", labels=LABELS[n], makes_displays=n > 0) for n in range(vms)}
        for agent in self.agents.values():
            self.beat(agent)
        self.deliver_all()

    # The manager's side: events in, decisions into the durable state and to the agents.

    def handle(self, event: CoreEvent) -> None:
        self.take(self.pool.handle(event, self.now))

    def take(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            self.check_decision(decision)
            self.durable.apply(decision, self.now)
            self.tell(decision)
        self.check_warm_ups(decisions)
        self.check_kinds(decisions)
        assert self.durable.refused == []
        for revoke in of_type(decisions, Revoke):
            self.handle(Revoked(revoke.bot_id, revoke.attempt, self.durable.revoke(revoke)))

    def tell(self, decision: Decision) -> None:
        match decision:
            case Warm(vm_id=vm_id, worker_id=worker_id):
                self.agents[vm_id].orders.append(messages.Warm(worker_id, decision.display))
            case Retire(vm_id=vm_id, worker_id=worker_id):
                self.agents[vm_id].orders.append(messages.Retire(worker_id))
            case Assign(vm_id=vm_id, join=join):
                self.agents[vm_id].orders.append(join)
            case Ask():
                order = Leave(decision.worker_id, decision.bot_id, decision.attempt, decision.reason)
                self.agents[decision.vm_id].orders.append(order)
            case _:
                pass

    def check_decision(self, decision: Decision) -> None:
        if isinstance(decision, Assign):
            bot_id = decision.join.bot_id
            assert decision.join.attempt == self.attempts[bot_id] + 1
            assert self.durable.bots[bot_id].failed < self.settings.max_attempts
            self.attempts[bot_id] += 1
            assert self.ends[bot_id] == 0
            required = self.durable.bots[bot_id].accept.job.requires
            assert required.items() <= self.pool.fleet.vms[decision.vm_id].labels
        for end in of_type([decision], End):
            self.ends[end.bot_id] += 1
            assert self.ends[end.bot_id] == 1

    def check_warm_ups(self, decisions: list[Decision]) -> None:
        for vm_id in {warm.vm_id for warm in of_type(decisions, Warm)}:
            vm = self.pool.fleet.vms[vm_id]
            assert vm.takes_work
            assert self.now >= vm.backoff_until
            assert len(vm.workers) <= self.settings.max_workers
            assert vm.warming <= self.settings.warmups_at_once
            assert vm.room >= 0
        assert all(self.pool.fleet.vms[warm.vm_id].makes_displays for warm in of_type(decisions, Warm) if warm.display)

    def check_kinds(self, decisions: list[Decision]) -> None:
        """Nobody got a worker of the other kind while one of the right kind stands idle. A scheduled bot has the one
        that was put aside for it, and a canary's turn counts first.
        """
        for assign in of_type(decisions, Assign):
            job, wants = self.durable.bots[assign.join.bot_id].accept.job, wants_display(assign.kind)
            if assign.display is wants or job.join_at is not None or self.pool.fleet.vms[assign.vm_id].canary:
                continue
            for vm in self.pool.fleet:
                right = [worker for worker in vm.idle.values() if worker.display is wants]
                has_what_it_requires = job.requires.items() <= dict(vm.labels).items()
                assert not (right and vm.takes_bots and not vm.canary and has_what_it_requires)

    # The agents' side

    def agent(self, n: int) -> Agent:
        return list(self.agents.values())[n % len(self.agents)]

    def say(self, agent: Agent, event: Event) -> None:
        agent.outbox.append(event)

    def deliver(self, agent: Agent) -> None:
        if not agent.cut_off:
            agent.heard_at = self.now
        while agent.outbox and not agent.cut_off:
            event = agent.outbox.popleft()
            self.unacknowledged = [*self.unacknowledged[-9:], event]
            self.handle(event)

    def deliver_all(self) -> None:
        for agent in self.agents.values():
            self.deliver(agent)

    def beat(self, agent: Agent) -> None:
        reports = {worker_id: browser.report() for worker_id, browser in agent.browsers.items()}
        room = MEMORY - len(agent.browsers)
        said = (agent.vm_id, str(agent.session), self.now, reports, room, agent.stopping)
        display_room = room if agent.makes_displays else None
        self.say(agent, Heartbeat(*said, labels=agent.labels, canary=agent.canary, display_room=display_room))

    def gone(self, agent: Agent, worker_id: str, cause: GoneCause) -> None:
        agent.browsers.pop(worker_id, None)
        self.say(agent, WorkerGone(agent.vm_id, worker_id, self.now, cause))

    def refuse(self, agent: Agent, join: Join, cause: RefusalCause) -> None:
        self.say(agent, JoinRefused(agent.vm_id, join.worker_id, join.bot_id, join.attempt, self.now, cause))

    def end_bot(self, agent: Agent, join: Join, reason: Reason) -> None:
        self.say(agent, BotEnded(agent.vm_id, join.worker_id, join.bot_id, join.attempt, self.now, reason))
        self.gone(agent, join.worker_id, GoneCause.SPENT)

    def obey(self, agent: Agent, order: Command) -> None:
        assert not isinstance(order, messages.FinishRecording), "not of the pool"
        browser = agent.browsers.get(order.worker_id)
        match order:
            case messages.Warm(worker_id=worker_id):
                if agent.stopping:
                    self.gone(agent, worker_id, GoneCause.AGENT_STOPPED)
                elif len(agent.browsers) >= MEMORY:
                    self.gone(agent, worker_id, GoneCause.LOW_MEMORY)
                elif browser is None:
                    agent.browsers[worker_id] = Browser(display=order.display and agent.makes_displays)
            case messages.Retire(worker_id=worker_id):
                if browser is None:
                    self.gone(agent, worker_id, GoneCause.MISSING)
                elif browser.join is None:
                    self.gone(agent, worker_id, GoneCause.RETIRED)
            case Join():
                self.obey_join(agent, order, browser)
            case Leave(bot_id=bot_id, attempt=attempt, reason=reason):
                if browser and browser.join and (browser.join.bot_id, browser.join.attempt) == (bot_id, attempt):
                    self.end_bot(agent, browser.join, reason)
            case Say() | messages.Pause():
                pass

    def obey_join(self, agent: Agent, join: Join, browser: Browser | None) -> None:
        if agent.stopping:
            self.refuse(agent, join, RefusalCause.STOPPING)
        elif browser is None or browser.state is not WorkerState.IDLE:
            self.refuse(agent, join, RefusalCause.NO_SUCH_WORKER)
        elif self.durable.claim(join.bot_id, join.attempt, join.worker_id):
            browser.state, browser.join = WorkerState.BUSY, join

    def work(self, agent: Agent) -> None:
        """Carry out all orders. They come over Redis, so who is cut off has none to carry out."""
        while agent.orders and not agent.cut_off:
            self.obey(agent, agent.orders.popleft())

    # What may happen

    @rule(
        priority=st.integers(-1, 1),
        n=st.integers(1, 3),
        on_worker_lost=st.sampled_from([None, OnWorkerLost.END, OnWorkerLost.REJOIN]),
        video=st.booleans(),
    )
    def jobs_arrive(self, priority: int, n: int, on_worker_lost: OnWorkerLost | None, video: bool) -> None:
        for _ in range(n):
            self.submit(priority, None, on_worker_lost, video=video)

    @rule(priority=st.integers(-1, 1), n=st.integers(1, 3), requires=st.sampled_from([*LABELS, {"region": "mars"}]))
    def jobs_that_require_a_vm_arrive(self, priority: int, n: int, requires: dict[str, str]) -> None:
        for _ in range(n):
            self.submit(priority, None, requires=requires)

    @rule(join_in=st.sampled_from([-100.0, 1.0, 20.0, 60.0]), requires=st.sampled_from(LABELS), video=st.booleans())
    def a_job_for_later_arrives(self, join_in: float, requires: dict[str, str], video: bool) -> None:
        self.submit(0, self.wall + join_in, requires=requires, video=video)

    def submit(
        self,
        priority: int,
        join_at: float | None,
        on_worker_lost: OnWorkerLost | None = None,
        requires: dict[str, str] = LABELS[0],
        *,
        video: bool = False,
    ) -> None:
        self.submitted += 1
        asked = job(priority, join_at, on_worker_lost, requires=requires, video=video)
        self.handle(JobAccepted(f"bot{self.submitted}", asked, self.wall))

    @rule(n=st.integers(0, 20), join_in=st.sampled_from([-1.0, 5.0, 60.0]))
    def a_client_moves_a_scheduled_bot(self, n: int, join_in: float) -> None:
        if self.submitted:
            self.handle(RescheduleRequested(f"bot{1 + n % self.submitted}", self.wall + join_in))

    @rule(n=st.integers(0, 20))
    def a_client_lets_a_bot_leave(self, n: int) -> None:
        if self.submitted:
            self.handle(LeaveRequested(f"bot{1 + n % self.submitted}"))

    @rule(n=st.integers(0, 2), draining=st.booleans())
    def an_operator_drains(self, n: int, draining: bool) -> None:
        self.handle(DrainRequested(self.agent(n).vm_id, draining))

    @rule(n=st.integers(0, 2), how_many=st.integers(1, 9))
    def an_agent_obeys(self, n: int, how_many: int) -> None:
        agent = self.agent(n)
        for _ in range(how_many):
            if agent.orders and not agent.cut_off:
                self.obey(agent, agent.orders.popleft())
        self.deliver(agent)

    @rule()
    def all_is_done_at_once(self) -> None:
        for agent in self.agents.values():
            self.work(agent)
            self.finish_warm_ups(agent)
            self.beat(agent)
        self.deliver_all()

    def finish_warm_ups(self, agent: Agent) -> None:
        for worker_id in agent.in_state(WorkerState.WARMING):
            agent.browsers[worker_id].state = WorkerState.IDLE
            self.say(agent, WorkerWarm(agent.vm_id, worker_id, self.now))

    @rule(n=st.integers(0, 2))
    def warm_ups_succeed(self, n: int) -> None:
        self.finish_warm_ups(self.agent(n))
        self.deliver(self.agent(n))

    @rule(n=st.integers(0, 2), cause=st.sampled_from([GoneCause.WARMUP_FAILED, GoneCause.LOW_MEMORY]))
    def warm_ups_fail(self, n: int, cause: GoneCause) -> None:
        agent = self.agent(n)
        for worker_id in agent.in_state(WorkerState.WARMING):
            self.gone(agent, worker_id, cause)
        self.deliver(agent)

    @rule(n=st.integers(0, 2), k=st.integers(0, 5))
    def an_idle_browser_crashes(self, n: int, k: int) -> None:
        agent = self.agent(n)
        if idle := agent.in_state(WorkerState.IDLE):
            self.gone(agent, idle[k % len(idle)], GoneCause.CRASHED)
        self.deliver(agent)

    @rule(
        n=st.integers(0, 2),
        state=st.sampled_from([BotState.JOINING, BotState.WAITING_ROOM, BotState.IN_MEETING, BotState.LEAVING]),
    )
    def bots_move(self, n: int, state: BotState) -> None:
        agent = self.agent(n)
        for worker_id, browser, join in agent.with_bot():
            if browser.reached.rank < state.rank:
                browser.reached = state
                who = (agent.vm_id, worker_id, join.bot_id, join.attempt)
                self.say(agent, BotMoved(*who, self.now, state))
                self.say(agent, BotVitals(*who, self.now, 2))
        self.deliver(agent)

    @rule(n=st.integers(0, 2), k=st.integers(0, 5), reason=st.sampled_from(Reason))
    def a_bot_ends(self, n: int, k: int, reason: Reason) -> None:
        agent = self.agent(n)
        bots = agent.with_bot()
        if bots and reason is not Reason.SUPERSEDED:
            self.end_bot(agent, bots[k % len(bots)][2], reason)
        self.deliver(agent)

    @rule(
        n=st.integers(0, 2),
        cause=st.sampled_from([RefusalCause.BROWSER_DEAD, RefusalCause.LOW_MEMORY, RefusalCause.UNKNOWN_PLATFORM]),
    )
    def an_assignment_is_refused(self, n: int, cause: RefusalCause) -> None:
        agent = self.agent(n)
        join = next((order for order in agent.orders if isinstance(order, Join)), None)
        if join and not agent.cut_off:
            agent.orders.remove(join)
            self.refuse(agent, join, cause)
            if cause is RefusalCause.BROWSER_DEAD:
                self.gone(agent, join.worker_id, GoneCause.UNRESPONSIVE)
            self.deliver(agent)

    @rule(n=st.integers(0, 2))
    def an_agent_is_cut_off(self, n: int) -> None:
        self.agent(n).cut_off = True

    @rule(n=st.integers(0, 2), bots_move=st.booleans())
    def an_agent_is_cut_off_with_its_bots_until_it_is_lost(self, n: int, bots_move: bool) -> None:
        self.all_is_done_at_once()
        if bots_move:
            self.bots_move(n, BotState.JOINING)
        self.agent(n).cut_off = True
        for _ in range(12):
            self.time_passes(5.0)
            self.all_is_done_at_once()

    @rule(n=st.integers(0, 2))
    def an_agent_is_back(self, n: int) -> None:
        agent = self.agent(n)
        agent.cut_off = False
        self.beat(agent)
        self.deliver(agent)

    @rule(n=st.integers(0, 2), lost=st.integers(0, 3))
    def an_agent_restarts(self, n: int, lost: int) -> None:
        """It finds its browsers again by its journal, but for some that died meanwhile."""
        agent = self.agent(n)
        agent.stopping = False
        for worker_id, browser in list(agent.browsers.items())[:lost]:
            if browser.join:
                self.end_bot(agent, browser.join, Reason.BROWSER_CRASHED)
            else:
                self.gone(agent, worker_id, GoneCause.MISSING)
        self.beat(agent)
        self.deliver(agent)

    @rule(n=st.integers(0, 2), labels=st.sampled_from(LABELS))
    def an_agent_restarts_with_other_labels(self, n: int, labels: dict[str, str]) -> None:
        self.agent(n).labels = labels
        self.an_agent_restarts(n, 0)

    @rule(n=st.integers(0, 2), canary=st.booleans())
    def an_agent_restarts_as_a_canary_or_no_more(self, n: int, canary: bool) -> None:
        self.agent(n).canary = canary
        self.an_agent_restarts(n, 0)

    @rule(n=st.integers(0, 2), makes_displays=st.booleans())
    def an_agent_restarts_with_displays_or_without(self, n: int, makes_displays: bool) -> None:
        self.agent(n).makes_displays = makes_displays
        self.an_agent_restarts(n, 0)

    @rule(n=st.integers(0, 2))
    def an_agent_loses_all_and_restarts(self, n: int) -> None:
        agent = self.agent(n)
        if agent.cut_off:
            return
        agent.session += 1
        agent.stopping = False
        agent.browsers.clear()
        # It drops what was ordered from the agent before it, but no bot is to wait for that.
        for order in agent.orders:
            if isinstance(order, Join):
                self.refuse(agent, order, RefusalCause.NO_SUCH_WORKER)
        agent.orders.clear()
        self.beat(agent)
        self.deliver(agent)

    @rule(n=st.integers(0, 2), lets_idle_go=st.booleans())
    def an_agent_begins_to_stop(self, n: int, lets_idle_go: bool) -> None:
        agent = self.agent(n)
        agent.stopping = True
        if lets_idle_go:
            for worker_id in agent.in_state(WorkerState.IDLE) + agent.in_state(WorkerState.WARMING):
                self.gone(agent, worker_id, GoneCause.AGENT_STOPPED)
        self.deliver(agent)

    @rule(n=st.integers(0, 2))
    def an_agent_stops_no_more(self, n: int) -> None:
        self.agent(n).stopping = False

    @rule(seconds=st.sampled_from([1.0, 5.0, 15.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + BEAT_S, until)
            for agent in self.agents.values():
                self.leave_if_cut_off(agent)
                self.beat(agent)
                self.deliver(agent)
            self.handle(Tick(self.wall))

    def leave_if_cut_off(self, agent: Agent) -> None:
        for _, _, join in agent.with_bot():
            if 0 < join.leave_when_cut_off_s < self.now - agent.heard_at:
                self.end_bot(agent, join, Reason.CUT_OFF)

    @rule(n=st.integers(1, 10))
    def old_news_comes_again(self, n: int) -> None:
        """News of bots and workers, once more: nothing is to come of it. Heartbeats are repeated by a new leader."""
        for event in self.unacknowledged[-n:]:
            if not isinstance(event, Heartbeat):
                self.handle(event)

    @rule(n=st.integers(0, 10))
    def the_leader_dies(self, n: int) -> None:
        """Another takes over from what is durable, and hears once more what had not been acknowledged."""
        self.epoch += 1
        self.pool = Pool(self.settings, epoch=self.epoch, forget_vm_s=90, capture=CAPTURE)
        self.take(self.durable.restored_into(self.pool, self.now))
        for event in self.unacknowledged[-n:] if n else []:
            self.handle(event)

    # What always holds

    @property
    def wall(self) -> float:
        return WALL + self.now - START

    @invariant()
    def the_invariants_hold(self) -> None:
        assert broken_invariants(self.pool) == []

    @invariant()
    def what_is_durable_is_what_the_pool_knows(self) -> None:
        alive = {bot_id: record for bot_id, record in self.durable.bots.items() if record.end is None}
        assert set(alive) == set(self.pool.bots)
        for bot_id, bot in self.pool.bots.items():
            record = alive[bot_id]
            assert (bot.state, bot.attempt) == (record.state, record.attempt)
            if bot.is_on_vm:
                assert (bot.vm_id, bot.worker_id) == (record.vm_id, record.worker_id)
        for vm in self.pool.fleet:
            known = {worker_id: w.state for worker_id, w in self.durable.workers.get(vm.vm_id, {}).items()}
            assert {worker_id: w.state for worker_id, w in vm.workers.items()} == known

    @invariant()
    def nobody_is_in_a_meeting_twice(self) -> None:
        inside = Counter(join.bot_id for agent in self.agents.values() for _, _, join in agent.with_bot())
        assert [bot_id for bot_id, times in inside.items() if times > 1] == []

    @invariant()
    def every_bot_has_one_end_at_most(self) -> None:
        for bot_id in self.durable.bots:
            assert self.ends[bot_id] == (self.durable.bots[bot_id].end is not None)

    # At the end all agents are well, and all comes right by itself.

    def whose_meetings_end(self, agent: Agent) -> list[Join]:
        return [join for _, _, join in agent.with_bot()]

    def teardown(self) -> None:
        for agent in self.agents.values():
            agent.cut_off = agent.stopping = False
            self.handle(DrainRequested(agent.vm_id, draining=False))
        until = self.now + HEALED_S
        while self.now < until:
            self.now += BEAT_S
            for agent in self.agents.values():
                self.beat(agent)
                self.work(agent)
                for join in self.whose_meetings_end(agent):
                    self.end_bot(agent, join, Reason.MEETING_ENDED)
                self.finish_warm_ups(agent)
                self.deliver(agent)
            self.handle(Tick(self.wall))
        while any(agent.orders for agent in self.agents.values()):  # nothing is left to be said or done
            self.all_is_done_at_once()
        self.the_invariants_hold()
        assert self.pool.bots == {}
        assert sum(self.ends.values()) == self.submitted
        for agent in self.agents.values():
            vm = self.pool.fleet.vms[agent.vm_id]
            assert set(vm.workers) == set(agent.browsers)
            assert set(vm.idle) == set(agent.in_state(WorkerState.IDLE)) == set(agent.browsers)
            assert len(vm.idle) - vm.idle_displays == self.settings.min_idle
            assert vm.idle_displays == (self.settings.min_idle_display if agent.makes_displays else 0)


TestPoolAndFleet = PoolAndFleet.TestCase
TestPoolAndFleet.settings = settings(
    max_examples=examples(40),
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
