"""What receivers hear of bots while they fail, hang, die and return, and the manager is killed again and again."""

import asyncio
import hashlib
import hmac
import json
import random
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from meetstream import verify_webhook_signature
from standardwebhooks import Webhook

from common.jobs.record import Record, iso
from common.webhooks.envelope import deletion
from lab.parts.ports import free_ports
from lab.parts.redis_server import RedisServer
from poolmgr.core.events import LeaveRequested
from tests.manager.conftest import Scene
from tests.waiting import wait_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
ENVIRONMENT = {
    "POOLMGR_WEBHOOKS__ALLOW_HTTP": "true",
    "POOLMGR_WEBHOOKS__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
    "POOLMGR_WEBHOOKS__SECRETS": f'["{SECRET}"]',
    "POOLMGR_WEBHOOKS__TIMEOUT_S": "20",
    "POOLMGR_WEBHOOKS__RETRY_FIRST_S": "0.05",
    "POOLMGR_WEBHOOKS__RETRY_MOST_S": "0.2",
    "POOLMGR_LOG__LEVEL": "debug",
    "POOLMGR_LEASE__TTL_S": "0.5",
}
WAY = [
    "bot.joining",
    "bot.inmeeting",
    "bot.stopped",
    "manifest.skipped",
    "audio.skipped",
    "transcription.skipped",
    "bot.done",
]

Answer = Callable[[], Awaitable[int]]


async def _take() -> int:
    return 200


def published_check(raw: bytes, headers: Mapping[str, str]) -> str:
    """Why a receiver made after MeetStream's public material of 2026-11 answers 401, or nothing: it looks for the
    hexadecimal HMAC of the raw body, and for a time of delivery that is a date and at most 300 s away.
    """
    expected = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(headers.get("x-meetstream-signature", "").encode(), expected.encode()):
        return "invalid signature"
    try:
        sent = datetime.strptime(headers["x-meetstream-timestamp"].replace("Z", "+0000"), "%Y-%m-%dT%H:%M:%S.%f%z")
    except (KeyError, ValueError):
        return "no timestamp"
    return "" if abs((datetime.now(UTC) - sent).total_seconds()) <= 300 else "expired"


class Receiver:
    """A program that is called: keeps what arrives, answers as the test says, and can go and come back on its port."""

    def __init__(self, answer: Answer = _take) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}/hooks/secret-path?token=secret"
        self.answer = answer
        self.arrived: list[dict[str, Any]] = []
        self.unsigned: list[dict[str, Any]] = []
        self.bodies: dict[str, set[bytes]] = {}
        self.as_published = False
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/hooks/secret-path", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _receive(self, request: web.Request) -> web.Response:
        raw = await request.read()
        if self.as_published and (why := published_check(raw, request.headers)):
            return web.json_response({"error": why}, status=401)
        if "webhook-signature" not in request.headers:
            self.unsigned.append(json.loads(raw))
            return web.Response()
        Webhook(SECRET).verify(raw, dict(request.headers))
        assert verify_webhook_signature(raw, request.headers["X-MeetStream-Signature"], SECRET)
        webhook = json.loads(raw)
        assert request.headers["webhook-id"] == webhook["id"]
        self.arrived.append(webhook)
        self.bodies.setdefault(webhook["id"], set()).add(raw)
        return web.Response(status=await self.answer())

    def of(self, bot_id: str) -> list[str]:
        """The events of a bot, in the order of their first arrivals."""
        return [webhook["event"] for webhook in self.first_arrivals() if webhook["bot_id"] == bot_id]

    def first_arrivals(self) -> list[dict[str, Any]]:
        return list({webhook["id"]: webhook for webhook in reversed(self.arrived)}.values())[::-1]


@pytest.fixture
async def receivers() -> AsyncGenerator[Callable[..., Awaitable[Receiver]]]:
    started: list[Receiver] = []

    async def start(answer: Answer = _take) -> Receiver:
        receiver = Receiver(answer)
        await receiver.start()
        started.append(receiver)
        return receiver

    yield start
    for receiver in started:
        await receiver.stop()


