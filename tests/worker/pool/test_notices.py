"""A cloud that takes a VM away, and what becomes of the workers: with a real browser, a real call, and a metadata
server that fails, is late, and takes its word back.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from common.wire.messages import BotEnded, BotMoved, WorkerGone
from common.wire.vocabulary import BotState, GoneCause, Reason
from tests.waiting import wait_until
from tests.worker.conftest import Harness
from tests.worker.visits import serving
from worker.link.spot import cloud
from worker.pool import notices
from worker.pool.notices import Notices

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOOK_S = 0.02
LEAVE_S = 8.0


class Amazon:
    """Says it of this VM, once `goes_in_s` is set. `fails`: with that status."""

    def __init__(self) -> None:
        self.goes_in_s: float | None = None
        self.fails = 0
        self.looks = 0

    async def answer(self, request: web.Request) -> web.Response:
        if self.fails:
            self.looks += 1
            return web.Response(status=self.fails)
        if request.path == "/latest/api/token":
            return web.Response(text="token")
        if not request.path.endswith("/spot/instance-action"):
            return web.Response(status=404)
        self.looks += 1
        if self.goes_in_s is None:
            return web.Response(status=404)
        at = datetime.now(UTC) + timedelta(seconds=self.goes_in_s)
        return web.json_response({"action": "terminate", "time": at.isoformat()})

    async def looked_at(self, times: int = 2) -> None:
        enough = self.looks + times
        await wait_until(lambda: self.looks >= enough)


class Scene:
    def __init__(self, harness: Harness) -> None:
        self.amazon = Amazon()
        self.pool = harness.pool
        self.changes: list[bool] = []
        self.ends = False

    @asynccontextmanager
    async def watched(self) -> AsyncGenerator[None]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.amazon.answer)
        async with serving(app) as address:
            watch = Notices(
                cloud("aws", address),
                self.pool,
                changed=lambda: self.changes.append(self.pool.stopping),
                ends=lambda: self.ends,
                leave_s=LEAVE_S,
            )
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(watch.run(LOOK_S), name="notices")
                try:
                    yield
                finally:
                    task.cancel()


@pytest.mark.long
async def test_the_call_goes_on_until_it_is_time_and_the_bot_is_out_before_the_vm_goes(harness: Harness) -> None:
    scene = Scene(harness)
    await harness.warm()
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(event.state is BotState.IN_MEETING for event in harness.seen(BotMoved)))
    async with scene.watched():
        scene.amazon.fails = 503
        await scene.amazon.looked_at()
        scene.amazon.fails = 0
        await scene.amazon.looked_at()
        assert scene.changes == [], "a server that fails has said nothing"
        scene.amazon.goes_in_s = 120.0
        await wait_until(lambda: scene.changes)
        assert scene.changes == [True]
        harness.pool.begin(harness.join("b2"))
        harness.pool.warm("w2")
        await wait_until(lambda: harness.seen(WorkerGone))
        assert [event.worker_id for event in harness.seen(WorkerGone)] == ["w2"]
        await scene.amazon.looked_at()
        assert harness.seen(BotEnded) == [], "two minutes are left"
        scene.amazon.goes_in_s = LEAVE_S + notices.LEAD_S - 0.1
        await wait_until(lambda: harness.seen(BotEnded))
    assert [event.reason for event in harness.seen(BotEnded)] == [Reason.SHUTDOWN]
    await wait_until(harness.pool.empty.is_set)


async def test_a_notice_counts_while_the_server_fails_and_when_it_is_withdrawn_there_is_work_again(
    harness: Harness,
) -> None:
    scene = Scene(harness)
    async with scene.watched():
        scene.amazon.goes_in_s = 60.0
        await wait_until(lambda: scene.changes)
        scene.amazon.fails = 500
        await scene.amazon.looked_at(5)
        assert scene.changes == [True]
        scene.amazon.fails, scene.amazon.goes_in_s = 0, None
        await wait_until(lambda: scene.changes == [True, False])
        harness.pool.warm("w9")
        assert "w9" in harness.pool.reports()
        harness.pool.retire("w9")
        assert (await harness.gone()).cause is GoneCause.RETIRED


async def test_an_agent_that_was_told_to_end_takes_no_work_whatever_the_cloud_says(harness: Harness) -> None:
    scene = Scene(harness)
    async with scene.watched():
        scene.amazon.goes_in_s = 60.0
        await wait_until(lambda: scene.changes)
        scene.ends = True
        scene.amazon.goes_in_s = None
        await scene.amazon.looked_at(8)
    assert scene.changes == [True]
    assert harness.pool.stopping
