"""`poolmgr top` in a terminal of its own."""

import os
from collections.abc import Callable, Generator
from functools import partial

import pytest

from tests.cli.conftest import CommandLine
from tests.fork_server import ForkServer
from tests.terminal import Terminal

Start = Callable[..., Terminal]


@pytest.fixture
def start(poolmgr: CommandLine, fork_server: ForkServer) -> Generator[Start]:
    started: list[Terminal] = []

    def begin(columns: int = 80, lines: int = 24, **environment: str) -> Terminal:
        given = {**os.environ, **poolmgr.environment, "TERM": "xterm-256color", **environment}
        del given["COLUMNS"]
        program = partial(fork_server.start_on, environment=given)
        started.append(Terminal(lambda terminal: program(terminal, "poolmgr", "top"), columns, lines))
        return started[-1]

    yield begin
    for seen in started:
        seen.close()
