"""The agent as a process of its own, ordered about over a real Redis, with real browsers in a real meeting room."""

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from aiohttp import web

from room.server import create_app
from tests.conftest import RedisServer
from tests.waiting import wait_until
from tests.worker.manager_side import ManagerSide
from wire.messages import (
    BotEnded,
    BotMoved,
    Event,
    Heartbeat,
    Join,
    JoinRefused,
    Leave,
    Retire,
    Warm,
    WorkerGone,
    WorkerReport,
    WorkerWarm,
)
from wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from worker import processes

E = TypeVar("E", bound=Event)

EXIT_DEADLINE_S = 60.0


class Agent:
    """A running agent, seen as the manager sees it."""

    def __init__(
        self, process: asyncio.subprocess.Process, manager: ManagerSide, state_dir: Path, meeting: str
    ) -> None:
        self.meeting = meeting
        self.process = process
        self.state_dir = state_dir
        self.manager = manager
        self.order = manager.order
        self.assign = manager.assign
        self.events = manager.events

    async def seen(self, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> E:
        """The first event of that kind, once it is there."""

        async def first() -> list[E]:
            return [event for event in await self.events() if isinstance(event, kind) and where(event)]

        return (await wait_until(first))[0]

    async def warmed(self, worker_id: str) -> None:
        await self.order(Warm(worker_id))
        await self.seen(WorkerWarm, lambda event: event.worker_id == worker_id)

    async def reached(self, bot_id: str, state: BotState) -> BotMoved:
        return await self.seen(BotMoved, lambda event: (event.bot_id, event.state) == (bot_id, state))

    async def enter(self, worker_id: str, bot_id: str, *, warm: bool = True) -> None:
        """A bot into the meeting."""
        if warm:
            await self.warmed(worker_id)
        join = Join(worker_id, bot_id, 1, "room", self.meeting, "Bot")
        await self.assign(join)
        await self.order(join)
        await self.reached(bot_id, BotState.IN_MEETING)

    async def stop(self) -> None:
        """By signals, as often as it takes: two that come at once count as one."""
        async with asyncio.timeout(EXIT_DEADLINE_S):
            while self.process.returncode is None:
                self.process.terminate()
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await self.process.wait()

    async def exit_code(self) -> int:
        async with asyncio.timeout(EXIT_DEADLINE_S):
            return await self.process.wait()

    def leaders(self) -> list[int]:
        """One process of each browser."""
        return sorted(each.pid for each in self.browsers() if each.pid == each.group)

    def browsers(self) -> list[processes.Process]:
        return [
            each
            for each in processes.scan()
            if f"--user-data-dir={self.state_dir}/workers/" in processes.command_line(each.pid)
        ]


class Machine:
    """What an agent needs: a Redis, a place on the disk, a meeting to go to. Starts agents."""

    def __init__(self, redis_url: str, prefix: str, folder: Path, meeting: str) -> None:
        self.meeting = meeting
        self.folder = folder
        self.manager = ManagerSide(redis_url, prefix)
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "POOLMGR_REDIS__URL": redis_url,
            "POOLMGR_REDIS__PREFIX": prefix,
            "POOLMGR_WORKER__VM_ID": "vm1",
            "POOLMGR_WORKER__STATE_DIR": str(folder / "state"),
            "POOLMGR_WORKER__MEMORY_RESERVE_MB": "0",
            "POOLMGR_WORKER__HEARTBEAT_S": "0.2",
        }

    def join(self, worker_id: str, bot_id: str, attempt: int = 1) -> Join:
        return Join(worker_id, bot_id, attempt, "room", self.meeting, "Bot")

    async def run(self, **changed: str) -> asyncio.subprocess.Process:
        """An agent with these variables changed, which may refuse to start."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker", "run"),
            env=self._environment | changed,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    async def sweep(self) -> tuple[int, str]:
        """Exit code and output of the sweep command."""
        sweeping = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker", "sweep"), env=self._environment, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await sweeping.communicate()
        assert sweeping.returncode is not None
        return sweeping.returncode, output.decode()

    @asynccontextmanager
    async def agent(self) -> AsyncGenerator[Agent]:
        """An agent that has reported for duty. Nothing of it is left afterwards."""
        process = await self.run()
        agent = Agent(process, self.manager, self.folder / "state", self.meeting)
        assert process.stderr
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_show(process.stderr), name="show the agent's log")
            before = len(await agent.events())
            await wait_until(lambda: _more_than(agent, before))
            try:
                yield agent
            finally:
                await agent.stop()
                for left in agent.browsers():
                    os.kill(left.pid, signal.SIGKILL)


async def _show(log: asyncio.StreamReader) -> None:
    """Into pytest's own, for whoever reads why a test failed."""
    async for line in log:
        print(line.decode().rstrip())


