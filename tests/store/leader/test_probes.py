"""Each turn of a link's probes is begun once and concluded once, whoever leads."""

import asyncio
from typing import Any

import pytest

from poolmgr.store.keys import Keys
from poolmgr.store.leader.ledger import StaleEpochError
from poolmgr.store.leader.probes import KEPT, Begun, ProbeRun, Probes
from poolmgr.store.scripts import SCRIPTS


@pytest.fixture
def probes(redis: Any, keys: Keys) -> Probes:
    return Probes(redis, keys, epoch=1)


def run(bot_id: str, outcome: str = "joined") -> ProbeRun:
    return ProbeRun(bot_id, "2027-01-15T08:00:00Z", "room", outcome)


async def test_a_turn_is_begun_once_and_none_before_it_any_more(redis: Any, keys: Keys, probes: Probes) -> None:
    assert await probes.begun("meet") is None
    both = await asyncio.gather(*(probes.begin("meet", 7, "probe-meet-7", b"{}") for _ in range(2)))
    assert sorted(both) == [False, True]
    assert not await probes.begin("meet", 6, "probe-meet-6", b"{}")
    assert await probes.begun("meet") == Begun(7, "probe-meet-7", concluded=False)
    assert await probes.begin("zoom", 1, "probe-zoom-1", b"[]")
    assert await redis.lrange(keys.jobs, 0, -1) == [b"[]", b"{}"]
    assert await probes.begin("meet", 8, "probe-meet-8", b"{}")


async def test_it_is_concluded_once_and_the_latest_stands_first(probes: Probes) -> None:
    await probes.begin("meet", 7, "probe-meet-7", b"{}")
    assert await probes.conclude("meet", run("probe-meet-7"))
    assert not await probes.conclude("meet", run("probe-meet-7", "failed"))
    assert await probes.begun("meet") == Begun(7, "probe-meet-7", concluded=True)
    await probes.conclude("meet", run("probe-meet-8"))
    assert [one.bot_id for one in await probes.history("meet")] == ["probe-meet-8", "probe-meet-7"]
    assert len(await probes.history("meet", 1)) == 1
    assert await probes.history("zoom") == []


async def test_no_more_is_kept_than_is_said(redis: Any, keys: Keys, probes: Probes) -> None:
    assert SCRIPTS.constants["PROBES_KEPT"] == KEPT
    for number in range(KEPT + 5):
        await probes.conclude("meet", run(f"probe-meet-{number}"))
    assert await redis.llen(keys.probe("meet")) == KEPT


async def test_a_leader_that_was_replaced_neither_begins_nor_concludes(redis: Any, keys: Keys, probes: Probes) -> None:
    await redis.set(keys.epoch, 2, ex=600)
    with pytest.raises(StaleEpochError):
        await probes.begin("meet", 7, "probe-meet-7", b"{}")
    with pytest.raises(StaleEpochError):
        await probes.conclude("meet", run("probe-meet-7"))
