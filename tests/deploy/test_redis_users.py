"""What the users of deploy/redis may not. That each program may what it needs is seen in tests/e2e."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, ConnectionError, NoPermissionError

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from tests.redis_users import FILE, users_of
from tests.waiting import PATIENCE_S


def test_redis_reads_the_file_and_takes_nobody_without_a_name(tmp_path: Path) -> None:
    socket = str(tmp_path / "redis.sock")
    (tmp_path / "redis.conf").write_text(f'port 0\nunixsocket {socket}\nsave ""\ndir {tmp_path}\ninclude "{FILE}"\n')
    with subprocess.Popen(("redis-server", str(tmp_path / "redis.conf")), stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + PATIENCE_S
            with Redis(unix_socket_path=socket, username="poolmgr-client", password="CLIENT_PASSWORD") as client:
                pushed: Any = 0
                while not pushed:
                    with suppress(ConnectionError):  # it may not listen yet on a socket that is there
                        pushed = client.lpush("poolmgr:jobs", "{}")
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                assert pushed == 1
            nobody: Any = Redis(unix_socket_path=socket)
            with nobody, pytest.raises(AuthenticationError):
                nobody.ping()
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("client", "HGETALL {p}:bot:b1"),
        ("client", "LRANGE {p}:jobs 0 -1"),
        ("client", "XADD {p}:status * state stopped"),
        ("client", "XREAD STREAMS {p}:events 0"),
        ("client", "KEYS *"),
        ("client", "CLIENT KILL 127.0.0.1:1"),
        ("agent", "CLIENT LIST"),
        ("agent", "LPUSH {p}:jobs x"),
        ("agent", "HGETALL {p}:bot:b1"),
        ("agent", "SCAN 0"),
        ("agent", "SET {p}:leader me"),
        ("agent", "GET {p}:epoch"),
        ("agent", "XADD {p}:control * m x"),
        ("agent", "PUBLISH other x"),
        ("agent", "CONFIG GET requirepass"),
        ("manager", "SET other:jobs x"),
        ("manager", "FLUSHALL"),
        ("manager", "CONFIG SET maxmemory 1"),
        ("manager", "ACL LIST"),
        ("manager", "SHUTDOWN"),
    ],
)
async def test_nobody_may_what_its_program_does_not_need(
    user: str, command: str, redis_server: str, prefix: str
) -> None:
    async with users_of(redis_server, prefix) as users:
        redis: Any = connect(RedisSettings(url=users.url(f"poolmgr-{user}"), timeout_s=PATIENCE_S))
        try:
            assert await redis.ping()
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*command.format(p=prefix).split())
        finally:
            await redis.aclose()