@pytest.mark.parametrize("stamp", ["delivery", "event"])
async def test_a_receiver_made_after_todays_public_material_takes_each_also_long_after_it_happened(
    scene: Scene, receivers: Any, stamp: str
) -> None:
    scene.manager(**ENVIRONMENT, POOLMGR_WEBHOOKS__TIMESTAMP=stamp)
    answers = iter([500, 500])
    receiver = await receivers(lambda: _later(next(answers, 200)))
    receiver.as_published = True
    an_hour_ago = iso(datetime.now(UTC).timestamp() - 3600)
    late = msgspec.json.encode(
        deletion(Record.from_hash({"bot_id": "old", "callback_url": receiver.url}), 1, an_hour_ago)
    )
    await scene.redis.xadd(scene.keys.outbox, {"bot_id": "old", "delivery": late})
    if stamp == "event":
        await wait_until(lambda: _attempts(scene, "old", "401"))
        assert not receiver.arrived, "as it was sent before: every one is refused there"
        return
    await wait_until(lambda: len(receiver.arrived) == 3)
    assert [webhook["event"] for webhook in receiver.arrived] == ["data_deletion"] * 3
    assert len(receiver.bodies[receiver.arrived[0]["id"]]) == 1, "the body is the same on every attempt"


async def _later(status: int) -> int:
    return status


async def _attempts(scene: Scene, bot_id: str, outcome: str) -> bool:
    return any(attempt.outcome == outcome for attempt in await scene.views.webhooks.log(bot_id))


async def test_a_bots_way_is_told_in_order_and_signed(scene: Scene, receivers: Any, tmp_path: Path) -> None:
    manager = scene.manager(**ENVIRONMENT)
    receiver = await receivers()
    attributes = {"tenant": "ä/<1>", "deep": {"list": [1, None]}}
    async with scene.agent("vm-a", stay_s=0.1).running():
        await scene.push("bot-1", callback_url=receiver.url, custom_attributes=attributes, user_id="u-1")
        await wait_until(lambda: len(receiver.arrived) == len(WAY))
    assert receiver.of("bot-1") == WAY
    stopped = receiver.arrived[2]
    record = await scene.record("bot-1")
    assert stopped["custom_attributes"] == attributes
    assert stopped["timestamp"] == record["stopped_at"]
    assert (stopped["bot_event"], stopped["bot_status"], stopped["status_code"]) == ("bot.stopped", "Stopped", 200)
    assert (stopped["user_id"], stopped["reason"], stopped["attribution"]) == ("u-1", "meeting_ended", "host")
    await wait_until(lambda: _settled(scene))
    record = await scene.record("bot-1")
    assert (record["audio_webhook_received"], record["transcript_webhook_received"]) == ("0", "0"), "both were skipped"
    log = await scene.views.webhooks.log("bot-1")
    assert [(attempt.event, attempt.outcome, attempt.host) for attempt in log[::-1]] == [
        (event, "200", f"127.0.0.1:{receiver.port}") for event in WAY
    ]
    async with aiohttp.ClientSession() as session, session.get(manager.metrics) as response:
        metrics = await response.text()
    assert 'poolmgr_webhooks_delivered_total{event="bot.done"} 1.0' in metrics
    assert f'poolmgr_webhook_attempts_total{{outcome="2xx"}} {len(WAY)}.0' in metrics
    logged = _logged(tmp_path)
    assert [logged.count(f'"webhook_event":"{event}"') for event in WAY] == [1] * len(WAY)
    assert logged.count("webhook_delivered") == len(WAY)
    assert "secret" not in logged + metrics


def _logged(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("manager-*.log"))


async def _settled(scene: Scene) -> bool:
    outbox = await scene.redis.xlen(scene.keys.outbox)  # first: what was in there is due by now, or sent
    return outbox == await scene.redis.zcard(scene.keys.webhooks_due) == 0


async def test_a_receiver_that_hangs_or_is_gone_delays_nobody_else(scene: Scene, receivers: Any) -> None:
    async def hang() -> int:
        await asyncio.sleep(3600)
        return 200

    # It hangs for longer than the others take, also on a busy machine.
    manager = scene.manager(**{**ENVIRONMENT, "POOLMGR_WEBHOOKS__TIMEOUT_S": "120", "POOLMGR_WEBHOOKS__AT_ONCE": "4"})
    good, hanging, gone = await receivers(), await receivers(hang), await receivers()
    await gone.stop()
    async with scene.agent("vm-a", stay_s=0.1).running():
        for number in range(10):
            for name, receiver in (("hanging", hanging), ("gone", gone), ("good", good)):
                await scene.push(f"{name}-{number}", callback_url=receiver.url)
        await wait_until(lambda: len(good.arrived) == 10 * len(WAY))
    assert all(good.of(f"good-{number}") == WAY for number in range(10))
    assert len(hanging.arrived) == 1
    manager.signal(signal.SIGTERM)
    assert await manager.ended() == 0, "it does not wait for who hangs"


