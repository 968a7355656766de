"""The pool of connections: whoever comes next gets one that is open, and nothing that an earlier call left."""

from pathlib import Path
from typing import Any

import pytest

from common.config.settings import RedisSettings
from common.runtime.redis.client import UNAVAILABLE, connect
from tests.waiting import PATIENCE_S, wait_until


async def test_a_connection_with_an_answer_that_nobody_read_is_opened_anew(redis_server: str) -> None:
    client: Any = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    pool = client.connection_pool
    left = await pool.get_connection()
    await left.send_command("ECHO", "left")
    await wait_until(left.can_read, PATIENCE_S)
    await pool.release(left)
    assert await client.echo("new") == b"new"
    await client.aclose()


async def test_one_that_is_not_to_be_used_any_more_is_closed_when_it_is_given_back(redis_server: str) -> None:
    client: Any = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S))
    pool = client.connection_pool
    used = await pool.get_connection()
    await pool.update_active_connections_for_reconnect()
    assert used.is_connected
    await pool.release(used)
    assert not used.is_connected
    assert await client.ping()
    await client.aclose()


async def test_what_cannot_be_opened_takes_no_connection_from_the_others(tmp_path: Path) -> None:
    client: Any = connect(RedisSettings(url=f"unix://{tmp_path}/nobody.sock?max_connections=1", timeout_s=PATIENCE_S))
    for _ in range(2):  # redis-py would say of the second that there are too many connections
        with pytest.raises(UNAVAILABLE, match="nobody"):
            await client.ping()
    await client.aclose()


def test_a_connection_reads_no_file_to_know_what_it_calls_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis.utils.get_lib_version", lambda: "read")
    kept = [connect(RedisSettings()).connection_pool.make_connection() for _ in range(2)]
    assert kept[0].driver_info is kept[1].driver_info
