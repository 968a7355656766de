"""What the demo adds to the parts of every stage: a receiver of webhooks, the meeting room and a person in it. At the
end all parts are stopped in order, and it is checked that nothing stayed behind.
"""

import asyncio
import base64
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from playwright.async_api import Browser, Page, Playwright

from common.config.settings import CaptureSettings
from lab.parts import StageError, browser
from lab.parts.ports import free_ports
from lab.parts.stage import Stage
from lab.speech import voice

_RECEIVER = Path(__file__).parents[2] / "deploy" / "receiver" / "receiver.py"
_PROBED_EVERY_S = 45.0
_DRAIN_S = 3.0  # after this time bots that are still in a meeting are asked to leave
_WORDS_A_MINUTE: Final = 175  # so that a whole sentence is soon recorded
_PAUSE_S: Final = 1.2


class Person(NamedTuple):
    """Somebody in the meeting. `repeats_s`: how long the sentence takes that their microphone repeats, with a pause."""

    browser: Browser
    page: Page
    repeats_s: float


class DemoStage:
    """The demo's parts. `parts`: Redis, the manager, one agent and the others, as processes. `capture`: where
    recordings go, of which the offline engine makes words. `watched`: the dashboards need data. So the agent serves its
    metrics, the manager probes the room, a bot may be sent to a host that does not answer (`silent_link`), and nothing
    is recorded.
    """

    def __init__(self, *, min_idle: int, max_workers: int, watched: bool = False) -> None:
        self._room_port, self._receiver_port, agent_port, silent_port = free_ports(4)
        room, silent = f"127.0.0.1:{self._room_port}", f"127.0.0.1:{silent_port}"
        self.meeting_link = f"http://{room}/r/demo"
        self.silent_link = f"http://{silent}/r/demo"
        self.agent_metrics = f"127.0.0.1:{agent_port}"
        self.host_key = os.urandom(8).hex()
        self.host_link = f"{self.meeting_link}?host={self.host_key}&auto-admit=1"
        self.receiver = f"http://127.0.0.1:{self._receiver_port}"
        self.token = f"pm_{secrets.token_urlsafe(32)}"
        self._secret = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
        # Watched bots come and go all the time, and recording takes most of a machine.
        self.capture = CaptureSettings(store="" if watched else tempfile.mkdtemp(prefix="poolmgr-recordings-"))
        token = {"name": "demo", "sha256": hashlib.sha256(self.token.encode()).hexdigest()}
        webhooks = {"secrets": [self._secret], "allow_http": True, "allowed_networks": ["127.0.0.0/8"]}
        sections: dict[str, dict[str, Any]] = {
            "pool": {"min_idle": min_idle, "max_workers": max_workers},
            "meetings": {"room_hosts": [room]},
            "api": {"tokens": [token]},
            "webhooks": webhooks,
            "capture": {"store": self.capture.store},
            "worker": {"vm_id": "demo-vm", "drain_timeout_s": _DRAIN_S},
        }
        if watched:
            sections["meetings"]["room_hosts"].append(silent)
            sections["worker"]["metrics_listen"] = self.agent_metrics
            sections["probes"] = {"every_s": _PROBED_EVERY_S, "links": [{"name": "room", "link": self.meeting_link}]}
        else:
            sections["transcription"] = {"whisper_model": str(voice.model())}
        self.parts = Stage("demo", sections)

    @property
    def api(self) -> str:
        return f"{self.parts.api}/api/v1"

    @property
    def page(self) -> str:
        return f"{self.parts.api}/"

    async def start(self) -> None:
        """Start Redis, the room, the receiver, the manager and the agent. Raises: StageError."""
        parts = self.parts
        await parts.start_redis()
        await parts.start_room(self._room_port, "--host-key", self.host_key)
        listen, database = f"127.0.0.1:{self._receiver_port}", str(parts.folder / "bots.sqlite3")
        receiver = (sys.executable, str(_RECEIVER), "--listen", listen, "--database", database)
        parts.start("receiver", *receiver, WEBHOOK_SECRETS=self._secret)
        await parts.port_opens("receiver", self._receiver_port)
        await parts.start_manager()
        parts.start_agent()

    async def bring_in_person(self, playwright: Playwright, name: str) -> Person:
        """Start a browser whose user is the host, lets everybody in, and says a sentence again and again. Raises:
        StageError, and errors of the browser.
        """
        said = self.parts.folder / "said.wav"
        try:
            repeats_s = await asyncio.to_thread(voice.speak_again_and_again, said, _WORDS_A_MINUTE, _PAUSE_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise StageError(f"cannot make {name}'s voice: {error}") from error
        # A picture that only proves that there is one: the bots' browsers have to decode it, too.
        devices = (
            "--disable-default-apps",
            "--use-fake-device-for-media-stream=fps=5",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={said}",
        )
        # Ctrl-C also reaches Playwright's driver, and must not end it: the parts are stopped in order.
        heedless = {"handle_sigint": False, "handle_sigterm": False, "handle_sighup": False}
        ours = await browser.launch(playwright, *devices, **heedless)
        page = await ours.new_page()
        await page.goto(f"{self.host_link}&name={name}&join=1")
        await page.locator("#in-meeting").wait_for(state="visible", timeout=20_000)
        return Person(ours, page, repeats_s)

    async def lpush(self, payload: str) -> None:
        """Hand in a job with plain redis-cli, as any client could. Raises: StageError."""
        command = ("redis-cli", "-p", str(self.parts.redis_port), "LPUSH", "poolmgr:jobs", payload)
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, start_new_session=True)
        if await process.wait():
            raise StageError(f"redis-cli LPUSH ended with exit code {process.returncode}")

    def stop(self, *, interrupted: bool) -> list[str]:
        """SIGTERM to the agent, then to manager, receiver, room and Redis. Returns the faults that this showed.

        `interrupted`: a part that was just started may not handle signals yet, so that it dies of SIGTERM, or of Ctrl-C
        if it has no session of its own yet.
        """
        faults: list[str] = []
        for name in filter(self.parts.has, ("agent", "manager", "receiver", "room", "redis")):
            orderly = {0, -signal.SIGTERM} if name == "receiver" else {0}
            if interrupted:
                orderly |= {-signal.SIGTERM, -signal.SIGINT}
            try:
                code = self.parts.end(name)
                if code not in orderly:
                    faults.append(self.parts.ended(name, code))
            except StageError as error:
                faults.append(str(error))
        if faults:
            self.parts.kill_all()
        return faults

    def remove(self) -> None:
        """Remove everything except the recording."""
        shutil.rmtree(self.parts.folder)

    def remove_recording(self) -> None:
        shutil.rmtree(self.capture.store)
