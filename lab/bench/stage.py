"""The parts that are measured, as processes below one temporary folder. Whatever happens, none of them stays behind."""

import asyncio
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self, cast

import aiohttp
import redis
import redis.asyncio
from playwright.async_api import Browser, Playwright

from poolmgr.store.keys import Keys
from worker.chromium import process as browser

ROOT: Final = Path(__file__).parents[2]
PEERS_PYTHON: Final = ROOT / ".venv-peers" / "bin" / "python"
START_DEADLINE_S: Final = 20.0
STOP_DEADLINE_S: Final = 30.0
# Chromium calls nobody while it is measured.
QUIET: Final = (
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-quic",
)  # fmt: skip
_WORKER: Final = {"memory_reserve_mb": 256, "drain_timeout_s": 1.0}
_GAUGE: Final = re.compile(r'^poolmgr_workers\{state="(\w+)"\} (\S+)$', re.MULTILINE)


class StageError(Exception):
    """A part did not start, ended, or did not do its work in time; the message names it and shows its log's end."""


class Stage:
    """An async context manager. Its Redis keeps an append-only file, as one that must lose nothing does.

    `sections`: what the configuration is to say beyond the addresses, by section.
    """

    def __init__(self, sections: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="poolmgr-bench-"))
        redis_port, self._api_port, self._metrics_port = free_ports(3)
        self.redis_port = redis_port
        self.redis_url = f"redis://127.0.0.1:{redis_port}/0"
        self.keys = Keys("poolmgr")
        self.client = redis.Redis(host="127.0.0.1", port=redis_port)
        self.redis = redis.asyncio.Redis(host="127.0.0.1", port=redis_port)
        self.state_dir = self.folder / "agent"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.config = self.folder / "config.toml"
        ours: dict[str, dict[str, Any]] = {
            "redis": {"url": self.redis_url},
            "api": {"listen": f"127.0.0.1:{self._api_port}"},
            "metrics": {"listen": f"127.0.0.1:{self._metrics_port}"},
            "log": {"format": "json"},
            "worker": {"vm_id": "bench", "state_dir": str(self.state_dir), **_WORKER},
        }
        self.config.write_text(
            _toml({name: {**ours.get(name, {}), **sections.get(name, {})} for name in {**ours, **sections}})
        )

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self._api_port}"

    async def __aenter__(self) -> Self:
        try:
            folder = self.folder / "redis"
            folder.mkdir()
            listen = ("--port", str(self.redis_port), "--bind", "127.0.0.1")
            durable = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
            self.start("redis", "redis-server", *listen, "--dir", str(folder), *durable)
            await self.port_opens("redis", self.redis_port)
        except BaseException:
            self.destroy()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with suppress(redis.RedisError, OSError):
                await self.redis.aclose()
            self.client.close()
            if kind is None:
                await self.stop_all()
        finally:
            self.destroy()

    # Parts

    async def start_manager(self) -> None:
        self.start("manager", sys.executable, "-m", "poolmgr", "serve", "--config", str(self.config))
        await self.port_opens("manager", self._api_port)

    async def start_agent(self) -> None:
        """The real one, with real browsers."""
        self.start("agent", sys.executable, "-m", "worker", "run", "--config", str(self.config))

    def start(self, name: str, *command: str, listens: bool = False) -> int:
        """Start a process in a session of its own (Ctrl-C is for the benchmark, which then ends its parts). Its id.

        `listens`: it reads what `tell` says from its standard input.
        """
        stdin = subprocess.PIPE if listens else subprocess.DEVNULL
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command, cwd=ROOT, stdin=stdin, stdout=log, stderr=log, start_new_session=True
            )
        return self._processes[name].pid

    def tell(self, name: str, line: str) -> None:
        """Say one line to a part that listens. Raises: OSError when it has ended."""
        ear = self._processes[name].stdin
        assert ear
        ear.write(line.encode() + b"\n")
        ear.flush()

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    async def stop(self, name: str) -> None:
        """SIGTERM, and wait for the end. Raises: StageError when there is none in time."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, STOP_DEADLINE_S)
        except BaseException as error:
            self._processes[name] = process
            if isinstance(error, subprocess.TimeoutExpired):
                raise StageError(f"{name} did not end within {STOP_DEADLINE_S:.0f} s of SIGTERM") from error
            raise

    async def stop_all(self) -> None:
        """In the opposite order of their start."""
        for name in reversed(list(self._processes)):
            await self.stop(name)

    def destroy(self) -> None:
        """Kill whatever still runs, and remove the folder. Idempotent; for when there is no time to be polite."""
        while self._processes:
            _, process = self._processes.popitem()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self.state_dir.exists():
            browser.sweep(self.state_dir)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Waits

    async def until(
        self, what: str, done: Callable[[], Awaitable[bool]], within_s: float, every_s: float = 0.05
    ) -> None:
        """Wait until `done`. Raises: StageError at the deadline, or when a part has ended."""
        deadline = time.monotonic() + within_s
        while not await done():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(f"{name}: {self._log_end(name)}" for name in self._processes)
                raise StageError(f"{what}: not within {within_s:.0f} s\n{logs}")
            await asyncio.sleep(every_s)

    async def pool_is(self, idle: int, within_s: float = 60.0) -> None:
        """Wait until so many workers stand idle, and there are no others: none warms up, none is being ended."""

        async def is_so() -> bool:
            workers = await self.workers()
            return workers.get("idle") == idle == sum(workers.values())

        await self.until(f"{idle} workers idle and no others", is_so, within_s)

    async def workers(self) -> dict[str, int]:
        """How many by state, as the manager's metrics say; none when it does not answer."""
        address = f"http://127.0.0.1:{self._metrics_port}/metrics"
        try:
            async with aiohttp.ClientSession() as http, http.get(address) as answer:
                text = await answer.text()
        except aiohttp.ClientError:  # it has not come so far yet, or has ended: `check` tells
            return {}
        return {state: int(float(count)) for state, count in _GAUGE.findall(text)}

    def check(self) -> None:
        """Raises: StageError when a part has ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise StageError(f"{name} ended with exit code {process.returncode}:\n{self._log_end(name)}")

    async def port_opens(self, name: str, port: int) -> None:
        """Raises: StageError."""

        async def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await self.until(f"{name} listens on port {port}", answers, START_DEADLINE_S)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _log_end(self, name: str) -> str:
        return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-8:])


def module(name: str, *arguments: object, python: str | Path = sys.executable) -> tuple[str, ...]:
    """The command that runs a module of this package."""
    return (str(python), "-m", f"lab.bench.{name}", *map(str, arguments))


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    lines: list[str] = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """Of what stands in our configuration, JSON's notation is TOML's, but for tables."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, cast(list[Any], value)))}]"
    if isinstance(value, dict):
        members = cast(dict[str, Any], value).items()
        return f"{{ {', '.join(f'{name} = {_value(member)}' for name, member in members)} }}"
    return json.dumps(value)


@functools.cache
def chromium() -> Path:
    """The browser that the agent takes, too. Raises: worker.chromium.process.BrowserError."""
    return browser.find_chromium(os.environ.get("POOLMGR_WORKER__CHROMIUM", ""))


def no_sandbox() -> list[str]:
    """Chromium's sandbox does not work for root."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


async def launch(playwright: Playwright) -> Browser:
    """A browser as any Playwright program starts one."""
    return await playwright.chromium.launch(executable_path=chromium(), args=[*QUIET, *no_sandbox()])
