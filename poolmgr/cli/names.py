"""Ids that a shell completes: it asks Redis, with a deadline, and offers nothing where that fails.

Every command imports this module. So it imports the client of Redis only once a shell asks.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from common.runtime.cli.completion import session_of

if TYPE_CHECKING:
    from poolmgr.store.keys import Keys

DEADLINE_S: Final = 0.5
"""Seconds that a completion may take. The person who types waits for it."""
_LOOKED_AT: Final = 1000
_OFFERED: Final = 100

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def bot_ids(*, live_only: bool = False) -> Completer:
    """Ids of the newest thousand bots: first those that live, then those that ended."""

    async def ask(redis: Any, keys: "Keys") -> list[bytes]:
        found: list[bytes] = await redis.zrange(keys.live, 0, _LOOKED_AT - 1, desc=True)
        if not live_only:
            found += await redis.zrange(keys.ended, 0, _LOOKED_AT - 1, desc=True)
        return found

    return _completer(ask)


def vm_ids() -> Completer:
    async def ask(redis: Any, keys: "Keys") -> list[bytes]:
        return sorted(await redis.smembers(keys.vms))

    return _completer(ask)


def _completer(ask: Callable[[Any, "Keys"], Awaitable[list[bytes]]]) -> Completer:
    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        found = [raw.decode(errors="replace") for raw in _answer(context, ask)]
        return [CompletionItem(name) for name in found if name.startswith(begun) and name.isprintable()][:_OFFERED]

    return complete


def _answer(context: click.Context, ask: Callable[[Any, "Keys"], Awaitable[list[bytes]]]) -> list[bytes]:
    from redis.exceptions import RedisError

    from common.runtime.redis.client import UNAVAILABLE, connect
    from poolmgr.store.keys import Keys

    session = session_of(context)
    if session.faults:
        return []
    settings = session.settings.redis

    async def asked() -> list[bytes]:
        redis = connect(settings)
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await ask(redis, Keys(settings.prefix))
        except (*UNAVAILABLE, RedisError, TimeoutError):
            return []
        finally:
            await redis.aclose()

    return asyncio.run(asked())
