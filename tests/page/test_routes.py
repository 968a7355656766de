"""The page as it is served: to whom, with which headers, and what a viewer is told of the fleet."""

import asyncio
import re
import time
from typing import Any

import aiohttp
import msgspec
import pytest

from common.wire.messages import Join, VmVitals, WorkerVitals
from common.wire.vocabulary import BotState, Reason
from lab.parts.redis_server import RedisServer
from poolmgr.core.decisions import Assign, Move
from poolmgr.page import routes
from tests.api.conftest import LINK, OWN, TOKEN, World
from tests.page.conftest import HOSTILE, LOOKER, READER, Fleet, Stream, shows
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("fleet")
CLOSED = (
    *("/page/me", "/page/live", "/page/search?q=b", "/page/bots/b0", "/page/vms/vm-0", "/page/probes"),
    *("/page/actions", "/page/bots/b0/look"),
)


async def test_what_is_let_out_to_everybody_holds_nothing_and_asks_nobody_outside(
    world: World, session: aiohttp.ClientSession
) -> None:
    async with world.serving() as call:
        for path, media_type in (
            ("/", "text/html"),
            ("/page/page.js", "text/javascript"),
            ("/page/page.css", "text/css"),
        ):
            async with session.get(f"{call.base}{path}") as answer:
                assert (answer.status, answer.content_type) == (200, media_type)
                text = await answer.text()
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
                assert "unsafe" not in policy
                assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert not set(re.findall(r"https?://[^\"'\s]+", text)) - {"http://www.w3.org/2000/svg"}
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\seval\(|\son\w+=|style=", text)


async def test_what_is_shown_only_a_token_gets_that_sees_all(world: World, session: aiohttp.ClientSession) -> None:
    async with world.serving() as call:
        for path in CLOSED:
            for headers, status in (({}, 401), (shows("pm_guessed"), 403), (shows(OWN), 403)):
                async with session.get(f"{call.base}{path}", headers=headers) as answer:
                    assert answer.status == status, path
            async with session.get(f"{call.base}{path}&token={TOKEN}") as answer:
                assert answer.status in (401, 404), path


async def test_it_can_be_left_out(world: World, session: aiohttp.ClientSession) -> None:
    world.change(page=False)
    async with world.leading() as call, session.get(f"{call.base}/") as answer:
        assert answer.status == 404


async def test_a_viewer_is_told_everything_and_then_what_changed(fleet: Fleet, session: aiohttp.ClientSession) -> None:
    await fleet.grow(3, bots=2)
    hand = fleet.hand
    async with fleet.world.serving() as call, session.get(f"{call.base}/page/live", headers=shows(READER)) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        stream = Stream(answer)
        first = await stream.next()
        assert first["kind"] == "all"
        assert [(vm["id"], vm["state"], vm["workers"]) for vm in first["vms"]] == [
            (f"vm-{number}", "up", [1, 3, 0, 1, 0]) for number in range(3)
        ]
        assert {bot["id"]: bot["state"] for bot in first["bots"]} == {"b0": "queued", "b1": "queued"}
        assert (first["head"]["leader"], first["head"]["target"], first["head"]["bots_live"]) == ("", 9, 2)
        assert "the-secret-room" not in str(first)

        await hand.enter("b2", bot_name=HOSTILE)
        bots: dict[str, Any] = {}
        while bots.get("b2", {}).get("state") != "in_meeting":
            bots |= {bot["id"]: bot for bot in await stream.until("bots")}
        assert bots["b2"]["name"] == HOSTILE
        assert bots["b2"]["join_s"] == pytest.approx(2.0)

        await hand.end("b0", Reason.NO_CAPACITY)
        while bots.get("b0", {}).get("reason") != "no_capacity":
            bots |= {bot["id"]: bot for bot in await stream.until("bots")}
        await fleet.world.redis.srem(fleet.world.keys.vms, "vm-1")
        assert await stream.until("gone") == ["vm-1"]


@pytest.mark.long
async def test_what_is_told_first_is_no_more_of_a_thousand_vms_than_of_a_hundred(
    fleet: Fleet, session: aiohttp.ClientSession
) -> None:
    await fleet.grow(1000, bots=3)
    await fleet.world.redis.delete(fleet.world.keys.alive("vm-9"))
    async with fleet.world.serving() as call:
        for head_of in (100, 1000):  # the first viewer is told while it is read, the second of all of it
            async with session.get(f"{call.base}/page/live", headers=shows()) as answer:
                line = await answer.content.readuntil(b"\n\n")
                first = msgspec.json.decode(line.removeprefix(b"data: "))
                assert (first["kind"], first["whole"], len(first["vms"])) == ("all", False, 40)
                assert first["vms"][0]["id"] == "vm-9"
                assert len(line) < 12_000
                assert (sum(first["head"]["vms"].values()), first["head"]["vms_there"]) == (head_of, 1000)
                stream, there = Stream(answer), {vm["id"] for vm in first["vms"]}
                while True:
                    told = await stream.next()
                    there |= {vm["id"] for vm in told.get("vms", [])}
                    if told.get("whole"):
                        break
                assert len(there) == 1000


async def test_who_comes_while_others_watch_is_shown_at_once_what_they_saw(
    own_redis: RedisServer, prefix: str, session: aiohttp.ClientSession
) -> None:
    world = World(own_redis.url, prefix)
    async with world.serving() as call, session.get(f"{call.base}/page/live", headers=shows()) as before:
        assert (await Stream(before).next())["kind"] == "all"
        own_redis.stop()
        async with session.get(f"{call.base}/page/live", headers=shows()) as answer:
            assert (await Stream(answer).next())["kind"] == "all"
    await world.redis.aclose()


async def test_a_browser_keeps_files_that_it_asked_for_by_their_version(
    world: World, session: aiohttp.ClientSession
) -> None:
    async with world.serving() as call:
        async with session.get(call.base) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            named = re.findall(r'"(page/page\.(?:js|css)\?[0-9a-f]{16})"', await answer.text())
        assert len(named) == 2
        for path in named:
            kept: list[bool] = []
            for address in (path, path[:-1], path.partition("?")[0]):
                async with session.get(f"{call.base}/{address}") as answer:
                    kept.append("immutable" in answer.headers["Cache-Control"])
            assert kept == [True, False, False], "another manager may have another version"


async def test_the_queue_and_the_last_hour_are_counted(fleet: Fleet, session: aiohttp.ClientSession) -> None:
    await fleet.grow(1, bots=3)
    hand = fleet.hand
    for number, warm in enumerate((True, True, False)):
        await hand.accept(f"c{number}")
        join = (f"w{number}", f"c{number}", 1, "room", LINK, "Bot")
        await hand.apply(Assign("vm-0", Join(*join), born=hand.at, warm=warm, waited_s=0.0))
        await hand.apply(Move(f"c{number}", 1, BotState.JOINING, hand.at))
        await hand.apply(Move(f"c{number}", 1, BotState.IN_MEETING, hand.at + 3))
    async with fleet.world.serving() as call, session.get(f"{call.base}/page/live", headers=shows()) as answer:
        stream = Stream(answer)
        told = await stream.next()
        head = told["head"]
        minutes = {minute["at"]: minute for minute in told["hour"]}
        while not head["counted"] or sum(minute["given"] for minute in minutes.values()) < 3:
            told = await stream.next()
            head = told.get("head") or head
            minutes |= {minute["at"]: minute for minute in told.get("hour", [])}
        assert (head["queued"], head["bots"]) == (3, {"queued": 3, "in_meeting": 3})
        assert head["oldest_since"] == pytest.approx(hand.at, abs=0.01)
        assert sum(minute["hits"] for minute in minutes.values()) == 2
        assert sum(minute["joined"] for minute in minutes.values()) == 3
        assert [minute["median_s"] for minute in minutes.values() if minute["joined"]] == [3.0]


async def test_ten_viewers_cost_no_more_looks_than_one(
    own_redis: RedisServer, prefix: str, session: aiohttp.ClientSession
) -> None:
    world = World(own_redis.url, prefix)
    fleet = Fleet(world, await world.ledger())
    await fleet.grow(20)

    seen: list[str] = []

    async def view(base: str) -> None:
        async with session.get(f"{base}/page/live", headers=shows()) as answer:
            stream = Stream(answer)
            seen.append((await stream.next())["kind"])
            await stream.next()  # its end: a bot that comes in once all have seen everything

    async with world.serving() as call, asyncio.TaskGroup() as group:
        began = time.monotonic()
        viewers = [group.create_task(view(call.base), name=f"viewer {number}") for number in range(10)]
        await wait_until(lambda: len(seen) == 10)
        assert set(seen) == {"all"}
        await asyncio.wait(viewers, timeout=3)  # which look meanwhile
        await fleet.hand.accept("b1")
        await asyncio.wait(viewers)
        looks = (await world.redis.info("commandstats"))["cmdstat_xread"]["calls"]
        assert looks <= (time.monotonic() - began) / 0.2 + 2
    await world.redis.aclose()


async def test_no_more_than_a_hundred_watch(
    world: World, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MOST_WATCHING", 1)
    async with world.serving() as call:
        async with session.get(f"{call.base}/page/live", headers=shows()) as first:
            await Stream(first).next()
            async with session.get(f"{call.base}/page/live", headers=shows()) as second:
                assert second.status == 503
                assert second.headers["Retry-After"] == "30"
        url = f"{call.base}/page/live"

        async def there_is_room() -> bool:
            async with session.get(url, headers=shows()) as again:
                return again.status == 200

        await wait_until(there_is_room)


async def test_while_redis_is_away_viewers_are_told_and_then_go_on(
    own_redis: RedisServer, prefix: str, session: aiohttp.ClientSession
) -> None:
    world = World(own_redis.url, prefix)
    async with world.serving() as call, session.get(f"{call.base}/page/live", headers=shows()) as answer:
        stream = Stream(answer)
        assert (await stream.next())["kind"] == "all"
        own_redis.stop()
        while (told := await stream.next())["kind"] != "fault":
            pass
        assert "Redis is away" in told["message"]
        own_redis.start()
        while (await stream.next())["kind"] != "all":
            pass
    await world.redis.aclose()


async def test_viewers_are_counted_as_one_short_request_each(world: World, session: aiohttp.ClientSession) -> None:
    async with world.serving() as call:
        began = time.monotonic()
        async with session.get(f"{call.base}/page/live", headers=shows()) as answer:
            await Stream(answer).next()
            first_s = time.monotonic() - began
            while not (await answer.content.readuntil(b"\n\n")).startswith(b": beat"):
                pass
        labels = {"route": "/page/live", "method": "GET"}

        def seconds() -> float | None:
            return world.registry.get_sample_value("poolmgr_api_request_seconds_sum", labels)

        await wait_until(lambda: seconds() is not None)
        assert (seconds() or 0) < first_s
        counted = {"route": "/page/live", "method": "GET", "code": "200"}
        assert world.registry.get_sample_value("poolmgr_api_requests_total", counted) == 1


async def test_a_bots_page_tells_its_story_and_lets_nobody_in(fleet: Fleet, session: aiohttp.ClientSession) -> None:
    await fleet.grow(1)
    await fleet.hand.enter("b1", bot_name=HOSTILE, passcode="4711")
    await fleet.hand.end("b1", Reason.BROWSER_CRASHED, evidence="b1-1")
    async with fleet.world.serving() as call:
        async with session.get(f"{call.base}/page/bots/b1", headers=shows(READER)) as answer:
            told = await answer.json()
        assert (told["bot"]["status"], told["bot"]["status_reason"], told["whose"]) == (
            "Error",
            "browser_crashed",
            "our doing",
        )
        assert told["bot"]["bot_name"] == HOSTILE
        assert told["story"][0]["text"].startswith("accepted")
        assert "`" not in told["means"]["do"]
        assert told["evidence"] == [
            {"name": "b1-1", "attempt": 1, "here": False, "where": "on its way, or its time is over"}
        ]
        assert told["webhooks"] == {"next_at": "", "waiting": [], "log": []}
        assert "the-secret-room" not in str(told)
        assert "4711" not in str(told)
        async with session.get(f"{call.base}/page/bots/nobody", headers=shows()) as answer:
            assert answer.status == 404


async def test_of_a_bot_whose_job_was_rejected_its_page_and_the_search_say_why(
    world: World, session: aiohttp.ClientSession
) -> None:
    async with world.leading() as call:
        job = {"meeting_link": "https://example.org/the-secret-room", "bot_id": "turned-away"}
        await world.redis.lpush(world.keys.jobs, msgspec.json.encode(job))
        await wait_until(lambda: world.redis.exists(world.keys.dead))
        async with session.get(f"{call.base}/page/bots/turned-away", headers=shows(READER)) as answer:
            told = [(answer.status, (await answer.json())["message"])]
        async with session.get(f"{call.base}/page/search?q=turned-away", headers=shows(READER)) as answer:
            told.append((answer.status, (await answer.json())["rejected"]))
        async with session.get(f"{call.base}/page/search?q=turned", headers=shows(READER)) as answer:
            assert (await answer.json())["rejected"] == ""
    assert [status for status, _ in told] == [404, 200]
    for _, text in told:
        assert "bad_link, meeting_link: unknown platform" in text
        assert "the-secret-room" not in text


async def test_into_a_live_bot_looks_only_a_token_that_says_so_whatever_its_role(
    fleet: Fleet, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.hand.enter("b1")
    await fleet.hand.enter("b2")
    await fleet.hand.end("b2", Reason.BROWSER_CRASHED)
    await fleet.hand.accept("b3")
    async with fleet.world.serving() as call:

        async def status(bot_id: str, secret: str) -> int:
            async with session.get(f"{call.base}/page/bots/{bot_id}/look", headers=shows(secret)) as answer:
                if answer.status == 403:
                    assert "look = true" in await answer.text()
                return answer.status

        assert [await status("b1", secret) for secret in (READER, TOKEN)] == [403, 403]
        assert [await status(bot_id, LOOKER) for bot_id in ("nobody", "b2", "a b")] == [404, 409, 404]
        assert await fleet.world.views.actions.since(0.0, most=10) == []
        monkeypatch.setattr(routes, "MOST_LOOKING", 0)
        assert await status("b1", LOOKER) == 503
        monkeypatch.setattr(routes, "MOST_LOOKING", 8)
        for bot_id, why in (("b1", "worker.look is off"), ("b3", "it has no worker: it is queued")):
            async with session.get(f"{call.base}/page/bots/{bot_id}/look", headers=shows(LOOKER)) as answer:
                told = await Stream(answer).next()
            assert told["jpeg"] == ""
            assert why in told["why"]
        looked = [
            (action.who, action.what, action.of) for action in await fleet.world.views.actions.since(0.0, most=10)
        ]
        assert looked == [("looker", "look", "b1"), ("looker", "look", "b3")]


async def test_a_look_ends_with_its_bot(fleet: Fleet, session: aiohttp.ClientSession) -> None:
    await fleet.hand.accept("b1")
    async with fleet.world.serving() as call:
        url = f"{call.base}/page/bots/b1/look"
        async with session.get(url, headers=shows(LOOKER)) as answer:
            stream = Stream(answer)
            await stream.next()
            await fleet.hand.end("b1", Reason.NO_CAPACITY)
            while not (await stream.next()).get("over"):
                pass
            assert await answer.content.read() == b""


async def test_a_vm_is_drained_and_taken_back_by_who_may(fleet: Fleet, session: aiohttp.ClientSession) -> None:
    await fleet.grow(1)
    world = fleet.world
    vitals = VmVitals(time.time(), 8000, 3000, 1024, {"vm-0-w0": WorkerVitals(129, 0.02)})
    await world.redis.set(world.keys.vitals("vm-0"), msgspec.json.encode(vitals), ex=600)
    async with world.serving() as call:
        url = f"{call.base}/page/vms/vm-0"
        async with session.get(url, headers=shows(READER)) as answer:
            told = await answer.json()
        assert told["vm"]["workers"] == {"warming": 1, "idle": 3, "reserved": 0, "busy": 1, "retiring": 0}
        assert len(told["workers"]) == 5
        assert told["vitals"]["workers"]["vm-0-w0"]["memory_mb"] == 129
        for secret, status in ((READER, 403), (OWN, 403), (TOKEN, 200)):
            async with session.post(f"{url}/drain", json={"draining": True}, headers=shows(secret)) as answer:
                assert answer.status == status
        async with session.post(f"{url}/drain", json={"draining": "?"}, headers=shows()) as answer:
            assert answer.status == 400
        assert await world.redis.xlen(world.keys.control) == 1
        for path, method in (("/page/vms/none", "GET"), ("/page/vms/none/drain", "POST")):
            body = {"draining": False} if method == "POST" else None
            async with session.request(method, f"{call.base}{path}", json=body, headers=shows()) as answer:
                assert answer.status == 404


async def test_bots_and_vms_are_found_by_what_people_know_of_them(fleet: Fleet, session: aiohttp.ClientSession) -> None:
    await fleet.grow(3)
    await fleet.hand.accept("b1", bot_name="Weekly Sales", user_id="ada@example.org")
    await fleet.hand.accept("b2", bot_name="Other", calendar_event_id="event/7")
    await fleet.hand.end("b2", Reason.BROWSER_CRASHED)
    async with fleet.world.serving() as call:
        async with session.get(f"{call.base}/page/live", headers=shows()) as live:
            await Stream(live).next()
            for text, vms, bots in (
                ("sales", [], ["b1"]),
                ("VM-1", ["vm-1"], []),
                ("ada@example.org", [], ["b1"]),
                ("event/7", [], ["b2"]),
                ("error", [], ["b2"]),
                ("b2", [], ["b2"]),
                ("nothing of this", [], []),
            ):
                url = f"{call.base}/page/search"
                async with session.get(url, params={"q": text}, headers=shows(READER)) as answer:
                    told = await answer.json()
                assert (told["vms"], [bot["id"] for bot in told["bots"]]) == (vms, bots), text
        for text in ("", " ", "x" * 257):
            async with session.get(f"{call.base}/page/search", params={"q": text}, headers=shows()) as answer:
                assert answer.status == 400
