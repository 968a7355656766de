"""The main job on real parts: real Redis, real manager, real agents, real Chromium, a real WebRTC meeting."""

import json
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Final

import pytest
from playwright.async_api import Page, async_playwright

from lab.parts.browser import launch
from lab.parts.host import Host, hosting
from poolmgr.core.events import DrainRequested, LeaveRequested, SayRequested
from poolmgr.store.looks import Looks
from tests.e2e.conftest import HOST_KEY, Fleet
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
async def test_two_vms_take_more_jobs_than_are_warm_tell_whose_doing_each_end_was_and_leave_nothing_behind(
    fleet: Fleet,
) -> None:
    fleet.start_manager(min_idle="1", max_workers="4")
    fleet.start_agent("vm-a")
    fleet.start_agent("vm-b")
    await fleet.until_workers({"vm-a": {"idle": 1}, "vm-b": {"idle": 1}})
    bots = ["e2e-0", "e2e-1"]
    async with hosting(f"{fleet.room}/r/test", HOST_KEY) as host:
        for bot_id in (*bots, "unwelcome"):
            await fleet.push(bot_id)
        await fleet.until_state([*bots, "unwelcome"], "waiting_room")
        assert {(await fleet.record(bot_id))["status"] for bot_id in bots} == {"InWaitingRoom"}
        for bot_id in bots:
            await host.say("admit", id=host.lobby[f"Bot {bot_id}"])
        await host.say("deny", id=host.lobby["Bot unwelcome"])
        await fleet.until_state(bots, "in_meeting")
        await fleet.until_state(["unwelcome"], "stopped")
        await wait_until(lambda: len(host.names) == 3)
        assert Counter(host.arrivals) == Counter(["Host", *(f"Bot {bot_id}" for bot_id in bots)])
        records = [await fleet.record(bot_id) for bot_id in bots]
        assert {record["attempt"] for record in records} == {"1"}
        assert {record["vm_id"] for record in records} == {"vm-a", "vm-b"}
        await they_talk_and_see_who_is_there(fleet, host, bots[1])
        await it_is_looked_into(fleet, records[1]["vm_id"], bots[1])
        await fleet.until_workers({vm_id: {"idle": 1, "busy": 1} for vm_id in ("vm-a", "vm-b")})

        await fleet.views.request(DrainRequested("vm-b"))
        await fleet.until_workers({"vm-b": {"busy": 1}})
        fleet.signal("vm-a", signal.SIGTERM)
        await fleet.until_workers({"vm-a": {"busy": 1}})
        assert len(host.names) == 3, "neither a drain nor SIGTERM ends a meeting"
        await fleet.views.request(LeaveRequested(bots[0]))
        await fleet.until_state(bots[:1], "stopped")

        async def gone() -> bool:
            return bool((await people(fleet, bots[1]))[f"Bot {bots[0]}"]["left_at"])

        await wait_until(gone)
        await host.say("end_for_all")
        await fleet.until_state(bots, "stopped")
    ends = {bot_id: await fleet.record(bot_id) for bot_id in (*bots, "unwelcome")}
    words = {bot_id: (end["status"], end["status_reason"], end["attribution"]) for bot_id, end in ends.items()}
    assert words == {
        "e2e-0": ("Stopped", "user_requested", "user"),
        "e2e-1": ("Stopped", "meeting_ended", "host"),
        "unwelcome": ("Denied", "request_denied", "host"),
    }
    assert await fleet.ended("vm-a") == 0
    fleet.signal("vm-b", signal.SIGTERM)
    assert await fleet.ended("vm-b") == 0
    fleet.signal("manager", signal.SIGTERM)
    assert await fleet.ended("manager") == 0
    assert fleet.processes() == []
    assert fleet.worker_folders() == []
    assert await fleet.refused() == []
    keys = [key async for key in fleet.redis.scan_iter(match=f"{fleet.keys.prefix}:*")]
    assert [key for key in keys if await fleet.redis.ttl(key) < 0] == []


async def they_talk_and_see_who_is_there(fleet: Fleet, host: Host, bot_id: str) -> None:
    async def said() -> list[tuple[str, str]]:
        lines = [json.loads(raw) for raw in await fleet.redis.lrange(fleet.keys.chats(bot_id), 0, -1)]
        return [(line["sender_name"], line["text"]) for line in lines]

    async def both_are_kept() -> bool:
        return len(await said()) == 2

    async def all_are_seen() -> bool:
        return set(await people(fleet, bot_id)) == set(host.names) - {f"Bot {bot_id}"}

    await host.say("say", text="You have been removed from the meeting")
    await wait_until(said)
    await fleet.views.request(SayRequested("nobody", "a secret"))
    await fleet.views.request(SayRequested(bot_id, "a secret"))
    await wait_until(lambda: len(host.chat) == 2)
    await wait_until(both_are_kept)
    await wait_until(all_are_seen)
    both = [("Host", "You have been removed from the meeting"), (f"Bot {bot_id}", "a secret")]
    assert (host.chat, await said()) == (both, both)
    seen = await people(fleet, bot_id)
    assert all(participant["joined_at"] and not participant["left_at"] for participant in seen.values())
    for name in ("manager", "vm-a", "vm-b"):
        assert "a secret" not in fleet.log(name)
        assert "been removed" not in fleet.log(name)
    assert "say_dropped" in fleet.log("manager")


