"""The manager's straight way and the ordinary faults, seen from outside: from Redis, HTTP and the agents."""

import asyncio
import json
import os
import random
import re
import signal
import tempfile
import time
import weakref
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from common.config.settings import ApiSettings, MetricsSettings, RedisSettings, Settings
from common.jobs.job import JobRules, parse_job
from common.runtime.steps import VARIABLE, ManagerStep
from common.wire.vocabulary import Reason, WorkerState
from lab.parts.redis_server import RedisServer
from poolmgr import app
from poolmgr.core.events import DrainRequested, LeaveRequested, RescheduleRequested
from poolmgr.core.pool import Pool
from poolmgr.store.leader.inbox import Jobs
from tests.manager.conftest import Manager, Scene
from tests.waiting import PATIENCE_S, wait_until


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_each_of_twenty_jobs_is_in_its_meeting_exactly_once_and_the_pool_is_back(scene: Scene) -> None:
    scene.manager()
    async with scene.agent("vm-a", stay_s=0.3).running() as a, scene.agent("vm-b", stay_s=0.3).running() as b:
        await wait_until(lambda: a.idle == b.idle == 3)
        bots = [f"bot-{number}" for number in range(20)]
        for bot_id in bots:
            await scene.push(bot_id)
        await scene.until_all(bots, "stopped")
        assert scene.meetings.entries == dict.fromkeys(bots, 1)
        assert not scene.meetings.doubles
        await wait_until(lambda: a.idle == b.idle == 3)
        assert max(a.most_workers, b.most_workers) <= 8
        way = ["queued", "assigned", "joining", "in_meeting", "stopped"]
        assert await scene.stories() == dict.fromkeys(bots, way)


async def test_what_a_killed_manager_left_of_recordings_is_removed_at_the_start_of_the_next(scene: Scene) -> None:
    left = Path(tempfile.mkdtemp(prefix="poolmgr-workshop-"))
    os.utime(left, (0, 0))
    scene.manager()
    await wait_until(lambda: not left.exists())


async def test_jobs_wait_in_order_of_priority_and_arrival(scene: Scene) -> None:
    scene.manager()
    await scene.push("first")
    await scene.push("second")
    await scene.push("urgent", priority=5)
    await scene.until_all(["first", "second", "urgent"], "queued")
    async with scene.agent("vm-a", room=3).running():
        await scene.until_all(["first", "second", "urgent"], "in_meeting")
    times = [(await scene.record(bot_id))["assigned_at"] for bot_id in ("urgent", "first", "second")]
    assert times == sorted(times)
    orders = [entry for entry in await scene.assignments() if entry in ("urgent", "first", "second")]
    assert orders == ["urgent", "first", "second"]


