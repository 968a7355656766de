"""The parts of the demo: a private Redis, the manager, one agent, a receiver of webhooks, the meeting room and a person
in it. Starts them in order, takes them down in order, and looks afterwards whether anything stayed behind.
"""

import asyncio
import base64
import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from playwright.async_api import Browser, Page, Playwright

from worker.chromium.process import find_chromium, sweep

_RECEIVER = Path(__file__).parents[2] / "deploy" / "receiver" / "receiver.py"
_START_DEADLINE_S = 20.0
_STOP_DEADLINE_S = 30.0
_DRAIN_S = 3.0  # then bots that are still in a meeting are told to leave
_QUIET = (
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-quic", "--disable-default-apps",
)  # fmt: skip


class StageError(Exception):
    """A part did not start or did not stop; the message names it and its log."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on right now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Stage:
    """Everything runs below one temporary folder, and every process has its log there."""

    def __init__(self, *, min_idle: int, max_workers: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="poolmgr-demo-"))
        self.redis_port, self.api_port, self.metrics_port, self.room_port, self.receiver_port = free_ports(5)
        self.host_key = os.urandom(8).hex()
        self.token = f"pm_{secrets.token_urlsafe(32)}"
        self._secret = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
        self.config = self.folder / "config.toml"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []
        self.config.write_text(
            f"""\
