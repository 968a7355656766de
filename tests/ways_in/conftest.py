"""One manager, one simulated agent and an SQS server, shared by the tests of this folder; and what became of each job.

A job is followed by its user_id, which the client chooses: were it handed in twice, there would be two bots of that id.
"""

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from lab.parts.ports import free_ports
from poolmgr.store.keys import Keys
from poolmgr.store.leader.arrivals import Arrivals
from poolmgr.store.reading.views import Views
from tests.fork_server import ForkServer
from tests.manager.conftest import Manager, Scene
from tests.moto_server import aws_client
from tests.simulated import Meetings, SimulatedAgent
from tests.waiting import PATIENCE_S, wait_until

LINK = "http://127.0.0.1:8090/r/test"
TOKEN = "token-of-the-tests"
QUEUES = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POOLMGR_SQS__REGION": "eu-west-1",
}


class House:
    """The address of the shared manager, and the record of who was in its meetings."""

    def __init__(self, url: str, prefix: str, manager: Manager, queue_url: str) -> None:
        self.url = url
        self.queue_url = queue_url
        self.prefix = prefix
        self.keys = Keys(prefix)
        self.manager = manager
        self.meetings = Meetings()


class Visit:
    """One test's own connection to a manager's Redis."""

    def __init__(self, url: str, prefix: str) -> None:
        self.redis: Any = connect(RedisSettings(url=url, timeout_s=PATIENCE_S))
        self.keys = Keys(prefix)
        self.views = Views(self.redis, self.keys)

    async def users(self) -> list[str]:
        """The user_id of every bot."""
        return [record["user_id"] for record in await self.records()]

    async def bots_of(self, user_id: str) -> list[dict[str, str]]:
        """The records with that user_id: one, if the job was handed in once."""
        return [record for record in await self.records() if record["user_id"] == user_id]

    async def records(self) -> list[dict[str, str]]:
        """All of them."""
        index: list[bytes] = await self.redis.zrange(self.keys.all_bots, 0, -1)
        found = [await self.views.bot(raw.decode()) for raw in index]
        return [record.texts() for record in found if record]

    async def ended(self, user_id: str) -> dict[str, str]:
        """The record of the one bot of that user_id, once it has been in its meeting and left."""

        async def stopped() -> dict[str, str] | None:
            return next((bot for bot in await self.bots_of(user_id) if bot["state"] == "stopped"), None)

        await wait_until(stopped)
        (record,) = await self.bots_of(user_id)
        return record

    async def rejected(self, text: str) -> tuple[str, str]:
        """Reason and detail of the dead job that holds `text`."""

        async def letter() -> tuple[str, str] | None:
            dead = await self.views.dead(most=1000)
            return next(((job.reason, job.detail) for job in dead if text in str(job)), None)

        found = await wait_until(letter)
        assert found
        return found


@pytest.fixture(scope="package")
def house(
    fork_server: ForkServer, redis_server: str, tmp_path_factory: pytest.TempPathFactory, moto: str
) -> Generator[House]:
    prefix, folder = f"ways-{os.getpid()}-{time.monotonic_ns()}", tmp_path_factory.mktemp("ways")
    asyncio.run(create_queue(moto, prefix))
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    manager = Manager(
        fork_server,
        redis_server,
        prefix,
        folder,
        **QUEUES,
        POOLMGR_SQS__QUEUE_URL=queue_url(moto, prefix),
        POOLMGR_SQS__ENDPOINT_URL=moto,
        POOLMGR_API__TOKENS=f'[{{ name = "tests", sha256 = "{digest}" }}]',
    )
    house = House(redis_server, prefix, manager, queue_url(moto, prefix))
    with agent_beside(house):
        manager.start()
        yield house
    manager.close()


@pytest.fixture
async def visit(house: House) -> AsyncGenerator[Visit]:
    visit = Visit(house.url, house.prefix)
    yield visit
    await visit.redis.aclose()


@pytest.fixture
async def scene(fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path) -> AsyncGenerator[Scene]:
    """With managers of the test's own, to be killed."""
    scene = Scene(fork_server, redis_server, prefix, tmp_path)
    yield scene
    await scene.close()


@contextmanager
def agent_beside(house: House) -> Generator[None]:
    """A simulated agent in a thread of its own, because tests come and go with their loops. Bots stay 0.1 s."""
    over = threading.Event()

    async def run() -> None:
        redis = connect(RedisSettings(url=house.url, timeout_s=PATIENCE_S))
        async with SimulatedAgent(redis, house.prefix, "vm-a", house.meetings, stay_s=0.1).running():
            await asyncio.to_thread(over.wait)
        await redis.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="agent")
    thread.start()
    yield
    over.set()
    thread.join()


class Counting(Arrivals):
    """Counts how often there was no room."""

    refusals = 0

    async def has_room(self) -> bool:
        room = await super().has_room()
        self.refusals += not room
        return room


# SQS


def queue_url(server: str, name: str) -> str:
    return f"{server}/123456789012/{name}"


@asynccontextmanager
async def sqs(server: str) -> AsyncGenerator[Any]:
    async with aws_client("sqs", server) as client:
        yield client


async def create_queue(server: str, name: str, *, visibility_s: int = 30) -> None:
    async with sqs(server) as client:
        await client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(visibility_s)})


async def send(server: str, name: str, *bodies: str) -> None:
    async with sqs(server) as client:
        for body in bodies:
            await client.send_message(QueueUrl=queue_url(server, name), MessageBody=body)


async def emptied(server: str, name: str) -> None:
    """Wait until the queue holds nothing more, nor has handed out anything that may come again."""
    async with sqs(server) as client:
        await wait_until(lambda: _is_empty(client, server, name))


async def is_empty(server: str, name: str) -> bool:
    async with sqs(server) as client:
        return await _is_empty(client, server, name)


async def _is_empty(client: Any, server: str, name: str) -> bool:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = await client.get_queue_attributes(QueueUrl=queue_url(server, name), AttributeNames=names)
    return all(int(answer["Attributes"][name]) == 0 for name in names)


class Gate:
    """An address before the SQS server that can be shut, and can lose or hold what deletes messages."""

    def __init__(self, server: str) -> None:
        (self._port,) = free_ports(1)
        self.address = f"http://127.0.0.1:{self._port}"
        self.deletes = asyncio.Semaphore(0)
        """One is taken by every delete that came."""
        self.loses_deletes, self.holds_deletes = 0, False
        self._server = server
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def shut(self) -> None:
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def _pass_on(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Amz-Target", "").endswith("DeleteMessageBatch"):
            self.deletes.release()
            if self.holds_deletes:
                await asyncio.Event().wait()
            if self.loses_deletes:
                self.loses_deletes -= 1
                return web.Response(status=503)
        body = await request.read()
        async with (
            ClientSession() as session,
            session.request(request.method, self._server + request.path, data=body, headers=request.headers) as answer,
        ):
            return web.Response(
                status=answer.status, body=await answer.read(), headers={"Content-Type": answer.content_type}
            )


@pytest.fixture
async def gate(moto: str) -> AsyncGenerator[Gate]:
    gate = Gate(moto)
    yield gate
    await gate.shut()
