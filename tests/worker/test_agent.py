"""The agent as a process of its own, ordered about over a real Redis; with the fault suite's stand-ins, where a test is
about the agent and asks of a browser no more than that it is one.
"""

import asyncio
import os
import re
import resource
import secrets
import signal
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from click.testing import CliRunner

from common.config.settings import CaptureSettings, Settings, WorkerSettings
from common.runtime.recordings.store import Store
from common.wire import minutes
from common.wire.messages import (
    BotEnded,
    BotMoved,
    BotTranscribed,
    Event,
    FinishRecording,
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
from common.wire.minutes import SO_FAR, TRANSCRIPT, Utterance
from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from lab.chaos.observers.witness import Witness
from lab.chaos.stand_in.chromium import write_program
from lab.meeting.server import create_app
from lab.parts.redis_server import RedisServer
from tests.fork_server import Forked, ForkServer
from tests.notified import Notified
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.manager_side import ManagerSide
from tests.worker.visits import serving
from worker.agent import CannotStartError, run
from worker.chromium import processes
from worker.chromium.process import Chromium, Launcher, find_chromium
from worker.chromium.profile import Profile
from worker.cli.root import cli
from worker.transcript.minutes_outbox import Opened, Uttered

E = TypeVar("E", bound=Event)

_BOT: Final = "{bot}"
"""Stands in a meeting's link for the bot's name."""


class Agent:
    """A running agent, seen as the manager sees it."""

    def __init__(self, process: Forked, log: Path, manager: ManagerSide, state_dir: Path, meeting: str) -> None:
        self.meeting = meeting
        self.process = process
        self.log = log
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

    async def gone(self, worker_id: str) -> WorkerGone:
        return await self.seen(WorkerGone, lambda event: event.worker_id == worker_id)

    async def ended(self, bot_id: str) -> BotEnded:
        return await self.seen(BotEnded, lambda event: event.bot_id == bot_id)

    async def reached(self, bot_id: str, state: BotState) -> BotMoved:
        return await self.seen(BotMoved, lambda event: (event.bot_id, event.state) == (bot_id, state))

    async def holds(self, worker_id: str, report: WorkerReport) -> None:
        """That is what it says from now on of this worker."""
        now = time.time()
        await self.seen(Heartbeat, lambda event: event.at > now and event.workers.get(worker_id) == report)

    async def enter(self, worker_id: str, bot_id: str, *, warm: bool = True, video: bool = False) -> None:
        """A bot into the meeting."""
        if warm:
            await self.warmed(worker_id)
        join = msgspec.structs.replace(self.join(worker_id, bot_id), video=video)
        await self.assign(join)
        await self.order(join)
        await self.reached(bot_id, BotState.IN_MEETING)

    def join(self, worker_id: str, bot_id: str, attempt: int = 1) -> Join:
        return Join(worker_id, bot_id, attempt, "room", self.meeting.replace(_BOT, bot_id), "Bot")

    async def kill(self) -> None:
        """As a machine out of memory does it."""
        self.process.kill()
        await self.exit_code()

    async def exit_code(self) -> int:
        await wait_until(lambda: self.process.poll() is not None)
        return self.process.wait()

    async def logged(self, event: str) -> str:
        """The first line of its log with this event, once it is there."""

        def line() -> str:
            lines = self.log.read_text().splitlines(keepends=True)
            return next((line for line in lines if f'"{event}"' in line and line.endswith("\n")), "")

        return await wait_until(line)

    def leaders(self, *worker_ids: str) -> list[int]:
        """One process of each browser."""
        return [each.pid for each in self.browsers(*worker_ids) if each.pid == each.group]

    def browsers(self, *worker_ids: str) -> list[processes.Process]:
        """All processes of these workers; of all, when none is named."""
        ours = f"--user-data-dir={re.escape(str(self.state_dir))}/workers/({'|'.join(worker_ids) or '[^/]+'})/"
        return [each for each in processes.scan() if re.search(ours, processes.command_line(each.pid))]

    def folders(self) -> list[str]:
        return sorted(path.name for path in (self.state_dir / "workers").iterdir())


class Machine:
    """What an agent needs: a Redis, a place on the disk, a meeting to go to. Starts agents."""

    def __init__(self, fork_server: ForkServer, redis_url: str, prefix: str, folder: Path, meeting: str) -> None:
        self._fork_server = fork_server
        self._agents: list[Agent] = []
        self._folder = folder
        self.meeting = meeting
        self.state_dir = folder / "state"
        self.manager = ManagerSide(redis_url, prefix)
        self.environment = {
            **os.environ,
            "POOLMGR_WORKER__LABELS": '{ region = "eu" }',
            "POOLMGR_WORKER__CANARY": "true",
            "POOLMGR_REDIS__URL": redis_url,
            "POOLMGR_REDIS__PREFIX": prefix,
            "POOLMGR_WORKER__VM_ID": "vm1",
            "POOLMGR_WORKER__STATE_DIR": str(self.state_dir),
            "POOLMGR_WORKER__MEMORY_RESERVE_MB": "0",
            "POOLMGR_WORKER__HEARTBEAT_S": "0.2",
            "POOLMGR_WORKER__LAUNCH_TIMEOUT_S": str(PATIENCE_S),
        }

    def run(self) -> Agent:
        path = self._folder / f"agent-{len(self._agents)}.log"
        with path.open("wb") as log:
            process = self._fork_server.start("worker", "run", environment=self.environment, log=log)
        agent = Agent(process, path, self.manager, self.state_dir, self.meeting)
        self._agents.append(agent)
        return agent

    async def agent(self) -> Agent:
        """One that has reported for duty."""
        began_at = time.time()
        agent = self.run()
        await agent.seen(Heartbeat, lambda event: event.at > began_at)
        return agent

    async def end(self) -> None:
        """Nothing of its agents is left afterwards. Their logs are shown to whoever reads why a test failed."""
        for agent in self._agents:
            await agent.kill()
            print(agent.log.read_text())
            for left in agent.browsers():
                with suppress(ProcessLookupError):  # it went with the one before it
                    os.kill(left.pid, signal.SIGKILL)
        await self.manager.redis.aclose()


@asynccontextmanager
async def machine_of_stand_ins(
    fork_server: ForkServer, redis_url: str, prefix: str, folder: Path
) -> AsyncGenerator[Machine]:
    async with Witness() as witness:
        meeting = f"http://{witness.address}/r/chaos?tag={_BOT}&lobby_s=0"
        machine = Machine(fork_server, redis_url, prefix, folder, meeting)
        machine.environment |= {
            "POOLMGR_WORKER__CHROMIUM": str(write_program(folder / "stand-in", witness.address)),
            "POOLMGR_WORKER__WARM_PAGES": "[]",
        }
        try:
            yield machine
        finally:
            await machine.end()


@asynccontextmanager
async def machine_with(fork_server: ForkServer, redis_url: str, prefix: str, folder: Path) -> AsyncGenerator[Machine]:
    async with serving(create_app("key", no_lobby=True)) as address:
        machine = Machine(fork_server, redis_url, prefix, folder, f"{address}/r/meeting")
        try:
            yield machine
        finally:
            await machine.end()


@pytest_asyncio.fixture(loop_scope="session")
async def machine(fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path) -> AsyncGenerator[Machine]:
    async with machine_with(fork_server, redis_server, prefix, tmp_path) as machine:
        yield machine


@pytest_asyncio.fixture(loop_scope="session")
async def light_machine(
    fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path
) -> AsyncGenerator[Machine]:
    async with machine_of_stand_ins(fork_server, redis_server, prefix, tmp_path) as machine:
        yield machine


@pytest_asyncio.fixture(loop_scope="session")
async def machine_with_own_redis(
    fork_server: ForkServer, own_redis: RedisServer, prefix: str, tmp_path: Path
) -> AsyncGenerator[Machine]:
    async with machine_of_stand_ins(fork_server, own_redis.url, prefix, tmp_path) as machine:
        yield machine


class Shared(NamedTuple):
    machine: Machine
    agent: Agent
    orphan: Chromium


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(
    fork_server: ForkServer, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Shared]:
    """An agent for all tests that let it live, each with workers of its own; and a browser that was there before it."""
    folder, prefix = tmp_path_factory.mktemp("machine"), f"test-{secrets.token_hex(6)}"
    async with machine_of_stand_ins(fork_server, redis_server, prefix, folder) as machine:
        program = find_chromium(machine.environment["POOLMGR_WORKER__CHROMIUM"])
        orphan = await Launcher(Profile(program), machine.state_dir).launch("orphan")
        yield Shared(machine, await machine.agent(), orphan)


def story(events: Sequence[Event], worker_id: str) -> list[str]:
    """What happened to a worker and its bot, one word each, in order."""
    return [
        str(event.state) if isinstance(event, BotMoved) else type(event).__name__
        for event in events
        if isinstance(event, WorkerWarm | BotMoved | BotEnded | WorkerGone | JoinRefused)
        and event.worker_id == worker_id
    ]


# While it lives


@pytest.mark.asyncio(loop_scope="session")
async def test_a_bot_goes_into_its_meeting_and_out_again(shared: Shared) -> None:
    agent = shared.agent
    await agent.enter("in-out", "in-out-bot")
    await agent.holds("in-out", WorkerReport(WorkerState.BUSY, "in-out-bot", 1))
    await agent.order(Leave("in-out", "in-out-bot", 1))
    ended, gone = await agent.ended("in-out-bot"), await agent.gone("in-out")
    assert (ended.reason, gone.cause) == (Reason.USER_REQUESTED, GoneCause.SPENT)
    told = story(await agent.events(), "in-out")
    assert told[0] == "WorkerWarm"
    assert told[-2:] == ["BotEnded", "WorkerGone"]
    assert told.index("joining") < told.index("in_meeting") < told.index("BotEnded")
    assert (await agent.manager.bot("in-out-bot"))["claimed"] == "1"
    assert agent.browsers("in-out") == []
    await wait_until(lambda: _all_taken(agent))


@pytest.mark.asyncio(loop_scope="session")
async def test_a_stale_attempt_is_dropped_and_the_worker_stays_idle(shared: Shared) -> None:
    agent = shared.agent
    await agent.warmed("stale")
    await agent.assign(agent.join("stale", "moved-on", attempt=2))
    await agent.order(agent.join("stale", "moved-on", attempt=1))
    fresh = agent.join("stale", "fresh")
    await agent.assign(fresh)
    await wait_until(lambda: _all_taken(agent))
    await agent.holds("stale", WorkerReport(WorkerState.IDLE))  # and not busy, as until the claim is answered
    await agent.order(fresh)
    await agent.reached("fresh", BotState.IN_MEETING)
    assert not any(getattr(event, "bot_id", "") == "moved-on" for event in await agent.events())


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_no_process_of_a_browser_dumps_core(machine: Machine) -> None:
    agent = await machine.agent()
    await agent.warmed("undumped")
    pids = {agent.process.pid, *(each.pid for each in agent.browsers("undumped"))}
    assert len(pids) > 2
    assert {resource.prlimit(pid, resource.RLIMIT_CORE) for pid in pids} == {(0, 0)}


async def _all_taken(agent: Agent) -> bool:
    return await agent.manager.waiting_commands() == 0


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_orders_for_workers_it_does_not_have_are_answered(shared: Shared) -> None:
    agent = shared.agent
    await agent.order(Retire("nobody"), agent.join("nobody", "nobodys-bot"))
    assert (await agent.gone("nobody")).cause is GoneCause.MISSING
    refused = await agent.seen(JoinRefused, lambda event: event.bot_id == "nobodys-bot")
    assert refused.cause is RefusalCause.NO_SUCH_WORKER


@pytest.mark.asyncio(loop_scope="session")
async def test_a_browser_that_nobody_remembers_is_ended_at_the_start(shared: Shared) -> None:
    async with asyncio.timeout(PATIENCE_S):
        assert await shared.orphan.exited() == -signal.SIGKILL
    assert not shared.orphan.folder.exists()
    heartbeats = [event for event in await shared.agent.events() if isinstance(event, Heartbeat)]
    assert not any("orphan" in event.workers for event in heartbeats)
    assert all((event.labels, event.canary) == ({"region": "eu"}, True) for event in heartbeats)


@pytest.mark.parametrize("command", [["run"], ["sweep"]], ids=" ".join)
def test_its_folder_is_nobody_elses(shared: Shared, command: list[str]) -> None:
    [line] = complaint(command, shared.machine.environment | {"POOLMGR_WORKER__VM_ID": "vm2"})
    assert line == (
        f"poolmgr-worker: cannot use worker.state_dir = '{shared.machine.state_dir}': another agent runs on it;"
        " stop that one, or give this one a folder of its own"
    )


# Before it lives


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"POOLMGR_WORKER__STATE_DIR": "/proc/poolmgr"}, "cannot write to worker.state_dir = '/proc/poolmgr'"),
        ({"POOLMGR_WORKER__CHROMIUM": "/nowhere/chromium"}, "cannot run worker.chromium = '/nowhere/chromium'"),
        ({"POOLMGR_WORKER__HEARTBEAT_S": "soon"}, "POOLMGR_WORKER__HEARTBEAT_S: "),
        (
            {
                "POOLMGR_CAPTURE__STORE": "/srv/recordings",
                "POOLMGR_CAPTURE__VIDEO": "display",
                "POOLMGR_WORKER__STATE_DIR": "/proc/my state",
                "POOLMGR_WORKER__VM_ID": "vm1",
            },
            "a socket cannot have the path /proc/my state/workers/vm1-9999-999999/pulse: give worker.state_dir a",
        ),
        (
            {"POOLMGR_CAPTURE__STORE": "s3://b", "POOLMGR_CAPTURE__STORE_OPTIONS": "{ colour = 'red' }"},
            "cannot use capture.store: ",
        ),
    ],
    ids=["state_dir", "chromium", "settings", "display", "store"],
)
def test_what_a_user_can_put_right_is_said_in_one_line(tmp_path: Path, changed: dict[str, str], says: str) -> None:
    [line] = complaint(["run"], {"POOLMGR_WORKER__STATE_DIR": str(tmp_path)} | changed)
    assert line.startswith(f"poolmgr-worker: {says}")


