"""One bot without a manager and without Redis, in a real browser, or in the fault suite's stand-in where a test asks no
more of it: how it ends, and what its receiver is told.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner
from standardwebhooks import Webhook

from common.config.settings import CaptureSettings, WebhookSettings
from common.jobs.record import Job
from common.wire.messages import BotEnded, BotMoved, BotRecorded, PermissionSeen
from common.wire.vocabulary import BotState, Reason
from lab.chaos.observers.witness import Witness
from lab.chaos.stand_in.chromium import write_program
from lab.meeting.server import create_app
from lab.parts.host import hosting
from tests.fork_server import Forked, ForkServer
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.visits import serving
from worker.cli.once import exit_code
from worker.cli.root import cli
from worker.once import CannotJoinError, Outcome, join_of
from worker.receiver import Receiver

HOST_KEY = "a-host-key"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FLAT = ["bot.joining", "bot.in_waiting_room", "bot.inmeeting", "bot.leaving", "bot.stopped"]

Once = Callable[..., Forked]


class Inbox:
    """A receiver of webhooks, which checks each signature. The first `failing` are answered 500."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.failing = 0
        self.calls = 0

    async def take(self, request: web.Request) -> web.Response:
        self.calls += 1
        body = await request.read()
        Webhook(SECRET).verify(body, dict(request.headers))
        if self.calls <= self.failing:
            return web.Response(status=500)
        self.bodies.append(json.loads(body))
        return web.Response()

    @property
    def events(self) -> list[str]:
        return [body["bot_event"] for body in self.bodies]


@pytest.fixture
async def inbox() -> AsyncGenerator[tuple[Inbox, str]]:
    inbox, app = Inbox(), web.Application()
    app.router.add_post("/hook", inbox.take)
    async with serving(app) as address:
        yield inbox, f"{address}/hook"


@pytest.fixture
async def room() -> AsyncGenerator[str]:
    async with serving(create_app(HOST_KEY)) as address:
        yield address


@pytest.fixture
def once(fork_server: ForkServer, tmp_path: Path, room: str) -> Generator[Once]:
    """Starts `poolmgr-worker once` for a bot of that room. To be called before there is a host: the first start of a
    program takes its time, in which the room would give up a host that does not answer.
    """
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    started: list[Forked] = []

    def start(
        callback_url: str,
        *arguments: str,
        store: Path | str = "",
        settings: dict[str, str] | None = None,
        **fields: Any,
    ) -> Forked:
        environment = {
            **os.environ,
            "TMPDIR": str(temporary),
            "POOLMGR_MEETINGS__ROOM_HOSTS": json.dumps([room.removeprefix("http://")]),
            "POOLMGR_WEBHOOKS__SECRETS": json.dumps([SECRET]),
            "POOLMGR_WEBHOOKS__ALLOW_HTTP": "true",
            "POOLMGR_WEBHOOKS__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
            "POOLMGR_WEBHOOKS__RETRY_FIRST_S": "0.1",
            "POOLMGR_WORKER__LAUNCH_TIMEOUT_S": str(PATIENCE_S),
            "POOLMGR_CAPTURE__STORE": str(store),
            **(settings or {}),
        }
        job = {"meeting_link": f"{room}/r/test", "bot_id": "b", "bot_name": "Bot", "callback_url": callback_url}
        words = ("once", "--job", json.dumps({**job, **fields}), "--json", *arguments)
        started.append(fork_server.start_read("worker", *words, environment=environment))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
async def stand_in(tmp_path: Path) -> AsyncGenerator[dict[str, Any]]:
    """What to start one with, whose browser is a stand-in."""
    async with Witness() as witness:
        settings = {
            "POOLMGR_MEETINGS__ROOM_HOSTS": json.dumps([witness.address]),
            "POOLMGR_WORKER__CHROMIUM": str(write_program(tmp_path / "stand-in", witness.address)),
        }
        yield {"settings": settings, "meeting_link": f"http://{witness.address}/r/chaos?tag=b&lobby_s=0.1"}


async def so(process: Forked, condition: Callable[[], object]) -> None:
    """Wait until it is so, and no longer than the program runs."""
    await wait_until(lambda: condition() or process.poll() is not None)
    assert condition(), process.communicate(PATIENCE_S)


async def ended(process: Forked) -> tuple[int, dict[str, Any]]:
    out, err = await asyncio.to_thread(process.communicate, PATIENCE_S)
    assert process.returncode is not None
    assert out, err
    return process.returncode, json.loads(out.splitlines()[-1])


