"""The leader's own probes: with a manager that leads, and a simulated agent."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from common.config.settings import ProbeSettings, ProbesSettings
from common.runtime.clock import Clock
from common.wire.vocabulary import BotState
from poolmgr.loops.probing import Probing
from poolmgr.observe.metrics import Metrics
from poolmgr.store.leader.probes import ProbeRun, Probes
from tests.api.conftest import LINK, World, world
from tests.waiting import PATIENCE_S, wait_until

__all__ = ["world"]

MEET = ProbeSettings("meet", LINK, passcode="4711", bot_name="Looks")


class At(Clock):
    """A wall clock that the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_800_000_000.0

    def wall(self) -> float:
        return self.now


class Ground:
    """A Probing with a leader's epoch, beside the test, which is the manager's other loops."""

    def __init__(self, world: World, *links: ProbeSettings) -> None:
        self.clock = At()
        self.metrics = Metrics(self.clock)
        self.probes = Probes(world.redis, world.keys, epoch=1)
        settings = ProbesSettings(every_s=100.0, links=list(links))
        self.probing = Probing(settings, self.probes, world.views, self.clock, self.metrics.probes)
        self._world = world

    async def jobs(self) -> list[dict[str, Any]]:
        return [json.loads(raw) for raw in await self._world.redis.lrange(self._world.keys.jobs, 0, -1)][::-1]

    def shown(self) -> dict[str, float]:
        return {
            sample.name.removeprefix("poolmgr_probe_"): sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name.startswith("poolmgr_probe_")
        }


async def test_a_probe_goes_the_way_of_every_bot_and_what_came_of_it_is_kept_and_shown(world: World) -> None:
    links = [ProbeSettings("meet", LINK), ProbeSettings("none", "https://example.org/no-meeting")]
    probes = ProbesSettings(every_s=10.0, links=links)
    world.settings = msgspec.structs.replace(world.settings, probes=probes)
    agent = world.agent()
    agent._stay_s = 0.1  # pyright: ignore[reportPrivateUsage]
    known = Probes(world.redis, world.keys)
    async with world.leading(), agent.running():

        async def both_have_ended() -> bool:
            return bool(await known.history("meet") and await known.history("none"))

        await wait_until(both_have_ended)
    [run, *_] = await known.history("meet")
    assert (run.outcome, run.platform, run.changed) == ("joined", "room", False)
    assert run.join_s is not None
    assert run.bot_id.startswith("probe-meet-")
    record = await world.views.bot(run.bot_id)
    assert record
    assert (record.is_probe, record.bot_name, record.owner) == (True, "Probe", "")
    [run, *_] = await known.history("none")
    assert (run.outcome, run.reason, run.bot_id.startswith("probe-none-")) == ("rejected", "bad_link", True)
    assert "no-meeting" not in run.detail


async def test_each_link_has_its_turn_once_in_an_interval_and_not_all_at_once(world: World) -> None:
    await world.ledger()
    ground = Ground(world, MEET, ProbeSettings("zoom", "https://zoom.us/j/123456789"))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ground.probing.run(), name="probing")

        async def there(number: int) -> bool:
            return len(await ground.jobs()) == number

        await wait_until(lambda: there(2))
        first = (await ground.jobs())[0]
        assert first == {
            "meeting_link": LINK, "bot_id": "probe-meet-18000000", "bot_name": "Looks", "probe": True,
            "passcode": "4711",
        }  # fmt: skip
        turns = {job["bot_id"] for job in await ground.jobs()}
        assert turns == {"probe-meet-18000000", "probe-zoom-17999999"}
        for name in ("meet", "zoom"):
            begun = await ground.probes.begun(name)
            assert begun
            await ground.probes.conclude(name, ProbeRun(begun.bot_id, "2027-01-15T08:00:00Z", "room", "joined"))
        ground.clock.now += 50
        await wait_until(lambda: there(3))  # the second link's turn comes half an interval after the first one's
        assert (await ground.jobs())[2]["bot_id"] == "probe-zoom-18000000"
        task.cancel()


async def test_one_that_does_not_end_is_given_up_and_the_next_one_begins(world: World) -> None:
    hand = await world.ledger()
    ground = Ground(world, MEET)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ground.probing.run(), name="probing")

        async def begun() -> int:
            return len(await ground.jobs())

        await wait_until(begun)
        await hand.accept("probe-meet-18000000", BotState.QUEUED)
        ground.clock.now += 200
        await asyncio.sleep(0)
        assert await begun() == 1
        ground.clock.now += 100

        async def two() -> bool:
            return await begun() == 2

        await wait_until(two)
        [run] = await ground.probes.history("meet")
        assert (run.outcome, run.detail) == ("unfinished", "queued")
        assert ground.shown()["in_meeting"] == 0
        task.cancel()
    assert ground.shown() == {"interval_seconds": 0}


async def test_a_new_leader_goes_on_where_the_last_one_was_and_shows_what_that_saw(world: World) -> None:
    await world.ledger()
    ground = Ground(world, MEET)
    await ground.probes.begin("meet", 18_000_000, "probe-meet-18000000", b"{}")
    await ground.probes.conclude(
        "meet", ProbeRun("probe-meet-18000000", "2027-01-15T08:00:00Z", "room", "joined", join_s=1.5, changed=True)
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ground.probing.run(), name="probing")
        await wait_until(lambda: "in_meeting" in ground.shown())
        assert ground.shown() == {
            "in_meeting": 1, "page_changed": 1, "join_seconds": 1.5, "ended_timestamp_seconds": 1_800_000_000.0,
            "interval_seconds": 100.0,
        }  # fmt: skip
        assert await ground.jobs() == [{}]  # the one of the last leader
        task.cancel()


async def test_a_link_that_leads_to_another_platform_by_now_is_shown_with_that_alone(world: World) -> None:
    metrics = Ground(world).metrics
    for platform in ("room", "zoom"):
        metrics.probes.concluded("meet", ProbeRun("b", "2027-01-15T08:00:00Z", platform, "joined", join_s=1.0))
    shown = {
        sample.labels["platform"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("poolmgr_probe_") and sample.labels
    }
    assert shown == {"zoom"}


@pytest.mark.parametrize("links", [(), (MEET,)], ids=["none", "one"])
async def test_without_links_nothing_is_probed(links: tuple[ProbeSettings, ...], world: World) -> None:
    await world.ledger()
    ground = Ground(world, *links)
    task = asyncio.gather(ground.probing.run())
    if links:
        await wait_until(ground.jobs)
        task.cancel()
    else:
        await asyncio.wait_for(task, PATIENCE_S)
    assert ground.shown() == {"interval_seconds": 0} or links
