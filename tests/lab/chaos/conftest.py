"""The stage's managers and agents, forked from a process that has imported them."""

from collections.abc import Mapping
from typing import IO

import pytest

from lab.chaos.system.stage import Process, Spawn, spawn
from tests.fork_server import Forked, ForkServer

ALL_THE_TIME_S = 3600.0
IMPORTS = {"lab.chaos.faults.poisoned": ("poolmgr.cli.program.daemon",)}
"""What a program imports of another package only when it runs."""


class Child:
    """A forked program, as the stage sees a process."""

    def __init__(self, forked: Forked) -> None:
        self._forked = forked

    @property
    def pid(self) -> int:
        return self._forked.pid

    @property
    def returncode(self) -> int | None:
        return self._forked.poll()

    async def wait(self) -> int:
        return await self._forked.ended(ALL_THE_TIME_S)


@pytest.fixture
def fork(fork_server: ForkServer) -> Spawn:
    async def start(command: tuple[str, ...], environment: Mapping[str, str], log: IO[bytes]) -> Process:
        match command:
            case (_, "-m", program, *arguments):
                imports = IMPORTS.get(program, ())
                return Child(fork_server.start(program, *arguments, environment=environment, log=log, imports=imports))
            case _:
                return await spawn(command, environment, log)

    return start