async def _more_than(agent: Agent, count: int) -> bool:
    return len(await agent.events()) > count


@pytest.fixture
async def machine(own_redis: RedisServer, prefix: str, tmp_path: Path) -> AsyncGenerator[Machine]:
    runner = web.AppRunner(create_app("key", open_door=True), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    meeting = f"http://127.0.0.1:{runner.addresses[0][1]}/r/meeting"
    machine = Machine(own_redis.url, prefix, tmp_path, meeting)
    yield machine
    await machine.manager.redis.aclose()
    await runner.cleanup()


def story(events: list[Event], worker_id: str) -> list[str]:
    """What happened to a worker and its bot, one word each, in order."""
    return [
        str(event.state) if isinstance(event, BotMoved) else type(event).__name__
        for event in events
        if isinstance(event, WorkerWarm | BotMoved | BotEnded | WorkerGone | JoinRefused)
        and event.worker_id == worker_id
    ]


async def test_a_bot_goes_into_its_meeting_and_out_again(machine: Machine) -> None:
    async with machine.agent() as agent:
        await agent.warmed("w1")
        join = machine.join("w1", "b1")
        await agent.assign(join)
        await agent.order(join)
        await agent.reached("b1", BotState.IN_MEETING)
        busy = WorkerReport(WorkerState.BUSY, "b1", 1)
        await agent.seen(Heartbeat, lambda event: event.workers == {"w1": busy})
        await agent.order(Leave("w1", "b1", 1))
        ended = await agent.seen(BotEnded)
        gone = await agent.seen(WorkerGone)
        assert (ended.reason, gone.cause) == (Reason.USER_REQUESTED, GoneCause.SPENT)
        told = story(await agent.events(), "w1")
        assert told[0] == "WorkerWarm"
        assert told[-2:] == ["BotEnded", "WorkerGone"]
        assert told.index("joining") < told.index("in_meeting") < told.index("BotEnded")
        assert (await machine.manager.bot("b1"))["claimed"] == "1"
        assert agent.browsers() == []
        assert await machine.manager.waiting_commands() == 0


async def test_a_stale_attempt_is_dropped_and_the_worker_stays_idle(machine: Machine) -> None:
    async with machine.agent() as agent:
        await agent.warmed("w1")
        await agent.assign(machine.join("w1", "b1", attempt=2))
        await agent.order(machine.join("w1", "b1", attempt=1))
        fresh = machine.join("w1", "b2")
        await agent.assign(fresh)
        await wait_until(lambda: _all_taken(machine))
        taken_at = time.time()
        idle = {"w1": WorkerReport(WorkerState.IDLE)}  # and not busy, as until the claim is answered
        await agent.seen(Heartbeat, lambda event: event.at > taken_at and event.workers == idle)
        await agent.order(fresh)
        await agent.reached("b2", BotState.IN_MEETING)
        assert not any(getattr(event, "bot_id", "") == "b1" for event in await agent.events())


async def _all_taken(machine: Machine) -> bool:
    return await machine.manager.waiting_commands() == 0


async def test_a_drain_lets_the_meeting_end_and_takes_no_new_work(machine: Machine) -> None:
    async with machine.agent() as agent:
        await agent.warmed("w1")
        await agent.warmed("w2")
        join = machine.join("w1", "b1")
        await agent.assign(join)
        await agent.order(join)
        await agent.reached("b1", BotState.IN_MEETING)
        agent.process.terminate()
        idle = await agent.seen(WorkerGone)
        assert (idle.worker_id, idle.cause) == ("w2", GoneCause.AGENT_STOPPED)
        await agent.seen(Heartbeat, lambda event: event.stopping)
        await agent.order(machine.join("w1", "b2"), Warm("w3"))
        refused = await agent.seen(JoinRefused)
        assert (refused.bot_id, refused.cause) == ("b2", RefusalCause.STOPPING)
        await agent.seen(WorkerGone, lambda event: event.worker_id == "w3")
        assert agent.process.returncode is None
        await agent.order(Leave("w1", "b1", 1))
        assert await agent.exit_code() == 0
        assert story(await agent.events(), "w1")[-2:] == ["BotEnded", "WorkerGone"]
        last = (await agent.events())[-1]
        assert isinstance(last, Heartbeat)
        assert (last.workers, last.stopping) == ({}, True)
        assert agent.browsers() == []
        assert not await machine.manager.redis.exists(machine.manager.keys.alive("vm1"))


async def test_a_second_signal_makes_the_bots_leave_now(machine: Machine) -> None:
    async with machine.agent() as agent:
        await agent.warmed("w1")
        join = machine.join("w1", "b1")
        await agent.assign(join)
        await agent.order(join)
        await agent.reached("b1", BotState.IN_MEETING)
        agent.process.terminate()
        await agent.seen(Heartbeat, lambda event: event.stopping)
        agent.process.terminate()
        assert await agent.exit_code() == 0
        assert (await agent.seen(BotEnded)).reason is Reason.SHUTDOWN
        assert agent.browsers() == []


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGUSR1], ids=["killed", "handed over"])
async def test_the_next_agent_finds_its_workers_again_and_the_meeting_goes_on(
    machine: Machine, fault: signal.Signals
) -> None:
    async with machine.agent() as agent:
        await agent.enter("w1", "b1")
        await agent.warmed("w2")
        left = agent.leaders()
        agent.process.send_signal(fault)
        assert await agent.exit_code() == (-fault if fault is signal.SIGKILL else 0)
        async with machine.agent() as successor:
            both = {"w1": WorkerReport(WorkerState.BUSY, "b1", 1), "w2": WorkerReport(WorkerState.IDLE)}
            began_at = time.time()
            await successor.seen(Heartbeat, lambda event: event.at > began_at and event.workers == both)
            await successor.enter("w2", "b2", warm=False)
            assert successor.leaders() == left
            await successor.order(Leave("w1", "b1", 1))
            ended = await successor.seen(BotEnded)
            assert (ended.bot_id, ended.reason) == ("b1", Reason.USER_REQUESTED)
            await successor.seen(WorkerGone)
            told = [
                move.state for move in await successor.events() if isinstance(move, BotMoved) and move.bot_id == "b1"
            ]
            assert told == ["joining", "in_meeting", "leaving"]
            sessions = {event.session for event in await successor.events() if isinstance(event, Heartbeat)}
            assert len(sessions) == 1


