"""What the scaling keeps is there for the next leader, and a leader that was replaced keeps nothing."""

from typing import Any

import pytest

from poolmgr.scaling.history import History
from poolmgr.scaling.need import Because
from poolmgr.scaling.steps import Shown, Standing, View
from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import StaleEpochError
from poolmgr.store.leader.scaling import KeptScaling
from poolmgr.store.reading.views import Views

SHOWN = Shown("hook", "2026-11-30T09:00:00+00:00", view=View(3, 4, Because.ROOM, 1, 9, 4, 3, 1, 0))
STANDING = Standing(4, 1000.5, 900.25, ((1000.5, 4), (1100.0, 3)), ("vm-1",), ("vm-2",))


async def test_what_is_kept_is_read_again(redis: Any, keys: Keys) -> None:
    kept, views = KeptScaling(redis, keys, epoch=1), Views(redis, keys)
    assert await views.scaling() is None
    standing, history = await kept.load()
    assert (standing, history.counts) == (Standing(), {})
    await kept.keep(STANDING, History({5_000_000: 7}), SHOWN)
    standing, history = await KeptScaling(redis, keys).load()
    assert (standing, history.counts) == (STANDING, {5_000_000: 7})
    assert await views.scaling() == SHOWN


async def test_what_another_release_kept_counts_as_nothing(redis: Any, keys: Keys) -> None:
    kept = KeptScaling(redis, keys, epoch=1)
    await kept.keep(STANDING, History({5_000_000: 7}), SHOWN)
    await redis.hset(keys.scaling, "standing", b'{"asked": "many"}')
    standing, history = await kept.load()
    assert (standing, history.counts) == (Standing(), {})


async def test_a_leader_that_was_replaced_keeps_nothing(redis: Any, keys: Keys) -> None:
    await redis.set(keys.epoch, 2, ex=600)
    with pytest.raises(StaleEpochError):
        await KeptScaling(redis, keys, epoch=1).keep(STANDING, History(), SHOWN)
    assert not await redis.exists(keys.scaling)