@pytest.mark.parametrize(
    "step",
    [
        "webhook_sent:3",
        *(pytest.param(step, marks=pytest.mark.long) for step in ("webhooks_put:2", "webhook_noted:3")),
    ],
)
async def test_what_a_manager_that_died_left_half_done_is_delivered(step: str, scene: Scene, receivers: Any) -> None:
    manager = scene.manager(**ENVIRONMENT, POOLMGR_CRASH_AFTER=step)
    receiver = await receivers()
    async with scene.agent("vm-a").running():
        await scene.push("bot-1", callback_url=receiver.url)

        async def is_in() -> bool:
            return manager.is_over or await scene.state("bot-1") == "in_meeting"

        await wait_until(is_in)
        # Its end comes by itself: with the first changes it could be put in line at once.
        await wait_until(lambda: bool(receiver.arrived) or manager.is_over)
        if died_early := manager.is_over:  # a busy machine puts the first changes in line one by one
            scene.manager(**ENVIRONMENT)
            await scene.until_state("bot-1", "in_meeting")
        await scene.views.request(LeaveRequested("bot-1"))
        assert await manager.ended() == -9
        if not died_early:
            scene.manager(**ENVIRONMENT)
        await wait_until(lambda: receiver.of("bot-1") == WAY)
    await wait_until(lambda: _settled(scene))
    assert len(receiver.arrived) <= len(WAY) + 1
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values())


async def test_nothing_is_lost_or_out_of_order_while_receiver_and_manager_die(
    scene: Scene, receivers: Any, seed: int
) -> None:
    chance, patience_s = random.Random(seed), 0.4

    async def moody() -> int:
        mood = chance.random()
        if mood < 0.2:
            await asyncio.sleep(1.5 * patience_s)  # later than the sender waits: it is here, and comes again
        return 500 if mood < 0.4 else 429 if mood < 0.45 else 302 if mood < 0.5 else 200

    manager = scene.manager(**{**ENVIRONMENT, "POOLMGR_WEBHOOKS__TIMEOUT_S": str(patience_s)})
    receiver = await receivers(moody)
    bots = iter([f"bot-{number}" for number in range(12)])
    pushed: list[str] = []

    async def push(count: int) -> None:
        for bot_id in islice(bots, count):
            await scene.push(bot_id, callback_url=receiver.url)
            pushed.append(bot_id)

    async with scene.agent("vm-a", stay_s=0.1, room=8).running():
        await push(6)
        for _ in range(3):
            wanted = len(receiver.arrived) + chance.randrange(1, 12)
            await wait_until(lambda wanted=wanted: len(receiver.arrived) >= wanted)
            manager.kill()
            receiver_too = chance.random() < 0.5
            if receiver_too:
                await receiver.stop()
            manager.start()
            await push(2)
            if receiver_too:
                await scene.until_led()
                await receiver.start()
        receiver.answer = _take
        await wait_until(lambda: all(receiver.of(bot_id)[-1:] == ["bot.done"] for bot_id in pushed))
    await wait_until(lambda: _settled(scene))
    assert {bot_id: receiver.of(bot_id) for bot_id in pushed} == dict.fromkeys(pushed, WAY)
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values())
    assert await scene.views.webhooks.dead(most=10) == []


