"""The speed of the HTTP API with very many bot records, compared with few; and the size of a record."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
import msgspec

from common.config.settings import RetentionSettings
from common.jobs.job import JobRules, parse_job
from common.jobs.record import Job
from common.wire.vocabulary import BotState, Reason
from lab.bench.progress import Progress
from lab.bench.report import Budget, Measurement
from lab.bench.sample import Contender, Series, ratio, take_turns
from lab.parts.stage import Stage
from poolmgr.core.decisions import Accept, Decision, End
from poolmgr.store.leader.ledger import Ledger
from poolmgr.store.scripts import load_scripts

_FEW: Final = 1_000
_MANY: Final = 1_000_000
_MANY_QUICKLY: Final = 50_000
_AT_ONCE: Final = 1_000
# bots a user, whatever the number of records: an answer does not grow, the set that it is found in does
_USERS_OF: Final = 100
_TOKEN: Final = "pm_" + "bench" * 6
_REASONS: Final = (Reason.MEETING_ENDED, Reason.EVERYONE_LEFT, Reason.WAITING_ROOM_TIMEOUT, Reason.BROWSER_CRASHED)
_LINK: Final = (
    "https://teams.microsoft.com/l/meetup-join/19%3ameeting_{}%40thread.v2/0?context=%7b%22Tid%22%3a%22{}%22%7d"
)
_MOST_GROWTH: Final = 2.0
_CALLS_A_ROUND: Final = 20


async def measure(progress: Progress, *, quick: bool) -> list[Measurement]:
    many = _MANY_QUICKLY if quick else _MANY
    async with _with_records(_FEW, progress) as few, _with_records(many, progress) as full:
        each = [
            await _call("create", "POST create_bot, scheduled", _create, full, few, progress, quick=quick),
            await _call("status", "GET status of any bot", _status, full, few, progress, quick=quick),
            await _call("list", "GET bots, the newest 20", _list({}), full, few, progress, quick=quick),
            await _call(
                "list by user", "GET bots of one user", _list({"user_id": "user-2"}), full, few, progress, quick=quick
            ),
            await _call(
                "list by attribute and status",
                "GET bots with an attribute that ended as NotAllowed",
                _list({"custom_attr[team]": '"team-2"', "status": "NotAllowed"}),
                full,
                few,
                progress,
                quick=quick,
            ),
        ]
        packed = await _packed_bytes(progress)
        return [*each, _memory(full, packed)]


class _Full:
    """A manager whose Redis holds `count` ended bots."""

    def __init__(self, stage: Stage, session: aiohttp.ClientSession, count: int, bytes_each: float) -> None:
        self.stage = stage
        self.session = session
        self.count = count
        self.bytes_each = bytes_each
        self._asked = 0

    def some_bot(self) -> str:
        self._asked += 7919  # a prime, so that all records are visited without chance
        return f"bench-{self._asked % self.count}"


@asynccontextmanager
async def _with_records(count: int, progress: Progress) -> AsyncGenerator[_Full]:
    token = {"name": "bench", "sha256": hashlib.sha256(_TOKEN.encode()).hexdigest(), "requests_per_s": 100_000.0}
    async with Stage("bench", {"api": {"tokens": [token]}}) as stage:
        client: Any = stage.client
        client.config_set("appendonly", "no")  # the query is measured, not the disk
        bytes_each = await _fill(stage, count, progress)
        await stage.start_manager()
        headers = {"Authorization": f"Token {_TOKEN}"}
        async with aiohttp.ClientSession(stage.api + "/api/v1/", headers=headers) as session:
            yield _Full(stage, session, count, bytes_each)


async def _fill(stage: Stage, count: int, progress: Progress) -> float:
    """Let `count` bots begin and end by the scripts that the manager uses. Returns the bytes that each takes."""
    await load_scripts(stage.redis)
    client: Any = stage.client
    client.set(stage.keys.epoch, 1)
    ledger = Ledger(stage.redis, stage.keys, RetentionSettings(), epoch=1)
    empty = client.info("memory")["used_memory"]
    began = time.time() - count / 10  # ten a second, the last one now
    for start in range(0, count, _AT_ONCE):
        progress.say(f"{start:,} of {count:,} records")
        batch: list[Decision] = []
        for number in range(start, min(start + _AT_ONCE, count)):
            at = began + number / 10
            batch.append(Accept(f"bench-{number}", _job(number, count, at), BotState.QUEUED, at, number))
            batch.append(End(f"bench-{number}", 0, _REASONS[number % len(_REASONS)], "a sentence about it", at + 1800))
        await ledger.apply(batch, began + start / 10)
    # No webhook is sent, and webhooks are not part of the records' size.
    client.delete(stage.keys.status, stage.keys.outbox)
    return (client.info("memory")["used_memory"] - empty) / count


def _job(number: int, count: int, at: float) -> Job:
    document = {
        "meeting_link": _LINK.format(uuid.UUID(int=number).hex, uuid.UUID(int=number % 50)),
        "bot_name": "Notetaker",
        "user_id": f"user-{number % (count // _USERS_OF)}",
        "calendar_event_id": f"event-{number}",
        "custom_attributes": {"team": f"team-{number % (count // _USERS_OF)}", "tier": number % 5},
        "callback_url": "https://hooks.example.com/meetings/bots",
    }
    return parse_job(msgspec.json.encode(document), at, JobRules())


_Ask = Callable[[_Full], Awaitable[None]]


async def _call(
    name: str, what: str, ask: _Ask, full: _Full, few: _Full, progress: Progress, *, quick: bool
) -> Measurement:
    rounds = 5 if quick else 20
    subject, floor = Series(f"{full.count:,} records", "ms"), Series(f"{few.count:,} records", "ms")

    async def answers(of: _Full) -> list[tuple[float]]:
        samples: list[tuple[float]] = []
        for _ in range(_CALLS_A_ROUND):
            began = time.perf_counter()
            await ask(of)
            samples.append(((time.perf_counter() - began) * 1000,))
        return samples

    contenders = [Contender((subject,), lambda: answers(full)), Contender((floor,), lambda: answers(few))]
    await take_turns(rounds, contenders, progress.say)
    grown = ratio(subject, floor) or 0.0
    return Measurement(
        "records",
        f"{name}, {full.count:,} bot records",
        subject.summary(),
        [floor.summary()],
        grown,
        [
            Budget("ratio of p50s", "x", grown, _MOST_GROWTH),
            Budget("p99", "ms", subject.summary().p99),
        ],
        conditions=f"{what}: {rounds} rounds of {_CALLS_A_ROUND} calls over one connection, one after the other, to a"
        f" manager beside a Redis with so many records of ended bots, {_USERS_OF} a user.",
        limited_by="the calls' own way through HTTP, and one to five round trips to Redis.",
    )


async def _create(of: _Full) -> None:
    later = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    body = {"meeting_link": "https://meet.google.com/abc-defg-hij", "bot_name": "Bench", "join_at": later}
    async with of.session.post("bots/create_bot", json=body) as response:
        assert response.status == 201, await response.text()


async def _status(of: _Full) -> None:
    async with of.session.get(f"bots/{of.some_bot()}/status") as response:
        assert response.status == 200, await response.text()


def _list(params: Mapping[str, str]) -> _Ask:
    async def ask(of: _Full) -> None:
        async with of.session.get("bots", params=params) as response:
            answer: dict[str, Any] = await response.json()
            assert answer["bots"], answer

    return ask


async def _packed_bytes(progress: Progress) -> tuple[int, float]:
    """How many bytes a record takes in a Redis that also packs hashes with long values."""
    async with Stage("bench", {}) as stage:
        client: Any = stage.client
        client.config_set("appendonly", "no")
        client.config_set("hash-max-listpack-value", "1024")
        await asyncio.sleep(0)
        return 20_000, await _fill(stage, 20_000, progress)


def _memory(full: _Full, packed: tuple[int, float]) -> Measurement:
    each, other = Series("as Redis comes", "KB"), Series("hash-max-listpack-value 1024", "KB")
    each.add([full.bytes_each / 1000])
    other.add([packed[1] / 1000])
    return Measurement(
        "records",
        f"memory of one of {full.count:,} bot records",
        each.summary(),
        [other.summary()],
        packed[1] / full.bytes_each,
        [Budget("p50", "KB", full.bytes_each / 1000)],
        conditions="Redis' used_memory by the number of records: the hash and its places in eight indexes. Each has a"
        f" Teams link of 140 characters, two attributes and a callback. Beside it {packed[0]:,} records in a Redis that"
        " packs hashes with values of up to 1,024 bytes; the ratio is that of the packed to the other.",
        limited_by="Redis' way to hold a hash with a value above 64 bytes: an allocation for every field and value.",
    )
