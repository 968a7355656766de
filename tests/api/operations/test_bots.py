"""Bots through the API: found, shown, taken out, deleted; each only by who may."""

import asyncio
import io
import json
import re
import time
import zipfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from common.config.settings import CaptureSettings, MeetingSettings
from common.jobs.record import iso
from common.runtime.recordings import deletion
from common.runtime.recordings.store import Store, StoreError
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, M4A, PROGRESS, VIDEO, Audio, Gap, Kind, Manifest, SoundTrack, Video
from common.wire.messages import BotRecorded, BotSaw, BotTranscribed
from common.wire.minutes import Turn
from common.wire.vocabulary import BotState, Reason
from poolmgr.api.routes import OPERATIONS
from poolmgr.core.decisions import End, Enqueue, Note, NoteRecorded, Pause, Why
from poolmgr.core.requests import PauseRequested, SayRequested
from poolmgr.store import forgetting
from poolmgr.store.actions import By, Way
from poolmgr.store.leader.recordings import DueRecordings
from poolmgr.store.leader.transcriptions import DueTranscriptions
from poolmgr.store.lives import DELETED_MARK_LIFE_S, MADE_WITHIN_S
from poolmgr.store.reading.views import decode_request
from poolmgr.store.transcriptions import Transcription, Transcriptions
from tests.api.conftest import LINK, OWN, Caller, World, token
from tests.common.runtime.recordings.test_sound import write_ogg


async def _ids(call: Caller, query: str = "") -> list[str]:
    answer = await call("GET", f"/bots{query}")
    assert answer.status == 200, answer.message
    return [bot["bot_id"] for bot in answer.body["bots"]]


async def test_bots_are_found_by_what_is_asked_for(world: World) -> None:
    hand = await world.ledger()
    await hand.accept("b1", user_id="u1", custom_attributes={"tag": "Maddy", "n": 5, "deep": {"a": [1]}})
    hand.at += 86400
    await hand.accept("b2", calendar_event_id="c/1", meeting_link="https://meet.google.com/abc-defg-hij")
    await hand.end("b2", Reason.BROWSER_CRASHED)
    await hand.accept("b3", BotState.SCHEDULED, custom_attributes={"tag": "Maddy"}, join_at="2027-02-01T00:00:00Z")
    hand.at += 86400
    await hand.enter("b4", custom_attributes={"n": "5"})
    async with world.serving() as call:
        for query, expected in {
            "": ["b4", "b3", "b2", "b1"],
            "?status=inmeeting": ["b4"],
            "?status=JOINING": ["b1"],
            "?status=Failed": ["b2"],
            "?status=scheduled": ["b3"],
            "?status=Stopped": [],
            "?status=Done": [],
            "?platform=GMeet": ["b2"],
            "?platform=Room": ["b4", "b3", "b1"],
            "?user_id=u1": ["b1"],
            "?calendar_event_id=c%2F1": ["b2"],
            "?custom_attr%5Btag%5D=Maddy": ["b3", "b1"],
            "?custom_attr[n]=5": ["b1"],
            "?custom_attr[n]=%225%22": ["b4"],
            "?custom_attr[deep]=%7B%22a%22:[1]%7D": ["b1"],
            "?custom_attr[tag]=Maddy&custom_attr[n]=5": ["b1"],
            "?custom_attr[tag]=NaN": [],
            "?from=2027-01-16": ["b4", "b3", "b2"],
            "?to=2027-01-15": ["b1"],
            "?from=2027-01-16&to=2027-01-16&platform=room": ["b3"],
            "?unknown=1&user_id=u1": ["b1"],
        }.items():
            assert await _ids(call, query) == expected, query


async def test_bots_are_found_by_a_platform_that_only_the_settings_name(world: World) -> None:
    world.settings = msgspec.structs.replace(
        world.settings, meetings=MeetingSettings(["127.0.0.1:8090"], other_hosts={"webex": ["webex.com"]})
    )
    hand = await world.ledger()
    await hand.accept("b1")
    await hand.accept("b2", meeting_link="https://acme.webex.com/meet/ann")
    async with world.serving() as call:
        assert await _ids(call, "?platform=webex") == await _ids(call, "?platform=Webex") == ["b2"]
        answer = await call("GET", "/bots?platform=skype")
        assert (answer.status, answer.message) == (400, "platform: is none of GMeet, Zoom, Teams, Jitsi, Room, webex")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "limit: expected `int` >= 1"), ("limit=101", "limit: expected `int` <= 100"), ("limit=x", "limit:"),
        ("status=Sleeping", "status: is none of Scheduled, Joining"), ("platform=Webex", "platform: is none of GMeet"),
        ("from=2027-02-30", "from: 2027-02-30 is no day"), ("to=yesterday", "to: expected `str` matching"),
        ("to=9999-12-31", "to: 9999-12-31 is no day"), ("from=2027-01-02&to=2027-01-01", "from: is a later day"),
        ("cursor=garbage", "cursor: "), ("limit=1&limit=2", "limit: is given twice"), ("custom_attr=x", "[KEY]=VALUE"),
        ("custom_attr=x&custom_attr[a]=1", "custom_attr[KEY]=VALUE"),
        ("custom_attr[a]=%22%5Cud800%22", "half a surrogate"),
        ("custom_attr[a]={%22%5CuDfff%22:1}", "half a surrogate"),
        ("custom_attr[a]=[%22%5Cud800%20%5Cudc00%22]", "half a surrogate"),
    ],
)  # fmt: skip
async def test_a_question_that_cannot_be_answered_says_why(world: World, query: str, words: str) -> None:
    async with world.serving() as call:
        answer = await call("GET", f"/bots?{query}")
        assert answer.status == 400
        assert words in answer.message


