"""Redis is judged by what it says of itself: a real one, and what others would say."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from common.config.settings import RedisSettings
from common.runtime.doctor import redis
from common.runtime.doctor.checks import Severity, carry_out
from common.runtime.redis.client import connect
from tests.conftest import RedisServer

OK, WARNING, ERROR = Severity.OK, Severity.WARNING, Severity.ERROR


@pytest_asyncio.fixture
async def client(own_redis: RedisServer) -> AsyncGenerator[Any]:
    client = connect(RedisSettings(url=own_redis.url))
    yield client
    await client.aclose()


async def test_a_redis_as_the_pool_wants_it_is_well(own_redis: RedisServer, client: Any) -> None:
    settings = RedisSettings(url=own_redis.url)
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("appendonly", "yes")
    found = {diagnosis.name: diagnosis for diagnosis in await carry_out(redis.checks(settings))}
    # How quick a call is depends on what else runs here.
    assert found["redis"].severity in (OK, WARNING), found
    assert {found[name].severity for name in ("redis persistence", "redis memory", "redis failover", "clock")} == {
        OK
    }, found
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.config_set("appendonly", "no")
    found = {diagnosis.name: diagnosis for diagnosis in await carry_out(redis.checks(settings))}
    assert (found["redis persistence"].severity, found["redis memory"].severity) == (WARNING, ERROR)
    assert "noeviction" in found["redis memory"].todo


async def test_one_that_is_away_is_an_error_without_its_password() -> None:
    found = await carry_out(redis.checks(RedisSettings(url="redis://:hunter2@127.0.0.1:1/0")))
    assert [diagnosis.severity for diagnosis in found] == [ERROR, *[Severity.SKIPPED] * 4]  # it is said once
    assert "hunter2" not in str(found)
    assert "redis.url" in found[0].todo


async def test_one_that_asks_for_a_password_says_so(own_redis: RedisServer, client: Any) -> None:
    await client.config_set("requirepass", "hunter2")
    found = await carry_out(redis.checks(RedisSettings(url=own_redis.url)))
    assert found[0].severity is ERROR
    assert "authenticate" in found[0].what
    await client.execute_command("AUTH", "hunter2")
    await client.config_set("requirepass", "")


@pytest.mark.parametrize(
    ("server", "replication", "ms", "severity", "word"),
    [
        ({"redis_version": "7.0.15"}, {"role": "master"}, 0.3, OK, "7.0.15"),
        ({"redis_version": "6.2.0"}, {}, 0.3, OK, ""),
        ({"redis_version": "6.0.16"}, {}, 0.3, ERROR, "6.0.16"),
        ({"redis_version": "10.1"}, {}, 0.3, OK, ""),
        ({}, {}, 0.3, OK, "version unknown"),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.1"}, {}, 0.3, OK, "Valkey 8.1.1, as Redis 7.2.4"),
        ({"redis_version": "7.0"}, {"role": "slave"}, 0.3, ERROR, "replica"),
        ({"redis_version": "7.0"}, {}, 20.0, WARNING, "20.0 ms"),
        ({"redis_version": "7.0"}, {}, 200.0, ERROR, "200.0 ms"),
    ],
)
def test_its_version_role_and_quickness(
    server: dict[str, Any], replication: dict[str, Any], ms: float, severity: Severity, word: str
) -> None:
    found = redis.answer_of(server, replication, ms)
    assert found.severity is severity
    assert word in found.what
    assert bool(found.todo) is (severity is not OK)


@pytest.mark.parametrize(
    ("info", "severity"),
    [
        ({"aof_enabled": 1}, OK),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, ERROR),
        ({"aof_enabled": 0, "rdb_last_bgsave_status": "ok"}, WARNING),
        ({"aof_enabled": 0, "rdb_last_bgsave_status": "err"}, ERROR),
    ],
)
def test_what_it_keeps(info: dict[str, Any], severity: Severity) -> None:
    assert redis.persistence(info).severity is severity


@pytest.mark.parametrize(
    ("most_mb", "used_mb", "policy", "severity"),
    [(0, 10, "noeviction", OK), (100, 10, "noeviction", OK), (100, 90, "noeviction", WARNING), (100, 1, "x", ERROR)],
)
def test_what_it_forgets(most_mb: int, used_mb: int, policy: str, severity: Severity) -> None:
    info = {"maxmemory": most_mb << 20, "used_memory": used_mb << 20, "maxmemory_policy": policy}
    assert redis.memory(info).severity is severity


@pytest.mark.parametrize(
    ("ahead_s", "uncertain_s", "severity", "word"),
    [
        (0.01, 0.01, OK, "behind"),
        (-0.4, 0.0, OK, "ahead of"),
        (0.9, 0.5, OK, "behind"),  # it may be right
        (-1.0, 0.1, WARNING, "ahead of"),
        (300.0, 0.1, ERROR, "300.000 s behind"),
    ],
)
def test_how_far_the_clocks_are_apart(ahead_s: float, uncertain_s: float, severity: Severity, word: str) -> None:
    found = redis.clock(ahead_s, uncertain_s)
    assert found.severity is severity
    assert word in found.what
