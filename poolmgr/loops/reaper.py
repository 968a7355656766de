"""Extends the expiry of keys in use once a minute; all other keys expire."""

import asyncio
from collections.abc import Callable, Collection

import structlog

from common.config.settings import RetentionSettings
from common.runtime.clock import Clock
from poolmgr.core.pool import Pool
from poolmgr.store.leader.inbox import Stream
from poolmgr.store.leader.upkeep import Upkeep

_log = structlog.stdlib.get_logger()
_EVERY_S = 60.0


async def reap(
    pool: Pool,
    events: Stream,
    upkeep: Upkeep,
    clock: Clock,
    retention: RetentionSettings,
    owners: Callable[[], Collection[str]],
) -> None:
    """Reap until cancelled. `owners`: gives the current names of the API tokens, whose bots are counted."""
    while True:
        now = clock.wall()
        await upkeep.renew(vm.vm_id for vm in pool.fleet if not vm.lost)
        await upkeep.forget_ended(now)
        if orphans := await upkeep.forget_orphans(pool.bots):
            _log.warning("orphans_forgotten", bots=orphans)
        if unowned := await upkeep.forget_unowned(owners(), pool.bots):
            _log.warning("unowned_forgotten", bots=unowned)
        await events.trim(now - retention.events_s)
        await asyncio.sleep(_EVERY_S)
