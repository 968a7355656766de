"""Somebody else acts between two commands that Redis carries out for one."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest


def after_commands(
    redis: Any, commands: int, act: Callable[[], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have `act` happen once Redis has carried out so many commands, or pipelines, from now on; before the next one."""
    pool, left = redis.connection_pool, commands
    connect = pool.get_connection

    async def act_before(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1:
            await act()
        return await connect(*arguments, **options)

    monkeypatch.setattr(pool, "get_connection", act_before)