async def test_fifty_bad_jobs_among_good_ones_are_named_and_disturb_nobody(scene: Scene) -> None:
    scene.manager()
    link = "http://127.0.0.1:8090/r/test"
    bad: list[bytes | str] = [
        "", "nonsense", "[]", "1", '"text"', "null", "{", '{"meeting_link":1}', "{}", b"\xff\xfe", b"\x00",
        json.dumps({"meeting_link": "http://evil.example/r/x"}), json.dumps({"meeting_link": "javascript:alert(1)"}),
        json.dumps({"meeting_link": "http://user:pass@127.0.0.1:8090/r/x"}),
        json.dumps({"meeting_link": link, "join_at": "soon"}), json.dumps({"meeting_link": link, "priority": "high"}),
        json.dumps({"meeting_link": link, "bot_id": "../../etc"}), json.dumps({"meeting_link": link, "bot_name": ""}),
        json.dumps({"meeting_link": link, "filler": "x" * 300_000}), "[" * 100_000,
        json.dumps({"meeting_link": "https://meet.google.com.evil.example/abc-defg-hij"}),
        '{"meeting_link":"' + link + '","bot_name":"a","bot_name":"b"}',
        '{"meeting_link":"' + link + '","priority":NaN}',
        '{"meeting_link":"' + link + '","user_id":"\\ud800"}', json.dumps({"meeting_link": link + "/../../x"}),
    ]  # fmt: skip
    async with scene.agent("vm-a", stay_s=0.1).running():
        good = [f"good-{number}" for number in range(10)]
        for number, payload in enumerate(bad * 2):
            await scene.redis.lpush(scene.keys.jobs, payload)
            if number % 5 == 0:
                await scene.push(good[number // 5])
        await scene.until_all(good, "stopped")
        await wait_until(lambda: _reasons(scene, len(bad) * 2))  # some were pushed after the last good one
        assert all(job.reason and job.detail for job in await scene.views.dead(most=100))
        await wait_until(lambda: _none_is_taken(scene))


async def test_a_job_handed_in_twice_joins_once(scene: Scene) -> None:
    scene.manager()
    async with scene.agent("vm-a", stay_s=0.1).running():
        for _ in range(3):
            await scene.push("same")
        await scene.push("one", deduplication_key="k")
        await scene.push("two", deduplication_key="k")
        await scene.until_all(["same", "one"], "stopped")
        await scene.push("same")
        await wait_until(lambda: scene.redis.xlen(scene.keys.dead))
        reasons = await wait_until(lambda: _reasons(scene, 4))
    assert reasons == ["duplicate_bot_id", "duplicate_bot_id", "duplicate_bot_id", "duplicate_key"]
    assert scene.meetings.entries == {"same": 1, "one": 1}


async def test_a_meeting_has_one_bot_until_that_has_ended(scene: Scene) -> None:
    alone = {"one_bot_per_meeting": True}
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with scene.agent("vm-a").running():
        await scene.push("first", **alone)
        await scene.push("same-batch", **alone)
        await scene.push("planned", join_at=later, meeting_link="http://127.0.0.1:8090/r/other", **alone)
        for bot_id, join_at in (("missed", "2020-01-01T00:00:00Z"), ("today", "")):
            await scene.push(bot_id, join_at=join_at, meeting_link="http://127.0.0.1:8090/r/daily", **alone)
        scene.manager()  # reads them in one batch
        await scene.until_state("today", "in_meeting")
        assert await scene.state("missed") == "stopped"
        await scene.until_state("first", "in_meeting")
        await scene.push("second", **alone)
        await scene.push("now", meeting_link="http://127.0.0.1:8090/r/other", **alone)
        await scene.push("free")
        await scene.until_state("free", "in_meeting")
        assert await wait_until(lambda: _reasons(scene, 3)) == ["duplicate_meeting"] * 3
        dead = {job.bot_id: job.detail for job in await scene.views.dead(most=10)}
        told = {
            entry[b"bot_id"]: entry for _, entry in await scene.redis.xrange(scene.keys.status) if b"detail" in entry
        }
        for bot_id, holder in (("same-batch", "first"), ("second", "first"), ("now", "planned")):
            assert dead[bot_id] == f"one_bot_per_meeting: bot {holder} is in this meeting, or will be"
            entry = told[bot_id.encode()]
            assert (entry[b"state"], entry[b"reason"]) == (b"rejected", b"duplicate_meeting")
            assert entry[b"detail"].decode() == dead[bot_id]
        await scene.views.request(LeaveRequested("first"))
        await scene.until_state("first", "stopped")
        await scene.push("third", **alone)
        await scene.until_state("third", "in_meeting")
    assert scene.meetings.entries == {"first": 1, "today": 1, "free": 1, "third": 1}


async def test_a_meeting_that_a_leader_held_when_it_died_is_its_jobs_with_the_next_leader(scene: Scene) -> None:
    payload = json.dumps({"meeting_link": "http://127.0.0.1:8090/r/test", "one_bot_per_meeting": True})
    held = parse_job(payload.encode(), 0.0, JobRules(frozenset({"127.0.0.1:8090"}))).held_meeting
    assert (await Jobs(scene.redis, scene.keys).hold("never-was", meeting=held)).meeting == "never-was"
    await scene.redis.lpush(scene.keys.taken, payload)  # so a leader leaves it that dies before the bot is durable
    scene.manager()
    async with scene.agent("vm-a").running():
        await wait_until(lambda: scene.redis.zcard(scene.keys.live))
        await scene.redis.lpush(scene.keys.jobs, payload)
        assert await wait_until(lambda: _reasons(scene, 1)) == ["duplicate_meeting"]
    assert await scene.redis.zcard(scene.keys.all_bots) == 1


async def test_a_key_that_a_leader_held_when_it_died_is_its_jobs_with_the_next_leader(scene: Scene) -> None:
    payload = json.dumps({"meeting_link": "http://127.0.0.1:8090/r/test", "deduplication_key": "k"})
    assert (await Jobs(scene.redis, scene.keys).hold("never-was", key="k")).key == "never-was"
    await scene.redis.lpush(scene.keys.taken, payload)  # so a leader leaves it that dies before the bot is durable
    scene.manager()
    await wait_until(lambda: scene.redis.zcard(scene.keys.live))
    await scene.redis.lpush(scene.keys.jobs, payload)
    assert await wait_until(lambda: _reasons(scene, 1)) == ["duplicate_key"]
    assert await scene.redis.zcard(scene.keys.all_bots) == 1


async def test_who_follows_a_bot_hears_nothing_of_its_job_handed_in_once_more(scene: Scene) -> None:
    async with scene.agent("vm-a", stay_s=0.1).running():
        for _ in range(3):
            await scene.push("same")
        scene.manager()
        await scene.until_state("same", "stopped")
        await wait_until(lambda: _reasons(scene, 2))
    assert "rejected" not in await scene.story("same")


@pytest.mark.long
async def test_fifty_huge_bad_jobs_stop_nobody(scene: Scene) -> None:
    link = "https://rooms.example/r/test"
    slow = json.dumps({"meeting_link": link, "filler": [{}] * 60_000}).encode()
    for _ in range(40):
        await scene.redis.lpush(scene.keys.jobs, slow)
    for _ in range(10):
        await scene.redis.lpush(scene.keys.jobs, b"x" * 5_000_000)
    manager = scene.manager(POOLMGR_LEASE__TTL_S="3")
    async with scene.agent("vm-a", stay_s=0.1).running():
        await scene.until_led()
        await scene.push("good")
        await scene.until_state("good", "stopped")
    assert await scene.redis.xlen(scene.keys.dead) == 50
    assert await scene.redis.get(scene.keys.epoch) == b"1", "the leader was busy for longer than its lease"
    manager.signal(signal.SIGTERM)
    assert await manager.ended() == 0


async def test_a_job_over_which_managers_end_is_set_aside_and_no_other(scene: Scene) -> None:
    """However many stand beside it: the first manager has all of them in hand, and the next ones one at a time."""
    settings = {"POOLMGR_LEASE__TTL_S": "0.5"}
    bots = ["before", "poison", "after"]
    for bot_id in bots:  # as the API writes them
        job = {"bot_id": bot_id, "meeting_link": "http://127.0.0.1:8090/r/test"}
        await scene.redis.lpush(scene.keys.jobs, json.dumps(job))
    for _ in range(3):
        doomed = scene.manager(**settings, **{VARIABLE: f"{ManagerStep.JOBS_DECIDED}:{bots.index('poison') + 1}"})
        assert await doomed.ended() == -signal.SIGKILL
        bots = [bot_id for bot_id in bots if not await scene.record(bot_id)]
    scene.manager(**settings)
    async with scene.agent("vm-a", stay_s=0.1).running():
        await scene.until_all(["before", "after"], "stopped")
        await wait_until(lambda: _reasons(scene, 1))
    [dead] = await scene.views.dead(most=10)
    assert (dead.reason, dead.bot_id) == ("poisonous", "poison")
    assert await scene.story("poison") == ["rejected"]
    assert scene.meetings.entries == {"before": 1, "after": 1}
    assert not await scene.redis.exists(scene.keys.jobs, scene.keys.taken, scene.keys.tries)


@pytest.mark.long
async def test_a_manager_that_is_killed_while_it_takes_in_what_was_left_sets_no_good_job_aside(scene: Scene) -> None:
    settings = {"POOLMGR_LEASE__TTL_S": "0.5"}
    bots = [f"bot-{number}" for number in range(6)]
    for bot_id in bots:
        await scene.push(bot_id)
    for number in (6, 1, 2, 2):  # all of them in hand; then each time over another one
        doomed = scene.manager(**settings, **{VARIABLE: f"{ManagerStep.JOBS_DECIDED}:{number}"})
        assert await doomed.ended() == -signal.SIGKILL
    scene.manager(**settings)
    async with scene.agent("vm-a", stay_s=0.1).running():
        await scene.until_all(bots, "stopped")
    assert await scene.views.dead(most=10) == []
    assert scene.meetings.entries == dict.fromkeys(bots, 1)


@pytest.mark.long
async def test_thousands_of_jobs_for_fifty_browsers_are_served_in_order_or_told_why_not(scene: Scene) -> None:
    count = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "explore" else 2_200  # more than are decided ahead
    patient = 200  # more than there are browsers: however long a process has to wait, some are served and some wait
    manager = scene.manager(
        POOLMGR_POOL__MIN_IDLE="10",
        POOLMGR_POOL__MAX_WORKERS="10",
        POOLMGR_POOL__WARMUPS_AT_ONCE="10",
        POOLMGR_POOL__HEARTBEAT_TIMEOUT_S="60",  # the agents are in the process of the test
        POOLMGR_POOL__LOST_AFTER_S="60",
        POOLMGR_POOL__CLAIM_TIMEOUT_S="60",
    )
    bots = [f"bot-{number:05}" for number in range(count)]
    async with AsyncExitStack() as stack:
        agents = [
            await stack.enter_async_context(scene.agent(f"vm-{number}", stay_s=0.5, room=10).running())
            for number in range(5)
        ]
        await wait_until(lambda: all(agent.idle == 10 for agent in agents))
        link = "http://127.0.0.1:8090/r/test"
        jobs = [{"meeting_link": link, "bot_id": bot_id} for bot_id in bots]
        jobs = [*jobs[:patient], *({**job, "queue_timeout": 4} for job in jobs[patient:])]
        await scene.redis.lpush(scene.keys.jobs, *map(json.dumps, jobs))
        await wait_until(lambda: _all_taken(scene))
        _, metrics = await get(manager.metrics)
        [waiting] = re.findall(r"^poolmgr_queue_depth (\S+)", metrics, re.MULTILINE)
        assert float(waiting) > 0
        await wait_until(lambda: scene.redis.zcard(scene.keys.ended))
        await wait_until(lambda: _ended(scene, count))
        assert max(agent.most_workers for agent in agents) <= 10
    order = await scene.assignments()
    assert order == sorted(order), "who came first was served first"
    reasons = Counter([(await scene.record(bot_id))["status_reason"] for bot_id in bots])
    assert set(reasons) == {"meeting_ended", "no_capacity"}
    assert reasons["meeting_ended"] == len(scene.meetings.entries) == len(set(order)) >= patient
    assert set(scene.meetings.entries.values()) == {1}
    assert manager.process
    assert psutil.Process(manager.process.pid).memory_info().rss < 100 << 20


async def _all_taken(scene: Scene) -> bool:
    return await scene.redis.llen(scene.keys.jobs) == 0


async def _none_is_taken(scene: Scene) -> bool:
    return await scene.redis.llen(scene.keys.taken) == 0


async def _ended(scene: Scene, count: int) -> bool:
    return await scene.redis.zcard(scene.keys.ended) == count


async def test_a_job_that_a_replaced_leader_took_is_found_by_the_one_that_leads(scene: Scene) -> None:
    scene.manager()
    async with scene.agent("vm-a", stay_s=0.1).running() as agent:
        await wait_until(lambda: agent.idle == 3)
        await scene.push("taken")
        await scene.until_state("taken", "stopped")
        job = {"meeting_link": "http://127.0.0.1:8090/r/test", "bot_id": "stranded"}
        await scene.redis.lpush(scene.keys.taken, json.dumps(job))
        await scene.until_state("stranded", "stopped")
    assert scene.meetings.entries == {"taken": 1, "stranded": 1}
    assert await scene.redis.llen(scene.keys.taken) == 0


async def _reasons(scene: Scene, count: int) -> list[str]:
    dead = await scene.views.dead(most=100)
    return sorted(job.reason for job in dead) if len(dead) == count else []


async def test_a_scheduled_bot_has_its_browser_reserved_and_joins_at_its_time(scene: Scene) -> None:
    scene.manager(POOLMGR_POOL__RESERVE_AHEAD_S="3600")
    async with scene.agent("vm-a").running() as agent:
        await wait_until(lambda: agent.idle == 3)
        join_at = datetime.now(UTC) + timedelta(minutes=30)  # so that there is time to look
        await scene.push("later", join_at=join_at.isoformat())
        await scene.push("late", join_at=(join_at - timedelta(hours=1)).isoformat())
        await scene.push("too-late", join_at="2020-01-01T00:00:00Z")
        await scene.until_state("late", "in_meeting")
        await scene.until_state("too-late", "stopped")
        assert (await scene.record("too-late"))["status_reason"] == "missed_start"
        assert await scene.state("later") == "scheduled"
        assert (await scene.record("later"))["status"] == "Scheduled"

        async def reserved() -> bool:
            return sum(vm.workers["reserved"] for vm in await scene.views.fleet()) == 1

        await wait_until(reserved)
        await wait_until(lambda: agent.idle == 4)  # three beside the one that is put aside
        join_at = datetime.now(UTC) + timedelta(seconds=2)
        await scene.views.request(RescheduleRequested("later", join_at.timestamp()))
        await scene.until_state("later", "in_meeting")  # half an hour sooner than it was to be
        assert datetime.fromisoformat((await scene.record("later"))["assigned_at"]) >= join_at


async def test_a_bot_can_be_sent_away_in_every_state(scene: Scene) -> None:
    scene.manager()
    far = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await scene.push("queued")
    await scene.push("scheduled", join_at=far)
    await scene.until_state("queued", "queued")
    await scene.until_state("scheduled", "scheduled")
    for bot_id in ("queued", "scheduled"):
        await scene.views.request(LeaveRequested(bot_id))
    await scene.until_all(["queued", "scheduled"], "stopped")
    async with scene.agent("vm-a").running():
        await scene.push("inside")
        await scene.until_state("inside", "in_meeting")
        await scene.views.request(LeaveRequested("inside"))
        await scene.until_state("inside", "stopped")
    assert {(await scene.record(bot))["status_reason"] for bot in ("queued", "scheduled", "inside")} == {
        "user_requested"
    }
    assert set(scene.meetings.entries) == {"inside"}


async def test_a_drained_vm_lets_its_meeting_end_and_gets_nothing_new(scene: Scene) -> None:
    scene.manager()
    async with scene.agent("vm-a").running() as a:
        await scene.push("inside")
        await scene.until_state("inside", "in_meeting")
        await scene.views.request(DrainRequested("vm-a"))
        await wait_until(lambda: list(a.workers) == [worker for worker, report in a.workers.items() if report.bot_id])
        await scene.push("waiting")
        await scene.until_state("waiting", "queued")
        assert "inside" in scene.meetings.inside
        async with scene.agent("vm-b").running():
            await scene.until_state("waiting", "in_meeting")
        (busy,) = a.workers
        await a.end(busy, Reason.MEETING_ENDED)
        await scene.until_state("inside", "stopped")
        assert not a.workers
        await scene.views.request(DrainRequested("vm-a", draining=False))
        await wait_until(lambda: a.idle == 3)


async def test_surplus_goes_after_its_ttl_and_old_workers_are_replaced_first(scene: Scene) -> None:
    scene.manager(POOLMGR_POOL__IDLE_TTL_S="1", POOLMGR_POOL__MAX_AGE_S="2", POOLMGR_POOL__MIN_IDLE="2")
    async with scene.agent("vm-a").running() as agent:
        await wait_until(lambda: agent.idle == 2)
        first = set(agent.workers)
        fewest = agent.idle

        def all_replaced() -> bool:
            nonlocal fewest
            fewest = min(fewest, agent.idle)
            return not first & set(agent.workers) and agent.idle == 2

        await wait_until(all_replaced)
        assert fewest == 2, "a replacement has to be warm before the old worker goes"


async def test_a_refused_job_goes_to_another_worker_and_ends_after_too_many_attempts(scene: Scene) -> None:
    scene.manager()
    async with scene.agent("vm-a").running() as agent:
        await wait_until(lambda: agent.idle == 3)
        agent.refuses = True
        await scene.push("unlucky")
        await scene.until_state("unlucky", "stopped")
        record = await scene.record("unlucky")
        assert (record["status"], record["status_reason"], record["attempt"]) == ("Error", "worker_lost", "3")
        agent.refuses = False
        await scene.push("lucky")
        await scene.until_state("lucky", "in_meeting")


@pytest.mark.long
async def test_failing_warmups_back_off(scene: Scene) -> None:
    manager = scene.manager(POOLMGR_POOL__BACKOFF_S="0.5", POOLMGR_POOL__BACKOFF_MAX_S="2")
    agent = scene.agent("vm-a")
    agent.warms = False
    await scene.until_led()
    began = time.monotonic()
    async with agent.running():

        async def four_failed() -> bool:
            return await _failed_warmups(manager.metrics) >= 4

        await wait_until(four_failed)
        assert time.monotonic() - began >= 1, "after two failures in a row nothing is warmed for a second"
        agent.warms = True
        await wait_until(lambda: agent.idle == 3)


async def _failed_warmups(metrics: str) -> int:
    lines = (await get(metrics))[1].splitlines()
    counts = [float(line.split()[-1]) for line in lines if line.startswith("poolmgr_warmups_failed_total{")]
    return int(sum(counts))


async def test_a_cut_off_vm_is_lost_and_its_bot_that_was_never_admitted_is_sent_by_another(scene: Scene) -> None:
    patient = scene.manager()
    async with scene.agent("vm-a").running() as a:
        await scene.push("inside")
        await scene.until_state("inside", "in_meeting")
        (worker_id,) = [name for name, report in a.workers.items() if report.bot_id]
    # The agent is dead: nobody beats any more. What it had in a meeting is over; nobody goes in twice.
    scene.meetings.leave("inside")
    # While an agent lived that is in this process, a silence of two seconds might have been of a busy machine.
    patient.kill()
    scene.manager(POOLMGR_POOL__HEARTBEAT_TIMEOUT_S="1", POOLMGR_POOL__LOST_AFTER_S="2")
    await scene.until_state("inside", "stopped")
    assert (await scene.record("inside"))["status_reason"] == "heartbeat_timeout"
    async with scene.agent("vm-a").running() as again:
        await wait_until(lambda: again.idle == 3)
        assert worker_id not in again.workers


async def test_health_readiness_and_metrics_answer(scene: Scene) -> None:
    manager = scene.manager()

    async def ready() -> bool:
        try:
            return (await get(f"{manager.api}/readyz"))[0] == 200
        except aiohttp.ClientError:
            return False

    await wait_until(ready)
    assert json.loads((await get(f"{manager.api}/healthz"))[1]) == {"status": "ok"}
    async with scene.agent("vm-a").running() as agent:
        await wait_until(lambda: agent.idle == 3)
        await scene.push("one")
        await scene.until_state("one", "in_meeting")
        lines = ('poolmgr_assignments_total{kind="warm_hit"} 1.0', 'poolmgr_bots{state="in_meeting"} 1.0')

        async def told() -> bool:
            text = (await get(manager.metrics))[1]
            return all(line in text for line in lines)

        await wait_until(told)


async def test_sigterm_makes_durable_what_was_taken_and_the_next_manager_goes_on(scene: Scene) -> None:
    manager = scene.manager()
    async with scene.agent("vm-a", stay_s=0.2).running():
        bots = [f"bot-{number}" for number in range(30)]
        await scene.until_led()
        for bot_id in bots[:20]:
            await scene.push(bot_id)
        manager.signal(signal.SIGTERM)
        assert await manager.ended() == 0
        assert await scene.redis.llen(scene.keys.taken) == 0
        assert await scene.redis.exists(scene.keys.leader) == 0
        for bot_id in bots[20:]:
            await scene.push(bot_id)
        manager.start()
        await scene.until_all(bots, "stopped")
    assert scene.meetings.entries == dict.fromkeys(bots, 1)


async def test_a_manager_killed_again_and_again_loses_and_doubles_nothing(scene: Scene, seed: int) -> None:
    chance = random.Random(seed)
    manager = scene.manager()
    bots = [f"bot-{number}" for number in range(120)]
    async with scene.agent("vm-a", stay_s=0.2).running() as a, scene.agent("vm-b", stay_s=0.2).running() as b:
        for number, bot_id in enumerate(bots):
            await scene.push(bot_id)
            if number % 20 == 10:
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                manager.kill()
                manager.start()
        await scene.until_all(bots, "stopped")
        assert scene.meetings.entries == dict.fromkeys(bots, 1)
        assert not scene.meetings.doubles
        await wait_until(lambda: a.idle == b.idle == 3)
        stories = await scene.stories()
        assert {bot_id: stories[bot_id].count("stopped") for bot_id in bots} == dict.fromkeys(bots, 1)
    assert await scene.redis.llen(scene.keys.taken) == 0


async def test_a_standby_takes_over_from_a_killed_leader_and_a_frozen_one_does_no_harm(scene: Scene) -> None:
    first = scene.manager()
    await scene.until_led()
    second = scene.manager()
    async with scene.agent("vm-a", stay_s=0.2).running() as agent:
        await scene.push("one")
        await scene.until_state("one", "stopped")
        first.signal(signal.SIGSTOP)
        await scene.push("two")
        await scene.until_state("two", "stopped")
        first.signal(signal.SIGCONT)
        assert await first.ended() == 3, "a leader that was replaced has to go"
        await scene.push("three")
        await scene.until_state("three", "stopped")
        assert scene.meetings.entries == {"one": 1, "two": 1, "three": 1}
        await wait_until(lambda: agent.idle == 3)
    second.signal(signal.SIGTERM)
    assert await second.ended() == 0


async def test_a_leader_that_was_frozen_while_nobody_stood_by_goes_on_and_counts_nobodys_silence(scene: Scene) -> None:
    # The agent is in this process, which may have to wait for seconds on a busy machine.
    manager = scene.manager(POOLMGR_POOL__HEARTBEAT_TIMEOUT_S="5", POOLMGR_POOL__LOST_AFTER_S="7")
    async with scene.agent("vm-a").running() as agent:
        await scene.push("inside")
        await scene.until_state("inside", "in_meeting")
        await wait_until(lambda: agent.idle == 3)
        manager.signal(signal.SIGSTOP)
        await asyncio.sleep(8.0)  # longer than the lease, and than a VM may be silent
        manager.signal(signal.SIGCONT)
        await scene.push("after")
        await scene.until_state("after", "in_meeting")
        assert await scene.state("inside") == "in_meeting"
        assert agent.idle >= 2
    assert scene.meetings.entries == {"inside": 1, "after": 1}
    manager.signal(signal.SIGTERM)
    assert await manager.ended() == 0


@pytest.mark.long
async def test_the_pool_of_a_term_that_ended_is_let_go(
    redis_server: str, prefix: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[weakref.ref[Pool]] = []

    def make_pool(*arguments: Any, **options: Any) -> Pool:
        pool = Pool(*arguments, **options)
        pools.append(weakref.ref(pool))
        return pool

    monkeypatch.setattr(app, "Pool", make_pool)
    anywhere = "127.0.0.1:0"
    settings = Settings(
        RedisSettings(redis_server, prefix), api=ApiSettings(anywhere), metrics=MetricsSettings(anywhere)
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(app.Manager(settings).run(stop), name="manager")
        for term in range(1, 5):
            await wait_until(lambda term=term: len(pools) == term)
            await scene.redis.script_flush()
            await scene.push(f"bot-{term}")
            await scene.until_state(f"bot-{term}", "queued")
        stop.set()
    assert sum(pool() is not None for pool in pools) <= 2


async def test_a_redis_that_refuses_writes_is_waited_for(durable_scene: Scene) -> None:
    scene = durable_scene
    manager = scene.manager()
    await scene.push("before")
    await scene.until_state("before", "queued")
    await scene.redis.config_set("min-replicas-to-write", 1)
    await wait_until(lambda: _not_ready(manager, "NOREPLICAS"))
    await scene.redis.config_set("min-replicas-to-write", 0)
    async with scene.agent("vm-a").running():
        await scene.push("after")
        await scene.until_all(["before", "after"], "in_meeting")
    manager.signal(signal.SIGTERM)
    assert await manager.ended() == 0


async def test_while_redis_refuses_writes_a_manager_ends_in_good_order(durable_scene: Scene) -> None:
    scene = durable_scene
    manager = scene.manager()
    await scene.push("before")
    await scene.until_state("before", "queued")
    await scene.redis.config_set("min-replicas-to-write", 1)
    await wait_until(lambda: _not_ready(manager, "NOREPLICAS"))
    manager.signal(signal.SIGTERM)
    assert await manager.ended() == 0
    await scene.redis.config_set("min-replicas-to-write", 0)


async def test_a_manager_that_waits_for_an_answer_of_redis_is_not_ready(durable_scene: Scene) -> None:
    scene = durable_scene
    redis = (await scene.redis.info("server"))["process_id"]
    os.kill(redis, signal.SIGSTOP)
    manager = scene.manager(POOLMGR_REDIS__TIMEOUT_S=str(PATIENCE_S))
    for _ in range(3):
        await wait_until(lambda: _not_ready(manager, "has not reached Redis"))
    os.kill(redis, signal.SIGCONT)
    await scene.until_led()


async def _not_ready(manager: Manager, reason: str) -> bool:
    try:
        status, text = await get(f"{manager.api}/readyz")
    except aiohttp.ClientError:
        return False
    assert status == 503 or reason == "NOREPLICAS"
    return status == 503 and reason in text


async def test_a_redis_that_dies_and_returns_ends_nothing(durable_scene: Scene, own_redis: RedisServer) -> None:
    scene = durable_scene
    manager = scene.manager()
    async with scene.agent("vm-a").running() as agent:
        await scene.push("inside")
        await scene.until_state("inside", "in_meeting")
    own_redis.stop()
    own_redis.start()
    await scene.redis.connection_pool.disconnect()
    async with agent.running():
        await scene.push("after")
        await scene.until_state("after", "in_meeting")
        assert await scene.state("inside") == "in_meeting"
        await wait_until(lambda: agent.idle == 3)
        assert sum(report.state is WorkerState.BUSY for report in agent.workers.values()) == 2
    assert scene.meetings.entries == {"inside": 1, "after": 1}
    manager.signal(signal.SIGTERM)
    assert await manager.ended() == 0