async def test_behind_nohup_it_outlives_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(CannotStartError):
            await run(Settings(worker=WorkerSettings(chromium="/nowhere/chromium")))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_state_folder_that_holds_something_else_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("a file")
    [line] = complaint(["run"], {"POOLMGR_WORKER__STATE_DIR": str(tmp_path)})
    assert line.startswith(f"poolmgr-worker: cannot write to worker.state_dir = '{tmp_path}': File exists")


def complaint(command: list[str], environment: dict[str, str]) -> list[str]:
    """The lines on standard error that are not log, of a command that would not start."""
    result = CliRunner().invoke(cli, command, env=environment)
    assert (result.exit_code, result.stdout) == (2, "")
    return [line for line in result.stderr.splitlines() if not line.startswith("{")]


@pytest.mark.asyncio(loop_scope="session")
async def test_what_a_dead_agent_left_can_be_swept(tmp_path: Path) -> None:
    left = await Launcher(Profile(find_chromium("")), tmp_path).launch("w1")
    environment = {"POOLMGR_WORKER__STATE_DIR": str(tmp_path)}
    for swept in ("w1\n", ""):
        result = CliRunner().invoke(cli, ["sweep"], env=environment)
        assert (result.exit_code, result.stdout) == (0, swept)
    async with asyncio.timeout(PATIENCE_S):
        assert await left.exited() == -signal.SIGKILL