async def test_pages_follow_one_another_without_a_gap(world: World) -> None:
    hand = await world.ledger()
    for number in range(25):
        hand.at += number % 3
        await hand.accept(f"b{number:02}")
    async with world.serving() as call:
        found: list[str] = []
        cursor = ""
        while True:
            body = (await call("GET", f"/bots?limit=10{cursor}")).body
            found += [bot["bot_id"] for bot in body["bots"]]
            assert body["hasNextPage"] is bool(body["nextCursor"])
            if not body["hasNextPage"]:
                break
            cursor = f"&cursor={body['nextCursor']}"
        assert found == [f"b{number:02}" for number in reversed(range(25))]


async def test_a_token_that_sees_its_own_sees_nothing_else(world: World) -> None:
    hand = await world.ledger()
    await hand.accept("theirs", owner="app")
    await hand.accept("mine", owner="own")
    await hand.accept("nobodys")
    async with world.serving() as call:
        own = call.as_(OWN)
        assert await _ids(own) == ["mine"]
        assert await _ids(call) == ["theirs", "nobodys", "mine"]
        for method, path in (
            ("GET", "status"), ("GET", "detail"), ("GET", "remove_bot"), ("DELETE", "delete"), ("GET", "get_chats"),
            ("GET", "get_participants"), ("GET", "get_audio"), ("POST", "pause_recording"), ("GET", "transcriptions"),
        ):  # fmt: skip
            assert (await own(method, f"/bots/theirs/{path}")).status == 403
            assert (await own(method, f"/bots/nobodys/{path}")).status == 403
        assert (await own("POST", "/bots/theirs/send_message", {"message": "hi"})).status == 403
        assert (await own("DELETE", "/calendar/scheduled_bots/theirs")).status == 403
        assert (await own("GET", "/bots/mine/status")).status == 200


READER = "pm_a-third-token-that-changes-nothing"


async def test_a_token_that_may_only_read_changes_nothing_and_the_log_says_who_changed_what(world: World) -> None:
    world.change(tokens=[*world.settings.api.tokens, token("wall", READER, role="read")])
    hand = await world.ledger()
    await hand.enter("b1")
    with capture_logs() as lines:
        async with world.serving() as call:
            reader = call.as_(READER)
            assert (await reader("GET", "/bots/b1/status")).status == 200
            for operation in OPERATIONS:
                if operation.changes:
                    said = await reader(operation.method, re.sub(r"\{\w+\}", "b1", operation.path), {})
                    assert (said.status, "may only read" in said.message) == (403, True), operation
            assert await world.redis.xlen(world.keys.control) == 0
            assert (await call("GET", "/bots/b1/remove_bot")).status == 200
    acted = [(line["log_level"], line["token"], line["bot_id"]) for line in lines if "bot_id" in line]
    assert acted == [("info", "app", "b1")]


async def test_the_detail_tells_the_bots_way_and_why_it_ended(world: World) -> None:
    hand = await world.ledger()
    await hand.enter(
        "b1", user_id="u", custom_attributes={"a": [1]}, bot_image_url="https://images.example/x.png", x=1e300
    )
    await hand.end("b1", Reason.REMOVED_BY_HOST)
    async with world.serving() as call:
        answer = await call("GET", "/bots/b1/detail")
        assert (await call("GET", "/bots/b1/summary")).body == answer.body
    details: dict[str, Any] = answer.body["bot_details"]
    assert (details["BotID"], details["Platform"], details["Status"]) == ("b1", "Room", "Done")
    assert (details["Reason"], details["Attribution"], details["Duration"]) == ("removed_by_host", "host", 58)
    assert (details["MeetingLink"], details["BotImageURL"]) == (LINK, "https://images.example/x.png")
    assert details["custom_attributes"] == {"a": [1]}
    assert details["RequestPayload"]["x"] == 1e300
    assert details["caption_file"] == {"available": False}
    assert details["ErrorReason"] == "", "it ended as Stopped"
    assert (details["transcript_webhook_received"], details["audio_webhook_received"]) == (False, False)
    reached = {stage: told["timestamp"] for stage, told in details["StatusTimeline"].items() if told["status"]}
    assert reached == {
        "Joining": "2027-01-15T08:00:01.000000Z",
        "InMeeting": "2027-01-15T08:00:02.000000Z",
        "Stopped": "2027-01-15T08:01:00.000000Z",
        "Done": "2027-01-15T08:01:00.000000Z",
    }


async def test_the_way_of_a_recording_is_told_as_webhooks_tell_it(world: World, tmp_path: Path) -> None:
    async def shown() -> tuple[dict[str, Any], set[str]]:
        details = (await call("GET", "/bots/b1/detail")).body["bot_details"]
        for word in ("InMeeting", "Recording", "Stopped", "Done"):
            found = await _ids(call, f"?status={word}")
            within = {"Recording": ("InMeeting", "Recording"), "Done": ("Stopped", "Done")}
            assert found == (["b1"] if word in within.get(details["Status"], (details["Status"],)) else [])
        [row] = (await call("GET", "/bots")).body["bots"]
        assert (
            row["status"] == row["Status"] == (await call("GET", "/bots/b1/status")).body["status"] == details["Status"]
        )
        return details, {stage for stage, told in details["StatusTimeline"].items() if told["status"]}

    hand, due = await world.ledger(), DueRecordings(world.redis, world.keys, 1)
    recorded = BotRecorded("vm-a", "b1", 1, hand.at + 3, kinds=("audio",))
    written = BotTranscribed("vm-a", "b1", 1, hand.at + 3)
    await hand.enter("b1")
    async with world.serving() as call:
        details, stages = await shown()
        assert [details[f"{name}Status"] for name in ("Manifest", "Audio", "Transcript")] == ["", "", ""]
        assert (details["Status"], stages) == ("InMeeting", {"Joining", "InMeeting"})
        await hand.apply(NoteRecorded(recorded), NoteRecorded(written))
        details, stages = await shown()
        assert (details["Status"], stages) == ("Recording", {"Joining", "InMeeting", "Recording"})
        assert details["StatusTimeline"]["Recording"]["timestamp"] == iso(hand.at + 3)
        await hand.end("b1")
        details, stages = await shown()
        assert (details["Status"], "Done" in stages) == ("Stopped", False)
        await hand.apply(NoteRecorded(msgspec.structs.replace(recorded, at=hand.at + 90, finished=True, audio_s=9.0)))
        details, stages = await shown()
        assert (details["Status"], stages >= {"AudioProcessing"}, "VideoProcessing" in stages) == (
            "Stopped",
            True,
            False,
        )
        await hand.apply(
            NoteRecorded(msgspec.structs.replace(written, at=hand.at + 95, finished=True, utterances=2)),
        )
        details, stages = await shown()
        assert (details["Status"], details["StatusCreatedAt"]) == ("Done", iso(hand.at + 95))
        assert stages >= {"TranscriptionReady", "Done"}
        await due.note_deleted("b1", hand.at + 3600)
        details, stages = await shown()
        assert (details["Status"], details["LastUpdatedAt"]) == ("Done", int(hand.at) + 3600)
        assert "MediaExpired" in stages