async def test_a_receiver_of_a_transcript_that_fails_holds_back_nothing_from_the_bots_own(
    scene: Scene, receivers: Any
) -> None:
    rarely = {"POOLMGR_WEBHOOKS__RETRY_MOST_S": "600", "POOLMGR_WEBHOOKS__RETRY_FIRST_S": "600"}
    scene.manager(**ENVIRONMENT | rarely)
    receiver, other = await receivers(), await receivers(lambda: _later(500))
    transcribed = {"transcribed": "processed", "why": "", "number": "2", "callback": other.url, "done": ""}
    at = {"attempt": "1", "at": iso(datetime.now(UTC).timestamp())}
    record = {"bot_id": "bot-1", "state": "stopped", "status": "Stopped", "callback_url": receiver.url}
    await scene.redis.hset(scene.keys.bot("bot-1"), mapping=record)
    await scene.redis.expire(scene.keys.bot("bot-1"), 600)
    change = {**record, "reason": "everyone_left", **at}
    await scene.redis.xadd(scene.keys.outbox, {**change, **transcribed})
    await wait_until(lambda: other.arrived)
    await scene.redis.xadd(scene.keys.outbox, {**change, "transcribed": "skipped", "number": "1", "done": "1"})
    await wait_until(lambda: receiver.of("bot-1") == ["transcription.skipped", "bot.done"])

    async def only_the_other_waits() -> bool:
        waiting, _ = await scene.views.webhooks.waiting("bot-1")
        return [each.delivery.event for each in waiting] == ["transcription.processed"]

    await wait_until(only_the_other_waits)


async def test_what_was_given_up_is_sent_again_when_somebody_asks(scene: Scene, receivers: Any) -> None:
    async def gone() -> int:
        return 410

    scene.manager(**ENVIRONMENT)
    receiver = await receivers(gone)
    async with scene.agent("vm-a", stay_s=0.1).running():
        await scene.push("bot-1", callback_url=receiver.url)
        letters = await wait_until(lambda: _letters(scene, len(WAY)))
    assert [letter.delivery.event for letter in letters] == WAY
    assert {(letter.reason, letter.outcome, letter.attempts) for letter in letters} == {("gone", "410", 1)}
    receiver.answer = _take
    receiver.arrived.clear()
    again = await scene.views.webhooks.send_all_again(0.0 + letters[0].delivery.at, 600)
    assert again == [letter.entry_id for letter in letters]
    await wait_until(lambda: receiver.of("bot-1") == WAY)
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values())


async def _letters(scene: Scene, count: int) -> list[Any]:
    letters = await scene.views.webhooks.dead(most=100)
    return letters[::-1] if len(letters) == count else []


async def test_an_outage_of_redis_loses_none(durable_scene: Scene, own_redis: RedisServer, receivers: Any) -> None:
    scene = durable_scene
    scene.manager(**ENVIRONMENT)
    receiver = await receivers()
    await receiver.stop()
    async with scene.agent("vm-a", stay_s=0.1).running():
        await scene.push("bot-1", callback_url=receiver.url)
        await scene.until_state("bot-1", "stopped")
    own_redis.stop()
    own_redis.start()
    await scene.redis.connection_pool.disconnect()
    await receiver.start()
    await wait_until(lambda: receiver.of("bot-1") == WAY)


async def test_what_is_none_of_ours_is_dropped_and_what_is_ready_made_is_sent(
    scene: Scene, receivers: Any, tmp_path: Path
) -> None:
    receiver = await receivers()
    ready = deletion(
        Record.from_hash({"bot_id": "bot-1", "status": "Stopped", "callback_url": receiver.url}),
        3,
        "2027-01-15T08:00:00Z",
    )
    for fields in (
        {"nonsense": "x"},
        {"bot_id": "bot-1", "delivery": "{"},
        {"bot_id": "bot-1", "state": "nonsense", "reason": "", "attempt": "1"},
        {"bot_id": "bot-1", "again": "1-0"},
        {"bot_id": "\xff", "state": "joining"},
        {"bot_id": "bot-1", "delivery": msgspec.json.encode(msgspec.structs.replace(ready, url=""))},
        {"bot_id": "bot-1", "delivery": msgspec.json.encode(msgspec.structs.replace(ready, url="https://[x/"))},
        {"bot_id": "bot-2", "delivery": msgspec.json.encode(ready)},
        {"bot_id": "bot-1", "delivery": msgspec.json.encode(ready)},
    ):
        await scene.redis.xadd(scene.keys.outbox, fields)
    unsigned = {name: value for name, value in ENVIRONMENT.items() if not name.endswith("SECRETS")}
    scene.manager(**unsigned)
    await wait_until(lambda: _settled(scene))
    assert [(webhook["event"], webhook["deleted_objects"]) for webhook in receiver.unsigned] == [("data_deletion", 3)]
    logged = _logged(tmp_path)
    assert (logged.count("outbox_unreadable"), logged.count("webhooks_unsigned")) == (4, 1)
