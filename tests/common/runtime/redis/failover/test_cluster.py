"""A client of a real cluster of six nodes: all its keys are in one slot, whose primary it follows."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import Any

import pytest
from redis.exceptions import ConnectionError

from common.config.settings import RedisSettings
from common.runtime.redis.client import UNAVAILABLE, address, connect
from common.runtime.redis.scripts import resign
from lab.parts.redis_fleet import ClusterRedis
from tests.waiting import PATIENCE_S, wait_until

SILENT_S = 0.5


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[ClusterRedis]:
    """A busy machine may hold up a node for seconds, and no replica takes over for that. It may hold up an election,
    too, which is tried again however old the replica's data has become meanwhile.
    """
    options = ("--cluster-replica-validity-factor", "0")
    with ClusterRedis(tmp_path_factory.mktemp("cluster"), node_timeout_s=SILENT_S, options=options) as redis:
        redis.set_node_timeout(PATIENCE_S)
        yield redis


@pytest.fixture
def tag(prefix: str) -> str:
    return f"{{{prefix}}}"


@pytest.fixture
async def redis(cluster: ClusterRedis, tag: str) -> AsyncGenerator[Any]:
    client = connect(RedisSettings(url=cluster.url, prefix=tag, timeout_s=PATIENCE_S))
    yield client
    await client.aclose()


async def test_all_keys_of_a_prefix_are_at_one_primary(cluster: ClusterRedis, redis: Any, tag: str) -> None:
    assert await redis.set(f"{tag}:a", 1, ex=600)
    assert await redis.blmove(f"{tag}:none", f"{tag}:taken", 0.01) is None
    await redis.set(f"{tag}:lock", "me", ex=600)
    assert await resign(name=f"{tag}:lock", holder="me").run(redis)
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.incr(f"{tag}:a").incr(f"{tag}:a")
        assert await pipeline.execute() == [2, 3]
    assert cluster.primary(tag).say("GET", f"{tag}:a") == b"3"
    assert address(RedisSettings(url=cluster.url)) == cluster.url


async def test_its_replica_takes_over_and_is_found_by_nodes_that_the_url_does_not_name(
    cluster: ClusterRedis, tag: str
) -> None:
    before = cluster.primary(tag)
    client: Any = connect(
        RedisSettings(url=f"redis+cluster://127.0.0.1:{before.port}", prefix=tag, timeout_s=PATIENCE_S)
    )
    try:
        await client.set(f"{tag}:a", 1, ex=600)
        waiting = asyncio.get_running_loop().create_task(client.blmove(f"{tag}:b", f"{tag}:c", 1), name="wait")
        await wait_until(lambda: b"blmove" in before.say("CLIENT", "LIST", "TYPE", "normal"))
        cluster.set_node_timeout(SILENT_S)
        before.kill()
        with pytest.raises(UNAVAILABLE):
            await waiting

        await wait_until(lambda: _is_written(client, f"{tag}:a"))
        await wait_until(lambda: cluster.primary(tag) is not before)  # whichever node is asked for it
    finally:
        before.start()
        await client.aclose()
    await wait_until(cluster.is_whole)
    cluster.set_node_timeout(PATIENCE_S)


async def test_a_primary_that_was_made_a_replica_says_so_and_is_left(
    cluster: ClusterRedis, redis: Any, tag: str
) -> None:
    before = cluster.primary(tag)
    await redis.set(f"{tag}:a", 1, ex=600)
    await wait_until(cluster.is_whole)
    [replica] = [server for server in cluster.redises if server is not before and _follows(server, before.port)]
    replica.say("CLUSTER", "FAILOVER")
    await wait_until(lambda: before.say("ROLE")[0] == b"slave")
    # for a moment it may know no server for the slot
    said = r"the server is not the primary: (MovedError|ClusterDownError)|Connection closed"
    with pytest.raises(ConnectionError, match=said):
        await redis.set(f"{tag}:a", 2, ex=600)
    await wait_until(lambda: _is_written(redis, f"{tag}:a"))  # as soon as most nodes know the new one
    await wait_until(lambda: cluster.primary(tag) is replica)  # whichever node is asked for it
    await wait_until(cluster.is_whole)


async def test_without_any_node_there_is_no_primary() -> None:
    client: Any = connect(RedisSettings(url="redis+cluster://127.0.0.1:1,127.0.0.1:2", prefix="{x}"))
    with pytest.raises(ConnectionError, match=r"none of 2 nodes knows a primary: 127.0.0.1:[12]: "):
        await client.ping()
    await client.aclose()


async def _is_written(client: Any, key: str) -> bool:
    with suppress(*UNAVAILABLE):
        return bool(await client.set(key, 2, ex=600))
    return False


def _follows(server: Any, port: int) -> bool:
    return server.say("INFO", "replication").get("master_port") == port
