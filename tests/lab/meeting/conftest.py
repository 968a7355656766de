"""A real room on a free port, for the tests that talk to one."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from lab.meeting.server import create_app

HOST_KEY = "the-host-key"

OpenRoom = Callable[..., Awaitable[str]]


@asynccontextmanager
async def opening() -> AsyncGenerator[OpenRoom]:
    """Start a server and return the address of its room `demo`; takes what `create_app` takes."""
    async with AsyncExitStack() as servers:

        async def start(*, no_lobby: bool = False, heartbeat_s: float = 10.0) -> str:
            app: web.Application = create_app(HOST_KEY, no_lobby=no_lobby, heartbeat_s=heartbeat_s)
            server = await servers.enter_async_context(TestServer(app))
            return str(server.make_url("/r/demo"))

        yield start


@pytest.fixture
async def open_room() -> AsyncGenerator[OpenRoom]:
    async with opening() as open_room:
        yield open_room


@pytest.fixture
def host_key() -> str:
    return HOST_KEY
