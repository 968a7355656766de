"""Jobs through an SQS queue: each to its one bot, whatever is killed, lost or away."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.config.settings import SqsSettings
from poolmgr.loops.sqs import Sqs
from tests.manager.conftest import Manager, Scene
from tests.waiting import wait_until
from tests.ways_in.conftest import (
    LINK,
    QUEUES,
    Counting,
    Gate,
    House,
    Visit,
    create_queue,
    emptied,
    is_empty,
    queue_url,
    send,
)


def job(user_id: str) -> str:
    return json.dumps({"meeting_link": LINK, "user_id": user_id})


def manager_of(scene: Scene, gate: Gate, name: str) -> Manager:
    return scene.manager(
        **QUEUES,
        POOLMGR_SQS__QUEUE_URL=queue_url(gate.address, name),
        POOLMGR_SQS__ENDPOINT_URL=gate.address,
        POOLMGR_LEASE__TTL_S="0.5",
    )


async def until_bots(scene: Scene, *users: str) -> None:
    """Until these are the users of all bots, one bot each."""
    visit = Visit(scene.url, scene.prefix)

    async def all_in() -> bool:
        return len(await visit.users()) >= len(users)

    await wait_until(all_in)
    assert sorted(await visit.users()) == sorted(users)
    await visit.redis.aclose()


async def test_a_message_becomes_a_bot_and_is_deleted(house: House, visit: Visit, moto: str) -> None:
    await send(moto, house.prefix, job("sqs"))
    record = await visit.ended("sqs")
    assert house.meetings.entries[record["bot_id"]] == 1
    await emptied(moto, house.prefix)


async def test_a_message_that_is_no_job_is_kept_with_the_reason(house: House, visit: Visit, moto: str) -> None:
    await send(moto, house.prefix, "mark-a not json", json.dumps({"meeting_link": LINK, "filler": "mark-b" * 45_000}))
    assert (await visit.rejected("mark-a"))[0] == "not_json"
    assert (await visit.rejected("mark-b"))[0] == "too_large"
    await emptied(moto, house.prefix)


async def test_a_message_that_comes_again_makes_no_second_bot(scene: Scene, gate: Gate, moto: str) -> None:
    await create_queue(moto, "again", visibility_s=1)
    await send(moto, "again", job("once"))
    gate.loses_deletes = 1
    await gate.open()
    manager_of(scene, gate, "again")
    await gate.deletes.acquire()
    await gate.deletes.acquire()  # it came twice
    await emptied(moto, "again")
    await send(moto, "again", job("after"))
    await until_bots(scene, "once", "after")


@pytest.mark.long
async def test_a_manager_killed_before_it_could_delete_makes_no_second_bot(scene: Scene, gate: Gate, moto: str) -> None:
    await create_queue(moto, "killed", visibility_s=1)
    await send(moto, "killed", *(job(f"user-{number}") for number in range(3)))
    gate.holds_deletes = True
    await gate.open()
    manager = manager_of(scene, gate, "killed")
    await gate.deletes.acquire()
    manager.kill()
    marks = [key async for key in scene.redis.scan_iter(match=scene.keys.taken_from_sqs("*"))]
    assert len(marks) == 3, "before a message is deleted its job is durable"
    assert not await is_empty(moto, "killed")
    gate.holds_deletes = False
    manager.start()
    await emptied(moto, "killed")
    await until_bots(scene, "user-0", "user-1", "user-2")


async def test_a_queue_that_is_away_ends_no_term_and_is_read_when_it_is_back(
    scene: Scene, gate: Gate, moto: str, tmp_path: Path
) -> None:
    await create_queue(moto, "away", visibility_s=1)  # a wait that was cut off may have received it
    await send(moto, "away", job("first"))
    manager_of(scene, gate, "away")

    def events() -> list[str]:
        lines = [line for path in tmp_path.glob("manager-*.log") for line in path.read_text().splitlines()]
        names = [json.loads(line)["event"] for line in lines]
        return [name for name in names if name.startswith(("sqs_", "term_"))]

    await wait_until(lambda: "sqs_unreachable" in events())
    await gate.open()
    await until_bots(scene, "first")
    await gate.shut()
    await wait_until(lambda: events().count("sqs_unreachable") == 2)
    await gate.open()
    await send(moto, "away", job("second"))
    await until_bots(scene, "first", "second")
    assert events() == ["term_begun", "sqs_unreachable", "sqs_reached", "sqs_unreachable", "sqs_reached"]


async def test_while_the_list_is_long_messages_stay_in_their_queue(
    scene: Scene, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    await create_queue(moto, "long")
    await send(moto, "long", job("patient"))
    await scene.redis.set(scene.keys.epoch, 1, ex=600)
    await scene.redis.lpush(scene.keys.jobs, *[b"{}"] * 10_000)
    arrivals = Counting(scene.redis, scene.keys, 1)
    settings = SqsSettings(queue_url=queue_url(moto, "long"), endpoint_url=moto, region="eu-west-1")
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(Sqs(settings).follow(arrivals))
        await wait_until(lambda: arrivals.refusals)
        assert not await is_empty(moto, "long")
        await scene.redis.delete(scene.keys.jobs)
        await emptied(moto, "long")
        loop.cancel()  # while it waits for the next message, up to 20 s
    assert await scene.redis.lrange(scene.keys.jobs, 0, -1) == [job("patient").encode()]


@pytest.mark.long
def test_a_manager_without_the_extra_says_how_to_install_it_and_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "aiobotocore.py").write_text("raise ImportError('No module named aiobotocore')")
    environment = {**os.environ, "POOLMGR_SQS__QUEUE_URL": "http://127.0.0.1:1/1/q", "PYTHONPATH": str(tmp_path)}
    command = (sys.executable, "-m", "poolmgr", "serve")
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 1
    assert "pip install 'poolmgr[sqs]'" in ended.stderr
    assert "Traceback" not in ended.stderr