@pytest.mark.parametrize(
    ("reason", "status", "stage"),
    [
        (Reason.REQUEST_DENIED, "Denied", "BotRejected"),
        (Reason.WAITING_ROOM_TIMEOUT, "NotAllowed", "BotNotAllowed"),
        (Reason.NO_CAPACITY, "Error", "Error"),
    ],
)
async def test_each_kind_of_end_is_a_stage_of_its_own(world: World, reason: Reason, status: str, stage: str) -> None:
    hand = await world.ledger()
    await hand.accept("b1", bot_image_url=5)
    await hand.end("b1", reason)
    async with world.serving() as call:
        details = (await call("GET", "/bots/b1/detail")).body["bot_details"]
    assert (details["Status"], details["ErrorReason"]) == (status, reason)
    assert [name for name, told in details["StatusTimeline"].items() if told["status"]] == [stage, "Done"]


async def test_what_is_wrong_with_a_live_feed_is_a_warning_as_long_as_it_is(world: World) -> None:
    hand = await world.ledger()
    await hand.accept("b1")
    async with world.serving() as call:
        for status, warned in (("waiting", True), ("captions_unavailable", True), ("connected", False)):
            await world.redis.hset(world.keys.bot("b1"), "live_transcription_status", status)
            detail = (await call("GET", "/bots/b1/detail")).body["bot_details"]
            assert detail["live_transcription_status"] == status
            warnings = (await call("GET", "/bots/b1/status")).body["warnings"]
            assert detail["warnings"] == warnings
            assert [warning.startswith(f"live_transcription_required: {status}") for warning in warnings] == [
                True
            ] * warned


async def test_what_is_wrong_with_a_recording_is_a_warning_until_its_files_are_made(
    world: World, tmp_path: Path
) -> None:
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(tmp_path)))
    stalled = "capture_failed: nothing comes of the picture"
    away = "the store does not take the recording, which waits on the disk"
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.enter("unrecorded", audio_required=False)

    async def saw(did: str, bot_id: str = "b1") -> None:
        hand.at += 1
        await hand.apply(Note(BotSaw("vm-a", f"worker-{bot_id}", bot_id, 1, hand.at, "in_meeting", did=did)))

    async with world.serving() as call:

        async def warned(bot_id: str = "b1") -> list[str]:
            warnings = (await call("GET", f"/bots/{bot_id}/status")).body["warnings"]
            assert (await call("GET", f"/bots/{bot_id}/detail")).body["bot_details"]["warnings"] == warnings
            return warnings

        assert await warned() == []
        for did in (stalled, f"{away}: no route to 10.0.0.7", stalled, "say hello"):
            await saw(did)
        await saw(stalled, "unrecorded")
        assert await warned() == [f"recording: {stalled}", f"recording: {away}"], "and no address of the operator's"
        assert await warned("unrecorded") == []
        await saw("the store takes the recording again")
        assert await warned() == [f"recording: {stalled}"]
        await hand.apply(NoteRecorded(BotRecorded("vm-a", "b1", 1, hand.at)))
        await hand.end("b1")
        assert await warned() == [f"recording: {stalled}"], "the agent still makes its files"
        await hand.apply(NoteRecorded(BotRecorded("vm-a", "b1", 1, hand.at, finished=True, audio_s=9.0)))
        assert await warned() == []


async def test_the_detail_says_what_the_callback_took(world: World) -> None:
    hand = await world.ledger()
    await hand.accept("b1")
    async with world.serving() as call:
        for name in ("audio_webhook_received", "transcript_webhook_received"):
            await world.redis.hset(world.keys.bot("b1"), name, 1)
            assert (await call("GET", "/bots/b1/detail")).body["bot_details"][name] is True


async def test_a_bot_is_taken_out_of_its_meeting_once(world: World) -> None:
    async with world.leading() as call, world.agent().running():
        for method in ("GET", "POST", "DELETE"):
            bot_id = (await call.create()).body["bot_id"]
            await world.until_state(bot_id, "in_meeting")
            assert (await call(method, f"/bots/{bot_id}/remove_bot")).status == 200
            await world.until_state(bot_id, "stopped")
            again = await call(method, f"/bots/{bot_id}/remove_bot")
            assert (again.status, again.message) == (404, "This bot has already stopped.")


async def test_a_bot_whose_job_nobody_took_cannot_be_taken_out_yet(world: World) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with world.serving() as call:
        bot_id = (await call.create()).body["bot_id"]
        assert (await call("GET", f"/bots/{bot_id}/remove_bot")).status == 503
        assert (await call("DELETE", f"/bots/{bot_id}/delete")).status == 409
        bot_id = (await call.create(join_at=later)).body["bot_id"]
        assert (await call("DELETE", f"/calendar/scheduled_bots/{bot_id}")).status == 503