async def it_is_looked_into(fleet: Fleet, vm_id: str, bot_id: str) -> None:
    async with aclosing(Looks(fleet.redis, fleet.keys).pictures(vm_id, bot_id)) as pictures:
        while (picture := await anext(pictures)) is None or not picture.jpeg:
            pass
        assert picture.jpeg.startswith(b"\xff\xd8\xff")


async def people(fleet: Fleet, bot_id: str) -> dict[str, dict[str, str]]:
    """Who is known to have been in the bot's meeting, by name."""
    found = [json.loads(raw) for raw in await fleet.redis.hvals(fleet.keys.participants(bot_id))]
    return {participant["name"]: participant for participant in found}


@pytest.mark.long
async def test_calls_go_on_while_their_agent_is_killed_again_and_again(fleet: Fleet) -> None:
    fleet.start_manager(min_idle="1", max_workers="4")
    fleet.start_agent("vm-a")
    async with hosting(f"{fleet.room}/r/test", HOST_KEY) as host, talking(fleet.room) as ada:
        await wait_until(lambda: "Ada" in host.lobby)
        await host.say("admit", id=host.lobby["Ada"])
        for bot_id in ("talks", "waits"):
            await fleet.push(bot_id)
        await fleet.until_state(["talks", "waits"], "waiting_room")
        await host.say("admit", id=host.lobby["Bot talks"])
        whole, *_ = await wait_until(lambda: fleet.vitals("talks", lambda vitals: vitals.audio_packets > 0))
        unheard_of = dict(host.lobby)

        for kills in range(1, 3):
            fleet.signal("vm-a", signal.SIGKILL)
            await fleet.ended("vm-a")
            fleet.start_agent("vm-a")
            await wait_until(lambda kills=kills: fleet.log("vm-a").count("worker_adopted") >= 2 * kills)

        async def hears_on() -> bool:
            """By one of five looks: on a busy machine one may be sent seconds after it counted. The first after a
            restart may come before anything is measured anew: it has no level yet, and the old count.
            """
            late = await fleet.vitals("talks", lambda look: look.at > whole.at + 9 and look.audio_level is not None)
            heard = [look.audio_packets - whole.audio_packets for look in late[:5]]
            sent = [await sent_between(ada, whole.at, look.at) for look in late[:5]]
            found = any(some > 0.85 * all_ for some, all_ in zip(heard, sent, strict=True))
            assert found or len(late) < 5, f"it heard {heard} of {sent} packets while its agent was dead"
            return found

        await wait_until(hears_on)
        assert [(await fleet.record(bot_id))["attempt"] for bot_id in ("talks", "waits")] == ["1", "1"]
        assert Counter(host.arrivals) == Counter(["Host", "Ada", "Bot talks"])
        assert host.lobby == unheard_of, "the bot in the lobby asked once"
        await host.say("admit", id=host.lobby["Bot waits"])
        await fleet.until_state(["waits"], "in_meeting")
        await host.say("end_for_all")
        await fleet.until_state(["talks", "waits"], "stopped")
    reasons = [(await fleet.record(bot_id))["status_reason"] for bot_id in ("talks", "waits")]
    assert reasons == ["meeting_ended", "meeting_ended"]
    await fleet.until_workers({"vm-a": {"idle": 1}})
    assert len(fleet.worker_folders()) == 1
    fleet.signal("vm-a", signal.SIGTERM)
    assert await fleet.ended("vm-a") == 0
    assert fleet.worker_folders() == []
    await wait_until(lambda: [words for words in fleet.processes() if "chromium" in words] == [])


# How many packets each of her connections has sent, five times a second.
COUNT_SENT: Final = """
  const connections = [];
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) { super(...options); connections.push(this); }
  };
  globalThis.sent = [];
  const count = async (connection) => {
    const found = [...(await connection.getStats()).values()].find((each) => each.type === "outbound-rtp");
    return found ? found.packetsSent : 0;
  };
  setInterval(async () => { sent.push([Date.now() / 1000, await Promise.all(connections.map(count))]); }, 200);
"""


@asynccontextmanager
async def talking(room: str) -> AsyncGenerator[Page]:
    """Ada, with a microphone that is always on and no picture, in a browser of her own."""
    devices = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    async with async_playwright() as playwright:
        browser = await launch(playwright, *devices)
        page = await browser.new_page()
        await page.add_init_script(COUNT_SENT)
        await page.goto(f"{room}/r/test?name=Ada")
        await page.uncheck("#camera")
        await page.click("#join")
        yield page
        await browser.close()


async def sent_between(page: Page, begin: float, end: float) -> int:
    """How many packets went to each of those who listen between these epoch seconds."""
    within = [counts for at, counts in await page.evaluate("sent") if begin <= at <= end]
    return max(last - first for first, last in zip(within[0], within[-1], strict=False))
