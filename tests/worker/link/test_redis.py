"""The agent's line to a real Redis: order and identity of events, commands, claims, and outages in between."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from common.config.settings import RedisSettings
from common.wire.messages import Command, Heartbeat, Join, JoinRefused, Retire, Say, Warm, WorkerGone
from common.wire.vocabulary import GoneCause, RefusalCause
from lab.parts.redis_server import RedisServer
from tests.interleaving import after_commands
from tests.store.model import break_script
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.manager_side import ManagerSide
from worker.link import redis as link_module
from worker.link.journal import Journal
from worker.link.redis import ContestedError, Link
from worker.link.scripts import SCRIPTS

JOIN = Join("w1", "b1", 3, "room", "http://localhost/r/x", "Bot")


@pytest.fixture
async def manager(own_redis: RedisServer, prefix: str) -> AsyncGenerator[ManagerSide]:
    manager = ManagerSide(own_redis.url, prefix)
    yield manager
    await manager.redis.aclose()


@pytest.fixture
async def link(own_redis: RedisServer, prefix: str, tmp_path: Path) -> AsyncGenerator[Link]:
    link = make_link(own_redis.url, prefix, tmp_path)
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(link.write_events(), name="write events")
        yield link
        writing.cancel()
    await link.close()


def make_link(url: str, prefix: str, state_dir: Path) -> Link:
    state_dir.mkdir(exist_ok=True)
    journal = Journal(state_dir / "journal.db")
    return Link(RedisSettings(url=url, prefix=prefix, timeout_s=PATIENCE_S), "vm1", journal, state_dir)


def gone(number: int) -> WorkerGone:
    return WorkerGone("vm1", f"w{number}", 1.0, GoneCause.SPENT)


async def test_events_are_written_in_order_with_an_id_each(link: Link, manager: ManagerSide) -> None:
    events = [gone(number) for number in range(1200)]
    for event in events:
        link.send(event)
    await link.flush(PATIENCE_S)
    written = await manager.events_with_ids()
    assert [event for _, event in written] == events
    ids = [event_id for event_id, _ in written]
    assert ids == sorted(set(ids))


async def test_events_of_an_outage_arrive_in_order_afterwards_with_one_heartbeat(
    link: Link, own_redis: RedisServer, manager: ManagerSide
) -> None:
    link.send(gone(0))
    await link.flush(PATIENCE_S)
    own_redis.stop()
    for number in range(1, 4):
        link.send(Heartbeat("vm1", "s1", float(number)))
        link.send(gone(number))
    own_redis.start()
    await link.flush(PATIENCE_S)
    events = await manager.events()
    assert events == [gone(0), gone(1), gone(2), Heartbeat("vm1", "s1", 3.0), gone(3)]


async def test_a_full_redis_gets_the_events_in_order_once_it_has_room(link: Link, manager: ManagerSide) -> None:
    await manager.redis.config_set("maxmemory", "1kb")
    for number in range(3):
        link.send(gone(number))
    await wait_until(lambda: _refusals(manager))
    assert await manager.events() == []
    await manager.redis.config_set("maxmemory", "0")
    await link.flush(PATIENCE_S)
    assert await manager.events() == [gone(0), gone(1), gone(2)]


async def _refusals(manager: ManagerSide) -> int:
    statistics = await manager.redis.info("commandstats")
    return statistics.get("cmdstat_evalsha", {}).get("failed_calls", 0)


async def test_heartbeats_are_left_out_only_of_a_long_stream_that_nobody_reads(
    link: Link, manager: ManagerSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "HEARTBEATS_UNREAD", 3)
    break_script(monkeypatch, "write", "local NOBODY_READS_S = 60", "local NOBODY_READS_S = 30")
    events, redis = manager.keys.events, manager.redis

    async def beats() -> int:
        link.send(Heartbeat("vm1", "s1", 1.0), gone(1))
        await link.flush(PATIENCE_S)
        return sum(isinstance(event, Heartbeat) for event in await manager.events())

    assert [await beats() for _ in range(4)] == [1, 2, 2, 2], "nobody ever read"
    await redis.xgroup_create(events, "manager", id="0")
    await redis.xreadgroup("manager", "leader", {events: ">"})
    assert await beats() == 3, "what was read stays in the stream for a while"
    [milliseconds] = [int(entry_id.partition(b"-")[0]) for entry_id, _ in await redis.xrevrange(events, count=1)]
    await redis.xgroup_setid(events, "manager", f"{milliseconds - 31_000}-0")
    assert await beats() == 3, "nobody has read for long"


async def test_a_heartbeat_renews_presence_and_the_life_of_the_command_stream(
    link: Link, manager: ManagerSide, tmp_path: Path
) -> None:
    await manager.order(Warm("w1"))
    link.send(Heartbeat("vm1", "s1", 1.0))
    await link.flush(PATIENCE_S)
    assert 0 < await manager.redis.ttl(manager.keys.alive("vm1")) <= 15
    assert 86_000 < await manager.redis.ttl(manager.commands) <= 86_400
    presence = msgspec.json.decode(await manager.redis.get(manager.keys.alive("vm1")))
    assert presence["state_dir"] == str(tmp_path)


async def test_commands_come_once_in_order_and_are_deleted(link: Link, manager: ManagerSide) -> None:
    await manager.order(Warm("w1"), JOIN)
    await manager.redis.xadd(manager.commands, {"m": b'{"type":"dance"}'})
    await manager.order(Retire("w1"))
    taken: list[Command] = []
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(_take(link, taken), name="take commands")
        await wait_until(lambda: len(taken) == 3)
        await wait_until(lambda: _all_taken(manager))
        await manager.order(Warm("w2"))
        await wait_until(lambda: len(taken) == 4)
        taking.cancel()
    assert taken == [Warm("w1"), JOIN, Retire("w1"), Warm("w2")]


async def test_what_a_bot_is_to_say_does_not_come_again_after_the_agent_was_killed_over_it(
    link: Link, manager: ManagerSide
) -> None:
    orders: list[Command] = [Warm("w1"), Say("w1", "b1", 1, "Hello"), Retire("w1")]
    for order in orders:
        await manager.order(order)

    async def first_read() -> list[Command]:
        """As much as the agent reads at once: it is killed before it deletes that."""
        read: list[Command] = []
        commands = aiter(link.commands())
        while len(read) < len(orders):
            read.append(await anext(commands))
        return read

    assert await first_read() == orders
    await manager.order(Warm("w2"))
    assert await first_read() == [orders[0], orders[2], Warm("w2")]


async def test_commands_go_on_after_an_outage(link: Link, own_redis: RedisServer, manager: ManagerSide) -> None:
    taken: list[Command] = []
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(_take(link, taken), name="take commands")
        await manager.order(Warm("w1"))
        await wait_until(lambda: len(taken) == 1)
        own_redis.stop()
        own_redis.start()
        await manager.order(Warm("w2"))
        await wait_until(lambda: len(taken) == 2)
        taking.cancel()
    assert taken == [Warm("w1"), Warm("w2")]


async def _take(link: Link, taken: list[Command]) -> None:
    async for command in link.commands():
        taken.append(command)


async def _all_taken(manager: ManagerSide) -> bool:
    return await manager.waiting_commands() == 0


CURRENT = {"attempt": "3", "worker_id": "w1", "state": "assigned"}


@pytest.mark.parametrize(
    ("bot", "is_ours"),
    [
        (CURRENT, True),
        (CURRENT | {"claimed": "2"}, True),
        (CURRENT | {"attempt": "4"}, False),
        (CURRENT | {"worker_id": "w2"}, False),
        (CURRENT | {"state": "stopped"}, False),
        ({}, False),
    ],
    ids=["current", "claimed before", "newer attempt", "other worker", "stopped", "no such bot"],
)
async def test_only_the_current_assignment_is_claimed(
    link: Link, manager: ManagerSide, bot: dict[str, str], *, is_ours: bool
) -> None:
    await manager.write_bot("b1", **bot)
    assert await link.claim(JOIN) is is_ours
    assert await link.claim(JOIN) is is_ours
    after = await manager.bot("b1")
    after.pop("claimed_at", None)
    assert after == (bot | {"claimed": "3"} if is_ours else bot)


async def test_a_claim_outlasts_an_outage(link: Link, own_redis: RedisServer, manager: ManagerSide) -> None:
    await manager.write_bot("b1", **CURRENT)
    own_redis.stop()
    async with asyncio.TaskGroup() as tasks:
        claiming = tasks.create_task(link.claim(JOIN), name="claim")
        own_redis.start()
    assert claiming.result()


async def test_what_an_earlier_agent_was_ordered_is_refused_or_dropped(link: Link, manager: ManagerSide) -> None:
    await manager.order(Warm("w1"), JOIN, Retire("w1"))
    assert await link.open(asyncio.Event())
    await link.flush(PATIENCE_S)
    [(_, event)] = await manager.events_with_ids()
    assert isinstance(event, JoinRefused)
    assert (event.bot_id, event.attempt, event.cause) == ("b1", 3, RefusalCause.NO_SUCH_WORKER)
    assert await _all_taken(manager)


async def test_a_vm_id_that_another_agent_keeps_is_refused(
    link: Link, own_redis: RedisServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "CONTEST_S", 0.1)
    monkeypatch.setattr(link_module, "CONTEST_POLL_S", 0.02)
    link.send(Heartbeat("vm1", "s1", 1.0))
    await link.flush(PATIENCE_S)
    same_folder = make_link(own_redis.url, prefix, tmp_path)
    assert await same_folder.open(asyncio.Event())
    elsewhere = make_link(own_redis.url, prefix, tmp_path / "elsewhere")
    with pytest.raises(ContestedError, match=r"worker\.vm_id of its own"):
        await elsewhere.open(asyncio.Event())
    await same_folder.close()  # gives the vm_id back
    assert await elsewhere.open(asyncio.Event())
    await elsewhere.close()


@pytest.mark.parametrize("commands", range(3))
async def test_of_two_agents_that_begin_at_once_one_gets_the_vm_id(
    own_redis: RedisServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: int
) -> None:
    monkeypatch.setattr(link_module, "CONTEST_S", 0.1)
    monkeypatch.setattr(link_module, "CONTEST_POLL_S", 0.02)
    one, other = (make_link(own_redis.url, prefix, tmp_path / name) for name in ("one", "other"))
    opened = list[Link]()

    async def begins(link: Link) -> None:
        with suppress(ContestedError):
            assert await link.open(asyncio.Event())
            opened.append(link)

    redis = one._redis  # pyright: ignore[reportPrivateUsage]
    await SCRIPTS.load(redis)
    after_commands(redis, commands, lambda: begins(other), monkeypatch)
    await begins(one)
    assert opened == [one if commands == 2 else other]
    for link in (one, other):
        await link.close()


async def test_an_agent_that_begins_again_has_its_vm_id_at_once(
    own_redis: RedisServer, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed, begun_again = (make_link(own_redis.url, prefix, tmp_path) for _ in range(2))
    assert await killed.open(asyncio.Event())
    assert await begun_again.open(asyncio.Event())
    elsewhere, stop = make_link(own_redis.url, prefix, tmp_path / "elsewhere"), asyncio.Event()
    stop.set()
    assert not await elsewhere.open(stop), "the place is that of the one that began last"
    assert "vm_id_contested" in capsys.readouterr().out
    await begun_again.close()
    assert await elsewhere.open(asyncio.Event())
    for link in (killed, elsewhere):
        await link.close()


async def test_an_agent_that_finds_another_in_its_place_says_so(
    link: Link, own_redis: RedisServer, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    successor = make_link(own_redis.url, prefix, tmp_path)
    rival = make_link(own_redis.url, prefix, tmp_path / "elsewhere")
    async with asyncio.TaskGroup() as tasks:
        writing = [tasks.create_task(other.write_events(), name="write events") for other in (successor, rival)]
        for agent in (link, successor):
            agent.send(Heartbeat("vm1", "s", 1.0))
            await agent.flush(PATIENCE_S)
        assert "vm_id_contested" not in capsys.readouterr().out
        for agent in (rival, successor):
            agent.send(Heartbeat("vm1", "s", 1.0))
            await agent.flush(PATIENCE_S)
        assert f"state_dir={tmp_path}/elsewhere" in capsys.readouterr().out
        for task in writing:
            task.cancel()
    await successor.close()
    await rival.close()


async def test_waiting_for_redis_ends_when_told_to_stop(own_redis: RedisServer, prefix: str, tmp_path: Path) -> None:
    own_redis.stop()
    stop = asyncio.Event()
    waiting = make_link(own_redis.url, prefix, tmp_path)
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(waiting.open(stop), name="open")
        stop.set()
    assert opening.result() is False
    await waiting.close()