@pytest.mark.long
async def test_a_call_that_its_host_ends_is_told_in_order_and_leaves_nothing(
    once: Once, inbox: tuple[Inbox, str], room: str, tmp_path: Path
) -> None:
    box, url = inbox
    box.failing = 1
    process = once(url, custom_attributes={"tenant": "acme"}, bot_message="I am in")
    async with hosting(f"{room}/r/test", HOST_KEY) as host:
        await so(process, lambda: "Bot" in host.lobby and "bot.in_waiting_room" in box.events)
        await host.say("admit", id=host.lobby["Bot"])
        await so(process, lambda: "Bot" in host.names)
        await so(process, lambda: "bot.inmeeting" in box.events and host.chat)
        await host.say("end_for_all")
        code, said = await ended(process)
    assert code == 0
    assert (said["status"], said["reason"], said["webhooks_untold"]) == ("Stopped", "meeting_ended", 0)
    told = [event for event in box.events if event in FLAT]
    assert told == [event for event in FLAT if event in told]
    assert {"bot.joining", "bot.in_waiting_room", "bot.inmeeting", "bot.stopped"} <= set(told)
    assert box.events[-1] == "bot.done"
    assert len({body["id"] for body in box.bodies}) == len(box.bodies)
    assert {body["custom_attributes"]["tenant"] for body in box.bodies} == {"acme"}
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_one_that_is_denied_ends_with_a_code_of_its_own_and_evidence_is_saved(
    once: Once, inbox: tuple[Inbox, str], stand_in: dict[str, Any], tmp_path: Path
) -> None:
    box, url = inbox
    stand_in["meeting_link"] += "&deny=1"
    code, said = await ended(once(url, "--save", str(tmp_path / "saved"), **stand_in))
    assert (code, said["status"], said["reason"]) == (7, "Denied", "request_denied")
    assert "bot.denied" in box.events
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["b-1.zip"]


@pytest.mark.long
async def test_sigterm_takes_it_out_of_the_call_in_good_order_and_its_recording_is_finished(
    once: Once, inbox: tuple[Inbox, str], room: str, tmp_path: Path
) -> None:
    box, url = inbox
    process = once(url, store=tmp_path / "store")
    async with hosting(f"{room}/r/test", HOST_KEY) as host:
        await host.say("auto_admit", on=True)
        await so(process, lambda: "bot.recording" in box.events)
        await so(process, lambda: any(path.suffix == ".webm" for path in tmp_path.rglob("*")))
        process.send_signal(signal.SIGTERM)
        code, said = await ended(process)
        await wait_until(lambda: "Bot" not in host.names)
    assert (code, said["status"], said["reason"]) == (0, "Stopped", "user_requested")
    of_end = ["bot.stopped", "manifest.completed", "audio.processed", "transcription.skipped", "bot.done"]
    assert box.events[-5:] == of_end
    assert list((tmp_path / "store").rglob("manifest.json"))
    assert list((tmp_path / "tmp").iterdir()) == []


def receiver_of(url: str) -> Receiver:
    job = Job(platform="room", meeting_url="http://h/r/x", bot_name="N", bot_id="b", callback_url=url, payload="{}")
    return Receiver(job, WebhookSettings(secrets=[SECRET], allow_http=True, allowed_networks=["127.0.0.0/8"]), "test")


@pytest.mark.parametrize(
    ("why", "told"), [("", "nobody has made files of its recording in time"), ("no file was made", "no file was made")]
)
async def test_files_that_nobody_made_in_time_are_told_of_as_skipped_and_then_all_is_done(
    inbox: tuple[Inbox, str], why: str, told: str
) -> None:
    box, url = inbox
    receiver = receiver_of(url)
    receiver.tell(BotMoved("vm", "w", "b", 1, time.time(), BotState.IN_MEETING))
    receiver.tell(BotRecorded("vm", "b", 1, time.time()))
    receiver.tell(BotEnded("vm", "w", "b", 1, time.time(), Reason.EVERYONE_LEFT))
    if why:
        receiver.tell(BotRecorded("vm", "b", 1, time.time(), unmade=why))
    receiver.close()
    async with asyncio.timeout(PATIENCE_S):
        await receiver.run(asyncio.Event())
    skipped = ["manifest.skipped", "audio.skipped", "transcription.skipped"]
    assert box.events == ["bot.inmeeting", "bot.recording", "bot.stopped", *skipped, "bot.done"]
    messages = [body["message"] for body in box.bodies[3:5]]
    assert messages == [f"There is no manifest: {told}.", f"There is no audio: {told}."]


