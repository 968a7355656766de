"""Jobs through the job stream: whatever an entry holds, and whoever is killed, it is one bot or one rejected job."""

import asyncio
import json
import random
import subprocess
from typing import Any

import pytest

from poolmgr.loops.job_stream import follow_job_stream
from poolmgr.store.leader.inbox import GROUP, Stream
from tests.manager.conftest import Scene
from tests.waiting import PATIENCE_S, wait_until
from tests.ways_in.conftest import LINK, Counting, House, Visit


async def test_xadd_of_flat_fields(house: House, visit: Visit) -> None:
    fields = ("meeting_link", LINK, "bot_name", "Ünïcode 7", "user_id", "7", "priority", "5", "video_required", "false",
              "custom_attributes", '{"team": "a"}')  # fmt: skip
    command = ("redis-cli", "-e", "-s", house.url.removeprefix("unix://"), "XADD", house.keys.job_stream, "*", *fields)
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=PATIENCE_S)
    record = await visit.ended("7")
    assert house.meetings.entries[record["bot_id"]] == 1
    assert await visit.redis.xlen(house.keys.job_stream) == 0
    assert record["bot_name"] == "Ünïcode 7"
    sent = json.loads(record["payload"])
    assert (sent["priority"], sent["video_required"], sent["custom_attributes"]) == (5, False, {"team": "a"})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"job": "mark-1 not json"}, "not_json"),
        ({"nothing": "mark-2"}, "no_link"),
        ({"meeting_link": LINK, "bot_name": b"mark-3 \xff"}, "not_utf8"),
        ({"meeting_link": LINK, "user_id": "mark-4", "priority": "high"}, "bad_field"),
        ({"meeting_link": LINK, "user_id": "mark-5", "custom_attributes": '{"a": 1, "a": 2}'}, "not_json"),
        ({"meeting_link": LINK, "user_id": "mark-6", "automatic_leave": "[" * 100_000}, "bad_field"),
        ({"meeting_link": "https://evil.example/r/x", "user_id": "mark-7"}, "bad_link"),
        ({"meeting_link": LINK, "filler": "mark-8" * 100_000}, "too_large"),
        ({"meeting_link": LINK, "user_id": "mark-9", "priority": "NaN"}, "not_json"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_no_job_in_the_stream_is_kept_with_the_reason(
    visit: Visit, fields: dict[str, Any], reason: str
) -> None:
    await visit.redis.xadd(visit.keys.job_stream, fields)
    mark = next(word for number in range(1, 10) if (word := f"mark-{number}") in str(fields))
    assert (await visit.rejected(mark))[0] == reason
    assert (await visit.redis.xpending(visit.keys.job_stream, GROUP))["pending"] == 0


async def test_while_the_list_is_long_the_rest_waits_in_the_stream(scene: Scene) -> None:
    await scene.redis.set(scene.keys.epoch, 1, ex=600)
    await scene.redis.lpush(scene.keys.jobs, *[b"{}"] * 9_990)
    for _ in range(50):
        await scene.redis.xadd(scene.keys.job_stream, {"meeting_link": LINK})
    stream, arrivals = Stream(scene.redis, scene.keys, scene.keys.job_stream, 1), Counting(scene.redis, scene.keys, 1)
    await stream.open()
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(follow_job_stream(stream, arrivals))
        await wait_until(lambda: arrivals.refusals > 1)
        assert await scene.redis.llen(scene.keys.jobs) == 10_010
        assert await scene.redis.xlen(scene.keys.job_stream) == 30
        await scene.redis.delete(scene.keys.jobs)

        async def all_in() -> bool:
            return await scene.redis.xlen(scene.keys.job_stream) == 0

        await wait_until(all_in)
        loop.cancel()
    assert await scene.redis.llen(scene.keys.jobs) == 30


@pytest.mark.long
async def test_a_manager_killed_again_and_again_makes_each_entry_one_bot(scene: Scene, seed: int) -> None:
    chance = random.Random(seed)
    manager = scene.manager(POOLMGR_LEASE__TTL_S="0.5")
    visit = Visit(scene.url, scene.prefix)
    jobs = [f"job-{number}" for number in range(240)]

    async def next_term() -> bool:
        return int(await scene.redis.get(scene.keys.epoch) or 0) > term

    for term in range(6):
        await wait_until(next_term)
        for user_id in jobs[term * 40 : (term + 1) * 40]:
            await scene.redis.xadd(scene.keys.job_stream, {"meeting_link": LINK, "user_id": user_id})
        await asyncio.sleep(chance.uniform(0.0, 0.02))  # the moment of the kill
        manager.kill()
        manager.start()

    async def all_in() -> bool:
        waiting: int = await scene.redis.exists(scene.keys.jobs, scene.keys.taken)
        return not waiting and len(await visit.users()) >= len(jobs)

    await wait_until(all_in)
    assert sorted(await visit.users()) == sorted(jobs)
    assert await scene.redis.xlen(scene.keys.job_stream) == 0
    assert not await scene.views.dead(most=10)
    await visit.redis.aclose()
