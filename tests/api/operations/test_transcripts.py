"""What was said and who spoke, as clients of the API get it: from a folder that an agent has put it into."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from common.config.settings import OPENAI_URL, TranscriptionSettings
from common.jobs.record import iso
from common.wire import manifest, minutes
from common.wire.manifest import AUDIO, FINAL, Audio, Manifest
from common.wire.minutes import CAPTIONS, SPEAKERS, TRANSCRIPT, Minutes, Turn, Utterance, Word
from common.wire.vocabulary import Reason
from poolmgr.store.leader.transcriptions import Concluded, DueTranscriptions
from poolmgr.store.lives import MADE_WITHIN_S
from poolmgr.store.transcriptions import Transcription, Transcriptions
from tests.api.conftest import World

MADE = Minutes(
    1, "b1", 1, "room", 1000.0, CAPTIONS,
    [Utterance("Ann", "Good morning.", 1002.0, 1003.5), Utterance("Ben", "Hello.", 1004.0, 1005.0)],
)  # fmt: skip
SPOKEN = Minutes(1, "b1", 1, "room", 1000.0, turns=[Turn("p1", "Ann", 1002.0, 1003.0)])


def put(folder: Path, name: str, data: bytes, attempt: int = 1) -> None:
    path = folder / "b1" / str(attempt) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def stored_in(world: World, folder: Path) -> None:
    capture = msgspec.structs.replace(world.settings.capture, store=str(folder))
    world.settings = msgspec.structs.replace(world.settings, capture=capture)


async def test_a_transcript_is_got_by_its_id_once_it_is_there(world: World, tmp_path: Path) -> None:
    stored_in(world, tmp_path)
    hand = await world.ledger()
    await hand.accept("b1", recording_config={"transcript": {"provider": {CAPTIONS: {}}}})
    async with world.serving() as call:
        detail = (await call("GET", "/bots/b1/detail")).body["bot_details"]
        assert (detail["transcript_id"], detail["TranscriptStatus"]) == ("tr-b1", "")
        assert (await call("GET", "/transcript/tr-b1/get_transcript")).status == 202
        [row] = (await call("GET", "/bots/b1/transcriptions")).body["transcriptions"]
        assert (row["transcript_id"], row["status"], row["download_urls"]) == ("tr-b1", "Processing", None)
        await hand.end("b1", Reason.EVERYONE_LEFT)
        await world.redis.hset(world.keys.bot("b1"), "transcript_status", "processed")
        put(tmp_path, TRANSCRIPT, minutes.encode(MADE))
        said = (await call("GET", "/transcript/tr-b1/get_transcript")).body
        assert [
            (update["speaker"], update["transcript"], update["start_time"], update["end_time"]) for update in said
        ] == [
            ("Ann", "Good morning.", 2.0, 3.5),
            ("Ben", "Hello.", 4.0, 5.0),
        ]
        assert said[0]["absolute_start_time"] == "1970-01-01T00:16:42.000Z"
        raw = (await call("GET", "/transcript/tr-b1/get_transcript?raw=true")).body
        assert (raw["text"], raw["status"], len(raw["utterances"])) == ("Good morning. Hello.", "completed", 2)
        [row] = (await call("GET", "/bots/b1/transcriptions")).body["transcriptions"]
        assert row["status"] == "Success"
        assert row["download_urls"]["raw_transcript"].endswith("/transcript/tr-b1/get_transcript?raw=true")
        await world.redis.hset(world.keys.bot("b1"), "manifest_status", "expired")
        [row] = (await call("GET", "/bots/b1/transcriptions")).body["transcriptions"]
        assert row["download_urls"] is None


async def test_of_a_bot_that_was_sent_in_again_each_transcript_is_got_and_the_latest_with_words_by_default(
    world: World, tmp_path: Path
) -> None:
    stored_in(world, tmp_path)
    hand = await world.ledger()
    await hand.enter("b1", recording_config={"transcript": {"provider": {CAPTIONS: {}}}})
    for attempt, name, kept in (
        (1, TRANSCRIPT, MADE),
        (1, SPEAKERS, SPOKEN),
        (2, TRANSCRIPT, msgspec.structs.replace(MADE, attempt=2, utterances=[])),
        (2, SPEAKERS, msgspec.structs.replace(SPOKEN, attempt=2, turns=[])),
    ):
        put(tmp_path, name, minutes.encode(kept), attempt)
    async with world.serving() as call:

        async def heard(query: str = "") -> tuple[int, int]:
            answer = await call("GET", f"/transcript/tr-b1/get_transcript{query}")
            return answer.status, len(answer.body)

        bot = world.keys.bot("b1")
        await world.redis.hset(bot, mapping={"attempt": 2, "transcribed_attempt": 2, "transcript_status": "processing"})
        assert ((await heard())[0], await heard("?attempt=1"), (await heard("?attempt=2"))[0]) == (202, (200, 2), 202)
        await hand.end("b1")
        await world.redis.hset(bot, "transcript_status", "processed")
        assert (await heard(), await heard("?attempt=2")) == ((200, 2), (200, 0))
        assert (await heard("?attempt=3"))[0] == 404
        for query, chunks in (("", 1), ("?attempt=1", 1), ("?attempt=2", 0)):
            assert len((await call("GET", f"/bots/b1/get_speaker_timeline{query}")).body["chunks"]) == chunks


async def test_a_stored_transcript_with_absurd_times_is_got_all_the_same(world: World, tmp_path: Path) -> None:
    stored_in(world, tmp_path)
    hand = await world.ledger()
    await hand.accept("b1", recording_config={"transcript": {"provider": {CAPTIONS: {}}}})
    await hand.end("b1", Reason.EVERYONE_LEFT)
    await world.redis.hset(world.keys.bot("b1"), "transcript_status", "processed")
    said = [Utterance("", "hi", at, at, [Word("hi", at, at)]) for at in (1e300, 1e12, -1e11)]
    put(tmp_path, TRANSCRIPT, minutes.encode(msgspec.structs.replace(MADE, utterances=said)))
    async with world.serving() as call:
        told = (await call("GET", "/transcript/tr-b1/get_transcript")).body
    assert [(one["transcript"], one["start_time"]) for one in told] == [("hi", 0.0)] * 3


async def test_where_there_is_none_that_is_said(world: World, tmp_path: Path) -> None:
    stored_in(world, tmp_path)
    hand = await world.ledger()
    await hand.accept("b1")
    await hand.end("b1", Reason.EVERYONE_LEFT)
    async with world.serving() as call:
        for name in ("tr-b1", "tr-nobody", "something"):
            assert (await call("GET", f"/transcript/{name}/get_transcript")).status == 404
        assert (await call("GET", "/bots/b1/transcriptions")).body["transcriptions"] == []
        assert (await call("GET", "/bots/b1/get_speaker_timeline")).status == 404


async def test_who_spoke_is_told_with_where_that_is_in_the_sound(world: World, tmp_path: Path) -> None:
    stored_in(world, tmp_path)
    hand = await world.ledger()
    await hand.accept("b1")
    async with world.serving() as call:
        assert (await call("GET", "/bots/b1/get_speaker_timeline")).status == 202
        put(tmp_path, SPEAKERS, minutes.encode(SPOKEN))
        audio = Audio(AUDIO, 5000, "0" * 64, 60.0)
        made = Manifest(1, "b1", 1, "room", 1001.0, 1061.0, True, audio=audio)
        put(tmp_path, FINAL, manifest.encode(made))
        told = (await call("GET", "/bots/b1/get_speaker_timeline")).body
    assert told == {
        "chunks": [
            {
                "chunkIndex": 0, "timestamp": "1970-01-01T00:16:42.000Z", "sampleRate": 48000,
                "speakerId": "p1", "speakerName": "Ann", "startByte": 96000, "endByte": 192000,
            }
        ],
        "lastUpdated": "1970-01-01T00:16:43.000Z",
        "audioFilePath": "b1/1/audio.ogg",
        "totalFileSize": 5000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "ended_s", "status"),
    [
        ({}, 0.0, 202),
        ({}, MADE_WITHIN_S - 60.0, 202),
        ({}, MADE_WITHIN_S, 404),
        ({"no_audio": 1}, 0.0, 404),
        ({"no_audio": 1, "transcript": 1}, 0.0, 202),
        ({"probe": 1}, 0.0, 404),
        ({"inmeeting_at": ""}, 0.0, 404),
        ({"manifest_status": "expired"}, 0.0, 404),
    ],
    ids=[
        "just over",
        "while the store is away",
        "too late",
        "silent",
        "only written down",
        "probe",
        "kept out",
        "expired",
    ],
)
async def test_who_spoke_is_waited_for_as_long_as_an_agent_may_still_tell(
    world: World, tmp_path: Path, changed: dict[str, str | int], ended_s: float, status: int
) -> None:
    stored_in(world, tmp_path)
    hand = await world.ledger()
    await hand.enter("b1")
    async with world.serving() as call:
        assert (await call("GET", "/bots/b1/get_speaker_timeline")).status == 202
        await hand.end("b1")
        stopped_at = iso(time.time() - ended_s)
        await world.redis.hset(world.keys.bot("b1"), mapping={"stopped_at": stopped_at, **changed})
        assert (await call("GET", "/bots/b1/get_speaker_timeline")).status == status
        put(tmp_path, SPEAKERS, minutes.encode(SPOKEN))
        assert (await call("GET", "/bots/b1/get_speaker_timeline")).status == 200


def asked_of(world: World, folder: Path, **transcription: Any) -> None:
    stored_in(world, folder)
    rules: dict[str, Any] = {"openai_url": "https://stt.example/v1", "deepgram_key_file": "/nowhere", **transcription}
    world.settings = msgspec.structs.replace(world.settings, transcription=TranscriptionSettings(**rules))


async def ended(world: World, *, recorded: bool = True, **fields: Any) -> None:
    hand = await world.ledger()
    await hand.accept("b1", **fields)
    await hand.end("b1", Reason.EVERYONE_LEFT)
    status = {"audio_status": "processed", "manifest_status": "completed"} if recorded else {"audio_status": ""}
    await world.redis.hset(world.keys.bot("b1"), mapping=status)


async def test_another_transcript_of_a_recording_is_asked_for_listed_and_got_by_its_own_id(
    world: World, tmp_path: Path
) -> None:
    asked_of(world, tmp_path)
    await ended(world, recording_config={"transcript": {"provider": {CAPTIONS: {}}}})
    wish = {"provider": {"deepgram": {"language": "de"}}, "callback_url": "http://127.0.0.1:9/told"}
    async with world.serving() as call:
        said = await call("POST", "/bots/b1/transcribe", wish)
        assert (said.status, said.body["transcript_id"], said.body["provider"]) == (200, "tr-b1~2", "deepgram")
        assert (await call("POST", "/bots/b1/transcribe", {})).status == 409
        assert (await call("GET", "/transcript/tr-b1~2/get_transcript")).status == 202
        rows = (await call("GET", "/bots/b1/transcriptions")).body["transcriptions"]
        assert [(row["transcript_id"], row["provider"], row["status"], row["config"]) for row in rows] == [
            ("tr-b1", CAPTIONS, "Processing", {}), ("tr-b1~2", "deepgram", "Processing", {"language": "de"}),
        ]  # fmt: skip
        due = DueTranscriptions(world.redis, world.keys, 1)
        one = await due.under_way("b1")
        assert one
        assert one.what.callback == "http://127.0.0.1:9/told"
        word = Word("hello", 1004.0, 1004.4, "Hello.", 0.9, 1)
        made = Minutes(1, "b1", 1, "room", 1000.0, "deepgram", [Utterance("Ben", "Hello.", 1004.0, 1004.4, [word])])
        put(tmp_path, "transcript-2.json", minutes.encode(made))
        assert await due.conclude(one, 1_800_000_100.0, utterances=1) is Concluded.NOTED
        [said] = (await call("GET", "/transcript/tr-b1~2/get_transcript")).body
        assert said["words"] == [
            {"word": "hello", "punctuated_word": "Hello.", "start": 4.0, "end": 4.4, "confidence": 0.9, "speaker": 1}
        ]
        raw = (await call("GET", "/transcript/tr-b1~2/get_transcript?raw=true")).body
        assert (raw["confidence"], len(raw["words"])) == (0.9, 1)
        again = await call("POST", "/bots/b1/transcribe", {})
        assert (again.body["transcript_id"], again.body["provider"]) == ("tr-b1~3", "deepgram")
        three = await due.under_way("b1")
        assert three
        await due.conclude(three, 1_800_000_200.0, why="unauthorized (401)")
        rows = (await call("GET", "/bots/b1/transcriptions")).body["transcriptions"]
        assert [(row["status"], row.get("reason")) for row in rows[1:]] == [
            ("Success", None), ("Failed", "unauthorized (401)"),
        ]  # fmt: skip
        assert rows[1]["download_urls"]["processed_transcript"].endswith("/transcript/tr-b1~2/get_transcript")
        assert (await call("GET", "/transcript/tr-b1~3/get_transcript")).status == 404


@pytest.mark.parametrize(
    ("wanted", "latest", "attempt"),
    [
        ({}, "processed", 2), ({"attempt": 2}, "processed", 2), ({"attempt": 1}, "processed", 1),
        ({"attempt": 3}, "processed", None), ({}, "skipped", 1), ({"attempt": 2}, "skipped", None),
    ],
)  # fmt: skip
async def test_of_a_bot_that_was_sent_in_again_the_recording_of_each_attempt_is_transcribed(
    world: World, tmp_path: Path, wanted: dict[str, int], latest: str, attempt: int | None
) -> None:
    """`latest`: whether sound was recorded in the second attempt. `attempt`: of which it is made; None: of none."""
    asked_of(world, tmp_path)
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    of_second = {"attempt": 2, "recorded_attempt": 2, "audio_status": latest, "manifest_status": "completed"}
    await world.redis.hset(world.keys.bot("b1"), mapping={**of_second, "stopped_at": iso(time.time() - MADE_WITHIN_S)})
    for number in (1, 2):
        audio = Audio(AUDIO, 5000, "0" * 64, 60.0) if number == 1 or latest == "processed" else None
        made = Manifest(1, "b1", number, "room", 1000.0, 1060.0, True, audio=audio)
        put(tmp_path, FINAL, manifest.encode(made), number)
    async with world.serving() as call:
        said = await call("POST", "/bots/b1/transcribe", {**wanted})
        assert said.status == (200 if attempt else 404)
        known = (await Transcriptions(world.redis, world.keys).all("b1")).get(2)
        assert (known.attempt if known else None) == attempt
        if attempt:
            for number in (1, 2):
                told = await call("GET", f"/transcript/tr-b1~2/get_transcript?attempt={number}")
                assert told.status == (202 if number == attempt else 404)


async def test_a_recording_that_may_still_come_is_not_transcribed_yet(world: World, tmp_path: Path) -> None:
    asked_of(world, tmp_path)
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    await world.redis.hset(world.keys.bot("b1"), "stopped_at", iso(time.time()))
    async with world.serving() as call:
        for wanted in ({}, {"attempt": 1}):
            assert (await call("POST", "/bots/b1/transcribe", wanted)).status == 409


async def test_a_transcript_that_is_made_of_the_recording_names_who_makes_it(world: World, tmp_path: Path) -> None:
    asked_of(world, tmp_path)
    await ended(world, recording_config={"transcript": {"provider": {"openai": {}}}})
    async with world.serving() as call:
        [row] = (await call("GET", "/bots/b1/transcriptions")).body["transcriptions"]
        assert (row["provider"], row["status"]) == ("openai", "Processing")
        failed = Transcription("openai", iso(0.0), "processed", captions=CAPTIONS, why="unauthorized (401)")
        await world.redis.hset(world.keys.transcriptions("b1"), "1", msgspec.json.encode(failed))
        await world.redis.expire(world.keys.transcriptions("b1"), 60)
        by_captions = {"transcript_status": "processed", "transcript_by": CAPTIONS}
        await world.redis.hset(world.keys.bot("b1"), mapping=by_captions)
        [row] = (await call("GET", "/bots/b1/transcriptions")).body["transcriptions"]
        assert (row["provider"], row["status"], "reason" in row) == (CAPTIONS, "Success", False)


async def test_what_cannot_be_transcribed_is_refused_with_what_to_change(world: World, tmp_path: Path) -> None:
    async def refused(body: Any, **transcription: Any) -> tuple[int, str]:
        asked_of(world, tmp_path, **transcription)
        world.registry = CollectorRegistry()
        async with world.serving() as call:
            said = await call("POST", "/bots/b1/transcribe", body)
            return said.status, said.message

    await ended(world, recorded=False)
    assert (await refused({}))[0] == 404
    await world.redis.hset(world.keys.bot("b1"), "audio_status", "processed")
    unknown = await refused({"provider": {"assemblyai": {}}})
    assert unknown == (400, "provider: this one is not offered; deepgram, openai can be asked")
    assert (await refused({"provider": {}}))[0] == 400
    assert (await refused({"provider": {"openai": {}}, "callback_url": "http://10.0.0.1/x"}))[0] == 400
    assert (await refused({}, openai_url=OPENAI_URL, deepgram_key_file=""))[0] == 501
    await world.redis.hset(world.keys.bot("b1"), "manifest_status", "expired")
    assert (await refused({}))[0] == 404
    hand = await world.ledger()
    await hand.accept("b2")
    asked_of(world, tmp_path)
    world.registry = CollectorRegistry()
    async with world.serving() as call:
        assert (await call("POST", "/bots/b2/transcribe", {})).status == 409
        assert (await call("POST", "/bots/nobody/transcribe", {})).status == 404
        for name in ("tr-b1~9", "tr-b1~x", "tr-b1~", "tr-b1~1234567890"):
            assert (await call("GET", f"/transcript/{name}/get_transcript")).status == 404