@pytest.mark.parametrize("is_written", [True, False], ids=["is there", "is awaited"])
async def test_bot_done_is_told_once_also_of_a_bot_that_is_deleted_while_its_transcript_is_awaited(
    world: World, *, is_written: bool
) -> None:
    hand = await world.ledger()
    await hand.enter("b1", callback_url="https://hooks.example/x")
    await hand.apply(NoteRecorded(BotTranscribed("v", "b1", 1, hand.at)))
    await hand.end("b1")
    if is_written:
        await hand.apply(NoteRecorded(BotTranscribed("v", "b1", 1, hand.at, finished=True, utterances=2)))
    told = [fields.get(b"done") for _, fields in await world.redis.xrange(world.keys.outbox)]
    assert (b"1" in told) == is_written
    await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    deliveries = [json.loads(fields[b"delivery"]) for _, fields in await world.redis.xrange(world.keys.outbox)]
    assert [one["event"] for one in deliveries] == [*([] if is_written else ["bot.done"]), "data_deletion"]


@pytest.mark.parametrize("callback_url", ["", "https://hooks.example/x"])
async def test_the_receiver_of_a_transcript_that_is_being_made_is_told_that_its_bot_was_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch, callback_url: str
) -> None:
    monkeypatch.setattr("poolmgr.api.operations.bots._FORGET_WITHIN_S", 0.05)
    hand = await world.ledger()
    await hand.enter("b1", **({"callback_url": callback_url} if callback_url else {}))
    await hand.end("b1")
    await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
    transcriptions, due = Transcriptions(world.redis, world.keys), DueTranscriptions(world.redis, world.keys, 1)
    asked = Transcription("openai", iso(hand.at), callback="https://theirs.example/x")
    async with world.serving() as call:
        await transcriptions.ask("b1", asked, hand.at, By("app", Way.API))
        one = await due.under_way("b1")
        assert one
        await due.conclude(one, hand.at, utterances=1)
        assert (await call("DELETE", "/bots/b1/delete")).status == 503, "that it is there has still to be told"
        await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
        await transcriptions.ask("b1", asked, hand.at, By("app", Way.API))
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    deliveries = [json.loads(fields[b"delivery"]) for _, fields in await world.redis.xrange(world.keys.outbox)]
    theirs, its = ("transcription.skipped", asked.callback), ("data_deletion", callback_url)
    assert [(one["event"], one["url"]) for one in deliveries] == ([theirs, its] if callback_url else [theirs])


def before_it_is_forgotten(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Awaitable[object]]) -> None:
    """Have `act` happen once, when what there was has been read and nothing is deleted yet."""
    acts, real = [act], forgetting.forget

    async def act_before(*arguments: Any, **options: Any) -> int:
        if acts:
            await acts.pop()()
        return await real(*arguments, **options)

    monkeypatch.setattr("poolmgr.api.operations.bots.forget", act_before)


@pytest.mark.parametrize("callback_url", ["", "https://hooks.example/x"])
@pytest.mark.parametrize("is_first", [True, False])
async def test_the_receiver_of_a_transcript_that_is_asked_for_while_its_bot_is_deleted_is_told_of_that(
    world: World, monkeypatch: pytest.MonkeyPatch, callback_url: str, *, is_first: bool
) -> None:
    hand = await world.ledger()
    await hand.enter("b1", **({"callback_url": callback_url} if callback_url else {}))
    await hand.end("b1")
    await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
    transcriptions = Transcriptions(world.redis, world.keys)
    asked = Transcription("openai", iso(hand.at), callback="https://theirs.example/x")
    if not is_first:
        made = msgspec.json.encode(msgspec.structs.replace(asked, status="processed"))
        await world.redis.hset(world.keys.transcriptions("b1"), 2, made)

    before_it_is_forgotten(monkeypatch, lambda: transcriptions.ask("b1", asked, hand.at, By("app", Way.API)))
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    deliveries = [json.loads(fields[b"delivery"]) for _, fields in await world.redis.xrange(world.keys.outbox)]
    theirs, its = ("transcription.skipped", asked.callback), ("data_deletion", callback_url)
    assert [(one["event"], one["url"]) for one in deliveries] == ([theirs, its] if callback_url else [theirs])
    assert not await world.redis.exists(world.keys.bot("b1"), world.keys.transcriptions("b1"))


async def test_the_receiver_of_a_transcript_that_is_made_while_its_bot_is_deleted_is_told_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    transcriptions, due = Transcriptions(world.redis, world.keys), DueTranscriptions(world.redis, world.keys, 1)
    asked = Transcription("openai", iso(hand.at), callback="https://theirs.example/x")
    await transcriptions.ask("b1", asked, hand.at, By("app", Way.API))

    async def is_made_and_told() -> None:
        one = await due.under_way("b1")
        assert one
        await due.conclude(one, hand.at, utterances=1)
        await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)

    before_it_is_forgotten(monkeypatch, is_made_and_told)
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    assert not await world.redis.xrange(world.keys.outbox)


async def test_deleting_leaves_nothing_and_tells_the_callback(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolmgr.api.operations.bots._FORGET_WITHIN_S", 0.05)
    hand = await world.ledger()
    await hand.enter("b1", callback_url="https://hooks.example/x", owner="app", custom_attributes={"a": 1})
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 409
        await hand.end("b1", owner="app")
        answer = await call("DELETE", "/bots/b1/delete")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2"), "no leader has read of its end"
        assert (await call("GET", "/bots/b1/status")).status == 200
        await world.redis.xtrim(world.keys.outbox, maxlen=0, approximate=False)
        answer = await call("DELETE", "/bots/b1/delete")
        assert (answer.status, answer.body["bot_id"]) == (200, "b1")
        for path in ("status", "detail", "get_chats", "remove_bot"):
            assert (await call("GET", f"/bots/b1/{path}")).status == 404
        assert (await call("DELETE", "/bots/b1/delete")).status == 404
        assert await _ids(call) == []
    [last] = await world.redis.xrevrange(world.keys.outbox, count=1)
    delivery = json.loads(last[1][b"delivery"])
    assert json.loads(delivery["body"])["deleted_objects"] == answer.body["deleted_objects"]
    assert not [key async for key in world.redis.scan_iter(f"{world.keys.prefix}:bot:b1*")]


async def test_recordings_are_not_there_yet_and_then_never(world: World) -> None:
    hand = await world.ledger()
    await hand.enter("live")
    await hand.enter("over")
    await hand.end("over")
    async with world.serving() as call:
        for what in ("audio_streams", "recording_streams", "speaker_timeline"):
            assert (await call("GET", f"/bots/live/get_{what}")).status == 202
            over = await call("GET", f"/bots/over/get_{what}")
            assert over.status == 404
            assert "There is none" in over.message
            assert (await call("GET", f"/bots/none/get_{what}")).message == "Bot not found."


def put(store: Path, made: Manifest, name: str = FINAL) -> None:
    folder = store / manifest.folder(made.bot_id, made.attempt)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(manifest.encode(made))
    (folder / AUDIO).write_bytes(b"OggS")
    (folder / VIDEO).write_bytes(b"0123456789")


async def test_a_bot_is_deleted_also_while_the_files_of_its_recording_are_to_be_made(
    world: World, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(store)))
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.apply(NoteRecorded(BotRecorded("vm-a", "b1", 1, hand.at + 2)))
    put(store, Manifest(1, "b1", 1, "room", 0.0, None, finished=False), PROGRESS)
    await hand.end("b1")
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    assert [path for path in store.rglob("*") if path.is_file()] == [store / manifest.deleted("b1")]


