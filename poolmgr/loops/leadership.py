"""Leadership: waits for the lease, renews it, and reports its loss at once."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from common.errors import ManagerError
from common.runtime.loop.turns import Turned, unwatched
from common.runtime.waiting import pause
from poolmgr.store.leader.lease import Lease

_LOOK_EVERY_S: Final = 0.25
"""How often a standby asks whether the lease is free. It notices an orderly end of the leader within this time."""

_log = structlog.stdlib.get_logger()


class LeaseLostError(ManagerError):
    """Another manager leads, or may lead. This process has to stop deciding."""


async def wait_to_lead(
    lease: Lease, ttl_s: float, stop: asyncio.Event, on_standby: Callable[[], None], turned: Turned = unwatched
) -> int:
    """Wait until this process leads. Returns the epoch; 0 if `stop` was set first. `on_standby` is called when Redis
    has answered that another manager leads.
    """
    standing_by = False
    while not stop.is_set():
        turned()
        if epoch := await lease.take():
            return epoch
        if not standing_by:
            _log.info("leader_found", role="standby")
            on_standby()
            standing_by = True
        await pause(stop, min(_LOOK_EVERY_S, ttl_s / 3))
    return 0


async def keep_leading(lease: Lease, ttl_s: float, turned: Turned = unwatched) -> None:
    """Renew the lease until cancelled. Raises: LeaseLostError."""
    while True:
        await asyncio.sleep(ttl_s / 3)
        if not await lease.renew():
            raise LeaseLostError("the lease was lost: another manager may lead by now")
        turned()