async def test_the_next_agent_finds_its_meetings_again_while_redis_is_away(
    machine: Machine, own_redis: RedisServer
) -> None:
    async with machine.agent() as agent:
        await agent.enter("w1", "b1")
        own_redis.stop()
        agent.process.kill()
        await agent.exit_code()
        successor = await machine.run()
        assert successor.stderr
        async with asyncio.timeout(EXIT_DEADLINE_S):
            while b"worker_adopted" not in (line := await successor.stderr.readline()):
                assert line
        for browser in agent.leaders():  # ends while nobody can be told
            os.kill(browser, signal.SIGKILL)
        await wait_until(lambda: not (agent.state_dir / "workers" / "w1").exists())
        successor.kill()
        await successor.communicate()
        own_redis.start()
        async with machine.agent():
            await agent.seen(WorkerGone)
            told = story(await agent.events(), "w1")
            assert told == ["WorkerWarm", "joining", "in_meeting", "BotEnded", "WorkerGone"]


async def test_a_bot_whose_attempt_moved_on_while_no_agent_ran_leaves_at_once(machine: Machine) -> None:
    async with machine.agent() as agent:
        await agent.enter("w1", "b1")
        agent.process.kill()
        await agent.exit_code()
        await agent.assign(machine.join("elsewhere", "b1", attempt=2))
        async with machine.agent() as successor:
            assert (await successor.seen(BotEnded)).reason is Reason.SUPERSEDED


async def test_a_bot_whose_browser_ended_while_no_agent_ran_is_reported_as_ended(machine: Machine) -> None:
    async with machine.agent() as agent:
        await agent.enter("w1", "b1")
        await agent.warmed("w2")
        agent.process.kill()
        await agent.exit_code()
        for browser in agent.leaders():
            os.kill(browser, signal.SIGKILL)
        async with machine.agent() as successor:
            assert (await successor.seen(BotEnded)).reason is Reason.BROWSER_CRASHED
            for worker_id in ("w1", "w2"):
                await successor.seen(WorkerGone, lambda event, worker_id=worker_id: event.worker_id == worker_id)
            assert list((successor.state_dir / "workers").iterdir()) == []


async def test_browsers_that_nobody_remembers_are_ended_at_the_start(machine: Machine) -> None:
    async with machine.agent() as agent:
        await agent.warmed("w1")
        agent.process.kill()
        await agent.exit_code()
        assert agent.leaders()
        for file in agent.state_dir.glob("journal.db*"):
            file.unlink()
        async with machine.agent() as successor:
            assert successor.leaders() == []
            assert list((successor.state_dir / "workers").iterdir()) == []
            heartbeats = [event for event in await successor.events() if isinstance(event, Heartbeat)]
            assert heartbeats[-1].session != heartbeats[0].session
            assert heartbeats[-1].workers == {}


