"""Users of Redis as deploy/redis has them, for tests that share a server: each with a name and keys of its own."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from tests.waiting import PATIENCE_S

FILE = Path(__file__).parent.parent / "deploy/redis/users.conf"


class Users:
    """For the keys of one prefix, at the Redis of `url`."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._prefix = prefix
        text = FILE.read_text().replace("poolmgr:", f"{prefix}:")
        lines = [line.split() for line in text.splitlines() if line.startswith("user poolmgr-")]
        self._rules = {name: rules for _, name, *rules in lines}

    @property
    def names(self) -> list[str]:
        return [self._named(name) for name in self._rules]

    @property
    def commands(self) -> list[tuple[str, ...]]:
        """Make the users."""
        return [("ACL", "SETUSER", self._named(name), *rules) for name, rules in self._rules.items()]

    def url(self, name: str) -> str:
        [password] = [rule[1:] for rule in self._rules[name] if rule.startswith(">")]
        scheme, _, where = self._url.partition("://")
        return f"{scheme}://{self._named(name)}:{password}@{where}"

    async def refused(self, redis: Any) -> list[str]:
        """What Redis refused to one of them, of the latest 128 refusals: whose, and which command or key."""
        entries: Any = await redis.acl_log()
        return [f"{entry['username']} {entry['object']}" for entry in entries if entry["username"] in self.names]

    def _named(self, name: str) -> str:
        return f"{name}-{self._prefix}"


@asynccontextmanager
async def users_of(url: str, prefix: str) -> AsyncGenerator[Users]:
    redis: Any = connect(RedisSettings(url=url, timeout_s=PATIENCE_S))
    users = Users(url, prefix)
    for command in users.commands:
        await redis.execute_command(*command)
    try:
        yield users
    finally:
        await redis.acl_deluser(*users.names)
        await redis.aclose()