async def test_the_sound_of_a_meeting_is_fetched_when_it_is_made_and_goes_with_its_bot(
    world: World, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(store)))
    hand = await world.ledger()
    await hand.enter("b1")
    so_far = Manifest(1, "b1", 1, "room", 0.0, None, finished=False)
    async with world.serving() as call:
        assert (await call("GET", "/bots/b1/get_audio")).status == 202
        put(store, so_far, PROGRESS)
        assert (await call("GET", "/bots/b1/audio")).status == 202
        await hand.end("b1")
        assert (await call("GET", "/bots/b1/get_audio")).status == 202
        await world.redis.hset(world.keys.bot("b1"), "stopped_at", iso(time.time() - MADE_WITHIN_S))
        assert (await call("GET", "/bots/b1/get_audio")).status == 404, "nobody makes a file of it any more"
        put(store, msgspec.structs.replace(so_far, finished=True, audio=Audio(AUDIO, 4, "0f" * 32, 1.0)))
        link = (await call("GET", "/bots/b1/get_audio")).body["audio_url"]
        assert "/api/v1/bots/b1/audio?attempt=1&expires=" in link
        assert link.startswith("http://127.0.0.1:")
        file = await call("GET", "/bots/b1/audio")
        assert (file.status, file.body, file.headers["Content-Type"]) == (200, b"OggS", "audio/ogg")
        assert "no video was recorded" in (await call("GET", "/bots/b1/get_video")).message
        (store / "b1" / "1" / AUDIO).unlink()
        assert (await call("GET", "/bots/b1/audio")).status == 503
        (store / "b1" / "1" / FINAL).write_bytes(b'{"version": 1')
        unread = await call("GET", "/bots/b1/get_audio")
        assert (unread.status, "Input data was truncated" in unread.message) == (503, True)
        await hand.apply(NoteRecorded(BotRecorded("vm-b", "b1", 1, hand.at + 90, finished=True)))
        before = time.time()
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    assert [path for path in store.rglob("*") if path.is_file()] == [store / manifest.deleted("b1")]
    mark_until = await world.redis.zscore(world.keys.recordings_expiring, "b1")
    assert before <= mark_until - DELETED_MARK_LIFE_S <= time.time()


async def test_a_deletion_that_its_program_does_not_survive_leaves_no_mark_without_an_end(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(tmp_path)))
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")

    async def be_killed(_: Store, bot_id: str, _now: float) -> int:
        assert await world.redis.zscore(world.keys.recordings_expiring, bot_id) > time.time() + DELETED_MARK_LIFE_S - 60
        raise StoreError("it is killed here")

    monkeypatch.setattr(deletion, "delete", be_killed)
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 503
    assert await world.redis.zscore(world.keys.recordings_expiring, "b1")


async def test_of_a_bot_that_no_worker_had_the_store_holds_no_mark(world: World, tmp_path: Path) -> None:
    store = tmp_path / "store"
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(store)))
    hand = await world.ledger()
    await hand.accept("b1")
    await hand.end("b1")
    async with world.serving() as call:
        assert (await call("DELETE", "/bots/b1/delete")).status == 200
    assert not store.exists()
    assert not await world.redis.exists(world.keys.recordings_expiring)


async def test_each_track_is_fetched_alone_where_tracks_were_taken(world: World, tmp_path: Path) -> None:
    store = tmp_path / "store"
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(store)))
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    sound = Audio(AUDIO, 4, "0f" * 32, 2.0)
    tracks = [SoundTrack(f"track-00{n}.ogg", 7, "0f" * 32, f"id-{n}", 1.0, 2.0 + n, 100) for n in range(4)]
    for place in (0, 2):
        tracks[place] = msgspec.structs.replace(tracks[place], speaker="Ann", speaker_id="p1", share=0.9)
    turns = [Turn("p1", "Ann", 1.5, 2.5), Turn("p2", "Ben", 3.0, 4.0)]
    tracks[3] = msgspec.structs.replace(tracks[3], turns=turns, share=0.8)
    made = Manifest(1, "b1", 1, "room", 0.0, 1.0, finished=True, audio=sound)
    async with world.serving() as call:
        put(store, made)
        assert "no sound track" in (await call("GET", "/bots/b1/get_audio_streams")).message
        assert (await call("GET", "/bots/b1/audio?track=0")).status == 404
        taken: tuple[Kind, ...] = ("audio", "tracks")
        put(store, msgspec.structs.replace(made, kinds=taken, tracks=tracks))
        (store / "b1" / "1" / "track-001.ogg").write_bytes(b"OggS-id")
        answer = (await call("GET", "/bots/b1/get_audio_streams")).body
        assert answer["summary"] == {"total_participants": 3, "total_segments": 4}
        owners = [(each["participant_name"], each["participant_id"]) for each in answer["participants"]]
        assert owners == [("Ann", "p1"), ("id-1", ""), ("id-3", "")]
        assert [stream["stream_id"] for stream in answer["participants"][0]["streams"]] == ["id-0", "id-2"]
        assert [each["streams"][0]["turns"] for each in answer["participants"][:2]] == [[], []]
        in_turn = answer["participants"][2]["streams"][0]["turns"]
        assert in_turn[1] == {
            "participant_name": "Ben", "participant_id": "p2", "start_seconds": 3.0, "end_seconds": 4.0,
        }  # fmt: skip
        assert (answer["audio_streams_available"], answer["message"]) == (True, None)
        [segment] = answer["participants"][1]["streams"][0]["segments"]
        assert (answer["participants"][1]["participant_name"], segment["duration_seconds"]) == ("id-1", 3.0)
        file = await call("GET", "/bots/b1/audio?track=1")
        assert "/api/v1/bots/b1/audio?track=1&attempt=1&" in segment["url"]
        assert (file.status, file.body, file.headers["Content-Type"]) == (200, b"OggS-id", "audio/ogg")
        assert "b1-1-track-1.ogg" in file.headers["Content-Disposition"]
        assert (await call("GET", "/bots/b1/audio?track=4")).status == 404
        assert (await call("GET", "/bots/b1/audio?track=1&format=m4a")).status == 400
        refused = [Gap(0.0, 1.0, "refused", "tracks")]
        put(store, msgspec.structs.replace(made, kinds=taken, gaps=refused))
        answer = (await call("GET", "/bots/b1/get_audio_streams")).body
        assert (answer["participants"], answer["audio_streams_available"]) == ([], False)
        assert "did not let" in answer["message"]


