"""The API as its callers meet it: served over a real socket, on a real Redis, with or without a manager that leads."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from yarl import URL

from common.config.settings import (
    ApiSettings,
    CaptureSettings,
    LeaseSettings,
    MeetingSettings,
    MetricsSettings,
    PoolSettings,
    RedisSettings,
    Settings,
    TokenSettings,
    WebhookSettings,
    WorkerSettings,
)
from common.jobs.job import JobRules, parse_job
from common.jobs.record import Job
from common.runtime.clock import Clock
from common.runtime.redis.client import connect
from common.wire.messages import Join
from common.wire.vocabulary import BotState, Reason
from lab.parts.ports import free_ports
from poolmgr import app
from poolmgr.api.listen import Limits, serve, tls_context
from poolmgr.api.observe import ApiMetrics
from poolmgr.api.operation import Service
from poolmgr.api.routes import add_api
from poolmgr.app import Manager
from poolmgr.core.decisions import Accept, Assign, Decision, End, Move
from poolmgr.page.routes import add_page
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.reading.views import DeadJob, Views
from poolmgr.store.scripts import load_scripts
from tests.simulated import Meetings, SimulatedAgent
from tests.waiting import PATIENCE_S, wait_until

TOKEN = "pm_a-token-of-the-tests-that-nobody-guesses"
OWN = "pm_another-token-that-sees-only-its-own-bots"
LINK = "http://127.0.0.1:8090/r/the-secret-room"
JOB = {"meeting_link": LINK, "bot_name": "Notetaker"}


def token(name: str, secret: str, **more: Any) -> TokenSettings:
    more = {"requests_per_s": 10_000.0, **more}
    return TokenSettings(name, hashlib.sha256(secret.encode()).hexdigest(), **more)


class Said(NamedTuple):
    status: int
    body: Any
    headers: Any

    @property
    def message(self) -> str:
        return self.body["message"]


class Caller:
    """Calls as one token does. `call` answers what was said, whatever it was."""

    def __init__(self, base: str, session: aiohttp.ClientSession, secret: str) -> None:
        self.base = base
        self._session = session
        self._secret = secret

    def as_(self, secret: str) -> "Caller":
        return Caller(self.base, self._session, secret)

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Said:
        headers = {"Authorization": f"Token {self._secret}", **options.pop("headers", {})}
        if body is not None:
            options["data"] = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        url = URL(f"{self.base}/api/v1{path}", encoded=True)
        async with self._session.request(method, url, headers=headers, **options) as response:
            if response.content_type in ("application/zip", "audio/ogg"):
                return Said(response.status, await response.read(), response.headers)
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Said(response.status, json.loads(text) if is_json else text, response.headers)

    async def finds_it_ready(self) -> bool:
        async with self._session.get(f"{self.base}/readyz") as response:
            return response.status == 200

    async def create(self, /, key: str = "", **fields: Any) -> Said:
        headers = {"Idempotency-Key": key} if key else {}
        return await self("POST", "/bots/create_bot", {**JOB, **fields}, headers=headers)


class World:
    """`settings` may be changed before something is served, and `steady`, the clock of rates."""

    def __init__(self, url: str, prefix: str) -> None:
        api, metrics = free_ports(2)
        self.settings = Settings(
            redis=RedisSettings(url, prefix, PATIENCE_S),
            pool=PoolSettings(min_idle=3, max_workers=8, heartbeat_timeout_s=5),
            meetings=MeetingSettings(["127.0.0.1:8090"], ["jitsi.example"]),
            lease=LeaseSettings(ttl_s=5),
            api=ApiSettings(
                listen=f"127.0.0.1:{api}",
                tokens=[token("app", TOKEN), token("own", OWN, sees="own")],
            ),
            webhooks=WebhookSettings(allow_http=True, allowed_networks=["127.0.0.0/8"]),
            metrics=MetricsSettings(f"127.0.0.1:{metrics}"),
            worker=WorkerSettings(heartbeat_s=0.2),
        )
        self.keys = Keys(prefix)
        self.redis: Any = connect(self.settings.redis)
        self.views = Views(self.redis, self.keys)
        self.steady = Clock().steady
        self.registry = CollectorRegistry()
        self.meetings = Meetings()
        self._runner: web.AppRunner | None = None

    def keep_recordings(self, folder: Path) -> Path:
        """In that folder, which is returned."""
        self.settings = msgspec.structs.replace(self.settings, capture=CaptureSettings(store=str(folder)))
        return folder

    def change(self, **settings: Any) -> None:
        """Of [api]."""
        self.settings = msgspec.structs.replace(
            self.settings, api=msgspec.structs.replace(self.settings.api, **settings)
        )

    @asynccontextmanager
    async def serving(self, *, answer_s: float = 60.0, **tls: str) -> AsyncGenerator[Caller]:
        """The API alone, as a standby serves it."""
        clock, api = Clock(), self.settings.api
        redis = connect(self.settings.redis)
        served = web.Application()
        service = Service(redis, self.keys, self.settings, clock.wall, self.steady)
        door = add_api(served, service, api, ApiMetrics(self.registry))
        add_page(served, door, service, self.settings)
        limits = Limits(api.connections, api.request_timeout_s, answer_s)
        runner = await serve(served, api.listen, "api.listen", limits=limits, tls=tls_context(**tls) if tls else None)
        self._runner = runner
        try:
            async with aiohttp.ClientSession() as session:
                yield Caller(f"http://{api.listen}", session, TOKEN)
        finally:
            await runner.cleanup()
            await redis.aclose()

    @asynccontextmanager
    async def leading(self) -> AsyncGenerator[Caller]:
        """A manager that leads. Its API waits for Redis for longer than its callers would: the machine may be busy."""
        async with asyncio.TaskGroup() as group, aiohttp.ClientSession() as session:
            caller = Caller(f"http://{self.settings.api.listen}", session, TOKEN)
            with pytest.MonkeyPatch.context() as patient:
                patient.setattr(app, "_API_REDIS_TIMEOUT_S", PATIENCE_S)
                manager = group.create_task(Manager(self.settings).run(asyncio.Event()), name="manager")
                await wait_until(self.views.leads)
            await wait_until(caller.finds_it_ready)  # it leads a moment before it knows
            try:
                yield caller
            finally:
                manager.cancel()

    def connections(self) -> int:
        """How many clients are connected to what is `serving`."""
        return len(self._runner.server.connections) if self._runner and self._runner.server else 0

    def agent(self, vm_id: str = "vm-a", room: int = 100) -> SimulatedAgent:
        return SimulatedAgent(self.redis, self.settings.redis.prefix, vm_id, self.meetings, room=room)

    async def ledger(self) -> "Hand":
        await load_scripts(self.redis)
        await self.redis.set(self.keys.epoch, 1, ex=600)
        return Hand(self, Ledger(self.redis, self.keys, self.settings.retention, epoch=1))

    async def until_state(self, bot_id: str, *states: str) -> None:
        async def reached() -> bool:
            bot = await self.views.bot(bot_id)
            return bot is not None and bot.state in states

        await wait_until(reached)

    async def dead_job(self) -> DeadJob:
        """The last job that was rejected, once there is one."""

        async def letter() -> DeadJob | None:
            return next(iter(await self.views.dead(most=1)), None)

        await wait_until(letter)
        found = await letter()
        assert found is not None
        return found

    async def all_taken(self) -> bool:
        """Whether a leader has finished all jobs."""
        return not await self.redis.exists(self.keys.jobs, self.keys.taken)


class Hand:
    """Writes records as a leader does, without one."""

    def __init__(self, world: World, ledger: Ledger) -> None:
        self._world = world
        self._ledger = ledger
        self.at = 1_800_000_000.0
        self._seq = 0

    def job(self, bot_id: str, **fields: Any) -> Job:
        payload = json.dumps({**JOB, "bot_id": bot_id, **fields}).encode()
        return parse_job(payload, self.at, JobRules.of(self._world.settings))

    async def accept(self, bot_id: str, state: BotState = BotState.QUEUED, **fields: Any) -> None:
        self._seq += 1
        await self.apply(Accept(bot_id, self.job(bot_id, **fields), state, self.at, self._seq))

    async def enter(self, bot_id: str, **fields: Any) -> None:
        """The bot is in its meeting."""
        await self.accept(bot_id, **fields)
        join = Join(f"worker-{bot_id}", bot_id, 1, "room", LINK, "Notetaker")
        await self.apply(Assign("vm-a", join, born=self.at, warm=True, waited_s=0.0))
        await self.apply(Move(bot_id, 1, BotState.JOINING, self.at + 1))
        await self.apply(Move(bot_id, 1, BotState.IN_MEETING, self.at + 2))

    async def end(
        self, bot_id: str, reason: Reason = Reason.EVERYONE_LEFT, owner: str = "", evidence: str = ""
    ) -> None:
        await self.apply(End(bot_id, 1, reason, at=self.at + 60, owner=owner, evidence=evidence))

    async def apply(self, *decisions: Decision) -> None:
        await self._ledger.apply(list(decisions), self.at)


@pytest.fixture
async def world(redis_server: str, prefix: str) -> AsyncGenerator[World]:
    world = World(redis_server, prefix)
    yield world
    await world.redis.aclose()
