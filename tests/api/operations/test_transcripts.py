"""What was said and who spoke, as clients of the API get it: from a folder that an agent has put it into."""

from pathlib import Path

import msgspec

from common.wire import manifest, minutes
from common.wire.manifest import AUDIO, FINAL, Audio, Manifest
from common.wire.minutes import CAPTIONS, SPEAKERS, TRANSCRIPT, Minutes, Turn, Utterance
from common.wire.vocabulary import Reason
from tests.api.conftest import World

MADE = Minutes(
    1, "b1", 1, "room", 1000.0, CAPTIONS,
    [Utterance("Ann", "Good morning.", 1002.0, 1003.5), Utterance("Ben", "Hello.", 1004.0, 1005.0)],
)  # fmt: skip
SPOKEN = Minutes(1, "b1", 1, "room", 1000.0, turns=[Turn("p1", "Ann", 1002.0, 1003.0)])


def put(folder: Path, name: str, data: bytes) -> None:
    path = folder / "b1" / "1" / name
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
        assert (detail["transcript_id"], detail["TranscriptStatus"]) == ("tr-b1", "skipped")
        assert (await call("GET", "/transcript/tr-b1/get_transcript")).status == 202
        [row] = (await call("GET", "/bots/b1/transcriptions")).body["transcriptions"]
        assert (row["transcript_id"], row["status"], row["download_urls"]) == ("tr-b1", "Processing", None)
        await hand.end("b1", Reason.EVERYONE_LEFT)
        await world.redis.hset(world.keys.bot("b1"), "transcript_status", "processed")
        put(tmp_path, TRANSCRIPT, minutes.encode(MADE))
        said = (await call("GET", "/transcript/tr-b1/get_transcript")).body
        assert [(one["speaker"], one["transcript"], one["start_time"], one["end_time"]) for one in said] == [
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