async def test_what_a_dead_agent_left_can_be_swept_but_not_under_a_living_one(machine: Machine) -> None:
    async with machine.agent() as agent:
        await agent.warmed("w1")
        assert await machine.sweep() == (2, "")
        agent.process.kill()
        await agent.exit_code()
        assert await machine.sweep() == (0, "w1\n")
        assert agent.browsers() == []
        assert await machine.sweep() == (0, "")


async def test_events_of_a_redis_outage_arrive_in_order(machine: Machine, own_redis: RedisServer) -> None:
    async with machine.agent() as agent:
        await agent.warmed("w1")
        join = machine.join("w1", "b1")
        await agent.assign(join)
        await agent.order(join)
        await agent.reached("b1", BotState.IN_MEETING)
        own_redis.stop()
        for browser in agent.browsers():
            if browser.pid == browser.group:
                os.kill(browser.pid, signal.SIGKILL)
        await wait_until(lambda: not (agent.state_dir / "workers" / "w1").exists())
        own_redis.start()
        gone = await agent.seen(WorkerGone)
        assert gone.cause is GoneCause.SPENT
        told = story(await agent.events(), "w1")
        assert told[-2:] == ["BotEnded", "WorkerGone"]
        assert told.count("BotEnded") == told.count("WorkerGone") == 1
        await agent.warmed("w2")


async def test_orders_for_workers_it_does_not_have_are_answered(machine: Machine) -> None:
    async with machine.agent() as agent:
        await agent.order(Retire("w9"), machine.join("w9", "b1"))
        assert (await agent.seen(WorkerGone)).cause is GoneCause.MISSING
        assert (await agent.seen(JoinRefused)).cause is RefusalCause.NO_SUCH_WORKER


async def test_a_second_agent_on_the_same_folder_is_refused(machine: Machine) -> None:
    async with machine.agent():
        second = await machine.run(POOLMGR_WORKER__VM_ID="vm2")
        assert await complaint(second) == [
            f"poolmgr-worker: cannot use worker.state_dir = '{machine.folder / 'state'}': another agent runs on it;"
            " stop that one, or give this one a folder of its own"
        ]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"POOLMGR_WORKER__STATE_DIR": "/proc/poolmgr"}, "cannot write to worker.state_dir = '/proc/poolmgr'"),
        ({"POOLMGR_WORKER__CHROMIUM": "/nowhere/chromium"}, "cannot run worker.chromium = '/nowhere/chromium'"),
        ({"POOLMGR_WORKER__HEARTBEAT_S": "soon"}, "POOLMGR_WORKER__HEARTBEAT_S: "),
    ],
    ids=["state_dir", "chromium", "settings"],
)
async def test_what_a_user_can_put_right_is_said_in_one_line(
    machine: Machine, changed: dict[str, str], says: str
) -> None:
    [line] = await complaint(await machine.run(**changed))
    assert line.startswith(f"poolmgr-worker: {says}")


async def test_a_state_folder_that_holds_something_else_is_said_in_one_line(machine: Machine) -> None:
    machine.folder.joinpath("state").mkdir()
    machine.folder.joinpath("state", "workers").write_text("a file")
    [line] = await complaint(await machine.run())
    assert line.startswith(
        f"poolmgr-worker: cannot write to worker.state_dir = '{machine.folder / 'state'}': File exists"
    )


async def complaint(process: asyncio.subprocess.Process) -> list[str]:
    """The lines on standard error that are not log, of an agent that would not start."""
    async with asyncio.timeout(EXIT_DEADLINE_S):
        _, written = await process.communicate()
    assert process.returncode == 2
    return [line for line in written.decode().splitlines() if not line.startswith("{")]


async def test_it_waits_for_a_redis_that_is_away_and_says_where(machine: Machine, own_redis: RedisServer) -> None:
    own_redis.stop()
    process = await machine.run()
    assert process.stderr
    async with asyncio.timeout(EXIT_DEADLINE_S):
        while b"redis_unavailable" not in (line := await process.stderr.readline()):
            assert line
    assert re.search(rb'"address": ?"unix:///tmp/[^"]+"', line)
    process.terminate()
    async with asyncio.timeout(EXIT_DEADLINE_S):
        await process.communicate()
    assert process.returncode == 0


async def test_ctrl_c_while_it_starts_is_an_orderly_end(machine: Machine) -> None:
    process = await machine.run()
    await wait_until(lambda: any(_is_driver_of(each, process.pid) for each in processes.scan()))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to all of them
    async with asyncio.timeout(EXIT_DEADLINE_S):
        await process.communicate()
    assert process.returncode == 0


def _is_driver_of(process: processes.Process, agent: int) -> bool:
    return process.parent == agent and processes.bears(process.pid, "run-driver")
