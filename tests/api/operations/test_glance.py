"""What a recording looks like at a glance: from the store, for those who may have the recording, while it is there."""

import hashlib
import time
from pathlib import Path
from typing import Final

import msgspec
import pytest

from common.config.settings import CaptureSettings
from common.jobs.record import iso
from common.wire import manifest
from common.wire.manifest import (
    AUDIO,
    FINAL,
    PROGRESS,
    THUMBNAILS,
    VIDEO,
    WAVEFORM,
    Audio,
    Manifest,
    Peaks,
    Screenshot,
    SoundTrack,
    Thumbnails,
    Video,
    Waveform,
)
from common.wire.vocabulary import Reason
from poolmgr.store.lives import MADE_WITHIN_S
from tests.api.conftest import OWN, World
from tests.api.operations.test_bots import bundle

PEAKS: Final = Peaks(0.1, [0.5, 0.0], [0.25, 1.0])
STRIP: Final = "JFIF and so on"
SOUND: Final = Audio(AUDIO, 4, "0f" * 32, 0.2)
PICTURE: Final = Video(VIDEO, 10, "0f" * 32, 60.0, "vp9", 1280, 720, 899, 14.98)
DATA: Final = {WAVEFORM: msgspec.json.encode(PEAKS), THUMBNAILS: STRIP.encode()}
SHAS: Final = {name: hashlib.sha256(data).hexdigest() for name, data in DATA.items()}
MADE: Final = Manifest(
    *(1, "b1", 1, "room", 0.0, 1.0, True),
    kinds=("audio", "video"),
    audio=SOUND,
    video=PICTURE,
    waveform=Waveform(WAVEFORM, len(DATA[WAVEFORM]), SHAS[WAVEFORM], 2, 0.1),
    thumbnails=Thumbnails(THUMBNAILS, len(STRIP), SHAS[THUMBNAILS], 1, 160, 90, 60.0),
)


def put(store: Path, made: Manifest, name: str = FINAL) -> Path:
    folder = store / manifest.folder(made.bot_id, made.attempt)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(manifest.encode(made))
    for path, data in DATA.items():
        (folder / path).write_bytes(data)
    return folder


def left_in(store: Path) -> list[Path]:
    return list(store.rglob("*.*"))


@pytest.fixture
def store(world: World, tmp_path: Path) -> Path:
    capture = CaptureSettings(store=str(tmp_path / "store"))
    world.settings = msgspec.structs.replace(world.settings, capture=capture)
    return tmp_path / "store"


async def test_it_is_there_once_the_recording_is_and_goes_with_its_bot(world: World, store: Path) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    async with world.serving() as call:
        put(store, msgspec.structs.replace(MADE, finished=False), PROGRESS)
        await world.redis.hset(world.keys.bot("b1"), "video", "1")
        for name in ("waveform", "thumbnails"):
            assert (await call("GET", f"/bots/b1/{name}")).status == 202
        put(store, MADE)
        await hand.end("b1")
        assert (await call("GET", "/bots/b1/waveform")).body == msgspec.to_builtins(PEAKS)
        strip = await call("GET", "/bots/b1/thumbnails")
        assert (strip.status, strip.body, strip.headers["Content-Type"]) == (200, STRIP, "image/jpeg")
        for name in ("waveform", "thumbnails"):
            assert (await call("GET", f"/bots/b1/{name}", headers={"Authorization": f"Token {OWN}"})).status == 403
        await call("DELETE", "/bots/b1/delete")
        assert left_in(store) == []
        assert (await call("GET", "/bots/b1/thumbnails")).status == 404


async def test_of_a_bot_that_was_sent_in_again_each_attempt_is_got_and_the_earlier_one_where_the_later_has_nothing(
    world: World, store: Path
) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await world.redis.hset(world.keys.bot("b1"), "video", "1")
    track = SoundTrack("track-000.ogg", 9, "0f" * 32, "a", 0.0, 60.0, 40)
    shot = Screenshot("screenshot-000.jpg", 4, "0f" * 32, 30.0, 640, 360)
    kinds = "audio", "video", "tracks"
    put(store, msgspec.structs.replace(MADE, kinds=kinds, tracks=[track], screenshots=[shot]))
    later = msgspec.structs.replace(MADE, attempt=2, kinds=kinds, audio=None, video=None, finished=False)
    put(store, later, PROGRESS)
    names = "get_audio", "get_video", "get_recording_streams", "get_audio_streams", "waveform", "thumbnails"
    async with world.serving() as call:

        async def statuses(query: str = "") -> set[int]:
            return {(await call("GET", f"/bots/b1/{name}{query}")).status for name in names}

        assert (await statuses(), await statuses("?attempt=1"), await statuses("?attempt=2")) == ({202}, {200}, {202})
        assert "/b1/video?attempt=1&" in (await call("GET", "/bots/b1/get_video?attempt=1")).body["video_url"]
        [told] = (await call("GET", "/bots/b1/get_screenshots?attempt=1")).body["screenshots"]
        assert told["attempt"] == 1
        await hand.end("b1")
        await world.redis.hset(world.keys.bot("b1"), "stopped_at", iso(time.time()))
        assert (await statuses(), await statuses("?attempt=1")) == ({202}, {200})
        await world.redis.hset(world.keys.bot("b1"), "stopped_at", iso(time.time() - MADE_WITHIN_S))
        assert (await statuses(), await statuses("?attempt=2"), await statuses("?attempt=3")) == ({200}, {404}, {404})
        put(store, msgspec.structs.replace(later, finished=True, kinds=("audio", "video")))
        assert (await statuses(), await statuses("?attempt=2")) == ({200}, {404})
        await world.redis.set(world.keys.evidence("b1", 2), bundle(two=b"2"), ex=600)
        await world.redis.hset(world.keys.bot("b1"), "attempt", 2)
        for query, found in (("", ["two.jpg", shot.path]), ("?attempt=1", [shot.path]), ("?attempt=2", ["two.jpg"])):
            told = (await call("GET", f"/bots/b1/get_screenshots{query}")).body["screenshots"]
            assert [each["name"] for each in told] == found


