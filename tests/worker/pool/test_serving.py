"""The one bot of a worker, in a real browser: begun or refused, and what it says before its worker is gone."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Final, cast

import pytest
from msgspec.structs import replace
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from common.wire.messages import (
    BotEnded,
    BotMoved,
    ChatHeard,
    JoinRefused,
    ParticipantsSeen,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.conftest import Harness
from worker.chromium import processes
from worker.meeting.opening import Opening
from worker.platforms import BLANK, HERE, adapters
from worker.pool.worker import Worker

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAULTY: Final = f"""
from pathlib import Path
from worker.platforms.page import PageAdapter

def address(join):
    raise ZeroDivisionError

def adapter():
    return PageAdapter("faulty", Path({str(HERE)!r}) / "room" / "screens.toml", address)
"""


async def test_a_bot_does_what_it_alone_is_told_and_has_its_say_before_its_worker_is_gone(harness: Harness) -> None:
    await harness.warm()
    harness.pool.say("w1", "b1", 1, "before it came")
    harness.pool.begin(harness.join())
    harness.pool.begin(harness.join())  # the same order a second time changes nothing
    assert harness.pool.reports() == {"w1": WorkerReport(WorkerState.BUSY, "b1", 1)}
    await wait_until(lambda: harness.seen(ParticipantsSeen))
    for worker_id, bot_id, attempt in (("w9", "b1", 1), ("w1", "b9", 1), ("w1", "b1", 2)):
        harness.pool.say(worker_id, bot_id, attempt, "not meant for it")
    harness.pool.say("w1", "b1", 1, "x" * 3000)
    heard = await wait_until(lambda: harness.seen(ChatHeard))
    assert [(line.sender_name, line.text) for event in heard for line in event.chats] == [("Bot", "x" * 2000)]
    harness.pool.retire("w1")  # put off: it serves a bot
    harness.pool.leave("w1", "b1", 2, Reason.USER_REQUESTED)  # ignored: another attempt
    harness.pool.leave("w1", "b1", 1, Reason.MAX_DURATION)
    assert (await harness.gone()).cause is GoneCause.SPENT
    assert [(event.reason, event.evidence) for event in harness.seen(BotEnded)] == [(Reason.MAX_DURATION, "")]
    assert harness.bundles == {}, "of an end that was wished for, nothing is kept"
    assert harness.kinds()[-2:] == [BotEnded, WorkerGone]
    assert harness.seen(JoinRefused) == []


async def test_a_browser_that_crashes_in_a_meeting_ends_its_bot_at_once(light_harness: Harness) -> None:
    await light_harness.warm()
    light_harness.pool.begin(light_harness.join())
    await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in light_harness.events))
    [leader] = light_harness.browsers()
    os.kill(leader, signal.SIGKILL)
    await light_harness.gone()
    assert [event.reason for event in light_harness.seen(BotEnded)] == [Reason.BROWSER_CRASHED]
    assert light_harness.kinds()[-2:] == [BotEnded, WorkerGone]


async def test_a_stale_assignment_leaves_the_worker_idle(light_harness: Harness) -> None:
    await light_harness.warm()
    light_harness.claimed = False
    light_harness.pool.begin(light_harness.join())
    await wait_until(lambda: light_harness.pool.reports() == {"w1": WorkerReport(WorkerState.IDLE)})
    assert light_harness.kinds() == [WorkerWarm]
    page = _page_of(light_harness)
    assert page.url == BLANK, "only the bot's own worker goes there"
    light_harness.claimed = True
    light_harness.pool.begin(light_harness.join("b2"))
    await wait_until(lambda: any(getattr(event, "bot_id", "") == "b2" for event in light_harness.events))


async def test_a_worker_whose_page_is_on_its_way_for_a_stale_assignment_serves_nobody_else(
    light_harness: Harness,
) -> None:
    """The agent that sent it there was killed. Its attempt was given to another worker meanwhile."""
    await light_harness.warm()
    page = _page_of(light_harness)
    await page.goto(light_harness.meeting)
    light_harness.claimed = False
    light_harness.pool.begin(light_harness.join())
    assert (await light_harness.gone()).cause is GoneCause.UNRESPONSIVE
    assert light_harness.kinds() == [WorkerWarm, JoinRefused, WorkerGone]


async def test_a_bot_told_to_leave_before_the_claim_is_answered_leaves(light_harness: Harness) -> None:
    await light_harness.warm()
    light_harness.may_claim.clear()
    light_harness.pool.begin(light_harness.join())
    light_harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    light_harness.may_claim.set()
    await light_harness.gone()
    assert [event.reason for event in light_harness.seen(BotEnded)] == [Reason.USER_REQUESTED]


async def test_a_browser_that_does_not_answer_the_probe_is_refused_and_ended(light_harness: Harness) -> None:
    await light_harness.warm()
    [leader] = light_harness.browsers()
    for process in processes.scan():
        if process.group == leader:
            os.kill(process.pid, signal.SIGSTOP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.pool.serving.PROBE_DEADLINE_S", 1.0)
        light_harness.pool.begin(light_harness.join())
        assert (await light_harness.gone()).cause is GoneCause.UNRESPONSIVE
    assert [event.cause for event in light_harness.seen(JoinRefused)] == [RefusalCause.BROWSER_DEAD]
    assert light_harness.kinds() == [WorkerWarm, JoinRefused, WorkerGone]


async def test_a_bot_that_is_claimed_is_on_its_way_before_its_page_has_answered(
    light_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def probe(_worker_id: str, page: Page, opening: Opening) -> Page | None:
        await wait_until(lambda: opening.is_begun)
        return page if await opening.comes() else None

    monkeypatch.setattr("worker.pool.serving._probe", probe)
    await light_harness.warm()
    began = time.time()
    light_harness.pool.begin(light_harness.join())
    await _is_in_or_gone(light_harness)
    [requested_at] = [event.first_request_at for event in light_harness.seen(BotMoved) if event.state == "joining"]
    assert began < requested_at < time.time()


async def test_a_bug_in_the_navigation_that_comes_first_ends_its_bot_and_nobody_else(
    light_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def goto(_address: str, **_options: object) -> None:
        raise RuntimeError("a bug")

    await light_harness.warm()
    monkeypatch.setattr(_page_of(light_harness), "goto", goto)
    light_harness.pool.begin(light_harness.join())
    await light_harness.gone()
    assert [event.reason for event in light_harness.seen(BotEnded)] == [Reason.PAGE_LOAD_FAILED]


async def test_a_page_that_has_left_for_the_meeting_before_it_answers_is_well(
    light_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await light_harness.warm()
    page = _page_of(light_harness)

    async def evaluate(_expression: str) -> None:
        monkeypatch.undo()
        await wait_until(lambda: page.url != BLANK)
        raise PlaywrightError("Execution context was destroyed, most likely because of a navigation")

    monkeypatch.setattr(page, "evaluate", evaluate)
    light_harness.pool.begin(light_harness.join())
    await _is_in_or_gone(light_harness)
    assert (light_harness.seen(JoinRefused), light_harness.seen(WorkerGone)) == ([], [])


class _Dead:
    """A page whose driver is gone."""

    async def evaluate(self, _: str) -> None:
        raise PlaywrightError("Connection closed while reading from the driver")


@pytest.mark.parametrize(
    "probed", ["answers", *(pytest.param(end, marks=pytest.mark.long) for end in ("is lost", "is dead"))]
)
async def test_a_browser_that_is_connected_to_again_while_its_claim_is_asked_has_its_bot(
    light_harness: Harness, probed: str
) -> None:
    """The page that was probed was another one. This one is well, and so is the driver by now."""
    await light_harness.warm()
    worker, browsers = light_harness.pool._workers["w1"], light_harness.browsers()  # pyright: ignore[reportPrivateUsage]
    light_harness.may_claim.clear()
    if probed == "is lost":
        worker.page = None
    elif probed == "is dead":
        worker.page = cast("Page", _Dead())
    light_harness.pool.begin(light_harness.join())
    await _is_probed()
    await _connected_again(light_harness, worker)
    light_harness.may_claim.set()
    await _is_in_or_gone(light_harness)
    assert (light_harness.seen(JoinRefused), light_harness.seen(WorkerGone)) == ([], [])
    assert light_harness.browsers() == browsers


@pytest.mark.parametrize("fault", ["told to leave", "browser crashes"])
async def test_a_bot_that_waits_for_its_browser_to_be_connected_to_again_ends_at_once(
    light_harness: Harness, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pool.serving.REATTACHED_S", 2 * PATIENCE_S)
    monkeypatch.setattr("worker.pool.pool.WIND_UP_S", 2 * PATIENCE_S)
    await light_harness.warm()
    [leader] = light_harness.browsers()
    light_harness.pool._workers["w1"].page = None  # pyright: ignore[reportPrivateUsage]
    light_harness.may_claim.clear()
    light_harness.pool.begin(light_harness.join())
    await _is_probed()
    light_harness.may_claim.set()
    await wait_until(lambda: not _runs("claim b1"))
    if fault == "told to leave":
        light_harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    else:
        os.kill(leader, signal.SIGKILL)
    await light_harness.gone()
    assert light_harness.kinds() == [WorkerWarm, JoinRefused, WorkerGone]


async def test_a_bot_whose_browser_crashes_while_its_claim_is_asked_does_not_wait_for_the_answer(
    light_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer never comes. Its worker waits for it until it has to be wound up."""
    monkeypatch.setattr("worker.pool.pool.WIND_UP_S", 0.5)
    await light_harness.warm()
    light_harness.may_claim.clear()
    light_harness.pool.begin(light_harness.join())
    [leader] = light_harness.browsers()
    os.kill(leader, signal.SIGKILL)
    assert (await light_harness.gone()).cause is GoneCause.CRASHED
    assert light_harness.kinds() == [WorkerWarm, JoinRefused, WorkerGone]
    await wait_until(lambda: not _runs("bot b1"))


