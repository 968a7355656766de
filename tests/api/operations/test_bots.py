"""Bots through the API: found, shown, taken out, told what to do; each only by who may."""

import asyncio
import io
import json
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from common.config.settings import MeetingSettings
from common.jobs.record import iso
from common.wire.messages import BotRecorded, BotSaw, BotTranscribed
from common.wire.vocabulary import BotState, Reason
from poolmgr.api.routes import OPERATIONS
from poolmgr.core.decisions import End, Enqueue, Note, NoteRecorded, Pause, Why
from poolmgr.core.requests import PauseRequested, SayRequested
from poolmgr.store.leader.recordings import DueRecordings
from poolmgr.store.reading.views import decode_request
from tests.api.conftest import LINK, OWN, Caller, World, token


async def ids(call: Caller, query: str = "") -> list[str]:
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
            assert await ids(call, query) == expected, query


async def test_bots_are_found_by_a_platform_that_only_the_settings_name(world: World) -> None:
    world.settings = msgspec.structs.replace(
        world.settings, meetings=MeetingSettings(["127.0.0.1:8090"], other_hosts={"webex": ["webex.com"]})
    )
    hand = await world.ledger()
    await hand.accept("b1")
    await hand.accept("b2", meeting_link="https://acme.webex.com/meet/ann")
    async with world.serving() as call:
        assert await ids(call, "?platform=webex") == await ids(call, "?platform=Webex") == ["b2"]
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
        assert await ids(own) == ["mine"]
        assert await ids(call) == ["theirs", "nobodys", "mine"]
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
            found = await ids(call, f"?status={word}")
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
    world.keep_recordings(tmp_path)
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
