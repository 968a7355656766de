"""`poolmgr top` in a terminal of its own."""

import os
import sys
from collections.abc import Callable, Generator

import pytest

from tests.cli.conftest import CommandLine
from tests.terminal import Terminal

Start = Callable[..., Terminal]


@pytest.fixture
def start(poolmgr: CommandLine) -> Generator[Start]:
    started: list[Terminal] = []

    def begin(columns: int = 80, lines: int = 24, **environment: str) -> Terminal:
        given = {**os.environ, **poolmgr.environment, "TERM": "xterm-256color", **environment}
        del given["COLUMNS"]
        started.append(Terminal([sys.executable, "-m", "poolmgr", "top"], given, columns, lines))
        return started[-1]

    yield begin
    for seen in started:
        seen.close()