async def test_screenshots_of_the_recording_stand_after_those_of_what_failed(world: World, store: Path) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await world.redis.hset(world.keys.bot("b1"), "video", "1")
    shots = [Screenshot(f"screenshot-{n:03d}.jpg", 4, "0f" * 32, 30.0 + 60 * n, 640, 360) for n in range(2)]
    async with world.serving() as call:
        assert (await call("GET", "/bots/b1/get_screenshots")).status == 202
        await hand.end("b1")
        await world.redis.hset(world.keys.bot("b1"), "stopped_at", iso(time.time()))
        assert (await call("GET", "/bots/b1/get_screenshots")).status == 202, "the file is being made"
        (put(store, msgspec.structs.replace(MADE, screenshots=shots)) / shots[1].path).write_bytes(b"JFIF")
        await world.redis.set(world.keys.evidence("b1", 1), bundle(one=b"1"), ex=600)
        answer = (await call("GET", "/bots/b1/get_screenshots")).body
        assert [(each["name"], each["data"]) for each in answer["screenshots"]] == [
            ("one.jpg", "MQ=="), ("screenshot-000.jpg", ""), ("screenshot-001.jpg", ""),
        ]  # fmt: skip
        last = answer["screenshots"][-1]
        assert (answer["screenshots_count"], last["timestamp"]) == (3, "1970-01-01T00:01:30.000000Z")
        assert "/api/v1/bots/b1/screenshot?number=1&attempt=1&" in last["url"]
        file = await call("GET", "/bots/b1/screenshot?number=1")
        assert (file.status, file.body, file.headers["Content-Type"]) == (200, "JFIF", "image/jpeg")
        assert (await call("GET", "/bots/b1/screenshot?number=2")).status == 404
        assert (await call("GET", "/bots/b1/screenshot?number=x")).status == 400
        (store / "b1" / "1" / FINAL).write_text("{}")
        assert (await call("GET", "/bots/b1/get_screenshots")).body["screenshots_count"] == 1, "what there is"
        await world.redis.delete(world.keys.evidence("b1", 1))
        assert (await call("GET", "/bots/b1/get_screenshots")).status == 503
        put(store, MADE)
        assert (await call("GET", "/bots/b1/get_screenshots")).status == 404


async def test_screenshots_in_evidence_that_is_on_its_way_are_waited_for(world: World) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1", Reason.BROWSER_CRASHED, evidence="b1-1")
    async with world.serving() as call:
        await world.redis.hset(world.keys.bot("b1"), "stopped_at", iso(time.time()))
        assert (await call("GET", "/bots/b1/get_screenshots")).status == 202
        await world.redis.hset(world.keys.bot("b1"), "stopped_at", iso(time.time() - MADE_WITHIN_S))
        assert (await call("GET", "/bots/b1/get_screenshots")).status == 404


async def test_of_a_job_without_a_picture_there_are_no_thumbnails_whatever_the_store_holds(
    world: World, store: Path
) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    async with world.serving() as call:
        put(store, MADE)
        assert (await call("GET", "/bots/b1/waveform")).status == 200
        assert "no video was recorded" in (await call("GET", "/bots/b1/thumbnails")).message
        assert "no video was recorded" in (await call("GET", "/bots/b1/screenshot?number=0")).message
        assert (await call("GET", "/bots/b1/get_screenshots")).status == 404


async def test_what_was_not_made_or_is_not_what_it_should_be_is_said(world: World, store: Path) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.end("b1")
    async with world.serving() as call:
        put(store, msgspec.structs.replace(MADE, waveform=None))
        assert "no waveform could be made" in (await call("GET", "/bots/b1/waveform")).message
        folder = put(store, MADE)
        (folder / WAVEFORM).write_bytes(b'{"column_s": "loud"}')
        assert (await call("GET", "/bots/b1/waveform")).status == 503
        (folder / WAVEFORM).unlink()
        assert (await call("GET", "/bots/b1/waveform")).status == 503
        assert MADE.waveform
        put(store, msgspec.structs.replace(MADE, waveform=msgspec.structs.replace(MADE.waveform, bytes=1 << 30)))
        assert "too large" in (await call("GET", "/bots/b1/waveform")).message
