"""SIGTERM to an agent that has every kind of bot and worker at once: it is gone within its limits, each bot has ended
once and for the reason that is true, and nothing stays. The browsers are the fault suite's stand-ins.
"""

import signal
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from common.wire.messages import BotEnded, BotSaw, Heartbeat, Join, JoinRefused, Leave, Retire, Warm, WorkerGone
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause
from lab.chaos.observers.witness import Witness
from lab.chaos.stand_in.chromium import write_program
from tests.fork_server import ForkServer
from tests.waiting import wait_until
from tests.worker.test_agent import Agent, Machine

DRAIN_S: Final = 7.0  # an agent that stands still meanwhile still ends its idle workers first
LEAVE_S: Final = 1.0
ABANDON_S: Final = 5.0  # worker/agent.py: after those, who has not left is ended
SLACK_S: Final = 20.0  # to kill the processes, write the rest, and for a machine that has other things to do

INSIDE: Final = "lobby_s=0"
WAITS: Final = "lobby_s=1000"
# Long enough that an agent that stands still for some seconds still sees what comes before.
DENIED: Final = "lobby_s=8&deny=1"
OVER: Final = "lobby_s=0&stay_s=8"
HANGS: Final = "lobby_s=0&hang_s=8"

ENDS: Final = {
    "adopted": {Reason.SHUTDOWN},
    "inside": {Reason.SHUTDOWN},
    "waits": {Reason.SHUTDOWN},
    "retires": {Reason.SHUTDOWN},
    "leaves": {Reason.USER_REQUESTED},
    "denied": {Reason.REQUEST_DENIED},
    "over": {Reason.MEETING_ENDED},
    "hangs": {Reason.BROWSER_HUNG, Reason.SHUTDOWN},  # whichever deadline comes first
    "late": {Reason.SHUTDOWN, RefusalCause.STOPPING},  # the order and the signal come at the same time
}
"""Each bot, and what it may end as, once."""


@pytest_asyncio.fixture(loop_scope="session")
async def machine(fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path) -> AsyncGenerator[Machine]:
    async with Witness() as witness:
        machine = Machine(fork_server, redis_server, prefix, tmp_path, f"http://{witness.address}/r/chaos")
        machine.environment |= {
            "POOLMGR_WORKER__CHROMIUM": str(write_program(tmp_path / "stand-in", witness.address)),
            "POOLMGR_WORKER__WARM_PAGES": "[]",
            "POOLMGR_WORKER__PAGE_TIMEOUT_S": "4",
            "POOLMGR_WORKER__DRAIN_TIMEOUT_S": str(DRAIN_S),
            "POOLMGR_WORKER__LEAVE_TIMEOUT_S": str(LEAVE_S),
        }
        try:
            yield machine
        finally:
            await machine.end()


async def send_in(agent: Agent, kind: str, query: str) -> None:
    """The bot of that name, by the worker of that name, into a meeting of its own."""
    join = Join(f"w-{kind}", kind, 1, "room", f"{agent.meeting}?tag={kind}&{query}", "Bot")
    await agent.assign(join)
    await agent.order(join)


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_an_agent_with_every_kind_of_bot_ends_within_its_limits(machine: Machine) -> None:
    first = await machine.agent()
    await first.warmed("w-adopted")
    await send_in(first, "adopted", INSIDE)
    await first.reached("adopted", BotState.IN_MEETING)
    await first.kill()

    agent = await machine.agent()
    busy = {"inside": INSIDE, "waits": WAITS, "retires": INSIDE, "leaves": INSIDE}
    for kind in (*busy, "hangs", "denied", "over", "late", "stale", "idle"):
        await agent.order(Warm(f"w-{kind}"))
    for kind in (*busy, "hangs", "denied", "over", "late", "stale", "idle"):
        await agent.warmed(f"w-{kind}")
    for kind, query in busy.items():
        await send_in(agent, kind, query)
    for kind in busy:
        await agent.reached(kind, BotState.WAITING_ROOM if kind == "waits" else BotState.IN_MEETING)
    for kind, query in (("hangs", HANGS), ("over", OVER), ("denied", DENIED)):
        await send_in(agent, kind, query)
    await agent.reached("hangs", BotState.IN_MEETING)
    await agent.reached("over", BotState.IN_MEETING)
    await agent.reached("denied", BotState.WAITING_ROOM)
    for kind, screen in (("over", "ended"), ("denied", "denied")):
        await agent.seen(BotSaw, lambda event, kind=kind, screen=screen: (event.bot_id, event.screen) == (kind, screen))
    await agent.order(Retire("w-retires"), Leave("w-leaves", "leaves", 1), Warm("w-warms"))
    await agent.order(Join("w-stale", "stale", 1, "room", f"{agent.meeting}?tag=stale", "Bot"))  # no record says so
    await send_in(agent, "late", INSIDE)

    async def all_is_read() -> bool:
        return not await machine.manager.waiting_commands()

    await wait_until(all_is_read)
    began = time.monotonic()
    agent.process.send_signal(signal.SIGTERM)
    assert await agent.exit_code() == 0
    took_s = time.monotonic() - began
    assert took_s < DRAIN_S + LEAVE_S + ABANDON_S + SLACK_S

    events = await agent.events()
    ends = {
        kind: [
            event.reason if isinstance(event, BotEnded) else event.cause
            for event in events
            if isinstance(event, BotEnded | JoinRefused) and event.bot_id == kind
        ]
        for kind in (*ENDS, "stale")
    }
    stale = ends.pop("stale")
    assert stale in ([], [RefusalCause.STOPPING]), "it never was anybody's"
    assert {kind: len(said) for kind, said in ends.items()} == dict.fromkeys(ENDS, 1)
    assert {kind: said for kind, said in ends.items() if not ENDS[kind] >= set(said)} == {}

    gone = [event.worker_id for event in events if isinstance(event, WorkerGone)]
    assert sorted(gone) == sorted([*(f"w-{kind}" for kind in ENDS), "w-stale", "w-idle", "w-warms"])
    causes = {event.worker_id: event.cause for event in events if isinstance(event, WorkerGone)}
    assert {causes[name] for name in ("w-idle", "w-warms", "w-stale")} == {GoneCause.AGENT_STOPPED}
    first_to_leave = next(at for at, e in enumerate(events) if isinstance(e, BotEnded) and e.reason is Reason.SHUTDOWN)
    for at, event in enumerate(events):
        if isinstance(event, WorkerGone) and event.worker_id in ("w-idle", "w-warms"):
            assert at < first_to_leave, "whoever serves nobody does not wait for the drain"
    last = events[-1]
    assert isinstance(last, Heartbeat)
    assert (last.workers, last.stopping) == ({}, True)

    assert agent.browsers() == []
    assert agent.folders() == []
    assert not await machine.manager.redis.exists(machine.manager.keys.alive("vm1"))
