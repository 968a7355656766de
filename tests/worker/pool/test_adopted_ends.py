"""An agent that dies between the moment in which an end is written down and the one in which it is reported: the next
one reports it, once, for the reason that it had. Real parts, but for the browser, which is the fault suite's stand-in.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
import pytest_asyncio

from common.config.settings import EvidenceSettings, WorkerSettings
from common.runtime import steps
from common.runtime.steps import AgentStep
from common.wire.messages import BotEnded, BotMoved, Event, Join, JoinRefused, WorkerGone, WorkerWarm
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from lab.chaos.observers.witness import Seen, Witness
from lab.chaos.stand_in.chromium import write_program
from tests.waiting import PATIENCE_S, wait_until
from worker.chromium import processes
from worker.chromium.driver import Driver
from worker.chromium.process import Launcher
from worker.chromium.profile import Profile
from worker.decide import lifecycle
from worker.decide.state import State
from worker.decide.words import Finish, Observation
from worker.link.journal import Entry, Journal, Stage, WorkerNote
from worker.meeting.evidence import keepers_for
from worker.meeting.session import Session
from worker.pool.pool import Pool, PoolSettings
from worker.pool.uplink import Uplink

pytestmark = pytest.mark.asyncio(loop_scope="module")

E = TypeVar("E", bound=Event)

DENIED: Final = "lobby_s=0.05&deny=1"
OVER: Final = "stay_s=0"
FOR_EVER: Final = "lobby_s=0"


class Vm:
    """A state folder and what Redis was told. Agents come and go; `dies_after`: the step after which this one does."""

    def __init__(self, folder: Path, driver: Driver, witness: Witness) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.bundles: dict[str, bytes] = {}
        self.claimed = True
        self.may_claim = asyncio.Event()
        self.may_claim.set()
        self.dies_after: AgentStep | None = None
        self._driver = driver
        self._witness = witness
        chromium = write_program(folder / "stand-in", witness.address)
        self.settings = WorkerSettings(memory_reserve_mb=0, chromium=str(chromium), leave_timeout_s=4)
        self._launcher = Launcher(Profile.of(chromium, self.settings), folder)
        self._journal: Journal | None = None
        self._alive: asyncio.TaskGroup | None = None
        self.died = asyncio.Event()
        self.pool: Pool

    async def agent(self, *, connects: bool = True) -> Pool:
        """The next one; if it `connects`, once it has taken over what the one before left."""
        await self.kill()
        self.died.clear()
        self._journal = journal = Journal(self.folder / "journal.db")
        self._alive = tasks = await asyncio.TaskGroup().__aenter__()
        uplink = Uplink("vm1", self._claim, self._report, keepers_for(EvidenceSettings(), "vm1", self._put))
        self.pool = Pool(PoolSettings.of(self.settings), self._launcher, self._driver, uplink, tasks)
        await self._launcher.sweep(journal.workers(), most=10)
        self.pool.adopt(journal.workers())
        if connects:
            await self.pool.adopted.wait()
        return self.pool

    async def kill(self) -> None:
        """As kill -9 does: nobody in it does anything more."""
        if self._alive:
            self.pool.let_go()
            for worker in self.pool._workers.values():  # pyright: ignore[reportPrivateUsage]
                worker.page = None  # nobody is there to connect to it again, when the driver says that it is lost
            await self._alive.__aexit__(None, None, None)
            self._alive = None
        if self._journal:
            self._journal.close()
            self._journal = None

    def after(self, step: AgentStep) -> None:
        if step is self.dies_after:
            self.dies_after = None
            self._journal = None  # whatever is still said by somebody who winds up is said by nobody
            self.died.set()
            self.pool.let_go()
            raise asyncio.CancelledError

    def _put(self, name: str, data: bytes) -> bool:
        self.bundles[name] = data
        return True

    def _report(self, *events: Event, entry: Entry | None = None) -> None:
        if self._journal:
            self._journal.write(events, entry)
            self.events += events

    async def _claim(self, _join: Join) -> bool:
        await self.may_claim.wait()
        return self.claimed

    def seen(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def send_in(self, meeting: str, leave_when_cut_off_s: float = 0.0) -> None:
        self.pool.warm("w1")
        await wait_until(lambda: self.seen(WorkerWarm))
        address = f"http://{self._witness.address}/r/x?tag=b1&{meeting}"
        join = Join("w1", "b1", 1, "room", address, "Bot", leave_when_cut_off_s=leave_when_cut_off_s)
        self.pool.begin(join)

    def browser(self) -> int:
        mark = f"--user-data-dir={self.folder}/workers/"
        return next(each.pid for each in processes.scan() if mark in processes.command_line(each.pid))

    async def rewind(self, note: WorkerNote | None) -> None:
        """As a log does that was cut off: the journal says what was true of the worker before."""
        await self.kill()
        journal = Journal(self.folder / "journal.db")
        journal.write(entry=Entry("w1", note))
        journal.close()

    async def gone(self) -> WorkerGone:
        """Once nothing is left, and no agent is needed any more."""
        await wait_until(lambda: self.seen(WorkerGone))
        [event] = self.seen(WorkerGone)
        await self.ended()
        return event

    async def ended(self) -> None:
        await self.kill()
        mark = f"--user-data-dir={self.folder}/workers/"
        assert not [each.pid for each in processes.scan() if mark in processes.command_line(each.pid)]
        assert not (self.folder / "workers" / "w1").exists()
        journal = Journal(self.folder / "journal.db")
        assert journal.workers() == {}
        journal.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def driver() -> AsyncGenerator[Driver]:
    driver = Driver()
    await driver.start()
    yield driver
    await driver.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def witness() -> AsyncGenerator[Witness]:
    async with Witness() as witness:
        yield witness


@pytest_asyncio.fixture(loop_scope="module")
async def vm(tmp_path: Path, driver: Driver, witness: Witness, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Vm]:
    vm = Vm(tmp_path, driver, witness)
    monkeypatch.setattr(steps, "done", vm.after)
    monkeypatch.setattr("worker.pool.serving.PROBE_DEADLINE_S", PATIENCE_S)  # of a busy machine
    await vm.agent()
    yield vm
    vm.may_claim.set()
    if vm.seen(WorkerGone) == []:
        await vm.agent()
        vm.pool.refuse_work()
        vm.pool.leave_all(Reason.SHUTDOWN)
        await vm.pool.empty.wait()
    await vm.kill()


def moves(vm: Vm) -> list[BotState]:
    return [move.state for move in vm.seen(BotMoved)]


BETWEEN: Final = [AgentStep.MOVE_NOTED, AgentStep.END_CONCLUDED, AgentStep.EVIDENCE_KEPT, AgentStep.PAGE_EMPTIED]


@pytest.mark.parametrize(
    "step", [AgentStep.END_CONCLUDED, pytest.param(AgentStep.PAGE_EMPTIED, marks=pytest.mark.long)]
)
async def test_a_denial_that_an_agent_did_not_live_to_report_is_reported_by_the_next_one(
    vm: Vm, step: AgentStep
) -> None:
    vm.dies_after = step
    await vm.send_in(DENIED)
    await vm.died.wait()
    assert vm.seen(BotEnded) == []
    before = dict(vm.bundles)
    await vm.agent()
    assert (await vm.gone()).cause is GoneCause.SPENT
    assert [(end.reason, end.evidence) for end in vm.seen(BotEnded)] == [(Reason.REQUEST_DENIED, "b1-1")]
    assert moves(vm) == sorted(set(moves(vm)), key=lambda state: state.rank)
    assert list(vm.bundles) == ["b1-1"]
    assert before in ({}, vm.bundles), "what was kept of the end is not kept again of a page that is empty by now"


@pytest.mark.long
async def test_one_who_is_asked_to_leave_is_out_however_often_the_agent_dies_over_it(vm: Vm, witness: Witness) -> None:
    await vm.send_in(FOR_EVER)
    await wait_until(lambda: BotState.IN_MEETING in moves(vm))
    vm.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    for step in BETWEEN:
        vm.dies_after = step
        await vm.died.wait()
        await vm.agent()
    await vm.gone()
    assert [end.reason for end in vm.seen(BotEnded)] == [Reason.USER_REQUESTED]
    assert not [mark for mark in witness.present.values() if mark.seen is Seen.INSIDE]


async def test_a_browser_that_hangs_when_the_agent_starts_does_not_outstay_the_time_that_its_vm_may_be_cut_off(
    vm: Vm, witness: Witness
) -> None:
    """The next agent cannot connect to it, and has no session that could be told to leave."""
    await vm.send_in(FOR_EVER, leave_when_cut_off_s=30.0)
    await wait_until(lambda: BotState.IN_MEETING in moves(vm))
    await vm.kill()
    os.kill(vm.browser(), signal.SIGSTOP)
    await vm.agent(connects=False)
    await vm.pool.watch.leave_if_cut_off(31.0)
    assert witness.present
    await vm.pool.watch.leave_if_cut_off(46.0)
    await wait_until(lambda: not witness.present)
    await vm.gone()
    assert [end.reason for end in vm.seen(BotEnded)] == [Reason.CUT_OFF]


async def test_a_meeting_that_was_over_and_a_browser_that_died_with_the_agent_end_as_the_meeting(
    vm: Vm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "WATCHED_S", PATIENCE_S)  # a busy machine takes seconds from one look to the next
    vm.dies_after = AgentStep.PAGE_EMPTIED
    await vm.send_in(OVER)
    await vm.died.wait()
    await vm.kill()
    for process in processes.scan():
        if f"--user-data-dir={vm.folder}/workers/" in processes.command_line(process.pid):
            os.kill(process.pid, signal.SIGKILL)
    await vm.agent()
    await vm.gone()
    assert [end.reason for end in vm.seen(BotEnded)] == [Reason.NEVER_ADMITTED]


@pytest.mark.parametrize("dies", [False, True])
async def test_an_order_to_retire_that_came_while_the_claim_was_asked_is_carried_out_when_that_is_refused(
    vm: Vm, *, dies: bool
) -> None:
    """As an agent finds it that was frozen for longer than the manager waits: assigned, taken back, to be retired."""
    vm.claimed = False
    vm.may_claim.clear()
    await vm.send_in(FOR_EVER)
    vm.pool.retire("w1")
    assert vm.pool.reports()["w1"].state is WorkerState.BUSY
    if dies:
        await vm.agent()
    vm.may_claim.set()
    assert (await vm.gone()).cause is GoneCause.RETIRED
    assert vm.seen(BotEnded) == []


async def test_an_order_to_retire_ends_no_bot_that_turns_out_to_be_ours(vm: Vm) -> None:
    vm.may_claim.clear()
    await vm.send_in(FOR_EVER)
    vm.pool.retire("w1")
    vm.may_claim.set()
    await wait_until(lambda: BotState.IN_MEETING in moves(vm))
    vm.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    assert (await vm.gone()).cause is GoneCause.SPENT
    assert [end.reason for end in vm.seen(BotEnded)] == [Reason.USER_REQUESTED]


@pytest.mark.parametrize("claimed", [False, pytest.param(True, marks=pytest.mark.long)])
async def test_a_bot_whose_adapter_went_with_the_upgrade_ends_and_holds_no_worker(
    vm: Vm, monkeypatch: pytest.MonkeyPatch, *, claimed: bool
) -> None:
    if not claimed:
        vm.may_claim.clear()
    await vm.send_in(FOR_EVER)
    if claimed:
        await wait_until(lambda: BotState.IN_MEETING in moves(vm))

    def none(_platform: str) -> Any:
        return None

    monkeypatch.setattr("worker.pool.takeover.adapter_for", none)
    await vm.agent()
    await vm.gone()
    assert [end.reason for end in vm.seen(BotEnded)] == [Reason.UNSUPPORTED_PLATFORM] * claimed
    assert [refused.cause for refused in vm.seen(JoinRefused)] == [RefusalCause.UNKNOWN_PLATFORM] * (not claimed)


@pytest.mark.parametrize("stage", [None, pytest.param(Stage.WARM, marks=pytest.mark.long)])
async def test_an_agent_whose_journal_has_lost_the_bot_ends_its_browser(vm: Vm, stage: Stage | None) -> None:
    await vm.send_in(FOR_EVER)
    await wait_until(lambda: BotState.IN_MEETING in moves(vm))
    page = vm.pool._workers["w1"].status.page_id  # pyright: ignore[reportPrivateUsage]
    await vm.rewind(WorkerNote(stage, page) if stage else None)
    await vm.agent()
    await (vm.gone() if stage else vm.ended())
    assert vm.seen(BotEnded) == [], "the manager hears that its worker is gone, and knows what that means"


async def test_an_agent_whose_journal_has_lost_how_far_the_bot_came_goes_on_with_it(vm: Vm) -> None:
    await vm.send_in(FOR_EVER)
    await wait_until(lambda: BotState.IN_MEETING in moves(vm))
    status = vm.pool._workers["w1"].status  # pyright: ignore[reportPrivateUsage]
    assert status.join
    await vm.rewind(WorkerNote(Stage.WARM, status.page_id, status.join))
    await vm.agent()
    await wait_until(lambda: moves(vm).count(BotState.IN_MEETING) == 2)
    vm.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await vm.gone()
    assert [end.reason for end in vm.seen(BotEnded)] == [Reason.USER_REQUESTED]


# The backstop


async def overdue(vm: Vm) -> None:
    """As many looks as it takes, of an agent that lives."""
    for _ in range(40):
        vm.pool.watch.end_those_overdue()
        await asyncio.sleep(0)
        if vm.seen(BotEnded):
            break


@pytest.mark.parametrize("fault", ["never finishes", pytest.param("hangs", marks=pytest.mark.long)])
async def test_a_session_that_would_never_end_is_ended_by_force(
    vm: Vm, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The fault that was: a stopped state with no action, for ever. And one that stands still in somebody's code."""

    def endless(state: State, observation: Observation, now: float) -> lifecycle.Step:
        done = step(state, observation, now)
        return lifecycle.Step(done.state, tuple(action for action in done.actions if not isinstance(action, Finish)))

    async def stuck(*_: Any) -> None:
        await asyncio.Event().wait()

    step = lifecycle.step
    await vm.send_in(FOR_EVER)
    await wait_until(lambda: BotState.IN_MEETING in moves(vm))
    if fault == "hangs":
        monkeypatch.setattr(Session, "_act", stuck)
    else:
        monkeypatch.setattr(lifecycle, "step", endless)
    vm.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await wait_until(lambda: BotState.LEAVING in moves(vm))
    await overdue(vm)
    assert (await vm.gone()).cause is GoneCause.SPENT
    [ended] = vm.seen(BotEnded)
    assert ended.reason is Reason.OVERDUE
    assert "user_requested" in ended.detail


