"""Workers with real browsers: how each ends, and what is reported in which order. No Redis: a claim is a function."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from aiohttp import web

from room.server import create_app
from tests.waiting import wait_until
from wire.messages import (
    BotEnded,
    BotMoved,
    ChatHeard,
    Event,
    Join,
    JoinRefused,
    ParticipantsSeen,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from wire.settings import WorkerSettings
from wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from worker import processes
from worker.browser import Launcher, find_chromium
from worker.driver import Driver
from worker.journal import Entry, Stage, WorkerNote
from worker.pool import Pool

E = TypeVar("E", bound=Event)


class Harness:
    """A pool, and all that it reported."""

    def __init__(self, state_dir: Path, driver: Driver, tasks: asyncio.TaskGroup, settings: WorkerSettings) -> None:
        self.state_dir = state_dir
        self.driver = driver
        self.events: list[Event] = []
        self.notes: dict[str, WorkerNote] = {}
        self.claimed = True
        self.may_claim = asyncio.Event()
        self.may_claim.set()
        self.meeting = ""
        launcher = Launcher(find_chromium(""), state_dir, headless=True)
        self.pool = Pool(settings, "vm1", launcher, driver, tasks, self._claim, self.report)

    def report(self, *events: Event, entry: Entry | None = None) -> None:
        self.events += events
        if entry and entry.note:
            self.notes[entry.worker_id] = entry.note
        elif entry:
            self.notes.pop(entry.worker_id, None)

    async def _claim(self, _join: Join) -> bool:
        await self.may_claim.wait()
        return self.claimed

    def join(self, bot_id: str = "b1", platform: str = "room") -> Join:
        return Join("w1", bot_id, 1, platform, self.meeting, "Bot")

    def seen(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def kinds(self) -> list[type[Event]]:
        """What was reported about the bot and its worker, in order, each kind once."""
        return list(dict.fromkeys(type(event) for event in self.events))

    async def warm(self, worker_id: str = "w1") -> None:
        self.pool.warm(worker_id)
        await wait_until(lambda: self.seen(WorkerWarm))

    async def gone(self) -> WorkerGone:
        await wait_until(lambda: self.seen(WorkerGone))
        [event] = self.seen(WorkerGone)
        assert self.browsers() == []
        assert not (self.state_dir / "workers" / event.worker_id).exists()
        return event

    def browsers(self) -> list[int]:
        """The leaders of all process trees."""
        ours = f"--user-data-dir={self.state_dir}/workers/"
        return [
            each.pid for each in processes.scan() if each.pid == each.group and ours in processes.command_line(each.pid)
        ]


@asynccontextmanager
async def pool_with(state_dir: Path, settings: WorkerSettings) -> AsyncGenerator[Harness]:
    driver = Driver()
    await driver.start()
    async with asyncio.TaskGroup() as tasks:
        harness = Harness(state_dir, driver, tasks, settings)
        tending = tasks.create_task(driver.tend(harness.pool.reconnect), name="tend the driver")
        yield harness
        harness.may_claim.set()
        harness.pool.refuse_work()
        harness.pool.leave_all(Reason.SHUTDOWN)
        await harness.pool.empty.wait()
        tending.cancel()
    await driver.stop()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncGenerator[Harness]:
    async with pool_with(tmp_path, WorkerSettings(memory_reserve_mb=0)) as harness:
        runner = web.AppRunner(create_app("key", open_door=True), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        harness.meeting = f"http://127.0.0.1:{runner.addresses[0][1]}/r/meeting"
        yield harness
        await runner.cleanup()


async def test_a_retired_worker_leaves_nothing(harness: Harness) -> None:
    await harness.warm()
    assert harness.pool.reports() == {"w1": WorkerReport(WorkerState.IDLE)}
    harness.pool.warm("w1")  # a second order changes nothing
    assert len(harness.browsers()) == 1
    harness.pool.retire("w1")
    assert harness.notes["w1"].stage is Stage.SPENT, "an agent that is killed now does not take it for idle again"
    assert (await harness.gone()).cause is GoneCause.RETIRED
    assert harness.pool.reports() == {}
    assert harness.notes == {}


async def test_a_worker_can_be_retired_while_it_warms_up(harness: Harness) -> None:
    harness.pool.warm("w1")
    await wait_until(harness.browsers)
    harness.pool.retire("w1")
    assert (await harness.gone()).cause is GoneCause.RETIRED
    assert harness.seen(WorkerWarm) == []


async def test_an_unknown_worker_is_retired_as_missing(harness: Harness) -> None:
    harness.pool.retire("w9")
    [event] = harness.seen(WorkerGone)
    assert (event.worker_id, event.cause) == ("w9", GoneCause.MISSING)


async def test_an_idle_browser_that_crashes_is_evicted_at_once(harness: Harness) -> None:
    await harness.warm()
    [leader] = harness.browsers()
    os.kill(leader, signal.SIGKILL)
    assert (await harness.gone()).cause is GoneCause.CRASHED


async def test_a_browser_that_does_not_come_up_fails_its_warm_up(tmp_path: Path) -> None:
    mute = tmp_path / "chromium"
    mute.write_text("#!/bin/sh\nsleep 60\n")
    mute.chmod(0o755)
    async with pool_with(tmp_path, WorkerSettings(memory_reserve_mb=0, launch_timeout_s=0.3)) as harness:
        harness.pool._launcher = Launcher(mute, tmp_path, headless=True)  # pyright: ignore[reportPrivateUsage]
        harness.pool.warm("w1")
        event = await harness.gone()
    assert event.cause is GoneCause.WARMUP_FAILED
    assert event.detail == "cannot warm up: after 0.3 s still without the DevTools port"


async def test_a_warm_up_that_would_touch_the_memory_reserve_is_refused(tmp_path: Path) -> None:
    async with pool_with(tmp_path, WorkerSettings(memory_reserve_mb=10_000_000)) as harness:
        assert harness.pool.room() == 0
        harness.pool.warm("w1")
        assert (await harness.gone()).cause is GoneCause.LOW_MEMORY


async def test_a_worker_that_warms_up_takes_room(harness: Harness) -> None:
    before = harness.pool.room()
    for number in range(3):
        harness.pool.warm(f"w{number}")
    # Other programs take and give memory meanwhile, though not two workers' worth.
    assert harness.pool.room() <= before - 2


async def test_a_bot_has_its_say_before_its_worker_is_gone(harness: Harness) -> None:
    await harness.warm()
    harness.pool.begin(harness.join())
    harness.pool.begin(harness.join())  # the same order a second time changes nothing
    assert harness.pool.reports() == {"w1": WorkerReport(WorkerState.BUSY, "b1", 1)}
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    harness.pool.retire("w1")  # ignored: it serves a bot
    harness.pool.leave("w1", "b1", 2, Reason.USER_REQUESTED)  # ignored: another attempt
    harness.pool.leave("w1", "b1", 1, Reason.MAX_DURATION)
    assert (await harness.gone()).cause is GoneCause.SPENT
    assert [event.reason for event in harness.seen(BotEnded)] == [Reason.MAX_DURATION]
    assert harness.kinds()[-2:] == [BotEnded, WorkerGone]
    assert harness.seen(JoinRefused) == []


async def test_a_browser_that_crashes_in_a_meeting_ends_its_bot_at_once(harness: Harness) -> None:
    await harness.warm()
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    [leader] = harness.browsers()
    os.kill(leader, signal.SIGKILL)
    await harness.gone()
    assert [event.reason for event in harness.seen(BotEnded)] == [Reason.BROWSER_CRASHED]
    assert harness.kinds()[-2:] == [BotEnded, WorkerGone]


async def test_a_stale_assignment_leaves_the_worker_idle(harness: Harness) -> None:
    await harness.warm()
    harness.claimed = False
    harness.pool.begin(harness.join())
    await wait_until(lambda: harness.pool.reports() == {"w1": WorkerReport(WorkerState.IDLE)})
    assert harness.kinds() == [WorkerWarm]
    harness.claimed = True
    harness.pool.begin(harness.join("b2"))
    await wait_until(lambda: any(getattr(event, "bot_id", "") == "b2" for event in harness.events))


async def test_a_bot_told_to_leave_before_the_claim_is_answered_leaves(harness: Harness) -> None:
    await harness.warm()
    harness.may_claim.clear()
    harness.pool.begin(harness.join())
    harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    harness.may_claim.set()
    await harness.gone()
    assert [event.reason for event in harness.seen(BotEnded)] == [Reason.USER_REQUESTED]


async def test_a_browser_that_does_not_answer_the_probe_is_refused_and_ended(harness: Harness) -> None:
    await harness.warm()
    for process in processes.scan():
        if process.group == harness.browsers()[0]:
            os.kill(process.pid, signal.SIGSTOP)
    harness.pool.begin(harness.join())
    assert (await harness.gone()).cause is GoneCause.UNRESPONSIVE
    assert [event.cause for event in harness.seen(JoinRefused)] == [RefusalCause.BROWSER_DEAD]
    assert harness.kinds() == [WorkerWarm, JoinRefused, WorkerGone]


async def test_a_browser_that_crashes_while_the_claim_is_asked_is_refused_before_it_is_gone(harness: Harness) -> None:
    await harness.warm()
    harness.may_claim.clear()
    harness.pool.begin(harness.join())
    [leader] = harness.browsers()
    os.kill(leader, signal.SIGKILL)
    await wait_until(lambda: not harness.browsers())
    harness.may_claim.set()
    await harness.gone()
    assert harness.kinds()[-2:] in ([JoinRefused, WorkerGone], [BotEnded, WorkerGone])


async def test_joins_that_cannot_be_are_refused_with_the_cause(harness: Harness) -> None:
    harness.pool.begin(harness.join())
    await harness.warm()
    harness.pool.begin(harness.join(platform="carrier_pigeon"))
    harness.pool.stopping = True
    harness.pool.begin(harness.join())
    assert [event.cause for event in harness.seen(JoinRefused)] == [
        RefusalCause.NO_SUCH_WORKER,
        RefusalCause.UNKNOWN_PLATFORM,
        RefusalCause.STOPPING,
    ]


async def test_a_vm_short_of_memory_refuses_and_its_worker_stays_idle(tmp_path: Path) -> None:
    async with pool_with(tmp_path, WorkerSettings(memory_reserve_mb=0)) as harness:
        await harness.warm()
        harness.pool._settings = WorkerSettings(memory_reserve_mb=10_000_000)  # pyright: ignore[reportPrivateUsage]
        harness.pool.begin(harness.join())
        assert [event.cause for event in harness.seen(JoinRefused)] == [RefusalCause.LOW_MEMORY]
        assert harness.pool.reports() == {"w1": WorkerReport(WorkerState.IDLE)}


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
async def test_after_the_driver_failed_idle_workers_serve_again(
    harness: Harness, fault: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.driver.ANSWER_DEADLINE_S", 0.5)
    await harness.warm()
    _signal_driver(fault)
    worker = harness.pool._workers["w1"]  # pyright: ignore[reportPrivateUsage]
    page = worker.page
    await wait_until(lambda: worker.page not in (None, page))
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    assert harness.seen(WorkerGone) == []


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
async def test_a_meeting_outlives_the_driver(
    harness: Harness, fault: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.driver.ANSWER_DEADLINE_S", 0.5)
    await harness.warm()
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    browsers = harness.browsers()
    worker = harness.pool._workers["w1"]  # pyright: ignore[reportPrivateUsage]
    page = worker.page
    _signal_driver(fault)
    await wait_until(lambda: worker.page not in (None, page))
    harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await harness.gone()
    [ended] = harness.seen(BotEnded)
    assert (ended.reason, ended.detail) == (Reason.USER_REQUESTED, "")
    assert [move.state for move in harness.seen(BotMoved)] == ["joining", "in_meeting", "leaving"]
    assert len(browsers) == 1


async def test_a_bot_that_is_on_its_way_when_the_driver_dies_arrives(harness: Harness) -> None:
    await harness.warm()
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(isinstance(event, BotMoved) for event in harness.events))
    _signal_driver(signal.SIGKILL)
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    assert harness.seen(BotEnded) == []


async def test_a_worker_that_holds_too_much_ends_alone_with_the_reason(harness: Harness) -> None:
    await harness.warm("w1")
    harness.pool.warm("w2")
    await wait_until(lambda: len(harness.seen(WorkerWarm)) == 2)
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in harness.events))
    harness.pool.end_those_too_large()
    page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
    assert page
    await page.evaluate("globalThis.hoard = new Uint8Array(400 << 20).fill(1); 0")
    harness.pool._settings = WorkerSettings(memory_limit_mb=400)  # pyright: ignore[reportPrivateUsage]
    harness.pool.end_those_too_large()
    await wait_until(lambda: harness.seen(WorkerGone))
    [ended], [gone] = harness.seen(BotEnded), harness.seen(WorkerGone)
    assert (ended.reason, gone.worker_id) == (Reason.MEMORY_LIMIT, "w1")
    assert "more than worker.memory_limit_mb (400)" in ended.detail
    assert harness.pool.reports() == {"w2": WorkerReport(WorkerState.IDLE)}


async def test_only_bots_that_are_sent_in_again_leave_when_their_vm_is_cut_off(harness: Harness) -> None:
    for worker_id in ("w1", "w2"):
        harness.pool.warm(worker_id)
    await wait_until(lambda: len(harness.seen(WorkerWarm)) == 2)
    harness.pool.begin(harness.join("stays"))
    goes = Join("w2", "goes", 1, "room", harness.meeting, "Bot", leave_when_cut_off_s=30.0)
    harness.pool.begin(goes)
    await wait_until(lambda: sum(getattr(event, "state", "") == "in_meeting" for event in harness.events) == 2)
    harness.pool.leave_if_cut_off(29.0)
    harness.pool.leave_if_cut_off(31.0)
    await wait_until(lambda: harness.seen(BotEnded))
    [ended] = harness.seen(BotEnded)
    assert (ended.bot_id, ended.reason) == ("goes", Reason.CUT_OFF)
    await wait_until(lambda: list(harness.pool.reports()) == ["w1"])


def _signal_driver(number: signal.Signals) -> None:
    for process in processes.scan():
        if process.parent == os.getpid() and processes.bears(process.pid, "run-driver"):
            os.kill(process.pid, number)


async def test_only_the_bot_that_is_meant_says_something(harness: Harness) -> None:
    await harness.warm()
    harness.pool.say("w1", "b1", 1, "before it came")
    harness.pool.begin(harness.join())
    await wait_until(lambda: harness.seen(ParticipantsSeen))
    for worker_id, bot_id, attempt in (("w9", "b1", 1), ("w1", "b9", 1), ("w1", "b1", 2)):
        harness.pool.say(worker_id, bot_id, attempt, "not meant for it")
    harness.pool.say("w1", "b1", 1, "x" * 3000)
    heard = await wait_until(lambda: harness.seen(ChatHeard))
    assert [(line.sender_name, line.text) for event in heard for line in event.chats] == [("Bot", "x" * 2000)]


async def test_stopping_ends_the_idle_and_those_that_warm_up(harness: Harness) -> None:
    await harness.warm("w1")
    harness.pool.warm("w2")
    harness.pool.refuse_work()
    harness.pool.warm("w3")
    await harness.pool.empty.wait()
    causes = {event.worker_id: event.cause for event in harness.seen(WorkerGone)}
    assert causes == dict.fromkeys(("w1", "w2", "w3"), GoneCause.AGENT_STOPPED)
    assert harness.browsers() == []


async def test_workers_that_do_not_leave_are_abandoned(harness: Harness) -> None:
    await harness.warm()
    harness.may_claim.clear()
    harness.pool.begin(harness.join())
    harness.pool.abandon()
    assert (await harness.gone()).cause is GoneCause.AGENT_STOPPED
    assert harness.kinds() == [WorkerWarm, JoinRefused, WorkerGone]
