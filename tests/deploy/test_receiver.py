"""The example receiver as its users run it: a program, an SQLite file, signed webhooks that come once or twice."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from common.jobs.outgoing import Delivery
from common.jobs.record import Record
from common.webhooks.envelope import deletion, render
from common.webhooks.signature import headers
from lab.parts.ports import free_ports
from tests.waiting import PATIENCE_S

PROGRAM = Path(__file__).parents[2] / "deploy" / "receiver" / "receiver.py"
SECRET, OLD_SECRET, FOREIGN = (f"whsec_{base64.b64encode(bytes([number]) * 32).decode()}" for number in range(3))
RECORD = Record.from_hash({"bot_id": "b", "callback_url": "http://127.0.0.1/", "custom_attributes": "{}"})


def change(state: str, status: str, reason: str = "", entry_id: str = "1-0", **more: str) -> list[Delivery]:
    facts = {"bot_id": "b", "state": state, "status": status, "reason": reason, "attempt": "1", **more}
    return render(entry_id, {**facts, "at": "2027-01-15T08:00:00.000000Z"}, RECORD)


class Program:
    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        command = (sys.executable, "-I", PROGRAM, "--listen", f"127.0.0.1:{self.port}", "--database", "bots.sqlite3")
        environment = {**os.environ, "WEBHOOK_SECRETS": f"{OLD_SECRET} {SECRET}"}
        self.process = subprocess.Popen(command, cwd=self._folder, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.bot("nobody")
                return self.process
            except ConnectionError:
                assert self.process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def call(self, path: str, body: bytes | None = None, fields: dict[str, str] | None = None) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, body, fields or {})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except urllib.error.URLError as error:
            raise ConnectionError(str(error)) from error

    def tell(self, delivery: Delivery, *secrets: str, now: float | None = None) -> int:
        signed = headers(delivery, secrets or (SECRET,), now or time.time())
        return self.call("/webhooks", delivery.body.encode(), signed)[0]

    def bot(self, bot_id: str = "b") -> dict[str, Any]:
        status, body = self.call(f"/bots/{bot_id}")
        return json.loads(body) if status == 200 else {}


@pytest.fixture
def receiver(tmp_path: Path) -> Generator[Program]:
    program = Program(tmp_path)
    yield program
    program.kill()


def test_a_bots_way_is_kept_through_repetition_and_kill_9(receiver: Program) -> None:
    (joining,) = change("joining", "Joining")
    end = change("stopped", "Stopped", "meeting_ended", "2-0", done="1")
    assert receiver.tell(joining) == 204
    assert (receiver.bot()["status"], receiver.bot()["done"]) == ("Joining", 0)
    for delivery in end[:3]:
        assert receiver.tell(delivery) == 204
    receiver.kill()
    receiver.start()
    assert receiver.tell(joining) == 204, "what came before may come again"
    half = receiver.bot()
    assert (half["status"], half["reason"], half["bot_event"]) == ("Stopped", "meeting_ended", "bot.stopped")
    for delivery in end[3:]:
        assert receiver.tell(delivery, FOREIGN, SECRET) == 204
    whole = receiver.bot()
    assert (whole["done"], whole["status"]) == (1, "Stopped")
    assert (whole["audio_webhook_received"], whole["transcript_webhook_received"]) == (0, 0), "both were skipped"
    files = {"recorded": "completed", "audio": "processed", "video": "", "before": "recording"}
    for made in (files, {"transcribed": "processed"}):
        for delivery in change("stopped", "Stopped", "meeting_ended", "3-0", **made):
            assert receiver.tell(delivery) == 204
    late = receiver.bot()
    assert (late["audio_webhook_received"], late["transcript_webhook_received"], late["status"]) == (1, 1, "Stopped")
    assert receiver.tell(deletion(RECORD, 3, "2027-01-15T08:00:01Z")) == 204
    assert receiver.bot() == {}


def test_what_nobody_signed_changes_nothing(receiver: Program) -> None:
    (delivery,) = change("joining", "Joining")
    signed = headers(delivery, (SECRET,), time.time())
    assert receiver.tell(delivery, FOREIGN) == 401
    assert receiver.tell(delivery, SECRET, now=time.time() - 3600) == 401
    assert receiver.call("/webhooks", delivery.body.encode() + b" ", signed)[0] == 401
    assert receiver.call("/webhooks", delivery.body.encode(), {**signed, "webhook-id": "evt_x"})[0] == 401
    assert receiver.call("/webhooks", delivery.body.encode())[0] == 401
    assert receiver.call("/webhooks", delivery.body.encode(), {**signed, "Content-Length": "9999999"})[0] == 413
    assert receiver.call("/elsewhere", b"{}")[0] == 404
    assert receiver.bot() == {}
    assert receiver.tell(delivery, OLD_SECRET) == 204


def test_it_uses_the_standard_library_only() -> None:
    words = PROGRAM.read_text().splitlines()
    imported = {line.split()[1].partition(".")[0] for line in words if line.startswith(("import ", "from "))}
    assert imported <= sys.stdlib_module_names


def test_without_secrets_it_says_what_to_set() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "WEBHOOK_SECRETS"}
    ended = subprocess.run((sys.executable, PROGRAM), env=environment, capture_output=True, timeout=PATIENCE_S)
    assert ended.returncode == 2
    assert b"WEBHOOK_SECRETS" in ended.stderr