@pytest.mark.long
async def test_the_sound_is_made_an_m4a_for_whoever_asks_for_one(world: World, tmp_path: Path) -> None:
    store = tmp_path / "store"
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(store)))
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    async with world.serving() as call:
        put(store, Manifest(1, "b1", 1, "room", 0.0, 1.0, finished=True, audio=Audio(AUDIO, 4, "0f" * 32, 1.0)))
        assert (await call("GET", "/bots/b1/get_audio?format=mp3")).status == 400
        unreadable = await call("GET", "/bots/b1/get_audio?format=m4a")
        assert (unreadable.status, "could not be made" in unreadable.message) == (503, True)
        write_ogg(store / "b1" / "1" / AUDIO, seconds=1)
        link = (await call("GET", "/bots/b1/get_audio?format=m4a")).body["audio_url"]
        assert "/api/v1/bots/b1/audio?format=m4a&attempt=1&" in link
        file = await call("GET", "/bots/b1/audio?format=m4a", headers={"Range": "bytes=4-10"})
        assert (file.status, file.body, file.headers["Content-Type"]) == (206, "ftypM4A", "audio/mp4")
        assert (store / "b1" / "1" / M4A).is_file()
        await call("DELETE", "/bots/b1/delete")
        assert list(store.rglob("*.*")) == []


async def test_while_somebody_elses_m4a_is_made_whoever_asks_for_it_is_told_to_come_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def being_made(*_: object) -> None:
        return None

    monkeypatch.setattr("poolmgr.api.operation.Conversions.made", being_made)
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(tmp_path)))
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    async with world.serving() as call:
        put(tmp_path, Manifest(1, "b1", 1, "room", 0.0, 1.0, finished=True, audio=Audio(AUDIO, 4, "0f" * 32, 1.0)))
        for what in ("get_audio", "audio"):
            assert (await call("GET", f"/bots/b1/{what}?format=m4a")).status == 202


async def test_the_picture_of_a_meeting_is_described_and_any_part_of_its_file_can_be_fetched(
    world: World, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(store)))
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    await world.redis.hset(world.keys.bot("b1"), "video", "1")
    seen = Video(VIDEO, 10, "0f" * 32, 60.0, "vp9", 1280, 720, 899, 14.98, 1)
    async with world.serving() as call:
        put(store, Manifest(1, "b1", 1, "room", 0.0, 1.0, finished=True))
        assert "no video of its meeting" in (await call("GET", "/bots/b1/get_video")).message
        put(store, Manifest(1, "b1", 1, "room", 0.0, 1.0, finished=True, kinds=("audio", "video"), video=seen))
        told = (await call("GET", "/bots/b1/get_video")).body
        link = "/api/v1/bots/b1/video?attempt=1&"
        assert link in told["video_url"]
        assert told["video_info"] == {
            "duration": 60.0, "size_mb": 0.0, "resolution": "1280x720", "fps": 14.98, "frames_processed": 899,
            "corrupted_frames": 1,
        }  # fmt: skip
        streams = (await call("GET", "/bots/b1/get_recording_streams")).body
        assert (link in streams.pop("video_url"), streams) == (True, {"video_info": told["video_info"]})
        part = await call("GET", "/bots/b1/video", headers={"Range": "bytes=3-5"})
        assert (part.status, part.body, part.headers["Content-Type"]) == (206, "345", "video/mp4")


async def test_a_meeting_that_was_not_recorded_says_so(world: World) -> None:
    hand = await world.ledger()
    for bot_id in ("live", "over"):
        await hand.enter(bot_id)
    await hand.end("over")
    async with world.serving() as call:
        assert (await call("GET", "/bots/live/get_audio")).status == 202
        assert "no audio was recorded" in (await call("GET", "/bots/over/get_audio")).message
        assert (await call("GET", "/bots/none/get_audio")).status == 404


async def test_a_recording_that_is_none_is_told_from_a_store_that_fails(world: World, tmp_path: Path) -> None:
    hand = await world.ledger()
    await hand.enter("over")
    await hand.end("over")
    store = tmp_path / "store"
    world.settings = msgspec.structs.replace(world.settings, capture=CaptureSettings(store=str(store)))
    put(store, Manifest(1, "over", 1, "room", 0.0, 1.0, finished=True))
    async with world.serving() as call:
        assert "no audio of its meeting" in (await call("GET", "/bots/over/audio")).message
        (store / "over" / "1" / FINAL).write_text("{}")
        assert (await call("GET", "/bots/over/audio")).status == 503
        assert (await call("DELETE", "/bots/over/delete")).status == 200