[redis]
url = "{self.redis_url}"
[pool]
min_idle = {min_idle}
max_workers = {max_workers}
[meetings]
room_hosts = ["127.0.0.1:{self.room_port}"]
[api]
listen = "127.0.0.1:{self.api_port}"
[[api.tokens]]
name = "demo"
sha256 = "{hashlib.sha256(self.token.encode()).hexdigest()}"
[webhooks]
secrets = ["{self._secret}"]
allow_http = true
allowed_networks = ["127.0.0.0/8"]
[metrics]
listen = "127.0.0.1:{self.metrics_port}"
[log]
format = "json"
[worker]
vm_id = "demo-vm"
state_dir = "{self.folder / "agent"}"
memory_reserve_mb = 256
"""
        )

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    @property
    def meeting_link(self) -> str:
        return f"http://127.0.0.1:{self.room_port}/r/demo"

    @property
    def host_link(self) -> str:
        return f"{self.meeting_link}?host={self.host_key}&auto-admit=1"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.api_port}/api/v1"

    @property
    def receiver(self) -> str:
        return f"http://127.0.0.1:{self.receiver_port}"

    @property
    def metrics_link(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    async def start(self) -> None:
        """Start Redis, the room, the receiver, the manager and the agent. Raises: StageError."""
        redis = self.folder / "redis"
        redis.mkdir()
        listen = ("--port", str(self.redis_port), "--bind", "127.0.0.1")
        self._start("redis", "redis-server", *listen, "--dir", str(redis), "--appendonly", "yes", "--save", "")
        await self._until_it_listens("redis", self.redis_port)
        listen = ("--listen", f"127.0.0.1:{self.room_port}")
        self._start("room", sys.executable, "-m", "lab.meeting", *listen, "--host-key", self.host_key)
        await self._until_it_listens("room", self.room_port)
        where = ("--listen", f"127.0.0.1:{self.receiver_port}", "--database", str(self.folder / "bots.sqlite3"))
        receiver = (sys.executable, str(_RECEIVER), *where)
        self._start("receiver", *receiver, WEBHOOK_SECRETS=self._secret)
        await self._until_it_listens("receiver", self.receiver_port)
        self._start("manager", sys.executable, "-m", "poolmgr", "serve", "--config", str(self.config))
        await self._until_it_listens("manager", self.api_port)
        self._start("agent", sys.executable, "-m", "worker", "run", "--config", str(self.config))

    async def bring_in_person(self, playwright: Playwright, name: str) -> tuple[Browser, Page]:
        """A browser with a (test tone) microphone and camera whose user is the host and lets everybody in."""
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(os.environ.get("POOLMGR_WORKER__CHROMIUM", "")),
            args=[*_QUIET, *sandbox, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
            # Ctrl-C reaches Playwright's driver as well, and is to end nothing there: see `_start`.
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        page = await browser.new_page()
        await page.goto(f"{self.host_link}&name={name}&join=1")
        await page.locator("#in-meeting").wait_for(state="visible", timeout=20_000)
        return browser, page

    async def lpush(self, payload: str) -> None:
        """Hand in a job with plain redis-cli, as any client could. Raises: StageError."""
        command = ("redis-cli", "-p", str(self.redis_port), "LPUSH", "poolmgr:jobs", payload)
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, start_new_session=True)
        if await process.wait():
            raise StageError(f"redis-cli LPUSH ended with exit code {process.returncode}")

    def fault(self) -> str | None:
        """What is wrong with a part that should be running, or None."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                return self._ended(name, process.returncode)
        return None

    def _ended(self, name: str, code: int) -> str:
        return f"{name} ended with exit code {code}; the end of its log:\n{self.log_end(name)}"

    def log_end(self, name: str) -> str:
        return "\n".join(self._log_path(name).read_text(errors="replace").splitlines()[-15:])

    def stop(self, *, interrupted: bool) -> list[str]:
        """SIGTERM to the agent, then manager, receiver, room and Redis. Returns what did not end as it should.

        `interrupted`: a part may be so young that it does not know the signal yet, and just dies of it; or of Ctrl-C,
        when it had no session of its own yet.
        """
        faults: list[str] = []
        for name in ("agent", "manager", "receiver", "room", "redis"):
            process = self._processes.pop(name, None)
            if process is None:
                continue
            orderly = {0, -signal.SIGTERM} if name == "receiver" else {0}
            if interrupted:
                orderly |= {-signal.SIGTERM, -signal.SIGINT}
            process.send_signal(signal.SIGTERM)
            try:
                if name == "agent":
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(_DRAIN_S)
                    if process.poll() is None:
                        process.send_signal(signal.SIGTERM)
                        orderly |= {-signal.SIGTERM}  # it may be past hearing it, and about to end
                code = process.wait(_STOP_DEADLINE_S)
                if code not in orderly:
                    faults.append(self._ended(name, code))
            except subprocess.TimeoutExpired:
                faults.append(f"{name} did not end within {_STOP_DEADLINE_S:.0f} s of SIGTERM")
                process.kill()
                process.wait()
        if faults:
            sweep(self.folder / "agent")  # a killed agent's browsers live on, for its next start to find
        for log in self._logs:
            log.close()
        return faults

    def left_behind(self) -> list[str]:
        """Processes that still name the demo's folder, and worker folders that are still there."""
        mark = str(self.folder).encode()
        found: list[str] = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == os.getpid():
                continue
            try:
                words = (process / "cmdline").read_bytes()
                surroundings = (process / "environ").read_bytes()
            except OSError:
                continue
            if mark in words or mark in surroundings:
                found.append(f"process {process.name}: {words.replace(bytes(1), b' ').decode(errors='replace')[:100]}")
        workers = self.folder / "agent" / "workers"
        found += [f"folder {path}" for path in (workers.iterdir() if workers.is_dir() else ())]
        return found

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _start(self, name: str, *command: str, **environment: str) -> None:
        log = self._log_path(name).open("wb")
        self._logs.append(log)
        # A session of its own: Ctrl-C is for the demo, which then takes its parts down in order.
        try:
            self._processes[name] = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise StageError(f"cannot start {name}: {command[0]} is not installed; ./dev setup installs it") from error

    def _log_path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    async def _until_it_listens(self, name: str, port: int) -> None:
        deadline = time.monotonic() + _START_DEADLINE_S
        while time.monotonic() < deadline:
            if fault := self.fault():
                raise StageError(f"cannot start: {fault}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            await asyncio.sleep(0.02)
        why = f"nothing listens on port {port} after {_START_DEADLINE_S:.0f} s"
        raise StageError(f"cannot start {name}: {why}; the end of its log:\n{self.log_end(name)}")