@pytest.mark.long
async def test_a_faulty_adapter_of_somebody_else_costs_its_bot_the_meeting_and_nobody_else(
    light_harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    metadata = site / "faulty-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[poolmgr.adapters]\nfaulty = faulty_adapter:adapter\n")
    (site / "faulty_adapter.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(str(site))  # pyright: ignore[reportUnknownMemberType]
    adapters.cache_clear()
    try:
        await light_harness.warm()
        light_harness.pool.begin(light_harness.join(platform="faulty"))
        assert (await light_harness.gone()).cause is GoneCause.SPENT
        assert [event.reason for event in light_harness.seen(BotEnded)] == [Reason.INTERNAL_ERROR]
        light_harness.events.clear()
        await light_harness.warm("w2")
        light_harness.pool.begin(replace(light_harness.join("b2"), worker_id="w2"))
        await wait_until(lambda: any(getattr(event, "state", "") == "in_meeting" for event in light_harness.events))
    finally:
        adapters.cache_clear()


async def test_workers_that_do_not_leave_are_abandoned(light_harness: Harness) -> None:
    await light_harness.warm()
    light_harness.may_claim.clear()
    light_harness.pool.begin(light_harness.join())
    light_harness.pool.abandon()
    assert (await light_harness.gone()).cause is GoneCause.AGENT_STOPPED
    assert light_harness.kinds() == [WorkerWarm, JoinRefused, WorkerGone]


def _runs(task: str) -> bool:
    return any(each.get_name() == task for each in asyncio.all_tasks())


async def _is_probed() -> None:
    """Its claim is still being asked."""
    await wait_until(lambda: _runs("claim b1"))
    await wait_until(lambda: not _runs("probe w1"))


async def _connected_again(harness: Harness, worker: Worker) -> None:
    """As when there is a new driver: the worker has another page, which drives the same browser."""
    assert worker.chromium
    before, worker.page = worker.page, None
    await harness.pool._connections.restore(worker, worker.chromium)  # pyright: ignore[reportPrivateUsage]
    assert worker.page not in (None, before)


async def _is_in_or_gone(harness: Harness) -> None:
    def is_in() -> bool:
        return any(getattr(event, "state", "") == "in_meeting" for event in harness.events)

    await wait_until(lambda: is_in() or harness.seen(WorkerGone))


def _page_of(harness: Harness) -> Page:
    page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
    assert page
    return page
