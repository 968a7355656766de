"""Redis, the manager, an agent and other parts: processes below one temporary folder, which has each part's log. None
of them is left behind, whatever happens.
"""

import asyncio
import json
import os
import re
import shutil
import signal
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

from lab.parts import StageError
from lab.parts.environment import without_settings
from lab.parts.ports import free_ports, listens
from lab.parts.redis_server import on_port, redis_command
from lab.parts.table import describe_bearers
from poolmgr.store.keys import Keys
from worker.chromium.process import sweep

ROOT: Final = Path(__file__).parents[2]
START_DEADLINE_S: Final = 20.0
STOP_DEADLINE_S: Final = 30.0
_WORKER: Final = {"memory_reserve_mb": 256, "drain_timeout_s": 1.0}
_GAUGE: Final = re.compile(r'^poolmgr_workers\{state="(\w+)"\} (\S+)$', re.MULTILINE)


def log_end(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Stage:
    """An async context manager. Its Redis has an append-only file, and loses nothing that it answered. `name`: the
    caller's; `sections`: what the configuration contains besides the addresses, by section.
    """

    def __init__(self, name: str, sections: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"poolmgr-{name}-"))
        self.redis_port, self.api_port, self.metrics_port = free_ports(3)
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        self.api = f"http://127.0.0.1:{self.api_port}"
        self.metrics = f"http://127.0.0.1:{self.metrics_port}/metrics"
        self.keys = Keys("poolmgr")
        self.client = redis.Redis(host="127.0.0.1", port=self.redis_port)
        self.redis = redis.asyncio.Redis(host="127.0.0.1", port=self.redis_port)
        self.state_dir = self.folder / "agent"
        self.config = self.folder / "config.toml"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        ours: dict[str, dict[str, Any]] = {
            "redis": {"url": self.redis_url},
            "api": {"listen": f"127.0.0.1:{self.api_port}"},
            "metrics": {"listen": f"127.0.0.1:{self.metrics_port}"},
            "log": {"format": "json"},
            "worker": {"vm_id": name, "state_dir": str(self.state_dir), **_WORKER},
        }
        self.config.write_text(
            _toml({name: {**ours.get(name, {}), **sections.get(name, {})} for name in {**ours, **sections}})
        )

    async def __aenter__(self) -> Self:
        try:
            await self.start_redis()
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
                for name in reversed(list(self._processes)):
                    await self.stop(name)
        finally:
            self.destroy()

    # Parts

    async def start_redis(self) -> None:
        folder = self.folder / "redis"
        folder.mkdir()
        self.start("redis", *redis_command(folder, "everysec", *on_port(self.redis_port)))
        await self.port_opens("redis", self.redis_port)

    async def start_manager(self) -> None:
        self.start("manager", sys.executable, "-m", "poolmgr", "serve", "--config", str(self.config))
        await self.port_opens("manager", self.api_port)

    def start_agent(self, checkout: Path = ROOT) -> None:
        """The real agent, with real browsers. `checkout`: the folder whose code it runs."""
        self.start("agent", sys.executable, "-m", "worker", "run", "--config", str(self.config), checkout=checkout)

    async def start_room(self, port: int, *options: str) -> None:
        """The project's own meeting room."""
        self.start("room", sys.executable, "-m", "lab.meeting", "--listen", f"127.0.0.1:{port}", *options)
        await self.port_opens("room", port)

    def start(self, name: str, *command: str, listens: bool = False, checkout: Path = ROOT, **environment: str) -> None:
        """Start a process in a session of its own: Ctrl-C goes to this program, which then ends the parts in order.
        `listens`: the part reads from its standard input what `tell` writes. Raises: StageError.
        """
        stdin = subprocess.PIPE if listens else subprocess.DEVNULL
        try:
            with self._log(name).open("wb") as log:
                self._processes[name] = subprocess.Popen(
                    command,
                    cwd=checkout,
                    env={**without_settings(), **environment},
                    stdin=stdin,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise StageError(f"cannot start {name}: {command[0]} is not installed; ./dev setup installs it") from error

    def tell(self, name: str, line: str) -> None:
        """Write one line to a part that listens. Raises: OSError when it has ended."""
        ear = self._processes[name].stdin
        assert ear
        ear.write(line.encode() + b"\n")
        ear.flush()

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def has(self, name: str) -> bool:
        """Whether such a part was started, and not stopped."""
        return name in self._processes

    async def stop(self, name: str) -> None:
        """SIGTERM, and wait for the end. Raises: StageError when there is none in time."""
        await asyncio.to_thread(self.end, name)

    def end(self, name: str) -> int:
        """Stop it, like `stop`. Returns the exit code."""
        process = self._processes[name]
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            raise StageError(f"{name} did not end within {STOP_DEADLINE_S:.0f} s of SIGTERM") from error
        self._processes.pop(name, None)
        _close_ear(process)
        return code

    def kill_all(self) -> None:
        """Kill all parts that still run, and the browsers of a killed agent, which would otherwise live on for its next
        start. Idempotent; for when there is no time for an orderly end.
        """
        while self._processes:
            _, process = self._processes.popitem()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _close_ear(process)
        if self.state_dir.exists():
            sweep(self.state_dir)

    def destroy(self) -> None:
        """Kill all, and remove the folder."""
        self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def left_behind(self) -> list[str]:
        """Processes that still name the folder, and folders of workers that are still there."""
        workers = self.state_dir / "workers"
        folders = workers.iterdir() if workers.is_dir() else ()
        return [*describe_bearers(str(self.folder)), *(f"folder {path}" for path in folders)]

    # Waits

    async def until(
        self, what: str, done: Callable[[], Awaitable[bool]], within_s: float, every_s: float = 0.05
    ) -> None:
        """Wait until `done`. Raises: StageError at the deadline, or when a part has ended."""
        deadline = time.monotonic() + within_s
        while not await done():
            self.check()
            if time.monotonic() > deadline:
                logs = "\n".join(f"{name}: {log_end(self._log(name))}" for name in self._processes)
                raise StageError(f"{what}: not within {within_s:.0f} s\n{logs}")
            await asyncio.sleep(every_s)

    async def pool_is(self, idle: int, within_s: float = 60.0) -> None:
        """Wait until so many workers are idle, and there are no others that warm up or retire."""

        async def is_so() -> bool:
            workers = await self.workers()
            return workers.get("idle") == idle == sum(workers.values())

        await self.until(f"{idle} workers idle and no others", is_so, within_s)

    async def workers(self) -> dict[str, int]:
        """The number of workers by state, by the manager's metrics; none when it does not answer."""
        try:
            async with aiohttp.ClientSession() as http, http.get(self.metrics) as answer:
                text = await answer.text()
        except aiohttp.ClientError:  # it is still starting, or has ended: `check` finds out
            return {}
        return {state: int(float(count)) for state, count in _GAUGE.findall(text)}

    def check(self) -> None:
        """Raises: StageError when a part has ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise StageError(self.ended(name, process.returncode))

    def ended(self, name: str, code: int) -> str:
        return f"{name} ended with exit code {code}; the end of its log:\n{log_end(self._log(name))}"

    async def port_opens(self, name: str, port: int) -> None:
        """Raises: StageError."""

        async def answers() -> bool:
            return listens(port)

        await self.until(f"{name} listens on port {port}", answers, START_DEADLINE_S)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def _close_ear(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        with suppress(BrokenPipeError):  # lines that were written to it and not read
            process.stdin.close()


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    lines: list[str] = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """For the values in this configuration JSON's notation is TOML's, except for tables."""
    if isinstance(value, list):
        return f"[{', '.join(map(_value, cast(list[Any], value)))}]"
    if isinstance(value, dict):
        members = cast(dict[str, Any], value).items()
        return f"{{ {', '.join(f'{name} = {_value(member)}' for name, member in members)} }}"
    return json.dumps(value)
