"""Checks whether the pool can rely on this Redis: version, persistence, eviction, speed, and its clock."""

import re
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.config.settings import RedisSettings
from common.runtime.doctor import failover
from common.runtime.doctor.checks import Check, Found, error, ok, skipped, warning
from common.runtime.redis.client import UNAVAILABLE, address, connect

DEADLINE_S: Final = 8.0
OLDEST: Final = (6, 2)
"""The first version with BLMOVE and LMOVE."""
_FIRST: Final = "redis"
_PINGS: Final = 20
_SLOW_MS, _TOO_SLOW_MS = 5.0, 100.0
_OFF_S, _TOO_FAR_OFF_S = 0.5, 5.0
_FULL: Final = 0.8

Info = Mapping[str, Any]


def checks(settings: RedisSettings) -> list[Check]:
    """The checks. They run at once, so each has its own connection. If Redis is away, only the first one reports it."""
    where = address(settings)
    todo = f"is Redis running at {where}, and is redis.url right?"

    def check(name: str, look: Callable[[Redis], Awaitable[Found]]) -> Check:
        async def asked() -> Found:
            redis = connect(settings)
            try:
                return await look(redis)
            except UNAVAILABLE as fault:
                if name != _FIRST:
                    return skipped(f"Redis is not reached: see {_FIRST}")
                return error(f"{where}: {str(fault)[:200]}", todo)
            except RedisError as fault:
                return error(f"{where}: {str(fault)[:200]}", todo)
            finally:
                await redis.aclose()

        return Check(name, DEADLINE_S, asked, todo, needs_network=True)

    return [
        check(_FIRST, _answers),
        check("redis persistence", lambda redis: _of_info(redis, "persistence", persistence)),
        check("redis memory", lambda redis: _of_info(redis, "memory", memory)),
        check("redis failover", lambda redis: failover.look(redis, settings)),
        check("clock", _clock),
    ]


async def _answers(redis: Redis) -> Found:
    """Check that Redis is reachable, new enough, no replica, and quick."""
    server = await _info(redis, "server")
    replication = await _info(redis, "replication")
    client: Any = redis  # redis-py types answers as unions of all shapes
    took: list[float] = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        await client.ping()
        took.append((time.perf_counter() - began) * 1000)
    return answer_of(server, replication, statistics.median(took))


def answer_of(server: Info, replication: Info, median_ms: float) -> Found:
    """Valkey says how new it is by both numbers: its own, and the one of the Redis whose commands it has."""
    version = str(server.get("redis_version", ""))
    number = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    name = f"Valkey {server['valkey_version']}, as Redis {version}" if "valkey_version" in server else version
    facts = f"{name or 'version unknown'} on port {server.get('tcp_port', 'unknown')}, {median_ms:.1f} ms a call"
    if number and number < OLDEST:
        return error(facts, f"Redis {'.'.join(map(str, OLDEST))} at least; tried with 7.0")
    if replication.get("role") == "slave":
        return error(f"{facts}; it is a replica, and takes no writes", "let redis.url name the primary")
    if median_ms > _TOO_SLOW_MS:
        return error(facts, "Redis has to be near: every job takes a few calls one after the other")
    if median_ms > _SLOW_MS:
        return warning(facts, "a Redis in the same network answers within a millisecond; joins are later by as much")
    return ok(facts)


async def _of_info(redis: Redis, section: str, judge: Callable[[Info], Found]) -> Found:
    return judge(await _info(redis, section))


def persistence(info: Info) -> Found:
    todo = "appendonly yes in redis.conf, on a disk that has room; see docs/operations.md, Redis is full"
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("aof_last_bgrewrite_status", "ok") != "ok":
        return error("the append-only file cannot be written", todo)
    if info.get("aof_enabled"):
        return ok("appendonly yes")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return error("no append-only file, and the last snapshot failed", todo)
    return warning("snapshots only, no append-only file: jobs of the last minutes are lost with Redis", todo)


def memory(info: Info) -> Found:
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    policy = str(info.get("maxmemory_policy", "unknown"))
    facts = f"{used / 2**20:.0f} MB used of {f'{most / 2**20:.0f} MB' if most else 'all that there is'}, {policy}"
    if policy != "noeviction":
        return error(facts, "maxmemory-policy noeviction: any other lets Redis forget bots")
    if most and used > most * _FULL:
        return warning(facts, "a higher maxmemory, or a shorter retention.bot_s")
    return ok(facts)


async def _clock(redis: Redis) -> Found:
    before = time.time()
    client: Any = redis
    seconds, micros = await client.time()
    after = time.time()
    return clock(seconds + micros / 1e6 - (before + after) / 2, (after - before) / 2)


def clock(ahead_s: float, uncertain_s: float) -> Found:
    """Check the clock. `ahead_s`: how far that of Redis is ahead of this machine's, with an error of `uncertain_s`."""
    facts = f"{abs(ahead_s):.3f} s {'behind' if ahead_s > 0 else 'ahead of'} Redis' clock, ± {uncertain_s:.3f} s"
    todo = "synchronise both machines (chrony, systemd-timesyncd): join_at and all times in records go by clocks"
    off_s = max(0.0, abs(ahead_s) - uncertain_s)
    if off_s > _TOO_FAR_OFF_S:
        return error(facts, todo)
    return warning(facts, todo) if off_s > _OFF_S else ok(facts)


async def _info(redis: Redis, section: str) -> Info:
    return cast("Info", await redis.info(section))  # pyright: ignore[reportUnknownMemberType]