@pytest.mark.asyncio(loop_scope="session")
async def test_a_service_whose_redis_is_away_is_ready_all_the_same_and_says_where_it_looks_for_it(
    light_machine: Machine, tmp_path: Path
) -> None:
    systemd, nobody = Notified(tmp_path / "notify"), f"unix://{tmp_path}/nobody"
    light_machine.environment |= {"NOTIFY_SOCKET": systemd.address, "POOLMGR_REDIS__URL": nobody}
    agent = light_machine.run()
    assert re.search(rf'"address": ?"{nobody}"', await agent.logged("redis_unavailable"))
    await wait_until(lambda: {"READY=1", "STATUS=0 idle, 0 busy, Redis not reached"} <= {*systemd.hear()})
    agent.process.send_signal(signal.SIGTERM)
    assert await agent.exit_code() == 0
    systemd.close()


@pytest.mark.asyncio(loop_scope="session")
async def test_ctrl_c_while_it_starts_is_an_orderly_end(light_machine: Machine) -> None:
    agent = light_machine.run()
    await wait_until(lambda: any(_is_driver_of(each, agent.process.pid) for each in processes.scan()))
    os.killpg(agent.process.pid, signal.SIGINT)  # as a terminal does it: to all of them
    assert await agent.exit_code() == 0


