"""`poolmgr up` as its user meets it: the installed program, in a folder of its own, and what it prints."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.meeting.server import create_app
from lab.parts.ports import free_ports
from lab.parts.table import describe_bearers
from poolmgr.one_machine.folder import StateFolder
from poolmgr.one_machine.news import PartName
from poolmgr.one_machine.supervisor import ONE_WISH_S
from poolmgr.one_machine.tie import identity
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.visits import serving
from worker.chromium.process import sweep

HOST_KEY = "a-host-key-for-tests"
PROGRAM = Path(sys.executable).with_name("poolmgr")


class Up:
    """A state folder, and the `poolmgr up` that runs in it."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.state = StateFolder(folder / "state")
        self.config = config
        self._printed = folder / "printed"
        self._process: subprocess.Popen[bytes] | None = None
        self._from = 0
        self.environment = dict(os.environ)

    def start(self, *options: str, **environment: str) -> None:
        with self._printed.open("ab") as printed:
            self._from = printed.tell()
            self._process = subprocess.Popen(
                [str(PROGRAM), "up", "--state-dir", str(self.state.path), "--config", str(self.config), *options],
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """By the process that was started last."""
        return self._printed.read_bytes()[self._from :].decode()

    @property
    def ever_said(self) -> str:
        """By all of them."""
        return self._printed.read_text()

    async def until_said(self, words: str, timeout_s: float = PATIENCE_S) -> str:
        """The line that holds the words, once it is there."""

        def found() -> list[str]:
            assert self.running or words in self.said, self.said
            return [line for line in self.said.splitlines() if words in line]

        return (await wait_until(found, timeout_s))[0]

    async def press(self, number: int, words: str) -> None:
        """Signal as a person does, who reads what was said to the one before, and wait for the words."""
        await asyncio.sleep(ONE_WISH_S)  # of two that come sooner, the second counts for nothing
        self.signal(signal.Signals(number))
        await self.until_said(words)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    async def ended(self, timeout_s: float = PATIENCE_S) -> int:
        process = self._process
        assert process
        await wait_until(lambda: process.poll() is not None, timeout_s)
        return process.wait()

    def pid(self, part: PartName) -> int:
        return int(self.state.run_file(part).read_text().split()[0])

    def kill(self, part: PartName) -> None:
        os.kill(self.pid(part), signal.SIGKILL)

    def stop_the_clock_of(self, part: PartName) -> None:
        """It heeds nothing from then on but the kernel."""
        os.kill(self.pid(part), signal.SIGSTOP)

    def processes(self) -> list[str]:
        """Command lines of all processes that name the folder, or were told of it."""
        return describe_bearers(str(self.state.path))

    async def close(self) -> None:
        if self.running:
            self.signal(signal.SIGKILL)
        for part in PartName:
            with suppress(OSError):
                if identity(self.pid(part)) == self.state.run_file(part).read_text():
                    self.kill(part)
        if self.state.agent.exists():
            sweep(self.state.agent)


@pytest.fixture
async def room() -> AsyncGenerator[str]:
    """The address of a meeting room that lets everybody in."""
    async with serving(create_app(HOST_KEY, no_lobby=True)) as address:
        yield address


@pytest.fixture
def folder() -> Generator[Path]:
    """With a space in its name, and short: a socket's path ends at 108 bytes, and pytest's folders are long ones."""
    folder = Path(tempfile.mkdtemp(prefix="poolmgr up "))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def up(folder: Path, room: str) -> AsyncGenerator[Up]:
    api, metrics = free_ports(2)
    config = folder / "config.toml"
    config.write_text(
        f"""\
[pool]
max_workers = 6
[meetings]
room_hosts = ["{room.removeprefix("http://")}"]
[api]
listen = "127.0.0.1:{api}"
[metrics]
listen = "127.0.0.1:{metrics}"
[worker]
vm_id = "this-one"
memory_reserve_mb = 256
"""
    )
    up = Up(folder, config)
    yield up
    await up.close()
