"""Recordings through the API: sound, tracks and pictures of bots, and what is said where there are none."""

import time
from pathlib import Path

import msgspec
import pytest

from common.jobs.record import iso
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, M4A, PROGRESS, VIDEO, Audio, Gap, Kind, Manifest, SoundTrack, Video
from common.wire.messages import BotRecorded
from common.wire.minutes import Turn
from poolmgr.core.decisions import NoteRecorded
from poolmgr.store.lives import DELETED_MARK_LIFE_S, MADE_WITHIN_S
from tests.api.conftest import World
from tests.common.runtime.recordings.test_sound import write_ogg


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


async def test_the_sound_of_a_meeting_is_fetched_when_it_is_made_and_goes_with_its_bot(
    world: World, tmp_path: Path
) -> None:
    store = world.keep_recordings(tmp_path / "store")
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


async def test_each_track_is_fetched_alone_where_tracks_were_taken(world: World, tmp_path: Path) -> None:
    store = world.keep_recordings(tmp_path / "store")
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
    store = world.keep_recordings(tmp_path / "store")
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
    world.keep_recordings(tmp_path)
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
    store = world.keep_recordings(tmp_path / "store")
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
    store = world.keep_recordings(tmp_path / "store")
    put(store, Manifest(1, "over", 1, "room", 0.0, 1.0, finished=True))
    async with world.serving() as call:
        assert "no audio of its meeting" in (await call("GET", "/bots/over/audio")).message
        (store / "over" / "1" / FINAL).write_text("{}")
        assert (await call("GET", "/bots/over/audio")).status == 503
        assert (await call("DELETE", "/bots/over/delete")).status == 200
