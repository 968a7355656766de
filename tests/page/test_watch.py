"""What one look reads of the fleet, and for whom: nothing unchanged is read again, and one viewer reads for all."""

import asyncio
import time
from itertools import count

import pytest
from redis.exceptions import RedisError

from common.wire.vocabulary import WorkerState
from lab.parts.redis_server import RedisServer
from poolmgr.core.decisions import KeepWorker
from poolmgr.page.watch import Watch
from tests.api.conftest import World
from tests.page.conftest import Fleet
from tests.waiting import wait_until

VMS = 12


@pytest.fixture
def redis_server(own_redis: RedisServer) -> str:
    """Its calls are counted: nobody else's may be among them, as of a program that is only just ending."""
    return own_redis.url


async def looks(watch: Watch, times: int) -> None:
    """At least this many, at a clock on which each is due."""
    version = watch.version
    for _ in range(times):
        version, _ = await watch.next(version)


def watch_of(world: World, *, in_time: bool = False) -> Watch:
    """Unless `in_time`, its clock goes on by a second whenever it is read, so that no look waits."""
    clock = count(1000)
    steady = time.monotonic if in_time else lambda: float(next(clock))
    return Watch(world.redis, world.keys, world.settings.pool, time.time, steady)


class Counted:
    """How often VMs were compared by their marks, and read, since the last time that this was asked. Both ask of each
    VM once whether its agent is alive.
    """

    def __init__(self, world: World) -> None:
        self._redis = world.redis
        self._before = (0, 0)

    async def since(self) -> tuple[int, int]:
        """Calls of the script, and VMs that were read."""
        stats = await self._redis.info("commandstats")
        now = tuple(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "exists"))
        calls, asked = (new - old for new, old in zip(now, self._before, strict=True))
        self._before = now
        return calls, asked - calls * VMS


async def test_a_vm_is_read_again_only_if_it_changed(world: World, fleet: Fleet) -> None:
    await fleet.grow(VMS)
    watch, counted = watch_of(world), Counted(world)
    await looks(watch, 3)
    assert len(watch.outlook.vms) == VMS
    await counted.since()
    await looks(watch, 5)
    calls, read = await counted.since()
    assert (calls >= 5, read) == (True, 0)

    spare = KeepWorker("vm-7", "spare", WorkerState.IDLE, since=fleet.hand.at, born=fleet.hand.at, bot_id="")
    await fleet.hand.apply(spare)
    await world.redis.delete(world.keys.alive("vm-8"))
    await counted.since()
    await looks(watch, 3)
    _, read = await counted.since()
    assert read == 2
    assert watch.outlook.vms["vm-7"].workers["idle"] == 4
    assert watch.outlook.vms["vm-8"].state == "silent"


async def test_a_vm_that_was_forgotten_and_comes_back_as_it_was_is_shown_again(world: World, fleet: Fleet) -> None:
    await fleet.grow(VMS)
    watch = watch_of(world)
    await looks(watch, 3)
    await world.redis.srem(world.keys.vms, "vm-3")
    await looks(watch, 8)  # which VMs there are is read every few looks
    assert "vm-3" not in watch.outlook.vms
    await world.redis.sadd(world.keys.vms, "vm-3")
    await looks(watch, 8)
    assert watch.outlook.vms["vm-3"].workers["idle"] == 3


async def test_when_the_viewer_who_reads_for_all_goes_another_one_reads(world: World, fleet: Fleet) -> None:
    watch = watch_of(world, in_time=True)
    version, _ = await watch.next(-1)
    while told := (await watch.next(version))[0]:  # until it has nothing new to tell
        if told == version:
            break
        version = told
    async with asyncio.TaskGroup() as group:
        viewers = [group.create_task(watch.next(version), name=f"viewer {number}") for number in range(3)]
        await asyncio.sleep(0)
        viewers[0].cancel()  # the first to come reads, for all three
        await fleet.hand.accept("b1")
        for viewer in viewers[1:]:
            assert b'"b1"' in (await viewer)[1]
        assert viewers[0].cancelled()


async def test_what_keeps_one_viewer_from_reading_all_are_told_at_once(own_redis: RedisServer, prefix: str) -> None:
    world = World(own_redis.url, prefix)
    watch = watch_of(world, in_time=True)
    version, _ = await watch.next(-1)
    own_redis.stop()
    met = await asyncio.gather(*(watch.next(version) for _ in range(10)), return_exceptions=True)
    assert all(isinstance(fault, RedisError | OSError) for fault in met)
    assert len({id(fault) for fault in met}) == 1
    own_redis.start()

    async def goes_on() -> bool:
        try:
            return bool(await watch.next(-1))
        except (RedisError, OSError):
            return False

    await wait_until(goes_on)
    await world.redis.aclose()


@pytest.fixture
async def fleet(world: World) -> Fleet:
    return Fleet(world, await world.ledger())
