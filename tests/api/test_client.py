"""The published client, unmodified, with only its base address changed: every method, synchronous and asynchronous."""

import asyncio
import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from meetstream import (
    AsyncMeetStream,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    MeetStream,
    MeetStreamError,
    NotFoundError,
    NotReadyError,
    PermissionError,
    ServerError,
)

from tests.api.conftest import LINK, OWN, TOKEN, Caller, World

LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # than the last of all tests, which are collected first
ONCE = {"max_retries": 0}  # a 503 is answered to those who record; the client would ask twice more


class Both:
    """Calls a method of either client, by `"bots.create"`, and notes which were called."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.called: set[str] = set()

    async def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        self.called.add(name)
        method: Callable[..., Any] = self.client
        for part in name.split("."):
            method = getattr(method, part)
        if inspect.iscoroutinefunction(method):
            return await method(*arguments, **options)
        return await asyncio.to_thread(method, *arguments, **options)

    async def refused(
        self, kind: type[MeetStreamError], status: int, name: str, *arguments: Any, **options: Any
    ) -> None:
        with pytest.raises(kind) as caught:
            await self(name, *arguments, **options)
        assert caught.value.status == status
        assert caught.value.body["message"] == caught.value.message
        assert caught.value.request_id

    def has(self) -> set[str]:
        groups = ("bots", "transcripts", "calendar", "mia", "google_logins", "zoom", "storage")
        return {
            f"{group}.{name}"
            for group in groups
            for name, _ in inspect.getmembers(getattr(self.client, group), callable)
            if not name.startswith("_")
        }


async def _everything(world: World, client: Both) -> None:
    job = {"meeting_link": LINK, "bot_name": "Notetaker", "custom_attributes": {"tag": "x"}, "video_required": True}
    created = await client("bots.create", job, idempotency_key="k")
    bot_id = created["bot_id"]
    assert created == {
        "bot_id": bot_id,
        "transcript_id": None,
        "meeting_url": LINK,
        "status": "Active",
        "warnings": ["video_required: no picture is recorded, because there is no store (capture.store)"],
    }
    assert (await client("bots.create", job, idempotency_key="k"))["bot_id"] == bot_id
    await client.refused(ConflictError, 409, "bots.create", {**job, "bot_name": "other"}, idempotency_key="k")
    await client.refused(BadRequestError, 400, "bots.create", {"bot_name": "no link"})
    await world.until_state(bot_id, "in_meeting")
    await _in_the_meeting(client, bot_id)
    assert "told to leave" in (await client("bots.remove", bot_id))["message"]
    await world.until_state(bot_id, "stopped")
    await client.refused(NotFoundError, 404, "bots.remove", bot_id)
    await client.refused(NotFoundError, 404, "bots.wait_for_audio", bot_id, timeout=0.1, interval=0.05)
    assert (await client("bots.delete_data", bot_id))["bot_id"] == bot_id
    await client.refused(NotFoundError, 404, "bots.status", bot_id)
    later = (await client("bots.create", {**job, "join_at": LATER}))["bot_id"]
    [listed] = (await client("calendar.list_scheduled_bots"))["scheduled_bots"]
    assert listed["bot_id"] == later
    assert (await client("calendar.reschedule_bot", later, LATER.replace("T", " ")))["schedule_updated"]
    assert (await client("calendar.delete_scheduled_bot", later))["bot_id"] == later
    await client.refused(NotFoundError, 404, "calendar.delete_scheduled_bot", later)
    await _what_poolmgr_does_not_have(client)
    assert client.called == client.has()


async def _in_the_meeting(client: Both, bot_id: str) -> None:
    assert (await client("bots.status", bot_id))["status"] == "InMeeting"
    for question in ("bots.detail", "bots.summary"):
        assert (await client(question, bot_id))["bot_details"]["BotID"] == bot_id
    [row] = (await client("bots.list", params={"custom_attr[tag]": "x", "status": "InMeeting"}))["bots"]
    assert row["bot_id"] == bot_id
    for what in ("audio", "video", "audio_streams", "recording_streams", "screenshots", "speaker_timeline"):
        await client.refused(NotReadyError, 202, f"bots.{what}", bot_id)
    for what in ("wait_for_audio", "wait_for_video"):
        with pytest.raises(NotReadyError):
            await client(f"bots.{what}", bot_id, timeout=0.02, interval=0.01)
    assert await client("bots.participants", bot_id) == []
    assert (await client("bots.chats", bot_id))["chatMessages"] == []
    assert (await client("bots.send_message", bot_id, "hello"))["status"] == "accepted"
    await client.refused(
        ServerError, 501, "bots.send_image", bot_id, "https://images.example/x.png", display_duration=5
    )
    await client.refused(ServerError, 503, "bots.pause_recording", bot_id, **ONCE)
    await client.refused(ServerError, 503, "bots.resume_recording", bot_id, **ONCE)
    assert (await client("transcripts.list_for_bot", bot_id))["transcriptions"] == []
    await client.refused(ServerError, 501, "transcripts.transcribe_bot_audio", bot_id)
    await client.refused(NotFoundError, 404, "transcripts.get", "some-id", raw=True)
    await client.refused(NotFoundError, 404, "transcripts.wait_for", "some-id", timeout=1, interval=1)


async def _what_poolmgr_does_not_have(client: Both) -> None:
    for question in (
        "calendar.list", "calendar.events", "calendar.auto_schedule_settings", "mia.list", "google_logins.list",
        "google_logins.list_domains", "zoom.list_connections", "storage.get",
    ):  # fmt: skip
        [nothing] = {str(value) for value in (await client(question)).values()} - {"0", "", "None", "False"} or ["[]"]
        assert nothing == "[]"
    await client.refused(NotFoundError, 404, "google_logins.get_domain", "example.com")
    await client.refused(NotFoundError, 404, "zoom.get_connection", "user")
    writes: tuple[tuple[Any, ...], ...] = (
        ("calendar.connect_google", {}), ("calendar.connect_outlook", {}), ("calendar.disconnect",),
        ("calendar.schedule_event", "event/1"), ("calendar.unschedule_event", "event/1"),
        ("calendar.enable_auto_schedule",), ("calendar.disable_auto_schedule",), ("calendar.toggle_recurrence",),
        ("mia.create", {}), ("mia.update", "id", {}),
        ("mia.delete", "id"), ("google_logins.create_domain", {}), ("google_logins.update_domain", "example.com", {}),
        ("google_logins.delete_domain", "example.com"), ("google_logins.create", {}),
        ("google_logins.update", "id", {}),
        ("google_logins.delete", "id"), ("zoom.authorize_url",), ("zoom.create_connection", {}),
        ("zoom.delete_connection", "user"), ("storage.set", {}), ("storage.delete",),
    )  # fmt: skip
    for name, *arguments in writes:
        await client.refused(ServerError, 501, name, *arguments)


async def test_the_synchronous_client_gets_a_right_answer_from_every_method(world: World) -> None:
    async with world.leading() as call, world.agent().running():
        with MeetStream(TOKEN, base_url=f"{call.base}/api/v1") as client:
            await _everything(world, Both(client))


@pytest.mark.long
async def test_the_asynchronous_client_gets_a_right_answer_from_every_method(world: World) -> None:
    async with world.leading() as call, world.agent().running() as agent:
        async with AsyncMeetStream(TOKEN, base_url=f"{call.base}/api/v1") as client:
            await _everything(world, Both(client))
        assert [message for _, message in agent.said] == ["hello"]


async def test_a_client_without_a_right_token_raises_what_it_documents(world: World) -> None:
    async with world.serving() as call:
        base = f"{call.base}/api/v1"
        async with AsyncMeetStream("wrong", base_url=base) as client:
            with pytest.raises(PermissionError):
                await client.bots.list()
        async with AsyncMeetStream(TOKEN, base_url=base, default_headers={"Authorization": "None"}) as client:
            with pytest.raises(AuthenticationError):
                await client.bots.list()
        async with AsyncMeetStream(OWN, base_url=base) as client:
            assert (await client.bots.list())["bots"] == []


def _older_client(call: Caller, link: str) -> dict[str, int]:
    """What the other published client (`meetstream` 0.1.0, on requests) sends: it takes the place of the first one, so
    that only one of the two can be installed.
    """
    session = requests.Session()
    session.headers["Authorization"] = f"Token {TOKEN}"
    base = f"{call.base}/api/v1"
    payload: dict[str, Any] = {
        "meeting_link": link, "bot_name": "Agent", "video_required": False, "audio_required": False,
        "bot_message": "Hey Everyone 👋", "bot_image_url": "https://images.example/x.jpeg",
        "socket_connection_url": "wss://socket.example/", "live_audio_required": {"websocket_url": "wss://socket.example/"},
        "live_transcription_required": {"webhook_url": "https://hooks.example/"}, "transcription": {"deepgram": {}},
        "custom_attributes": {"tag": "Maddy", "sample": "testing"}, "callback_url": "https://hooks.example/",
    }  # fmt: skip
    created = session.post(f"{base}/bots/create_bot", json=payload)
    bot = f"{base}/bots/{created.json()['bot_id']}"
    said = {"create_bot": created.status_code}
    for name in ("status", "detail", "get_audio", "get_video", "get_speaker_timeline", "get_chats", "get_screenshots",
                 "get_participants"):  # fmt: skip
        said[name] = session.get(f"{bot}/{name}").status_code
    raw = {"raw": "True"}
    said["get_transcript"] = session.get(f"{base}/transcript/None/get_transcript", params=raw).status_code
    said["create_calendar"] = session.post(
        f"{base}/calendar/create_calendar", json={"google_client_id": "x"}
    ).status_code
    said["remove_bot"] = session.get(f"{bot}/remove_bot").status_code
    session.close()
    return said


async def test_the_older_client_gets_answers_that_it_can_read(world: World) -> None:
    async with world.leading() as call:
        said = await asyncio.to_thread(_older_client, call, LINK)
    recordings = dict.fromkeys(("get_audio", "get_video", "get_speaker_timeline", "get_screenshots"), 202)
    assert said == {
        **dict.fromkeys(("status", "detail", "get_chats", "get_participants", "remove_bot"), 200),
        **recordings,
        "create_bot": 201,
        "get_transcript": 404,
        "create_calendar": 501,
    }