def _is_driver_of(process: processes.Process, agent: int) -> bool:
    return process.parent == agent and processes.bears(process.pid, "run-driver")


# Its orderly end


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_an_agent_whose_vm_is_taken_away_takes_no_more_work_and_lives_until_it_is_stopped(
    light_machine: Machine,
) -> None:
    async def preempted(_request: web.Request) -> web.Response:
        return web.Response(text="TRUE", headers={"Metadata-Flavor": "Google"})

    google = web.Application()
    google.router.add_get("/computeMetadata/v1/instance/preempted", preempted)
    async with serving(google) as address:
        light_machine.environment |= {
            "POOLMGR_WORKER__SPOT_NOTICES": "gcp",
            "POOLMGR_WORKER__METADATA_URL": address,
        }
        agent = await light_machine.agent()
        await agent.seen(Heartbeat, lambda event: event.stopping)
        await agent.order(Warm("w1"))
        assert (await agent.gone("w1")).cause is GoneCause.AGENT_STOPPED
        assert agent.process.poll() is None
        agent.process.send_signal(signal.SIGTERM)
        assert await agent.exit_code() == 0


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_an_agent_makes_the_transcript_of_a_meeting_whose_vm_is_gone(
    light_machine: Machine, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    light_machine.environment["POOLMGR_CAPTURE__STORE"] = str(store)
    lines = Opened("b1", 1, "room", 100.0, words=True), Uttered(Utterance("Ann", "Good morning", 100.0, 101.0))
    so_far = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    await Store(CaptureSettings(store=str(store))).put(f"b1/1/{SO_FAR}", so_far)
    agent = await light_machine.agent()
    await agent.order(FinishRecording("b1", 1, 200.0, transcript=True, recording=False))
    told = await agent.seen(BotTranscribed)
    assert (told.bot_id, told.attempt, told.finished, told.utterances) == ("b1", 1, True, 1)
    made = await Store(CaptureSettings(store=str(store))).get(f"b1/1/{TRANSCRIPT}")
    assert [each.text for each in minutes.decode(made).utterances] == ["Good morning"]
    assert "recording_not_in_store" not in agent.log.read_text(), "it was not told of one"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_drain_lets_the_meeting_end_and_takes_no_new_work(light_machine: Machine) -> None:
    agent = await light_machine.agent()
    await agent.enter("w1", "b1")
    await agent.warmed("w2")
    agent.process.send_signal(signal.SIGTERM)
    idle = await agent.seen(WorkerGone)
    assert (idle.worker_id, idle.cause) == ("w2", GoneCause.AGENT_STOPPED)
    await agent.seen(Heartbeat, lambda event: event.stopping)
    await agent.order(agent.join("w1", "b2"), Warm("w3"))
    refused = await agent.seen(JoinRefused)
    assert (refused.bot_id, refused.cause) == ("b2", RefusalCause.STOPPING)
    await agent.gone("w3")
    assert agent.process.poll() is None
    await agent.order(Leave("w1", "b1", 1))
    assert await agent.exit_code() == 0
    assert story(await agent.events(), "w1")[-2:] == ["BotEnded", "WorkerGone"]
    last = (await agent.events())[-1]
    assert isinstance(last, Heartbeat)
    assert (last.workers, last.stopping) == ({}, True)
    assert agent.browsers() == []
    assert not await light_machine.manager.redis.exists(light_machine.manager.keys.alive("vm1"))


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_a_service_tells_systemd_what_it_has_feeds_its_watchdog_and_at_a_second_signal_its_bots_leave_now(
    light_machine: Machine, tmp_path: Path
) -> None:
    systemd = Notified(tmp_path / "notify")
    light_machine.environment |= {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "200000"}
    agent = await light_machine.agent()
    assert "READY=1" in systemd.hear()
    await agent.warmed("w1")
    await wait_until(lambda: "STATUS=1 idle, 0 busy, Redis reached" in systemd.hear())
    await agent.enter("w1", "b1", warm=False)
    await wait_until(lambda: "STATUS=0 idle, 1 busy, Redis reached" in systemd.hear())
    fed = systemd.said.count("WATCHDOG=1")
    await wait_until(lambda: systemd.hear().count("WATCHDOG=1") > fed)
    agent.process.send_signal(signal.SIGTERM)
    await wait_until(lambda: "STOPPING=1" in systemd.hear())
    await wait_until(lambda: "STATUS=stops, 0 idle, 1 busy, Redis reached" in systemd.hear())
    await agent.seen(Heartbeat, lambda event: event.stopping)
    agent.process.send_signal(signal.SIGTERM)
    assert await agent.exit_code() == 0
    assert (await agent.seen(BotEnded)).reason is Reason.SHUTDOWN
    assert agent.browsers() == []
    systemd.close()


# Its successor


@pytest.mark.asyncio(loop_scope="session")
async def test_the_next_agent_finds_its_workers_again_after_a_handover_and_after_a_death_and_ends_what_ended_meanwhile(
    light_machine: Machine,
) -> None:
    agent = await light_machine.agent()
    for worker_id, bot_id in (("goes-on", "b1"), ("moved-on", "b2"), ("died", "b3")):
        await agent.enter(worker_id, bot_id)
    for worker_id in ("idle", "idle-died"):
        await agent.warmed(worker_id)
    all_left, left = agent.leaders(), agent.leaders("goes-on", "idle")
    agent.process.send_signal(signal.SIGUSR1)
    assert await agent.exit_code() == 0
    second = await light_machine.agent()
    for worker_id, bot_id in (("goes-on", "b1"), ("moved-on", "b2"), ("died", "b3")):
        await second.holds(worker_id, WorkerReport(WorkerState.BUSY, bot_id, 1))
    for worker_id in ("idle", "idle-died"):
        await second.holds(worker_id, WorkerReport(WorkerState.IDLE))
    assert second.leaders() == all_left
    await second.kill()
    await second.assign(second.join("elsewhere", "b2", attempt=2))
    for leader in second.leaders("died", "idle-died"):
        os.kill(leader, signal.SIGKILL)
    third = await light_machine.agent()
    assert (await third.ended("b2")).reason is Reason.SUPERSEDED
    assert (await third.ended("b3")).reason is Reason.BROWSER_CRASHED
    for worker_id in ("moved-on", "died", "idle-died"):
        await third.gone(worker_id)
    await third.holds("goes-on", WorkerReport(WorkerState.BUSY, "b1", 1))
    await third.holds("idle", WorkerReport(WorkerState.IDLE))
    assert third.leaders() == left
    assert third.folders() == ["goes-on", "idle"]
    await third.enter("idle", "b4", warm=False)
    await goes_on(third, "goes-on", "b1")


async def goes_on(successor: Agent, worker_id: str, bot_id: str) -> None:
    """It is told to leave, and there was no break in its meeting, nor in what was told of it."""
    await successor.order(Leave(worker_id, bot_id, 1))
    assert (await successor.ended(bot_id)).reason is Reason.USER_REQUESTED
    await successor.gone(worker_id)
    told = [event for event in await successor.events() if isinstance(event, BotMoved) and event.bot_id == bot_id]
    assert [move.state for move in told] == ["joining", "in_meeting", "leaving"]
    sessions = {event.session for event in await successor.events() if isinstance(event, Heartbeat)}
    assert len(sessions) == 1


@pytest.mark.asyncio(loop_scope="session")
async def test_what_ends_in_an_outage_of_redis_is_told_in_order_also_by_the_next_agent(
    machine_with_own_redis: Machine, own_redis: RedisServer
) -> None:
    machine = machine_with_own_redis
    agent = await machine.agent()
    await agent.enter("w1", "b1")
    own_redis.stop()
    await ends_untold(agent, "w1")
    own_redis.start()
    assert (await agent.gone("w1")).cause is GoneCause.SPENT
    assert story(await agent.events(), "w1") == ["WorkerWarm", "joining", "in_meeting", "BotEnded", "WorkerGone"]
    await agent.enter("w2", "b2")  # it obeys again
    own_redis.stop()
    await agent.kill()
    successor = machine.run()
    await successor.logged("worker_adopted")
    await ends_untold(successor, "w2")
    await successor.kill()
    own_redis.start()
    await machine.agent()
    await agent.gone("w2")
    assert story(await agent.events(), "w2") == ["WorkerWarm", "joining", "in_meeting", "BotEnded", "WorkerGone"]


async def ends_untold(agent: Agent, worker_id: str) -> None:
    """Its browser ends, and with it its bot, while nobody can be told."""
    for browser in agent.leaders(worker_id):
        os.kill(browser, signal.SIGKILL)
    await wait_until(lambda: worker_id not in agent.folders())
