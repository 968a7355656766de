"""The command line as its users meet it: on a real Redis, with a real manager and an agent by hand. In this process
where a command answers and ends, as a process of its own where it is watched while it runs.
"""

import json
import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from click.testing import CliRunner, Result
from redis import Redis

from common.wire.codec import FIELD, decode_command, encode
from common.wire.messages import BotEnded, BotMoved, Command, Event, Heartbeat, Join, Warm, WorkerReport, WorkerWarm
from common.wire.vocabulary import BotState, Reason, WorkerState
from poolmgr.cli.root import cli
from poolmgr.store.keys import Keys
from tests.fork_server import Forked, ForkServer
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
LINK = "http://127.0.0.1:8090/r/the-secret-room"

T = TypeVar("T")


def wait_for(condition: Callable[[], T]) -> T:
    """What `condition` answers, once that is true. Raises: AssertionError after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, "still not true"
        time.sleep(0.01)
    return answer


class CommandLine:
    """`poolmgr` with its settings in the environment, in this process."""

    def __init__(self, url: str, prefix: str) -> None:
        self.environment = {
            "POOLMGR_REDIS__URL": url,
            "POOLMGR_REDIS__PREFIX": prefix,
            "POOLMGR_POOL__MIN_IDLE": "2",
            "POOLMGR_POOL__HEARTBEAT_TIMEOUT_S": "60",  # the agent of these tests beats once
            "POOLMGR_API__LISTEN": "127.0.0.1:0",
            "POOLMGR_METRICS__LISTEN": "127.0.0.1:0",
            "POOLMGR_LEASE__TTL_S": "5",
            "COLUMNS": "100",
        }

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Result:
        everything = {**self.environment, **environment}
        result = CliRunner().invoke(cli, arguments, input=stdin, env=everything, prog_name="poolmgr")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def json(self, *arguments: str) -> Any:
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)


class Agent:
    """A VM whose agent is the test: it says what the test lets it say."""

    def __init__(self, redis: Redis, keys: Keys, vm_id: str) -> None:
        self._redis = redis
        self._keys = keys
        self.vm_id = vm_id
        self.processors = 0.0
        self.labels: dict[str, str] = {}
        self.display_room: int | None = None

    def send(self, event: Event) -> None:
        self._redis.xadd(self._keys.events, {FIELD: encode(event)})

    def beat(self, **workers: WorkerReport) -> None:
        self._redis.set(self._keys.alive(self.vm_id), "agent", ex=600)
        beat = Heartbeat(self.vm_id, "session-1", time.time(), workers, room=10, labels=self.labels)
        facts = {"processors": self.processors, "display_room": self.display_room}
        self.send(msgspec.structs.replace(beat, **facts))

    def orders(self, kind: type[Command], number: int = 1) -> list[Any]:
        """The first `number` orders of a kind, once they are there."""

        def found() -> list[Command]:
            entries: Any = self._redis.xrange(self._keys.commands(self.vm_id))
            commands = [decode_command(fields[FIELD.encode()]) for _, fields in entries]
            matching = [command for command in commands if isinstance(command, kind)]
            return matching if len(matching) >= number else []

        return wait_for(found)

    def warm(self, worker_id: str) -> None:
        self.send(WorkerWarm(self.vm_id, worker_id, time.time()))

    def move(self, join: Join, state: BotState, *, rule: str = "") -> None:
        facts = (self.vm_id, join.worker_id, join.bot_id, join.attempt, time.time())
        self.send(BotMoved(*facts, state, rule=rule, first_request_at=time.time()))

    def end(self, join: Join, reason: Reason, detail: str = "") -> None:
        self.send(BotEnded(self.vm_id, join.worker_id, join.bot_id, join.attempt, time.time(), reason, detail))


def busy(join: Join) -> WorkerReport:
    return WorkerReport(WorkerState.BUSY, join.bot_id, join.attempt)


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    client: Redis = Redis.from_url(redis_server)  # pyright: ignore[reportUnknownMemberType]
    with client:
        yield client


@pytest.fixture
def keys(prefix: str) -> Keys:
    return Keys(prefix)


@pytest.fixture
def poolmgr(redis_server: str, prefix: str) -> CommandLine:
    return CommandLine(redis_server, prefix)


@pytest.fixture
def start(fork_server: ForkServer, poolmgr: CommandLine) -> Generator[Callable[..., Forked]]:
    """Starts commands as processes, which end with the test."""
    started: list[Forked] = []

    def begin(*arguments: str) -> Forked:
        environment = {**os.environ, **poolmgr.environment}
        started.append(fork_server.start_read("poolmgr", *arguments, environment=environment))
        return started[-1]

    yield begin
    for process in started:
        process.close()


@pytest.fixture
def manager(
    fork_server: ForkServer, poolmgr: CommandLine, redis: Redis, keys: Keys, tmp_path: Path
) -> Generator[Forked]:
    """A manager that leads."""
    with (tmp_path / "manager.log").open("wb") as log:
        environment = {**os.environ, **poolmgr.environment}
        process = fork_server.start("poolmgr", "serve", environment=environment, log=log)
    wait_for(lambda: redis.exists(keys.leader))
    yield process
    process.close()


@pytest.fixture
def agent(manager: Forked, redis: Redis, keys: Keys) -> Agent:
    """An agent with both its browsers warm."""
    vm = Agent(redis, keys, "vm-1")
    vm.beat()
    for order in vm.orders(Warm, 2):
        vm.warm(order.worker_id)
    return vm