async def test_the_manager_can_have_a_browser_ended_whoever_it_serves(vm: Vm) -> None:
    await vm.send_in(FOR_EVER)
    await wait_until(lambda: BotState.IN_MEETING in moves(vm))
    vm.pool.retire("w1", by_force=True)
    await vm.gone()
    assert [end.reason for end in vm.seen(BotEnded)] == [Reason.OVERDUE]


@pytest.mark.long
async def test_an_agent_that_stops_is_not_held_up_by_a_claim_that_nobody_answers(vm: Vm) -> None:
    vm.may_claim.clear()
    await vm.send_in(FOR_EVER)
    vm.pool.refuse_work()
    assert (await vm.gone()).cause is GoneCause.AGENT_STOPPED
    assert [refused.cause for refused in vm.seen(JoinRefused)] == [RefusalCause.STOPPING]


async def test_a_bot_in_a_meeting_is_not_refused_by_an_agent_that_stops_before_it_is_connected_to_it(vm: Vm) -> None:
    """It would be sent in a second time, beside the one that is there."""
    await vm.send_in(FOR_EVER)
    await wait_until(lambda: BotState.IN_MEETING in moves(vm))
    await vm.kill()
    await vm.agent(connects=False)
    assert vm.pool._workers["w1"].session is None  # pyright: ignore[reportPrivateUsage]
    vm.pool.refuse_work()
    vm.pool.leave_all(Reason.SHUTDOWN)
    await vm.gone()
    assert vm.seen(JoinRefused) == []
    assert [end.reason for end in vm.seen(BotEnded)] == [Reason.SHUTDOWN]