def bundle(**pictures: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        packed.writestr("about.json", "{}")
        for name, content in pictures.items():
            member = zipfile.ZipInfo(f"{name}.jpg")
            member.comment = b"2027-01-15T08:00:05.000Z"
            packed.writestr(member, content)
    return data.getvalue()


async def test_screenshots_are_those_of_failed_attempts(world: World) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    async with world.serving() as call:
        assert (await call("GET", "/bots/b1/get_screenshots")).status == 202
        await world.redis.set(world.keys.evidence("b1", 1), bundle(one=b"1", two=b"22"), ex=600)
        answer = await call("GET", "/bots/b1/get_screenshots")
        assert (answer.status, answer.body["screenshots_count"]) == (200, 2)
        assert answer.body["screenshots"][1] == {
            "name": "two.jpg",
            "attempt": 1,
            "timestamp": "2027-01-15T08:00:05.000Z",
            "content_type": "image/jpeg",
            "data": "MjI=",
            "url": "",
        }
        await world.redis.set(world.keys.evidence("b1", 1), b"no zip", ex=600)
        await hand.end("b1")
        assert (await call("GET", "/bots/b1/get_screenshots")).status == 404
        assert (await call("GET", "/bots/none/get_screenshots")).status == 404


async def test_evidence_is_had_as_the_agent_packed_it_by_whoever_may_see_the_bot(world: World) -> None:
    hand = await world.ledger()
    await hand.enter("b1", owner="app")
    async with world.serving() as call:
        assert "only kept of what failed" in (await call("GET", "/bots/b1/evidence")).message
        await hand.end("b1", Reason.BROWSER_CRASHED, owner="app", evidence="b1-1")
        assert "b1-1 is on its way" in (await call("GET", "/bots/b1/evidence")).message
        packed = bundle(one=b"1")
        await world.redis.set(world.keys.evidence("b1", 1), packed, ex=600)
        for path in ("/bots/b1/evidence", "/bots/b1/evidence?attempt=1"):
            answer = await call("GET", path)
            assert (answer.status, answer.body) == (200, packed)
            assert answer.headers["Content-Disposition"] == 'attachment; filename="b1-1.zip"'
        assert (await call("GET", "/bots/b1/evidence?attempt=2")).status == 404
        assert (await call("GET", "/bots/b1/evidence?attempt=x")).status == 400
        assert (await call.as_(OWN)("GET", "/bots/b1/evidence")).status == 403


async def test_who_was_there_and_what_was_written_is_shown(world: World) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    people = [
        {"id": "p2", "name": "Bo", "joined_at": "2027-01-15T08:00:02Z", "left_at": "2027-01-15T08:00:09Z"},
        {"id": "p1", "name": "Ada", "joined_at": "2027-01-15T08:00:01Z", "left_at": ""},
    ]
    lines = [
        {"id": "m1", "sender_id": "p1", "sender_name": "Ada", "text": "hi", "at": "2027-01-15T08:00:03Z"},
        {"id": "m2", "sender_id": "p2", "sender_name": "Bo", "text": "ho", "at": "2027-01-15T08:00:04Z"},
        {"id": "m3", "sender_id": "p1", "sender_name": "Ada", "text": "ha", "at": "2027-01-15T08:00:05Z"},
    ]
    await world.redis.hset(
        world.keys.participants("b1"), mapping={person["id"]: json.dumps(person) for person in people}
    )
    await world.redis.rpush(world.keys.chats("b1"), *map(json.dumps, lines))
    async with world.serving() as call:
        seen = (await call("GET", "/bots/b1/get_participants")).body
        chats = (await call("GET", "/bots/b1/get_chats")).body
    assert [
        (person["deviceId"], person["fullName"], person["status"], person["humanized_status"]) for person in seen
    ] == [
        ("p1", "Ada", 1, "in_meeting"),
        ("p2", "Bo", 0, "left"),
    ]
    assert seen[1]["lastUpdated"] == "2027-01-15T08:00:09Z"
    assert [message["text"] for message in chats["chatMessages"]] == ["hi", "ho", "ha"]
    assert [(speaker["deviceId"], speaker["messageCount"]) for speaker in chats["speakers"]] == [("p1", 2), ("p2", 1)]
    assert (chats["metadata"]["totalMessages"], chats["metadata"]["uniqueSpeakers"]) == (3, 2)
    assert [message["text"] for message in chats["messagesBySpeaker"]["p1"]] == ["hi", "ha"]


async def test_commands_reach_only_a_bot_that_is_in_its_meeting(world: World) -> None:
    hand = await world.ledger()
    await hand.accept("waits")
    await hand.enter("in")
    await hand.enter("also")
    say = {"message": "hello", "metadata": {"message_type": "text"}}
    async with world.serving() as call:
        assert (await call("POST", "/bots/in/send_message", say)).body == {
            "status": "accepted",
            "bot_id": "in",
            "command": "sendmsg",
        }
        assert (await call("POST", "/bots/waits/send_message", say)).status == 409
        assert (await call("POST", "/bots/none/send_message", say)).status == 404
        bodies: list[Any] = [{}, {"message": ""}, {"message": "  "}, {"message": "x" * 2001}, {"message": 1}, []]
        for bad in bodies:
            assert (await call("POST", "/bots/in/send_message", bad)).status == 400
        for command in ("pause_recording", "resume_recording"):
            refused = await call("POST", f"/bots/in/{command}", {})
            assert (refused.status, "not recording" in refused.message) == (503, True)
            assert (await call("POST", f"/bots/waits/{command}")).status == 409
            assert (await call("POST", f"/bots/none/{command}")).status == 404
        answers = await asyncio.gather(*(call("POST", "/bots/in/pause_recording") for _ in range(40)))
        assert {answer.status for answer in answers} == {503, 429}
        await world.redis.hset(world.keys.bot("also"), "manifest_status", "recording")
        for command in ("pause_recording", "resume_recording"):
            told = await call("POST", f"/bots/also/{command}")
            assert (told.status, told.body["command"]) == (200, command)
        image = b'{"img_url": "https://images.example/x.png", "display_duration": %s}'
        assert (await call("POST", "/bots/in/send_image", {"img_url": "https://images.example/x.png"})).status == 501
        assert (await call("POST", "/bots/in/send_image", image % b"1.0")).status == 501, "1.0 is an integer to JSON"
        for bad in (b"1.5", b"0.0", b"86401.0", b"1e999", b'"1"'):
            assert (await call("POST", "/bots/in/send_image", image % bad)).status == 400
        assert (await call("POST", "/bots/in/transcribe", {})).status == 501
        assert (await call("GET", "/bots/in/transcriptions")).body == {"bot_id": "in", "transcriptions": []}
        assert (await call("GET", "/transcript/some-id/get_transcript?raw=True")).status == 404
    asked = [decode_request(fields) for _, fields in await world.redis.xrange(world.keys.control)]
    assert asked == [SayRequested("in", "hello"), PauseRequested("also"), PauseRequested("also", False)]


async def test_a_recording_is_paused_also_while_its_bot_is_sent_in_again(world: World) -> None:
    hand = await world.ledger()
    for bot_id, recorded_attempt in (("recorded", 1), ("unrecorded", 0)):
        await hand.enter(bot_id)
        await world.redis.hset(world.keys.bot(bot_id), "recorded_attempt", recorded_attempt)
        await hand.apply(Enqueue(bot_id, 1, Why.WORKER_LOST, failed=1))
    async with world.serving() as call:
        for command in ("pause_recording", "resume_recording"):
            assert (await call("POST", f"/bots/recorded/{command}")).status == 200
            assert (await call("POST", f"/bots/unrecorded/{command}")).status == 409
        await hand.apply(End("recorded", 1, Reason.WORKER_LOST))
        assert (await call("POST", "/bots/recorded/pause_recording")).status == 409
    asked = [decode_request(fields) for _, fields in await world.redis.xrange(world.keys.control)]
    assert asked == [PauseRequested("recorded"), PauseRequested("recorded", False)]


async def test_the_detail_says_whether_somebody_has_paused_the_recording(world: World) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    async with world.serving() as call:
        for paused in (False, True, False):
            await hand.apply(Pause("vm-a", "worker-b1", "b1", 1, paused))
            for path in ("detail", "summary"):
                assert (await call("GET", f"/bots/b1/{path}")).body["bot_details"]["paused"] is paused


async def test_scheduled_bots_are_listed_moved_and_called_off(world: World) -> None:
    now = datetime.now(UTC)
    hour, day = ((now + timedelta(seconds=seconds)).isoformat() for seconds in (3600, 86400))
    async with world.leading() as call:
        first = (await call.create(join_at=hour)).body["bot_id"]
        second = (await call.as_(OWN).create(join_at=hour, custom_attributes={"a": 1})).body["bot_id"]
        listed = (await call("GET", "/calendar/scheduled_bots")).body["scheduled_bots"]
        assert [bot["bot_id"] for bot in listed] == [second, first]
        assert (listed[0]["bot_username"], listed[0]["meeting_link"]) == ("Notetaker", LINK)
        assert (listed[0]["platform"], listed[0]["custom_attributes"]) == ("Room", {"a": 1})
        own = (await call.as_(OWN)("GET", "/calendar/scheduled_bots?limit=1")).body["scheduled_bots"]
        assert [bot["bot_id"] for bot in own] == [second]
        path = f"/calendar/scheduled_bots/{first}"
        moved = await call("PATCH", path, {"scheduled_join_time": day})
        assert moved.body["updated_fields"] == ["scheduled_join_time"]
        record = await world.views.bot(first)
        assert record
        assert datetime.fromtimestamp(record.join_at or 0, UTC) == datetime.fromisoformat(day)
        for bad in ("soon", "", "2999-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"):
            assert (await call("PATCH", path, {"scheduled_join_time": bad})).status == 400
        assert (await call("DELETE", path)).body["bot_id"] == first
        assert (await call("DELETE", path)).status == 404
        assert (await call("PATCH", path, {"scheduled_join_time": day})).status == 404
        record = await world.views.bot(first)
        assert record
        assert record.status_reason == Reason.USER_REQUESTED


async def test_a_scheduled_bot_that_is_moved_to_a_moment_ago_joins_now(world: World) -> None:
    now = datetime.now(UTC)
    async with world.leading() as call, world.agent().running():
        for moment in (now - timedelta(seconds=1), now):
            bot_id = (await call.create(join_at=(now + timedelta(hours=1)).isoformat())).body["bot_id"]
            body = {"scheduled_join_time": moment.isoformat().replace("+00:00", "z")}
            assert (await call("PATCH", f"/calendar/scheduled_bots/{bot_id}", body)).status == 200
            await world.until_state(bot_id, "in_meeting")
        long_ago = (await call.create(join_at="2020-01-01T00:00:00Z")).body["bot_id"]
        await world.until_state(long_ago, "stopped")
        detail = (await call("GET", f"/bots/{long_ago}/detail")).body["bot_details"]
        assert (detail["Status"], detail["Reason"], detail["Attribution"]) == ("Error", "missed_start", "user")


async def test_a_move_that_no_manager_takes_up_in_time_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolmgr.api.operations.scheduled._DONE_WITHIN_S", 0.05)
    hand = await world.ledger()
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    await hand.accept("b1", BotState.SCHEDULED, join_at=later)
    async with world.serving() as call:
        body = {"scheduled_join_time": later.replace("+00:00", "Z")}
        moved = await call("PATCH", "/calendar/scheduled_bots/b1", {"scheduled_join_time": "2027-11-01T00:00:00"})
        assert (moved.status, moved.headers["Retry-After"]) == (503, "2")
        assert (await call("PATCH", "/calendar/scheduled_bots/b1", body)).status == 200, "it joins then anyway"
