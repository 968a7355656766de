"""A manager that ends as by kill -9 right after a step: what it left half done is done by the next one, and once. The
agent's steps, and each step at several of its occurrences, are `./dev chaos --steps`.
"""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from common.runtime.steps import VARIABLE, ManagerStep
from poolmgr.core.events import DrainRequested, LeaveRequested
from tests.manager.conftest import Manager, Scene
from tests.waiting import wait_until

QUICK: Final = (ManagerStep.JOBS_TAKEN, ManagerStep.DECISION_APPLIED, ManagerStep.EVENTS_APPLIED)


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=() if step in QUICK else pytest.mark.long) for step in ManagerStep]
)
async def test_what_a_manager_that_died_left_half_done_is_done_once(scene: Scene, step: ManagerStep) -> None:
    settings = {"POOLMGR_LEASE__TTL_S": "0.5", "POOLMGR_POOL__MIN_IDLE": "2"}
    first = scene.manager(**settings, **{VARIABLE: step})
    bots = ["bot-1", "bot-2", "bot-3"]
    async with scene.agent("vm-a", stay_s=0.1).running() as agent, asyncio.TaskGroup() as both:
        both.create_task(_start_another(scene, first, settings), name="as systemd does")
        for bot_id in bots:
            await scene.push(bot_id)
        await scene.redis.lpush(scene.keys.jobs, "nonsense")
        await scene.push("asked", join_at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
        await scene.until_state("asked", "scheduled")
        await scene.views.request(LeaveRequested("asked"))
        await scene.until_all([*bots, "asked"], "stopped")
        for draining, idle in ((True, 0), (False, 2)):
            await scene.views.request(DrainRequested("vm-a", draining=draining))
            await wait_until(lambda idle=idle: len(agent.workers) == agent.idle == idle)
    assert scene.meetings.entries == dict.fromkeys(bots, 1)
    assert [(await scene.story(bot_id)).count("stopped") for bot_id in (*bots, "asked")] == [1] * 4
    assert [(await scene.record(bot_id))["status_reason"] for bot_id in (*bots, "asked")] == [
        *["meeting_ended"] * 3,
        "user_requested",
    ]
    assert [job.reason for job in await scene.views.dead(most=10)] == ["not_json"]
    assert await scene.redis.exists(scene.keys.jobs, scene.keys.taken) == 0


async def _start_another(scene: Scene, first: Manager, settings: dict[str, str]) -> None:
    assert await first.ended() == -signal.SIGKILL
    scene.manager(**settings)