async def test_files_of_which_is_told_twice_are_told_once(inbox: tuple[Inbox, str]) -> None:
    box, url = inbox
    receiver = receiver_of(url)
    receiver.tell(BotMoved("vm", "w", "b", 1, time.time(), BotState.IN_MEETING))
    receiver.tell(BotRecorded("vm", "b", 1, time.time()))
    receiver.tell(BotEnded("vm", "w", "b", 1, time.time(), Reason.EVERYONE_LEFT))
    for _ in range(2):
        receiver.tell(BotRecorded("vm", "b", 1, time.time(), finished=True, audio_s=60.0))
    receiver.close()
    async with asyncio.timeout(PATIENCE_S):
        await receiver.run(asyncio.Event())
    assert box.events.count("manifest.completed") == 1
    assert [event for event in box.events if box.events.count(event) > 1] == []


async def test_that_the_meeting_permits_no_recording_and_that_it_permits_it_again_is_told(
    inbox: tuple[Inbox, str],
) -> None:
    box, url = inbox
    receiver = receiver_of(url)
    who = ("vm", "w", "b", 1, time.time())
    receiver.tell(BotMoved(*who, BotState.IN_MEETING))
    receiver.tell(PermissionSeen(*who, allowed=False, number=1))
    receiver.tell(PermissionSeen(*who, allowed=True, number=2))
    receiver.close()
    async with asyncio.timeout(PATIENCE_S):
        await receiver.run(asyncio.Event())
    told = ["bot.recording_permission_denied", "bot.recording_permission_allowed"]
    assert box.events == ["bot.inmeeting", *told]


@pytest.mark.long
async def test_a_receiver_that_never_answers_is_given_up_after_its_end(once: Once, stand_in: dict[str, Any]) -> None:
    stand_in["meeting_link"] += "&deny=1"
    code, said = await ended(once("http://127.0.0.1:1/hook", "--webhooks-s", "0.2", **stand_in))
    assert code == 7
    assert said["webhooks_untold"] >= 3


@pytest.mark.parametrize(
    ("joined", "stopped", "reason", "code"),
    [
        (True, False, None, 1),
        (False, True, None, 130),
        (False, True, Reason.USER_REQUESTED, 130),
        (True, True, Reason.USER_REQUESTED, 0),
        (True, False, Reason.REMOVED_BY_HOST, 0),
        (False, False, Reason.PASSCODE_WRONG, 7),
        (False, False, Reason.WAITING_ROOM_TIMEOUT, 7),
        (True, False, Reason.BROWSER_CRASHED, 1),
        (False, False, Reason.CAPTCHA, 1),
    ],
)
def test_the_exit_code_says_the_end(joined: bool, stopped: bool, reason: Reason | None, code: int) -> None:
    end = BotEnded("once", "once", "b", 1, 0.0, reason) if reason else None
    assert exit_code(Outcome(joined, stopped, end, "")) == code


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("{}", "no_link"),
        ('{"meeting_link": "nonsense"}', "bad_link"),
        ("/nowhere/job.json", "cannot read the job from /nowhere/job.json: No such file"),
    ],
)
def test_a_job_that_is_none_is_refused_at_once(job: str, words: str) -> None:
    result = CliRunner().invoke(cli, ["once", "--job", job])
    assert result.exit_code == 2
    assert words in result.output


def test_a_job_may_come_by_standard_input() -> None:
    result = CliRunner().invoke(cli, ["once", "--job", "-"], input='{"meeting_link": "http://evil.example/r/x"}')
    assert result.exit_code == 2
    assert "bad_link" in result.output


def test_a_platform_without_an_adapter_cannot_be_joined() -> None:
    job = Job(bot_id="b", meeting_url="https://x", platform="webex", bot_name="B", payload="{}")
    with pytest.raises(CannotJoinError, match="no adapter for webex"):
        join_of(job, CaptureSettings())


def test_its_name_says_that_it_records_where_the_operator_wants_that() -> None:
    job = Job(bot_id="b", meeting_url="https://x", platform="room", bot_name="B", payload="{}")
    assert join_of(job, CaptureSettings(store="/kept", name_suffix=" (rec)")).bot_name == "B (rec)"
